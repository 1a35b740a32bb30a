"""Structural similarity at one scale and at several, written from the papers: smooth, and nothing rounded.

SSIM: Wang, Bovik, Sheikh and Simoncelli, "Image Quality Assessment: From Error Visibility to Structural Similarity",
IEEE TIP 2004. MS-SSIM: Wang, Simoncelli and Bovik, "Multiscale Structural Similarity for Image Quality Assessment",
Asilomar 2003.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import model_validator
from torch import Tensor

from .gaussian import WIDTH, gaussian_means
from .luma import full_luma, studio_luma
from .measure import MeasureSpec, Reduction
from .precise import PreciseMeasure

C1, C2 = 0.01**2, 0.03**2  # (K·L)² with K1 = 0.01, K2 = 0.03 and L = 1
SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # table 1 of the 2003 paper, fine to coarse


class SsimSpec(MeasureSpec):
    """Definition of an SSIM or MS-SSIM.

    Attributes:
        measure: ``ssim`` or ``ms_ssim``.
        color: ``luma`` scores BT.601 Y in 16..235, as super-resolution papers do; ``gray`` 0.299 R + 0.587 G + 0.114 B
            in 0..255, as assessment papers do; ``rgb`` averages over R, G and B.
        downsample: SSIM only: average-pool large images first, by the smaller side over 256, rounded half up.
    """

    measure: Literal["ssim", "ms_ssim"] = "ssim"
    color: Literal["luma", "gray", "rgb"] = "luma"
    downsample: bool = False

    @model_validator(mode="after")
    def _one_kind_of_downsampling(self) -> SsimSpec:
        if self.downsample and self.measure == "ms_ssim":
            raise ValueError("'downsample' belongs to ssim; ms_ssim has its own scales")
        return self

    @property
    def families(self) -> frozenset[str]:
        """All structural similarities of the image itself are of one form."""
        return frozenset({"form:ssim"})

    @property
    def min_size(self) -> int:
        """The window must fit, for MS-SSIM also after four halvings, which round up."""
        return WIDTH if self.measure == "ssim" else (WIDTH - 1) * 2 ** (len(SCALE_WEIGHTS) - 1) + 1

    def build(self, *, reduction: Reduction = "mean") -> SSIM:
        """Build the measure."""
        return SSIM(self, reduction=reduction)


class SSIM(PreciseMeasure[SsimSpec]):
    """SSIM or MS-SSIM with an 11×11 Gaussian window (σ = 1.5) on the positions where it fits, K1 = 0.01, K2 = 0.03.

    Per position, with Gaussian-weighted means μ, variances σ² and covariance σ_xy (eqs. 6 and 9 of the 2004 paper)::

        luminance = (2 μ_x μ_y + c1) / (μ_x² + μ_y² + c1)
        structure = (2 σ_xy + c2) / (σ_x² + σ_y² + c2)

    SSIM is the mean of their product. MS-SSIM multiplies the means of ``structure`` at four scales and SSIM at the
    fifth, each raised to its weight; 2×2 averages make the next scale, an odd last row or column counting double.

    Direction: higher is better, 1 for identical images. Range: [-1, 1] for SSIM, [0, 1] for MS-SSIM, which is 0, with
    zero gradient, where the mean at a scale is negative. Loss: 1 - score.

    Args:
        spec: the definition, or ``ssim`` or ``ms_ssim``.
        reduction: how :meth:`forward` reduces over the batch.

    Examples:
        >>> import torch
        >>> from lopsided.losses import SSIM
        >>> image = torch.rand(2, 3, 32, 32)
        >>> SSIM().score(image, image)
        tensor([1., 1.])
        >>> SSIM()(image, image)  # as a loss
        tensor(0.)
    """

    lower_is_better = False

    def __init__(self, spec: SsimSpec | Literal["ssim", "ms_ssim"] = "ssim", reduction: Reduction = "mean") -> None:
        super().__init__(spec if isinstance(spec, SsimSpec) else SsimSpec(measure=spec), reduction)
        self.value_range = (-1.0 if self.spec.measure == "ssim" else 0.0, 1.0)

    def _compute(self, images: Tensor, references: Tensor) -> Tensor:
        if self.spec.color != "rgb":
            convert = studio_luma if self.spec.color == "luma" else full_luma
            images, references = convert(images), convert(references)
        # Everything below is linear in, or made of, these two; around 0 float32 loses the fewest digits of a variance.
        total, difference = images + references - 1, images - references
        if self.spec.measure == "ssim":
            factor = math.floor(min(images.shape[-2:]) / 256 + 0.5)
            if self.spec.downsample and factor > 1:
                total, difference = F.avg_pool2d(total, factor), F.avg_pool2d(difference, factor)
            return _similarity(total, difference).mean((1, 2, 3))
        means = []
        for scale in range(len(SCALE_WEIGHTS)):
            if scale:
                total, difference = _halve(total), _halve(difference)
            last = scale == len(SCALE_WEIGHTS) - 1
            means.append(_similarity(total, difference, luminance=last).mean((2, 3)))
        means = torch.stack(means, dim=-1)
        # A negative mean has no real power and a zero one an infinite slope: both score 0, and their slope is cut. NaN
        # stays NaN, for the trainer to see.
        positive = ~(means <= 0)
        powers = means.where(positive, torch.ones_like(means)) ** means.new_tensor(SCALE_WEIGHTS)
        return (powers.prod(-1) * positive.all(-1)).mean(1)


def _similarity(total: Tensor, difference: Tensor, *, luminance: bool = True) -> Tensor:
    """Return the map of structure similarity of ``(N, C, H, W)``, times that of luminance if asked for.

    With s = x + y and d = x - y, 2 xy = (s² - d²) / 2 and x² + y² = (s² + d²) / 2; the same holds for means of
    products, so that both similarities are a ratio of s to d, from four blurred maps instead of five.
    """
    mean_total, mean_difference = gaussian_means(total), gaussian_means(difference)
    structure = _ratio(
        gaussian_means(total.square()) - mean_total.square(),
        gaussian_means(difference.square()) - mean_difference.square(),
        C2,
    )
    return structure * _ratio((mean_total + 1).square(), mean_difference.square(), C1) if luminance else structure


def _ratio(total: Tensor, difference: Tensor, constant: float) -> Tensor:
    total = total + 2 * constant
    return (total - difference) / (total + difference)


def _halve(images: Tensor) -> Tensor:
    height, width = images.shape[-2:]
    return F.avg_pool2d(F.pad(images, (0, width % 2, 0, height % 2), mode="replicate"), 2)
