"""Gradient matching: the weight that gives a loss the same pull on the output image as a reference loss.

Losses of different scale are not comparable at equal weight: a "better" loss can simply be one with a larger gradient.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from .measure import MeasureError

Loss = Callable[[Tensor, Tensor], Tensor]


def gradient_matching_weight(loss: Loss, against: Loss, pairs: Iterable[tuple[Tensor, Tensor]]) -> float:
    """Return w such that ``w * loss`` and ``against`` have gradients of equal norm with respect to the prediction.

    Args:
        loss: the loss to weight; takes (prediction, reference), returns a scalar.
        against: the loss to match, usually the pixel loss.
        pairs: (prediction, reference) batches, ``(N, 3, H, W)``; the norms are averaged over them.

    Returns:
        The ratio of the mean L2 norms, a positive number.

    Raises:
        MeasureError: a gradient is zero or not finite, so no weight can match it.

    Examples:
        >>> import torch
        >>> from lopsided.losses import create_measure, gradient_matching_weight
        >>> l1, tenfold = create_measure("l1"), lambda prediction, reference: 10 * l1(prediction, reference)
        >>> round(gradient_matching_weight(tenfold, l1, [(torch.zeros(1, 3, 8, 8), torch.ones(1, 3, 8, 8))]), 6)
        0.1
    """
    norms = torch.tensor([[_norm(loss, *pair), _norm(against, *pair)] for pair in pairs], dtype=torch.float64).mean(0)
    own, target = norms.tolist()
    if not (math.isfinite(own) and own > 0 and math.isfinite(target) and target > 0):
        raise MeasureError(
            f"cannot match gradients: the loss has norm {own:.3g} and the pixel loss {target:.3g} with respect to the "
            "image; set a weight by hand (gradient_matching: false)"
        )
    return target / own


def _norm(loss: Loss, prediction: Tensor, reference: Tensor) -> float:
    leaf = prediction.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(leaf, reference), leaf)
    return float(gradient.double().norm())
