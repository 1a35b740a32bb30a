"""State dicts and metadata from files, without running code from them."""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from .errors import LopsidedError, one_line
from .paths import stand_in

WRAPPERS = ("module.", "_orig_mod.")  # put before every name by DataParallel and by torch.compile


def read_state_dict(path: Path | str, error: type[LopsidedError], *, under: tuple[str, ...] = ()) -> dict[str, Tensor]:
    """Read tensors by name from a ``.safetensors`` file or a pickle of tensors (``.pth``, ``.pt``).

    Prefixes that ``DataParallel`` and ``torch.compile`` put before every name are left out.

    Args:
        path: the file.
        error: type of the error to raise.
        under: keys under which a ``.pth`` can hold its state dict, the preferred one first.

    Raises:
        LopsidedError: of the type ``error``: a missing or unreadable file, or one that holds something else.
    """
    path = Path(path)
    if not path.is_file():
        raise error(f"no weights file '{path}'; give an existing .safetensors or .pth file")
    try:
        _check_kind(path)
        if path.suffix == ".safetensors":
            return _unwrapped(safetensors.torch.load_file(path))
        state = torch.load(path, map_location="cpu", weights_only=True)
    except _NotWeightsError as cause:
        raise error(f"cannot read weights '{path}': {cause}") from None
    except UnpicklingError as cause:
        raise error(f"cannot read weights '{path}': {_unpickled(path, cause)}") from None
    except Exception as cause:
        raise error(f"cannot read weights '{path}': {one_line(cause)}") from None
    for key in under:
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    if (
        not isinstance(state, dict)
        or not all(isinstance(name, str) for name in state)
        or not all(isinstance(value, Tensor) for value in state.values())
    ):
        where = f" (or has one under {' or '.join(under)})" if under else ""
        raise error(f"'{path}' is not a state dict, a mapping of names to tensors{where}")
    return _unwrapped(state)


def read_metadata(path: Path | str) -> dict[str, Any]:
    """Return the metadata that lopsided wrote into a ``.safetensors`` file; an empty dict for files of others.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is not a safetensors file, or its metadata are damaged.
    """
    _check_kind(Path(path))
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get("lopsided", "{}")
    except safetensors.SafetensorError as error:
        raise ValueError(one_line(error)) from None
    return parse_metadata(text)


def parse_metadata(text: str) -> dict[str, Any]:
    """Parse metadata in JSON.

    Raises:
        ValueError: they are no JSON object, or one that is nested too deeply.
    """
    try:
        metadata = json.loads(text)
    except RecursionError:
        raise ValueError("its metadata are nested too deeply") from None
    except ValueError as error:
        raise ValueError(f"its metadata are not JSON ({one_line(error)})") from None
    if not isinstance(metadata, dict):
        raise ValueError(f"its metadata are not a JSON object: {text[:80]}")
    return metadata


class _NotWeightsError(ValueError):
    """A file that is recognised as something else."""


def _check_kind(path: Path) -> None:
    """Refuse a file that is known not to hold weights, or that would take far more memory than it has bytes."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(512)
    if found := stand_in(head):
        raise _NotWeightsError(found)
    if head.startswith(b"PK\x03\x04"):  # what torch.save writes, never compressed
        with zipfile.ZipFile(path) as archive:
            claimed = sum(entry.file_size for entry in archive.infolist())
        if claimed > size:
            raise _NotWeightsError(
                f"its entries claim to hold {claimed:,} bytes, but the file has {size:,}; "
                "if it was compressed afterwards, save it again with torch.save"
            )


def _unpickled(path: Path, error: UnpicklingError) -> str:
    """Say why torch refused a pickle; its own text advises to allow code in it."""
    if named := re.search(r"GLOBAL ([\w.]+)", str(error)):
        return (
            f"besides tensors it holds a Python object ({named[1]}), which could run code; "
            "save the tensors alone, with torch.save(model.state_dict(), …)"
        )
    with path.open("rb") as file:
        return f"it is not a file of tensors, or it is damaged (it begins with {file.read(8)!r})"


def _unwrapped(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Leave out a wrapper's prefix that every name has, and those inside it."""
    while state and (prefix := next((w for w in WRAPPERS if all(name.startswith(w) for name in state)), None)):
        state = {name.removeprefix(prefix): value for name, value in state.items()}
    return state
