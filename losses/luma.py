"""Luma of ITU-R BT.601, in its two ranges, never rounded: rounding to 8 bits has no gradient."""

from __future__ import annotations

import torch
from torch import Tensor


def full_luma(images: Tensor) -> Tensor:
    """Return ``0.299 R + 0.587 G + 0.114 B`` of RGB in [0, 1]: ``(N, 1, H, W)`` in [0, 1]."""
    weights = torch.tensor([0.299, 0.587, 0.114], dtype=images.dtype, device=images.device)
    return (images * weights.view(1, 3, 1, 1)).sum(1, keepdim=True)


def studio_luma(images: Tensor) -> Tensor:
    """Return the Y of YCbCr, as super-resolution papers score it: ``(N, 1, H, W)`` in [16/255, 235/255].

    BT.601 with MATLAB's coefficients: ``(65.481 R + 128.553 G + 24.966 B + 16) / 255`` of RGB in [0, 1].
    """
    weights = torch.tensor([65.481, 128.553, 24.966], dtype=images.dtype, device=images.device) / 255
    return (images * weights.view(1, 3, 1, 1)).sum(1, keepdim=True) + 16 / 255
