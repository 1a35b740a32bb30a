"""Losses between the predictions of a batch and its labels.

``l1``        mean |p - y|
``l2``        mean (p - y)²
``plcc``      1 - Pearson's correlation
``rank``      mean over pairs of different labels of max(0, margin - (pᵢ - pⱼ)), yᵢ > yⱼ
``fidelity``  mean over pairs of 1 - √(PG) - √((1-P)(1-G)), P = Φ((pᵢ - pⱼ)/√2), G the labelled probability
              (Tsai et al., SIGIR 2007; Zhang et al., "Uncertainty-aware blind image quality assessment", TIP 2021)
``nin``       norm-in-norm with p = 1 and q = 2: Σ |p̂ - ŷ| / (2√N), where p̂ and ŷ are centred and have length 1
              (Li, Jiang and Jiang, "Norm-in-norm loss", ACM MM 2020)

p are predictions ``(N,)``, y labels ``(N,)`` in standard deviations. ``l1`` and ``l2`` fit the labels' units; ``plcc``
and ``nin`` fit them up to offset and scale, ``rank`` and ``fidelity`` fit the order.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from ...losses.learn_weights import fidelity_loss
from .spec import LossName

EPS = 1e-8  # keeps the gradient of a constant batch finite

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]  # predictions, labels, deviations of labels (NaN where unknown)

ABSOLUTE = ("l1", "l2")  # losses after which predictions are in the labels' units


def loss(name: LossName, margin: float) -> Loss:
    """Return a loss by name.

    Args:
        name: see the head of this module.
        margin: margin of loss ``rank``.

    Examples:
        >>> predicted, label = torch.tensor([0.0, 1.0]), torch.tensor([0.0, 2.0])
        >>> loss("l1", 0.5)(predicted, label, torch.full((2,), math.nan))
        tensor(0.5000)
    """
    losses: dict[str, Loss] = {
        "l1": lambda p, y, _: (p - y).abs().mean(),
        "l2": lambda p, y, _: (p - y).square().mean(),
        "plcc": lambda p, y, _: 1 - (_unit(p) * _unit(y)).sum(),
        "rank": lambda p, y, _: rank(p, y, margin),
        "fidelity": fidelity,
        "nin": lambda p, y, _: (_unit(p) - _unit(y)).abs().sum() / (2 * math.sqrt(len(p))),
    }
    return losses[name]


def rank(predicted: Tensor, label: Tensor, margin: float) -> Tensor:
    """Return the hinge loss of all pairs whose labels differ; 0 if none do."""
    better = label[:, None] > label[None, :]
    hinges = (margin - (predicted[:, None] - predicted[None, :])).clamp(min=0)
    return (hinges * better).sum() / better.sum().clamp(min=1)


def fidelity(predicted: Tensor, label: Tensor, deviation: Tensor) -> Tensor:
    """Return the fidelity loss of all pairs.

    The labelled probability is Thurstone's, Φ((yᵢ - yⱼ)/√(sᵢ² + sⱼ²)), where both deviations are known and not both 0;
    otherwise it is 1, 0 or, for equal labels, ½.
    """
    first, second = torch.triu_indices(len(label), len(label), 1, device=label.device)
    difference = label[first] - label[second]
    spread = (deviation[first].square() + deviation[second].square()).sqrt()
    labelled = torch.where(spread > 0, torch.special.ndtr(difference / spread), (difference.sign() + 1) / 2)
    return fidelity_loss(torch.special.ndtr((predicted[first] - predicted[second]) / math.sqrt(2)), labelled)


def _unit(values: Tensor) -> Tensor:
    """Centre values and scale them to length 1."""
    centred = values - values.mean()
    return centred / (centred.norm() + EPS)
