"""Artefacts that a restored image has and its reference has not: periodic patterns, and ringing beside edges.

The claim that a discriminator suppresses artefacts needs a number for artefacts alone, which blur and noise hardly
move. The definitions of both terms are this project's own; they follow known findings:

- Upsampling layers leave periodic patterns (Odena, Dumoulin and Olah, "Deconvolution and Checkerboard Artifacts",
  Distill 2016), which are isolated peaks in the spectrum (Zhang, Karaman and Chang, "Detecting and Simulating Artifacts
  in GAN Fake Images", WIFS 2019).
- Ringing is oscillation beside strong edges where the reference is smooth (Marziliano, Dufaux, Winkler and Ebrahimi,
  "Perceptual blur and ringing metrics: application to JPEG2000", Signal Processing: Image Communication 2004).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from .measure import MeasureError, MeasureSpec, Reduction
from .precise import PreciseMeasure

REACH = 4  # bins to each side along a line of the spectrum, whose median is the smooth background there
PEAK = 16.0  # a peak is so many times its background: below, noise has peaks by chance
COARSEST = 1 / 16  # cycles per pixel: a pattern that is coarser is no trace of upsampling
NEAR = 8  # pixels over which the image may oscillate; the reference is looked at twice as far
EDGE = 0.2  # a strong edge: the reference changes by so much within 2 · NEAR pixels
ROUNDING = 1e-5  # of an oscillation: sums of float32 steps
QUIET = 0.1  # where the reference oscillates more than this within 2 · NEAR pixels, it hides ringing

_ALONG = ((0, 1), (1, 0), (1, 1), (1, -1))  # directions of lines in the spectrum


class ArtefactSpec(MeasureSpec):
    """The artefact measure has no options."""

    measure: Literal["artefact"] = "artefact"

    @property
    def families(self) -> frozenset[str]:
        """No other measure here shares its form."""
        return frozenset({"form:artefact"})

    @property
    def min_size(self) -> int:
        """Twice the stretch over which the reference is looked at."""
        return 4 * NEAR

    @property
    def differentiable(self) -> bool:
        """No: without artefacts the score is 0 and flat, so that it cannot be a loss."""
        return False

    def build(self, *, reduction: Reduction = "mean") -> Artefact:
        """Build the measure."""
        return Artefact(self, reduction=reduction)


class Artefact(PreciseMeasure[ArtefactSpec]):
    """Periodic patterns plus ringing, both as the root mean square over the image, in grey levels of 255.

    **Periodic**: patterns in image minus reference, channel by channel. With P the power spectrum of that difference
    under a Hann window, a frequency counts with ``P − 16 B − Y``, where that is positive and the frequency is above
    1/16 cycle per pixel. B is the smooth background: the largest of the medians along four lines through the frequency,
    so that the ridges which edges make are no peaks. Y is the largest power of the reference around the frequency: what
    only takes away from the reference, such as blur, or hides in it, does not count.

    **Ringing**: over a stretch of pixels, ``Σ |step| − |Σ steps|`` is 0 for a slope in one direction and grows with
    each turn. Along rows and columns, a stretch of 8 steps counts with what the image has of it beyond what the
    reference has in 16, per step: about the amplitude of ripples 4 pixels long. Only places beside strong edges count
    (the reference changes by 0.2 or more within those 16 steps) where the reference is otherwise smooth; the mean
    square of smooth places without an edge is subtracted, because noise is everywhere and ringing is not. Where a
    picture has hardly any smooth place without an edge, strong noise counts as ringing.

    Direction: lower is better, 0 for identical images. Range: [0, ∞), a few units for visible artefacts. A judge only,
    see :attr:`ArtefactSpec.differentiable`.

    Examples:
        >>> import torch
        >>> from lopsided.losses import Artefact
        >>> flat = torch.full((1, 3, 64, 64), 0.5)
        >>> row, column = torch.meshgrid(torch.arange(64), torch.arange(64), indexing="ij")
        >>> checkerboard = ((row + column) % 2 * 2 - 1) * 4 / 255  # of four grey levels
        >>> Artefact().score(flat + checkerboard, flat).round(decimals=1)
        tensor([4.])
        >>> Artefact().score(flat + 0.1, flat)
        tensor([0.])
    """

    value_range = (0.0, None)

    def __init__(self, spec: ArtefactSpec | None = None, reduction: Reduction = "mean") -> None:
        super().__init__(spec or ArtefactSpec(), reduction)

    def terms(self, images: Tensor, references: Tensor) -> tuple[Tensor, Tensor]:
        """Return (periodic, ringing), each ``(N,)`` in grey levels; their sum is the score.

        Raises:
            MeasureError: as for :meth:`score`.
        """
        self.check(images, references, as_loss=False)
        references = references.expand_as(images)
        return 255 * _periodic(images, references), 255 * _ringing(images, references)

    def _compute(self, images: Tensor, references: Tensor) -> Tensor:
        if torch.is_grad_enabled() and images.requires_grad:
            raise MeasureError(f"{self.spec.key} has no finite gradient, so it cannot be a loss; use it as a judge")
        references = references.expand_as(images)
        return 255 * (_periodic(images, references) + _ringing(images, references))


def _periodic(images: Tensor, references: Tensor) -> Tensor:
    """Return the root mean square of periodic patterns in the difference."""
    height, width = images.shape[-2:]
    down = torch.hann_window(height, dtype=images.dtype, device=images.device)
    across = torch.hann_window(width, dtype=images.dtype, device=images.device)
    window = down[:, None] * across
    rows, columns = (torch.fft.fftfreq(side, device=images.device) for side in (height, width))
    fine = torch.hypot(rows[:, None], columns) > COARSEST
    # Power is scaled so that its sum is the mean square of what the window sees.
    scale = window.square().sum() * height * width

    def power(values: Tensor) -> Tensor:
        return torch.fft.fft2((values - values.mean((-2, -1), keepdim=True)) * window).abs().square() / scale

    found = []
    for image, reference in zip(images, references, strict=True):  # one by one: neighbours are copies
        of_difference = power(image - reference)
        lines = [
            _neighbours(of_difference, [(step * y, step * x) for step in range(-REACH, REACH + 1)]).median(0).values
            for y, x in _ALONG
        ]
        around = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1)]
        hidden = PEAK * torch.stack(lines).amax(0) + _neighbours(power(reference), around).amax(0)
        found.append(((of_difference - hidden).clamp(min=0) * fine).sum((-2, -1)).sqrt().mean())
    return torch.stack(found)


def _neighbours(spectrum: Tensor, offsets: Iterable[tuple[int, int]]) -> Tensor:
    """Return shifted copies; a spectrum has no border, because it repeats."""
    return torch.stack([spectrum.roll(offset, (-2, -1)) for offset in offsets])


def _ringing(images: Tensor, references: Tensor) -> Tensor:
    """Return the oscillation that images have beside strong edges of the references and the references have not."""
    beside, elsewhere = images.new_zeros(2, len(images)), images.new_zeros(2, len(images))
    everywhere = 0
    for x, y in ((images, references), (images.mT, references.mT)):  # along rows, then along columns
        own = _oscillation(y, 2 * NEAR)
        extra = (_oscillation(x, NEAR)[..., NEAR // 2 : -NEAR // 2] - own - ROUNDING).clamp(min=0) / NEAR
        stretch = (1, 2 * NEAR + 1)
        strong = F.max_pool2d(y, stretch, 1) + F.max_pool2d(-y, stretch, 1) >= EDGE
        for found, places in ((beside, strong & (own <= QUIET)), (elsewhere, ~strong & (own <= QUIET))):
            found += torch.stack([(extra.square() * places).sum((1, 2, 3)), places.sum((1, 2, 3))])
        everywhere += extra[0].numel()
    noise = elsewhere[0] / elsewhere[1].clamp(min=1)
    return ((beside[0] - noise * beside[1]) / everywhere).clamp(min=0).sqrt()


def _oscillation(values: Tensor, steps: int) -> Tensor:
    """Return ``Σ |step| − |Σ steps|`` of every stretch of a row, ``(N, C, H, W − steps)``."""
    variation = F.avg_pool2d(values.diff().abs(), (1, steps), 1) * steps
    return (variation - (values[..., steps:] - values[..., :-steps]).abs()).clamp(min=0)
