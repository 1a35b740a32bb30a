"""NLPD: the distance of normalised Laplacian pyramids.

Laparra, Ballé, Berardino and Simoncelli, "Perceptual Image Quality Assessment Using a Normalized Laplacian Pyramid",
Electronic Imaging 2016.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from .luma import full_luma
from .measure import MeasureSpec, Reduction
from .precise import PreciseMeasure

BLUR = (0.05, 0.25, 0.4, 0.25, 0.05)
# Divisive normalisation of each level, as the authors fitted it to natural images: the weights of the absolute values
# below, right, left and above, and the constant that saturates it. The last level is the low-pass rest.
NORMALISATION = (
    ((0.1011, 0.1493, 0.1460, 0.1015), 0.0248),
    ((0.0757, 0.1986, 0.1846, 0.0837), 0.0185),
    ((0.0477, 0.2138, 0.2243, 0.0467), 0.0179),
    ((0.0, 0.2503, 0.2616, 0.0), 0.0191),
    ((0.0, 0.2598, 0.2552, 0.0), 0.0220),
    ((0.0, 0.2215, 0.0717, 0.0), 0.2782),
)


class NlpdSpec(MeasureSpec):
    """NLPD has no options."""

    measure: Literal["nlpd"] = "nlpd"

    @property
    def families(self) -> frozenset[str]:
        """No other measure here shares its form."""
        return frozenset({"form:laplacian-pyramid"})

    @property
    def min_size(self) -> int:
        """Five halvings of 16 pixels leave one."""
        return 16

    def build(self, *, reduction: Reduction = "mean") -> NLPD:
        """Build the measure."""
        return NLPD(self, reduction=reduction)


class NLPD(PreciseMeasure[NlpdSpec]):
    """NLPD of the luma (0.299, 0.587, 0.114) in [0, 1]: root mean square difference per level, mean over six levels.

    Each level ``z`` of the Laplacian pyramid is normalised to ``z / (σ + Σ w |z of a neighbour|)``.

    Direction: lower is better, 0 for identical images. Range: [0, ∞), usually below 1. At
    identical images the score has the tip of a cone: the gradient keeps its size up to the tip, and is taken as 0 at
    the tip. Loss: the score.
    """

    value_range = (0.0, None)

    def __init__(self, spec: NlpdSpec | None = None, reduction: Reduction = "mean") -> None:
        super().__init__(spec or NlpdSpec(), reduction)

    def _compute(self, images: Tensor, references: Tensor) -> Tensor:
        total = images.new_zeros(len(images))
        for x, y in zip(_pyramid(full_luma(images)), _pyramid(full_luma(references)), strict=True):
            difference = (x - y).flatten(1)
            # The norm's gradient is 0 at 0, where that of a root is not a number.
            total = total + torch.linalg.vector_norm(difference, dim=1) / difference.shape[1] ** 0.5
        return total / len(NORMALISATION)


def _pyramid(image: Tensor) -> list[Tensor]:
    """Return the normalised levels of ``(N, 1, H, W)``, fine to coarse, the low-pass rest last."""
    levels = []
    blur = image.new_tensor(BLUR)
    blur = (blur[:, None] * blur).view(1, 1, 5, 5)
    for neighbours, saturation in NORMALISATION[:-1]:
        height, width = image.shape[-2:]
        low = F.conv2d(_pad_symmetric(image), blur, stride=2)
        # Upsampling: zeros between the pixels; one more pixel on each side repeats the border.
        high = F.conv_transpose2d(F.pad(low, (1, 1, 1, 1), mode="replicate"), 4 * blur, stride=2)
        levels.append(_normalise(image - high[..., 4 : 4 + height, 4 : 4 + width], neighbours, saturation))
        image = low
    return [*levels, _normalise(image, *NORMALISATION[-1])]


def _normalise(level: Tensor, neighbours: tuple[float, ...], saturation: float) -> Tensor:
    below, right, left, above = neighbours
    kernel = level.new_tensor([[0, above, 0], [left, 0, right], [0, below, 0]]).view(1, 1, 3, 3)
    return level / (saturation + F.conv2d(level.abs(), kernel, padding=1))


def _pad_symmetric(image: Tensor) -> Tensor:
    """Mirror two pixels on each side, the border pixel included."""
    for dim in (-2, -1):
        size = image.shape[dim]
        index = torch.arange(-2, size + 2, device=image.device)
        index = torch.where(index < 0, -1 - index, index)
        index = torch.where(index >= size, 2 * size - 1 - index, index).clamp(min=0)
        image = image.index_select(dim, index)
    return image
