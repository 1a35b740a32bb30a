"""Recovering references by gradient descent on pixels: does the optimum of a measure lie at the picture?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..measure import Measure
from .readings import Reading, gradients, psnr


@dataclass(frozen=True)
class Recovery:
    """The course of a recovery.

    Attributes:
        images: where it ended, clamped to [0, 1], ``(N, 3, H, W)``.
        psnr: step → PSNR against the references, ``(N,)`` in dB; step 0 is the start.
        loss: loss at the end over that at the start, ``(N,)``.
    """

    images: Tensor
    psnr: dict[int, Tensor]
    loss: Tensor


def recover(
    measure: Measure[Any],
    starts: Tensor,
    references: Tensor,
    *,
    steps: int = 50,
    learning_rate: float = 0.005,
    every: int = 10,
    progress: Callable[[int], None] = lambda _: None,
) -> Recovery:
    """Minimise the measure over the pixels of each image, by Adam.

    The experiment of Ding, Ma, Wang and Simoncelli, "Comparison of Full-Reference Image Quality Models for Optimization
    of Image Processing Systems", IJCV 2021, in far fewer steps. Images do not influence each other.

    Args:
        measure: the objective.
        starts: degraded images, ``(N, 3, H, W)``.
        references: of the same shape.
        steps: of Adam, with its usual moments.
        learning_rate: constant.
        every: steps between readings of the PSNR; the last step is read too.
        progress: told each step that is done.
    """
    prepared = measure.prepare(references)
    images = starts.clone()
    optimiser = torch.optim.Adam([images], lr=learning_rate)
    course = {0: psnr(images, references)}
    first = torch.empty(0)
    for step in range(1, steps + 1):
        loss, images.grad, _ = gradients(measure, images, prepared)
        first = loss if step == 1 else first
        optimiser.step()
        if step % every == 0 or step == steps:
            course[step] = psnr(images, references)
        progress(step)
    last = gradients(measure, images, prepared)[0]
    return Recovery(images.clamp(0, 1), course, last / first)


def colour_drift(before: Tensor, after: Tensor) -> list[Reading]:
    """Return how far the mean of each channel has moved, and the root mean square of the three, in grey levels."""
    drift = 255 * (after - before).mean((2, 3))
    channels = zip(("red", "green", "blue"), drift.unbind(1), strict=True)
    size = Reading("size", drift.square().mean(1).sqrt(), "grey levels")
    return [*(Reading(name, values, "grey levels") for name, values in channels), size]
