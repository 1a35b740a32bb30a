"""Reading what a training logged: a table of numbers and sample replies by step, from before to after it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from ...common.errors import one_line
from ...common.lines import unsealed
from ...common.paths import expanded
from ..errors import MllmError
from .evaluation import AFTER, BEFORE, REPLIES, numbers_of, replies_of

LOG = "log.jsonl"


def read_log(folder: str | Path) -> pd.DataFrame:
    """Read the log that an alignment left in its folder, with the evaluations before and after training.

    Args:
        folder: that of the alignment.

    Returns:
        One row per step and term: ``step``, ``term``, ``value`` (NaN if it was not finite) and ``text``. A sample
        reply is the ``text`` of the term ``replies/<set>/<dimension>/<item>``, "" elsewhere.

    Raises:
        MllmError: there is no log, or a file is damaged.

    Examples:
        >>> import tempfile
        >>> from lopsided.common.lines import sealed
        >>> folder = Path(tempfile.mkdtemp())
        >>> (folder / "log.jsonl").write_bytes(sealed({"step": 5, "kl": 0.2, "replies": {"held-out/quality/1": "60"}}))
        82
        >>> read_log(folder).values.tolist()
        [[5, 'kl', 0.2, ''], [5, 'replies/held-out/quality/1', nan, '60']]
    """
    place, rows = expanded(folder), []
    path = place / LOG
    try:
        for line in path.read_bytes().splitlines(keepends=True):
            known = unsealed(line)
            rows += _terms(known.pop("step"), known)
        last = max((step for step, *_ in rows), default=0)
        evaluated = {step for step, term, *_ in rows if term.startswith("eval/")}
        for step, name in ((0, BEFORE), (last, AFTER)):
            path = place / name
            if path.exists() and step not in evaluated:
                table = pd.read_csv(path, dtype={"item": str, "reply": str}).fillna({"reply": ""})
                rows += _terms(step, {**numbers_of(table), **replies_of(table)})
        return pd.DataFrame(rows, columns=["step", "term", "value", "text"]).astype({"value": "float64"})
    except OSError as error:
        raise MllmError(f"cannot read {path}: {error.strerror}") from None
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise MllmError(f"{path} is damaged: {one_line(error)}") from None


def _terms(step: int, line: Mapping[str, Any]) -> Iterator[tuple[int, str, float | None, str]]:
    yield from ((step, term, value, "") for term, value in line.items() if term != REPLIES)
    yield from ((step, f"{REPLIES}/{name}", None, text) for name, text in line.get(REPLIES, {}).items())
