"""Maximum differentiation: images that one measure calls equal, and that another calls as different as can be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor

from ..measure import Measure
from .readings import dot, gradients

STEP = 1 / 255  # root mean square of a step
CORRECTIONS = 3  # Newton steps back to the level that is held


@dataclass(frozen=True)
class Extreme:
    """The end of a search.

    Attributes:
        images: clamped to [0, 1], ``(N, 3, H, W)``.
        moved: loss of the measure that was moved, over that at the start, ``(N,)``.
        held: the same of the measure that was held; 1 where it was held exactly.
    """

    images: Tensor
    moved: Tensor
    held: Tensor


def differentiate(
    held: Measure[Any],
    moved: Measure[Any],
    starts: Tensor,
    references: Tensor,
    towards: Literal["best", "worst"],
    *,
    steps: int = 50,
) -> Extreme:
    """Move one measure while another keeps its value.

    Wang and Simoncelli, "Maximum differentiation (MAD) competition", Journal of Vision 2008: each step follows the
    gradient of ``moved``, less its part along the gradient of ``held``; then Newton steps along the latter bring
    ``held`` back to its level.

    Args:
        held: the measure that keeps its value.
        moved: the measure that is to be best or worst.
        starts: degraded images, ``(N, 3, H, W)``; at the reference itself there is nothing to hold.
        references: of the same shape.
        towards: whether ``moved`` is lowered or raised as a loss.
        steps: of the search.
    """
    of_held, of_moved = held.prepare(references), moved.prepare(references)
    sign = -1.0 if towards == "best" else 1.0
    images = starts.clone()
    level = gradients(held, images, of_held)[0]
    first = gradients(moved, images, of_moved)[0]
    for _ in range(steps):
        _, along, _ = gradients(moved, images, of_moved)
        _, normal, _ = gradients(held, images, of_held)
        across = along - _each(dot(along, normal) / dot(normal, normal)) * normal
        size = across.square().flatten(1).mean(1).sqrt()
        images = (images + sign * STEP * across / _each(size.clamp(min=1e-30))).clamp(0, 1)
        for _ in range(CORRECTIONS):
            loss, normal, _ = gradients(held, images, of_held)
            images = (images - _each((loss - level) / dot(normal, normal)) * normal).clamp(0, 1)
    return Extreme(images, gradients(moved, images, of_moved)[0] / first, gradients(held, images, of_held)[0] / level)


def _each(values: Tensor) -> Tensor:
    return values.view(-1, 1, 1, 1)
