"""Training checkpoints, checked by SHA-256, the last two kept: tensors in safetensors, the rest in its metadata."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ..common.files import atomic_path, write_json
from ..common.identity import sha256_file

log = logging.getLogger(__name__)

KEPT = 2  # if the newest is damaged on disk, the one before it is used


@dataclass(frozen=True)
class Checkpoint:
    """The state of a training run after ``step`` steps.

    Attributes:
        step: completed optimiser steps.
        tensors: every tensor of the state by name.
        scalars: JSON values that belong to the state.
    """

    step: int
    tensors: dict[str, Tensor]
    scalars: dict[str, Any]


def save_checkpoint(folder: Path | str, checkpoint: Checkpoint) -> None:
    """Write a checkpoint into ``folder`` and delete all but the newest :data:`KEPT`.

    Raises:
        OSError: the disk is full or not writable; earlier checkpoints are untouched.
    """
    folder = Path(folder)
    path = folder / f"step-{checkpoint.step:09d}.safetensors"
    write_tensors(path, checkpoint.tensors, {"step": checkpoint.step, "scalars": checkpoint.scalars})
    index = {"step": checkpoint.step, "sha256": sha256_file(path), "scalars": checkpoint.scalars}
    write_json(path.with_suffix(".json"), index)
    for _, old in _indexed(folder)[KEPT:]:
        old.with_suffix(".safetensors").unlink(missing_ok=True)
        old.unlink(missing_ok=True)


def load_checkpoint(folder: Path | str) -> Checkpoint | None:
    """Return the newest complete checkpoint, or None if there is none.

    A checkpoint whose bytes do not have the recorded SHA-256 is reported in the log and skipped.
    """
    for step, index in _indexed(Path(folder)):
        path = index.with_suffix(".safetensors")
        try:
            if sha256_file(path) != json.loads(index.read_text())["sha256"]:
                raise ValueError("its bytes do not have the recorded SHA-256")
            tensors, metadata = read_tensors(path)
        except (OSError, ValueError, SafetensorError) as error:
            log.warning("checkpoint %s is damaged (%s); trying the one before it", path.name, error)
            continue
        return Checkpoint(step, tensors, metadata["scalars"])
    return None


def kept_scalars(folder: Path) -> list[dict[str, Any]]:
    """Return the scalars of every checkpoint in ``folder`` that a run may resume from, newest first."""
    return [json.loads(index.read_text())["scalars"] for _, index in _indexed(folder)]


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
            raise OSError(f"cannot write {path.name}: {error}") from error


def read_tensors(path: Path | str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what :func:`write_tensors` wrote."""
    with safe_open(path, framework="pt") as file:
        metadata = json.loads((file.metadata() or {}).get("lopsided", "{}"))
        # Cloned: a mapped file's tensors start at any multiple of four bytes, and vector code may round differently
        # on them than on aligned memory; a resumed run must equal an uninterrupted one to the last digit.
        return {name: file.get_tensor(name).clone() for name in file.keys()}, metadata  # noqa: SIM118


def _indexed(folder: Path) -> list[tuple[int, Path]]:
    """Index files, newest first: by the step they record, not by the order of their names."""
    found = []
    for path in folder.glob("step-*.json"):
        try:
            found.append((int(json.loads(path.read_text())["step"]), path))
        except (ValueError, KeyError, OSError) as error:
            log.warning("checkpoint index %s is damaged (%s); skipped", path.name, error)
    return sorted(found, reverse=True)
