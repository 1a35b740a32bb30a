"""GMSD: the standard deviation of the similarity of gradient magnitudes.

Xue, Zhang, Mou and Bovik, "Gradient Magnitude Similarity Deviation: A Highly Efficient Perceptual Image Quality
Index", IEEE TIP 2014.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from .luma import full_luma
from .measure import MeasureSpec, Reduction
from .precise import PreciseMeasure

T = 170.0  # on the 0..255 scale


class GmsdSpec(MeasureSpec):
    """GMSD has no options."""

    measure: Literal["gmsd"] = "gmsd"

    @property
    def families(self) -> frozenset[str]:
        """Shared with FSIM and VSI, which compare gradient magnitudes too."""
        return frozenset({"form:gradient-similarity"})

    @property
    def min_size(self) -> int:
        """A deviation over only a few places says nothing: at least 8×8 of them are needed."""
        return 16

    def build(self, *, reduction: Reduction = "mean") -> GMSD:
        """Build the measure."""
        return GMSD(self, reduction=reduction)


class GMSD(PreciseMeasure[GmsdSpec]):
    """GMSD of the luma (0.299, 0.587, 0.114) on the 0..255 scale, halved by 2×2 averages, with Prewitt gradients.

    ``GMS = (2 m_x m_y + T) / (m_x² + m_y² + T)`` with T = 170 (eq. 4 of the paper); the score is its standard
    deviation with divisor n - 1. Borders are zero, as in the authors' code.

    Direction: lower is better, 0 for identical images, where the gradient is taken as 0. Range: [0, 0.71]: values of
    (0, 1] deviate by at most 1/2, or √(1/2) for n = 2. Loss: the score.
    """

    value_range = (0.0, None)

    def __init__(self, spec: GmsdSpec | None = None, reduction: Reduction = "mean") -> None:
        super().__init__(spec or GmsdSpec(), reduction)

    def _compute(self, images: Tensor, references: Tensor) -> Tensor:
        x, y = _gradient_magnitude(images), _gradient_magnitude(references)
        similarity = (2 * x * y + T) / (x.square() + y.square() + T)
        return similarity.flatten(1).std(1)


def _gradient_magnitude(images: Tensor) -> Tensor:
    luma = 255 * full_luma(images)
    height, width = luma.shape[-2:]
    luma = F.avg_pool2d(F.pad(luma, (0, width % 2, 0, height % 2)), 2)
    prewitt = luma.new_tensor([[1, 0, -1]]).expand(3, 3) / 3
    slopes = F.conv2d(luma, torch.stack([prewitt, prewitt.mT]).unsqueeze(1), padding=1)
    # The root's slope is infinite at 0, which every flat region has; 1e-6 grey levels are below any 8-bit step.
    return (slopes.square().sum(1, keepdim=True) + 1e-12).sqrt()
