"""Contextual loss: how well each feature of the reference is matched by a feature of the image, at any place.

Mechrez, Talmi and Zelnik-Manor, "The Contextual Loss for Image Transformation with Non-Aligned Data", ECCV 2018.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from ..backbones import FeatureExtractor
from ..common.fields import NUMBER
from ..common.transforms import transformed
from .layerwise import LayerwiseMeasure, LayerwiseSpec, places, unit
from .measure import Reduction

STRIDES = (4, 8)  # of the default layers
MATCH_EPSILON = 1e-5  # beside the distance of the nearest match, as in the paper
VALUES = 1 << 22  # of the matrix of distances that are held at a time


class ContextualSpec(LayerwiseSpec):
    """Definition of a contextual loss, key ``contextual-<backbone>``.

    By default the stages with a stride of 4 or 8 pixels enter, or all stages if the backbone has none of these. On
    VGG-16 these are relu3_3 and relu4_3, our stages nearest to the paper's conv3_2 and conv4_2 of VGG-19.

    Attributes:
        measure: ``contextual``.
        bandwidth: h, how sharply the nearest match is preferred to others (paper: 0.5).
    """

    measure: Literal["contextual"] = "contextual"
    bandwidth: float = Field(default=0.5, gt=0, le=NUMBER, allow_inf_nan=False)

    @property
    def stages(self) -> tuple[int, ...]:
        """Indices of the stages that enter, shallow to deep."""
        if self.layers is not None:
            return super().stages
        near = (i for i, stage in enumerate(self.architecture.stages) if stage.stride in STRIDES)
        return tuple(near) or super().stages

    def build(self, *, reduction: Reduction = "mean", extractor: FeatureExtractor | None = None) -> Contextual:
        """Build the measure with its frozen backbone."""
        return Contextual(self, reduction, extractor)


class Contextual(LayerwiseMeasure[ContextualSpec]):
    """Contextual loss ``Σ weight · -log CX`` over layers (eqs. 2-5 of the paper).

    With features x_i of the image and y_j of the reference, both minus the mean of the y_j::

        d_ij = 1 - cos(x_i, y_j)                      cosine distance
        e_ij = d_ij / (min_k d_ik + 1e-5)             relative to the nearest match of x_i
        CX_ij = softmax_j (-e_ij / h)                 = exp((1 - e_ij) / h) / Σ_k exp((1 - e_ik) / h)
        CX = mean_j max_i CX_ij

    Direction: lower is better. Range of a layer's term with P places: [0, log P]. Identical images do not give 0 in
    general: places of equal features share their matches, so that m equal places count as 1/m of a match each; a flat
    image is at the upper bound, even from itself. Where all places differ the term of identical images is almost 0.

    Time grows with P²: at 256 px on VGG-16 4096² distances for relu3_3, at 512 px sixteen times as many. They are
    computed in blocks, and again in the backward pass, so that P² values are never held; nothing is sampled. (On a CPU
    the C library can keep what each block frees: some 3 GiB at 512 px.)
    """

    def _kept(self, features: Tensor) -> tuple[Tensor, Tensor]:
        values = places(features)
        mean = values.mean(1, keepdim=True)
        return mean, unit(values - mean, 2)

    def _term(self, features: Tensor, reference: tuple[Tensor, Tensor]) -> Tensor:
        mean, others = reference
        values = unit(places(features) - mean, 2)
        rows = max(1, VALUES // (values.shape[0] * others.shape[1]))
        best = others.new_zeros(values.shape[0], others.shape[1])
        for block in values.split(rows, 1):
            if transformed():  # torch.func.grad cannot compute again in the backward pass
                match = self._matches(block, others)
            else:
                match = checkpoint(self._matches, block, others, use_reentrant=False, preserve_rng_state=False)
            best = torch.maximum(best, match)
        # A mean of values up to 1 can exceed 1 by rounding.
        return -best.mean(1).clamp(max=1).log()

    def _matches(self, values: Tensor, others: Tensor) -> Tensor:
        """Return for each feature of the reference ``max_i CX_ij`` over some features of the image, ``(N, P)``."""
        distance = (1 - values @ others.mT).clamp(min=0)
        relative = distance / (distance.amin(2, keepdim=True) + MATCH_EPSILON)
        return torch.softmax(-relative / self.spec.bandwidth, 2).amax(1)
