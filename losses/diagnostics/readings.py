"""What diagnostics return, and what they all need: the loss of each image, its gradient, PSNR."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..measure import Measure, Reference

BEST_PSNR = 100.0  # dB, for images that are equal


@dataclass(frozen=True)
class Reading:
    """One number per image.

    Attributes:
        detail: what was looked at: a band, a layer, a transform, a step.
        values: ``(N,)``; NaN where undefined.
        unit: the values' unit.
        note: how they were computed, where there is more than one way.
    """

    detail: str
    values: Tensor
    unit: str
    note: str = ""


def losses(measure: Measure[Any], images: Tensor, references: Tensor | Reference) -> Tensor:
    """Return the loss of each image, ``(N,)``, lower is better; values of images can be outside [0, 1]."""
    measure.check(images, references, as_loss=True)
    return measure.as_loss(measure.scored(images, references))


def gradients(
    measure: Measure[Any], images: Tensor, references: Tensor | Reference, *, graph: bool = False
) -> tuple[Tensor, Tensor, Tensor]:
    """Return each image's loss, the gradient of it, and the leaf it belongs to; ``graph`` keeps it differentiable."""
    with torch.enable_grad():
        leaf = images.detach().requires_grad_()
        loss = losses(measure, leaf, references)
        (gradient,) = torch.autograd.grad(loss.sum(), leaf, create_graph=graph)
    return loss.detach(), gradient, leaf


def dot(a: Tensor, b: Tensor) -> Tensor:
    """Return the scalar product of each pair of images, ``(N,)``."""
    return (a * b).flatten(1).sum(1)


def psnr(images: Tensor, references: Tensor) -> Tensor:
    """Return the PSNR of images clamped to [0, 1], ``(N,)`` in dB, at most 100."""
    error = (images.clamp(0, 1) - references).square().flatten(1).mean(1)
    return -10 * error.clamp(min=10 ** (-BEST_PSNR / 10)).log10()
