"""State dicts from files, without running code from them."""

from __future__ import annotations

from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor

from .errors import LopsidedError


def read_state_dict(path: Path | str, error: type[LopsidedError], *, under: tuple[str, ...] = ()) -> dict[str, Tensor]:
    """Read tensors by name from a ``.safetensors`` file or a pickle of tensors (``.pth``, ``.pt``).

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
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as cause:
        raise error(f"cannot read weights '{path}': {str(cause).splitlines()[0][:200]}") from None
    for key in under:
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        where = f" (or has one under {' or '.join(under)})" if under else ""
        raise error(f"'{path}' is not a state dict, a mapping of names to tensors{where}")
    return state
