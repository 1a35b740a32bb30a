"""Gaussian-weighted means of image planes at the positions where the window fits: those of SSIM and MS-SSIM."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function

from ..common.transforms import transformed

WIDTH, SIGMA = 11, 1.5
TILE = 64  # positions per matrix product: most of a band matrix is zeros, and more so the larger it is

_offset = np.arange(WIDTH) - WIDTH // 2
_window = np.exp(-(_offset**2) / (2 * SIGMA**2))
_window /= _window.sum()
_values: list[float] = _window.tolist()  # for compilers, which guard numbers better than arrays
_band = np.stack([np.pad(_window, (i, TILE - 1 - i)) for i in range(TILE)], axis=1)  # TILE + 10 pixels to TILE means


def gaussian_means(images: Tensor) -> Tensor:
    """Return the means of ``(N, C, H, W)`` under the 11×11 window, σ = 1.5: ``(N, C, H - 10, W - 10)``."""
    if images.device.type == "cpu" and not _rewritten() and _products_are_exact(images.dtype):
        return _BandProducts.apply(images, 0)  # type: ignore[no-any-return]
    window = images.new_tensor(_values).view(1, 1, -1, 1)
    planes = images.flatten(0, 1).unsqueeze(1)
    planes = F.conv2d(F.conv2d(planes, window), window.mT)  # separable
    return planes.squeeze(1).unflatten(0, images.shape[:2])


def _rewritten() -> bool:
    return torch.compiler.is_compiling() or transformed()


def _products_are_exact(dtype: torch.dtype) -> bool:
    # A program may allow matrix products of float32 to be rounded to bfloat16, which leaves nothing of a variance.
    try:
        return dtype == torch.float64 or torch.get_float32_matmul_precision() == "highest"
    except RuntimeError:  # torch's older and newer switch were both used
        return False


class _BandProducts(Function):
    """The means as products with band matrices, several times as fast on a CPU as convolutions of single planes.

    ``margin`` pixels of zeros surround the planes: 0 for the means, 10 for their gradient, as the window is symmetric.
    """

    @staticmethod
    def forward(images: Tensor, margin: int) -> Tensor:
        planes = images.contiguous().flatten(0, -3)
        band = torch.from_numpy(_band).to(images.dtype)
        count, height, width = planes.shape
        across = planes.new_empty(count, height, width + 2 * margin - WIDTH + 1)
        for here, there, block in _tiles(width, margin, band):
            torch.mm(planes.flatten(0, 1)[:, there], block, out=across.flatten(0, 1)[:, here])
        down = planes.new_empty(count, height + 2 * margin - WIDTH + 1, across.shape[-1])
        for here, there, block in _tiles(height, margin, band):
            torch.bmm(block.mT.expand(count, -1, -1), across[:, there], out=down[:, here])
        return down.unflatten(0, images.shape[:-2])

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, int], output: Tensor) -> None:  # noqa: ARG004
        ctx.margin = inputs[1]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        return _BandProducts.apply(gradient, WIDTH - 1 - ctx.margin), None


def _tiles(length: int, margin: int, band: Tensor) -> list[tuple[slice, slice, Tensor]]:
    """Return slices of the means, of the pixels they are made of, and the matrix between them."""
    tiles, total = [], length + 2 * margin - WIDTH + 1
    for start in range(0, total, TILE):
        stop, before = min(start + TILE, total), start - margin
        first, last = max(before, 0), min(stop - margin + WIDTH - 1, length)
        block = band[first - before : last - before, : stop - start]
        tiles.append((slice(start, stop), slice(first, last), block))
    return tiles
