"""Where the gradient of a measure points, and at which frequencies it acts."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..measure import Measure
from .readings import Reading, dot, gradients


def alignment(measure: Measure[Any], images: Tensor, references: Tensor) -> list[Reading]:
    """Return the cosines of the measure's gradient with the pixel loss's (L1) and with the residual.

    1: a step down the measure is a step down the pixel loss, or straight to the reference; 0: at right angles to it.

    Args:
        measure: the objective.
        images: degraded images, ``(N, 3, H, W)``.
        references: of the same shape.

    Examples:
        >>> from lopsided.losses import Pixel
        >>> _ = torch.manual_seed(0)
        >>> [(r.detail, r.values) for r in alignment(Pixel("l2"), torch.rand(1, 3, 8, 8), torch.rand(1, 3, 8, 8))][1]
        ('residual', tensor([1.]))
    """
    _, gradient, _ = gradients(measure, images, references)
    residual = images - references
    return [
        Reading("pixel", _cosine(gradient, residual.sign()), "cosine"),
        Reading("residual", _cosine(gradient, residual), "cosine"),
    ]


def frequency(measure: Measure[Any], images: Tensor, references: Tensor, bands: int = 6) -> list[Reading]:
    """Return the share of the gradient's energy in each band of radial frequency, low to high.

    Bands are equally wide from 0 to 0.5 cycles per pixel; the corners of the spectrum belong to the last one.
    """
    _, gradient, _ = gradients(measure, images, references)
    energy = torch.fft.fft2(gradient.double()).abs().square().sum(1)
    rows, columns = (torch.fft.fftfreq(side, device=images.device) for side in gradient.shape[-2:])
    band = (torch.hypot(rows[:, None], columns) * 2 * bands).long().clamp(max=bands - 1)
    total = energy.flatten(1).sum(1)
    edges = [f"{0.5 * index / bands:.2f}" for index in range(bands + 1)]
    return [
        Reading(
            f"{edges[index]}–{edges[index + 1]}",
            ((energy * (band == index)).flatten(1).sum(1) / total).float(),
            "share",
        )
        for index in range(bands)
    ]


def _cosine(a: Tensor, b: Tensor) -> Tensor:
    """Return the cosine of each pair, in float64 because sums are long; NaN where there is no gradient."""
    a, b = a.double(), b.double()
    return (dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()).float()
