"""Tensors that do not depend on what the caller has switched on in torch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


@contextmanager
def float32_default() -> Iterator[None]:
    """Make float32 the default type: networks and constants are defined in it, whatever a program works in."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@contextmanager
def ordinary_tensors() -> Iterator[None]:
    """Make tensors that autograd can use later, under ``torch.inference_mode()`` too; there without gradients."""
    if not torch.compiler.is_compiling() and torch.is_inference_mode_enabled():
        with torch.inference_mode(False), torch.no_grad():
            yield
    else:
        yield


@contextmanager
def building() -> Iterator[None]:
    """Build networks in float32, with parameters that can be trained, whatever the caller has set.

    Examples:
        >>> with torch.inference_mode(), building():
        ...     layer = torch.nn.Linear(2, 2)
        >>> layer.weight.is_inference(), layer.weight.dtype
        (False, torch.float32)
    """
    with float32_default(), ordinary_tensors():
        yield


def usable(tensor: Tensor) -> Tensor:
    """Return a tensor that autograd can save: a copy of one that was made under ``torch.inference_mode()``."""
    if torch.compiler.is_compiling() or not tensor.is_inference():
        return tensor
    with ordinary_tensors():
        return tensor.clone()
