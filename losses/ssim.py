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

from .luma import full_luma, studio_luma
from .measure import MeasureSpec, Reduction
from .precise import PreciseMeasure

WINDOW, SIGMA = 11, 1.5
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
        return WINDOW if self.measure == "ssim" else (WINDOW - 1) * 2 ** (len(SCALE_WEIGHTS) - 1) + 1

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
        if self.spec.measure == "ssim":
            factor = math.floor(min(images.shape[-2:]) / 256 + 0.5)
            if self.spec.downsample and factor > 1:
                images, references = F.avg_pool2d(images, factor), F.avg_pool2d(references, factor)
            luminance, structure = _similarities(images, references)
            return (luminance * structure).mean((1, 2, 3))
        means = []
        for scale in range(len(SCALE_WEIGHTS)):
            if scale:
                images, references = _halve(images), _halve(references)
            luminance, structure = _similarities(images, references)
            last = scale == len(SCALE_WEIGHTS) - 1
            means.append((luminance * structure if last else structure).mean((2, 3)))
        means = torch.stack(means, dim=-1)
        # A negative mean has no real power and a zero one an infinite slope: both score 0, and their slope is cut. NaN
        # stays NaN, for the trainer to see.
        positive = ~(means <= 0)
        powers = means.where(positive, torch.ones_like(means)) ** means.new_tensor(SCALE_WEIGHTS)
        return (powers.prod(-1) * positive.all(-1)).mean(1)


def _similarities(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Return the maps of luminance and structure similarity of ``(N, C, H, W)`` and ``(N or 1, C, H, W)``."""
    # Variances do not depend on the origin, and around mid-grey float32 loses fewer digits of them: 1e-6 for 1e-5.
    x, y = x - 0.5, y - 0.5
    mean_x, mean_y = _blur(x), _blur(y)
    variances = _blur(x.square()) - mean_x.square() + _blur(y.square()) - mean_y.square()
    structure = (2 * (_blur(x * y) - mean_x * mean_y) + C2) / (variances + C2)
    mean_x, mean_y = mean_x + 0.5, mean_y + 0.5
    return (2 * mean_x * mean_y + C1) / (mean_x.square() + mean_y.square() + C1), structure


def _blur(images: Tensor) -> Tensor:
    offset = torch.arange(WINDOW, dtype=images.dtype, device=images.device) - WINDOW // 2
    window = torch.exp(-offset.square() / (2 * SIGMA**2))
    window = (window / window.sum()).view(1, 1, -1, 1)
    planes = images.flatten(0, 1).unsqueeze(1)
    planes = F.conv2d(F.conv2d(planes, window), window.mT)  # separable
    return planes.squeeze(1).unflatten(0, images.shape[:2])


def _halve(images: Tensor) -> Tensor:
    height, width = images.shape[-2:]
    return F.avg_pool2d(F.pad(images, (0, width % 2, 0, height % 2), mode="replicate"), 2)
