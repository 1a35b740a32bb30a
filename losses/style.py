"""Style loss: distance of the Gram matrices of feature maps.

Gatys, Ecker and Bethge, "Image Style Transfer Using Convolutional Neural Networks", CVPR 2016; in the normalisation of
Johnson, Alahi and Fei-Fei, ECCV 2016, eqs. 3 and 4.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from ..backbones import FeatureExtractor
from .layerwise import LayerwiseMeasure, LayerwiseSpec, places
from .measure import Reduction


class StyleSpec(LayerwiseSpec):
    """Definition of a style loss, key ``style-<backbone>``.

    All stages of the backbone enter by default; on VGG-16 the paper of Johnson et al. leaves out the deepest, and
    Gatys et al. take the first layer of each block of VGG-19 where our stages are the last ones.

    Attributes:
        measure: ``style``.
        distance: ``l2`` for squared differences, as in the papers, or ``l1`` for absolute ones.
    """

    measure: Literal["style"] = "style"
    distance: Literal["l2", "l1"] = "l2"

    def build(self, *, reduction: Reduction = "mean", extractor: FeatureExtractor | None = None) -> Style:
        """Build the measure with its frozen backbone."""
        return Style(self, reduction, extractor)


class Style(LayerwiseMeasure[StyleSpec]):
    """Style loss ``Σ weight · ‖G(x) - G(y)‖²`` over layers, the squared Frobenius norm (with ``l1``: ``Σ |·|``).

    The Gram matrix of a map F of C channels by P places is ``G = F Fᵀ / (C·P)``. It says which features occur
    together, but not where: images with the same textures elsewhere are close.

    Direction: lower is better; 0 for identical images. Range: [0, ∞), in the fourth power of the features' own scale.
    """

    def _kept(self, features: Tensor) -> Tensor:
        values = places(features)
        return values.mT @ values / values[0].numel()

    def _term(self, features: Tensor, reference: Tensor) -> Tensor:
        difference = self._kept(features) - reference
        return (difference.square() if self.spec.distance == "l2" else difference.abs()).sum((1, 2))
