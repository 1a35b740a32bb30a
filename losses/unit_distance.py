"""Weighted squared distances of feature vectors of length one, with a backward pass in one sweep.

As in :mod:`.statistics`, what LPIPS needs of two maps costs several passes over them with a temporary each when it is
written with tensor operations; here it is done in blocks that stay in the cache.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..common.blocks import row_blocks
from ..common.transforms import transformed
from .layerwise import length, unit, wide


def unit_distance(features: Tensor, reference: Tensor, weights: Tensor) -> Tensor:
    """Return ``Σ_c w_c (x̂_c - ŷ_c)²`` of each place, ``(N, H, W)``, float32 or better.

    Gradients, also second ones, flow to ``features`` only.

    Args:
        features: x, ``(N, C, H, W)``, of any length.
        reference: ŷ of length one already, of equal shape, or one sample for all.
        weights: ``(C,)``.
    """
    x, y = (tensor.movedim(1, -1).flatten(1, 2) for tensor in (features, reference))
    distances: Any = (_distances if transformed() else _UnitDistance.apply)(x, y, weights)
    return distances.unflatten(1, features.shape[-2:])


class _UnitDistance(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, weights: Tensor) -> Tensor:
        ctx.save_for_backward(x, y, weights)
        result = weights.new_empty(x.shape[:2])
        for n, p in row_blocks(x):
            result[n, p] = _distances(x[n, p], _reference(y, n, p), weights)
        return result

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        x, y, weights = ctx.saved_tensors
        if torch.is_grad_enabled():  # a second derivative is wanted
            return *torch.autograd.grad(_distances(x, y, weights), x, gradient, create_graph=True), None, None
        result = torch.empty_like(x)
        for n, p in row_blocks(x):
            rows = wide(x[n, p])
            size = length(rows, -1)
            direction = rows / size
            part = (direction - _reference(y, n, p)) * weights * (2 * gradient[n, p, None])
            # Only the part across the vector has an effect: a change along it does not change the vector of length one.
            part = part - direction * (part * direction).sum(-1, keepdim=True)
            result[n, p] = part / size
        return result, None, None


def _distances(x: Tensor, y: Tensor, weights: Tensor) -> Tensor:
    return (unit(wide(x), -1) - y).square() @ weights


def _reference(y: Tensor, samples: slice, places: slice) -> Tensor:
    """Index a reference; if it has only one sample, that sample serves all."""
    return y[samples if y.shape[0] > 1 else slice(None), places]
