"""Training checkpoints: whole, checked, two deep.

Everything that a run resumes from is under one checksum: the tensors, and in the metadata of their file the step, the
scalars and the SHA-256 of the history. The file beside it holds that checksum and nothing else.
"""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ..common.errors import one_line
from ..common.files import atomic_path, write_json
from ..common.identity import sha256_file
from ..common.state_dicts import parse_metadata
from .history import NOTHING, Written, written

log = logging.getLogger(__name__)

HISTORY = "history.jsonl"  # in the folder of the checkpoints
KEPT = 2  # if the newest is damaged on disk, the one before it is used


@dataclass(frozen=True)
class Checkpoint:
    """The state of a training run after ``step`` steps.

    Attributes:
        step: completed optimiser steps.
        tensors: every tensor of the state by name.
        scalars: JSON values that belong to the state.
        history: what the history of the run held by then; what follows in it is computed again.
    """

    step: int
    tensors: dict[str, Tensor]
    scalars: dict[str, Any]
    history: Written = NOTHING


def save_checkpoint(folder: Path | str, checkpoint: Checkpoint) -> None:
    """Write a checkpoint into ``folder``, and delete all but the newest :data:`KEPT`.

    Raises:
        OSError: the disk is full or not writable; earlier checkpoints are untouched.
    """
    folder = Path(folder)
    path = folder / f"step-{checkpoint.step:09d}.safetensors"
    metadata = {"step": checkpoint.step, "scalars": checkpoint.scalars, "history": list(checkpoint.history)}
    write_tensors(path, checkpoint.tensors, metadata)
    write_json(path.with_suffix(".json"), {"sha256": sha256_file(path)})
    # Those of later steps could not be used: the run went on from an earlier one.
    kept = [index.with_suffix("").name for index in _newest_first(folder, "json") if index.stem <= path.stem][:KEPT]
    for old in folder.glob("step-*"):
        if old.with_suffix("").name not in kept:
            old.unlink(missing_ok=True)


def checkpoints(folder: Path) -> Iterator[Checkpoint]:
    """Yield the checkpoints that are whole, newest first.

    One that is damaged, whose history was changed, or that an older version wrote without recording the history, is
    passed over, and the log says so.
    """
    for path in (index.with_suffix(".safetensors") for index in _newest_first(folder, "json")):
        try:
            index = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
            if sha256_file(path) != index["sha256"]:
                raise ValueError("its bytes do not have the recorded SHA-256")
            tensors, metadata = read_tensors(path)
            if "history" not in metadata:
                raise ValueError("it is of an older version, which did not record the history")
            history = Written(*metadata["history"])
            if written(folder / HISTORY, history.size) != history:
                raise ValueError(f"{HISTORY} is not as it was then")
        except (OSError, ValueError, KeyError, TypeError, RecursionError, SafetensorError) as error:
            log.warning("checkpoint %s is damaged (%s); trying the one before it", path.name, one_line(error))
            continue
        yield Checkpoint(metadata["step"], tensors, metadata["scalars"], history)


def load_checkpoint(folder: Path | str) -> Checkpoint | None:
    """Return the newest checkpoint that is whole, or None when there is none; see :func:`checkpoints`."""
    return next(checkpoints(Path(folder)), None)


def kept_scalars(folder: Path) -> list[dict[str, Any]]:
    """Return the scalars of every checkpoint in ``folder``, unchecked: those of a damaged one are good for nothing."""
    found = []
    for path in _newest_first(folder, "safetensors"):
        with contextlib.suppress(OSError, ValueError, KeyError, SafetensorError), safe_open(path, "pt") as file:
            found.append(json.loads(file.metadata()["lopsided"])["scalars"])
    return found


def write_tensors(path: Path | str, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> None:
    """Write tensors and JSON metadata to a safetensors file, atomically.

    Raises:
        OSError: the disk is full or not writable.

    Examples:
        >>> import tempfile, torch
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_tensors(f"{folder}/x.safetensors", {"a": torch.ones(2)}, {"step": 3})
        ...     read_tensors(f"{folder}/x.safetensors")
        ({'a': tensor([1., 1.])}, {'step': 3})
    """
    path = Path(path)
    with atomic_path(path) as temporary:
        whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        temporary.touch()
        mode = temporary.stat().st_mode  # what the umask gives; safetensors makes files that only their owner reads
        try:
            save_file(whole, temporary, metadata={"lopsided": json.dumps(metadata)})
            temporary.chmod(mode)
        except SafetensorError as error:  # how safetensors reports a full disk
            raise OSError(f"cannot write {path.name}: {one_line(error)}") from error


def read_tensors(path: Path | str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what :func:`write_tensors` wrote."""
    with safe_open(path, framework="pt") as file:
        metadata = parse_metadata((file.metadata() or {}).get("lopsided", "{}"))
        # Cloned: a mapped file's tensors start at any multiple of four bytes, and vector code may round differently
        # on them than on aligned memory; a resumed run must equal an uninterrupted one to the last digit.
        return {name: file.get_tensor(name).clone() for name in file.keys()}, metadata  # noqa: SIM118


def _newest_first(folder: Path, suffix: str) -> list[Path]:
    """Return the files of checkpoints, newest first: names have the step in nine digits, so they sort by it."""
    return sorted(folder.glob(f"step-*.{suffix}"), reverse=True)
