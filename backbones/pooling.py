"""L2 pooling, which DISTS uses instead of max pooling."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..common.blocks import sample_blocks
from ..common.transforms import transformed

EPSILON = 1e-12  # under the root: keeps the gradient finite where a channel is zero
HANN = (0.25, 0.5, 0.25)


class L2Pool(nn.Module):
    """L2 pooling ``sqrt(g * x²)`` with a 3×3 Hann window and stride 2 (Ding et al., DISTS, TPAMI 2022, eq. 3).

    Takes ``(N, C, H, W)`` and returns ``(N, C, ceil(H/2), ceil(W/2))``. Unlike max pooling it does not alias. Squares
    are summed in float32 or better, under autocast too: in float16 they would overflow from 256 on.
    """

    def forward(self, features: Tensor) -> Tensor:
        """Pool ``features``."""
        with torch.autocast(features.device.type, enabled=False):
            return (_pooled if transformed() else _L2Pool.apply)(features)  # pyright: ignore[reportReturnType]


class _L2Pool(torch.autograd.Function):
    """The generic backward pass of a depthwise convolution costs several times more than this one."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        y = torch.empty_like(x[:, :, ::2, ::2])
        for part in sample_blocks(x):
            y[part] = _pooled(x[part])
        ctx.save_for_backward(x, y)
        return y

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        x, y = ctx.saved_tensors
        if torch.is_grad_enabled():  # a second derivative is wanted
            return (x * _spread(gradient.to(_wide(x)) / y, x)).to(x.dtype)
        result = torch.empty_like(x)
        for part in sample_blocks(x):
            result[part] = x[part] * _spread(gradient[part].to(_wide(x)) / y[part], x).to(x.dtype)
        return result


def _pooled(x: Tensor) -> Tensor:
    hann = torch.tensor(HANN, dtype=_wide(x), device=x.device)
    window = torch.outer(hann, hann).expand(x.shape[1], 1, 3, 3)
    energy = F.conv2d(x.to(_wide(x)).square(), window, stride=2, padding=1, groups=x.shape[1])
    return energy.add_(EPSILON).sqrt_().to(x.dtype)


def _spread(pooled: Tensor, like: Tensor) -> Tensor:
    """Apply the transpose of the strided Hann window, which is bilinear interpolation to twice the size."""
    height, width = pooled.shape[-2:]
    padded = F.pad(pooled, (0, 1, 0, 1))
    large = F.interpolate(padded, size=(2 * height + 1, 2 * width + 1), mode="bilinear", align_corners=True)
    return large[..., : like.shape[-2], : like.shape[-1]] * HANN[1] ** 2


def _wide(x: Tensor) -> torch.dtype:
    return torch.promote_types(x.dtype, torch.float32)
