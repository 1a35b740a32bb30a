"""What a measure overlooks: changes that people hardly see, against noise that everybody measures."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..measure import Measure
from .readings import Reading, losses

MARGIN = 8  # pixels that are needed around a crop, so that what is moved comes from the photograph
TURN = 1.0  # degrees
SLIGHT = 0.7  # standard deviation of the blur, in pixels
COARSE = 2.0  # detail is what this blur takes away
LEVELS = 5 / 255  # of a shift of brightness or chroma
CAST = (1.402, 0.344 - 0.714, -1.772)  # Cr up and Cb down at constant luma (ITU-R BT.601)


def invariance(
    measure: Measure[Any], wide: Tensor, generator: torch.Generator, noise_psnr: float = 30.0
) -> list[Reading]:
    """Return the loss after each change of the references, over that after noise of a fixed PSNR.

    0: the measure does not see the change; 1: it weighs it like the noise. The loss of the references themselves is
    subtracted first. Everything is clipped to [0, 1], outside of which some measures are not defined.

    Args:
        measure: the objective; it needs no gradient.
        wide: references with a margin of :data:`MARGIN` pixels on each side, ``(N, 3, H + 16, W + 16)``.
        generator: of the noise, on the CPU.
        noise_psnr: PSNR of the noise in dB, before clipping.
    """
    references = _inner(wide)
    noise = torch.randn(references.shape, generator=generator).to(references) * 10 ** (-noise_psnr / 20)
    with torch.no_grad():
        prepared = measure.prepare(references)
        own = losses(measure, references, prepared)
        unit = losses(measure, (references + noise).clamp(0, 1), prepared) - own
        return [
            Reading(name, (losses(measure, changed.clamp(0, 1), prepared) - own) / unit, "loss of the noise")
            for name, changed in changes(wide).items()
        ]


def changes(wide: Tensor) -> dict[str, Tensor]:
    """Return the changed references by the name of the change."""
    from torchvision.transforms.v2 import functional as transforms

    def blurred(sigma: float) -> Tensor:
        return transforms.gaussian_blur(wide, [2 * round(3 * sigma) + 1] * 2, [sigma, sigma])

    references = _inner(wide)
    coarse = blurred(COARSE)
    # The same texture, elsewhere: detail comes from 8 pixels further down and to the right.
    detail = (wide - coarse).roll((-MARGIN, -MARGIN), (-2, -1))
    turned = transforms.rotate(wide, TURN, interpolation=transforms.InterpolationMode.BILINEAR)
    cast = torch.tensor(CAST).to(wide).view(3, 1, 1)
    return {
        "shift": _inner(wide.roll(1, -1)),
        "rotation": _inner(turned),
        "blur": _inner(blurred(SLIGHT)),
        "brightness": references + LEVELS,
        "colour": references + LEVELS * cast,
        "texture": _inner(coarse + detail),
    }


def _inner(wide: Tensor) -> Tensor:
    return wide[..., MARGIN:-MARGIN, MARGIN:-MARGIN].contiguous()
