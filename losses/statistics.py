"""Means, variances and covariances of feature maps, with a backward pass in one sweep.

A DISTS-style measure sees only five numbers per channel of two maps. Written with tensor operations they
cost a dozen passes over the maps, each with a temporary as large; here they cost two, and the gradient one.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..common.blocks import row_blocks
from ..common.transforms import transformed


class Moments(NamedTuple):
    """Statistics of one map over its places.

    Attributes:
        values: the map as ``(N, P, C)``, P places of C channels; a view where the map is channels-last.
        mean: ``(N, C)``, float32 or better.
        variance: ``(N, C)``, population variance, likewise.
    """

    values: Tensor
    mean: Tensor
    variance: Tensor


def moments(features: Tensor) -> Moments:
    """Return the statistics of ``(N, C, H, W)`` features, without a gradient."""
    with torch.no_grad():
        values = _places(features)
        mean = _mean(values)
        variance, _ = _central(values, mean, values, mean)
    return Moments(values, mean, variance)


def joint_moments(features: Tensor, reference: Moments) -> tuple[Tensor, Tensor, Tensor]:
    """Return means, variances and covariances of features with those of a reference, each ``(N, C)``.

    Sums are taken of centred values, in float32 or better whatever the features' type and autocast: ``E[x²] - E[x]²``
    would cancel. Gradients, also second ones, flow to ``features`` and not to the reference.

    Args:
        features: ``(N, C, H, W)``.
        reference: moments of a map of equal shape, or of one sample for all.
    """
    with torch.autocast(features.device.type, enabled=False):
        x, y, mean_y = _places(features), reference.values, reference.mean
        if transformed():
            mean = _mean(x)
            return mean, *_central(x, mean, y, mean_y)
        return _JointMoments.apply(x, y, mean_y)  # pyright: ignore[reportReturnType]


class _JointMoments(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, mean_y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mean = _mean(x)
        variance, covariance = _central(x, mean, y, mean_y)
        ctx.save_for_backward(x, mean, y, mean_y)
        return mean, variance, covariance

    @staticmethod
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, d_mean: Tensor, d_variance: Tensor, d_covariance: Tensor
    ) -> tuple[Tensor, None, None]:
        x, mean, y, mean_y = ctx.saved_tensors
        # dL/dx = (d_mean + 2 d_variance (x - mean_x) + d_covariance (y - mean_y)) / P. Centred, and not sorted by the
        # powers of x and y: where a channel hardly varies the factors are large and the constants would cancel.
        of_1, of_x, of_y = ((d / x.shape[1])[:, None] for d in (d_mean, 2 * d_variance, d_covariance))
        mean, mean_y = mean[:, None], mean_y[:, None]
        if torch.is_grad_enabled():  # a second derivative is wanted
            return (of_1 + of_x * (x - mean) + of_y * (y - mean_y)).to(x.dtype), None, None
        result = torch.empty_like(x)
        for n, p in row_blocks(x):
            part = torch.addcmul(of_1[n], of_x[n], x[n, p] - mean[n])
            result[n, p] = part.addcmul_(of_y[n], _rows(y, n, p) - _rows(mean_y, n))
        return result, None, None


def _places(features: Tensor) -> Tensor:
    return features.movedim(1, -1).flatten(1, 2)


def _mean(values: Tensor) -> Tensor:
    return values.mean(1, dtype=torch.promote_types(values.dtype, torch.float32))


def _central(x: Tensor, mean_x: Tensor, y: Tensor, mean_y: Tensor) -> tuple[Tensor, Tensor]:
    """Return the variance of x and its covariance with y."""
    variance, covariance = torch.zeros_like(mean_x), torch.zeros_like(mean_x)
    for n, p in row_blocks(x):
        centred = x[n, p] - mean_x[n, None]
        variance[n] += centred.square().sum(1)
        if y is not x:
            covariance[n] += (centred * (_rows(y, n, p) - _rows(mean_y, n)[:, None])).sum(1)
    return variance / x.shape[1], covariance / x.shape[1]


def _rows(reference: Tensor, samples: slice, *rest: slice) -> Tensor:
    """Index a reference; if it has only one sample, that sample serves all."""
    return reference[(samples if reference.shape[0] > 1 else slice(None), *rest)]
