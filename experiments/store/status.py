"""What is known of a cell, and the file that says how it ended."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, cast, get_args

from ...common.errors import one_line
from ..schema.errors import ExperimentError

State = Literal["done", "failed", "diverged", "running", "interrupted", "pending"]
End = Literal["done", "failed", "diverged"]  # states that are written down; the others follow from the files that exist
FORMAT = 2  # of status.json. 2: outputs and inputs are recorded


@dataclass(frozen=True)
class Output:
    """What is recorded of a file that a cell has written.

    Attributes:
        size: in bytes.
        sha256: of its bytes.
        rows: of a Parquet table.
    """

    size: int
    sha256: str
    rows: int | None = None

    def __str__(self) -> str:
        rows = "" if self.rows is None else f", {self.rows} rows"
        return f"{self.size} bytes{rows}" + (f" with SHA-256 {self.sha256[:12]}…" if self.sha256 else "")


@dataclass(frozen=True)
class Status:
    """What the store knows of a cell.

    Attributes:
        state: ``done``, ``failed``, ``diverged`` (a result), ``running`` (leased by a live process), ``interrupted``
            (work to resume) or ``pending``.
        reason: why, for people.
        seconds: time of the finishing run; for cells computed in one go, an equal share of it. None before.
        peak_memory_mb: largest resident memory of the process by then; None before.
        ended: when it ended, in seconds since 1970; None before.
        together: how many cells were computed in one go, this one included.
        outputs: what was recorded of each file by name; None: nothing, as before format 2.
        inputs: SHA-256 of the outputs of other cells that were read, by role and name; None: not recorded.
    """

    state: State
    reason: str = ""
    seconds: float | None = None
    peak_memory_mb: float | None = None
    ended: float | None = None
    together: int = 1
    outputs: Mapping[str, Output] | None = None
    inputs: Mapping[str, Mapping[str, str]] | None = None

    @property
    def end(self) -> End | None:
        """How the cell ended; None: it has not."""
        return cast(End, self.state) if self.state in get_args(End) else None

    def record(self) -> dict[str, Any]:
        """Return what ``status.json`` holds."""
        found = {name: value for name, value in asdict(self).items() if name not in ("outputs", "inputs")}
        if self.outputs is not None:
            outputs = {name: asdict(output) for name, output in self.outputs.items()}
            found["outputs"] = {name: {k: v for k, v in one.items() if v is not None} for name, one in outputs.items()}
        if self.inputs is not None:
            found["inputs"] = {role: dict(names) for role, names in self.inputs.items()}
        return {"format": FORMAT, **found}


def parse_status(text: str, path: Path) -> Status:
    """Read what :meth:`Status.record` gave.

    Raises:
        ExperimentError: a newer version wrote it.
        ValueError: it is damaged.
    """
    try:
        record: dict[str, Any] = json.loads(text)
        written = int(record.pop("format", 1))
        known = {field.name for field in fields(Status)}
        newer = sorted(record.keys() - known) if record.get("state") in get_args(End) else []
        if written > FORMAT or newer:
            what = f"has the format {written}" if written > FORMAT else f"holds {', '.join(newer)}"
            raise ExperimentError(
                f"'{path}' was written by a newer lopsided: it {what}, which this version does not know; update "
                "lopsided, or use another store"
            )
        if outputs := record.get("outputs"):
            record["outputs"] = {str(name): Output(**output) for name, output in outputs.items()}
        if inputs := record.get("inputs"):
            record["inputs"] = {str(role): dict(names) for role, names in inputs.items()}
        status = Status(**record)
    except (TypeError, AttributeError, KeyError, RecursionError, OverflowError) as error:
        raise ValueError(one_line(error)) from None
    if status.state not in get_args(End):
        raise ValueError(f"unknown state '{status.state}'")
    return status
