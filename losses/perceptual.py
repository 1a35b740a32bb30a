"""Feature distance: the content or "perceptual" loss.

Johnson, Alahi and Fei-Fei, "Perceptual Losses for Real-Time Style Transfer and Super-Resolution", ECCV 2016, eq. 2.
"""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor

from ..backbones import FeatureExtractor
from .layerwise import LayerwiseMeasure, LayerwiseSpec, wide
from .measure import Reduction


class PerceptualSpec(LayerwiseSpec):
    """Definition of a feature distance, key ``perceptual-<backbone>``.

    All stages of the backbone enter by default, as in the other measures on feature maps, so that these differ in what
    they compare and not in where. The paper's loss for super-resolution is ``{measure: perceptual, backbone: vgg16,
    layers: [relu2_2]}``. Features are taken behind the rectifier, unlike ESRGAN's.

    Attributes:
        measure: ``perceptual``.
        distance: ``l2`` for squared differences, as in the paper, or ``l1`` for absolute ones.
    """

    forms = ("feature-distance",)

    measure: Literal["perceptual"] = "perceptual"
    distance: Literal["l2", "l1"] = "l2"

    def build(self, *, reduction: Reduction = "mean", extractor: FeatureExtractor | None = None) -> Perceptual:
        """Build the measure with its frozen backbone."""
        return Perceptual(self, reduction, extractor)


class Perceptual(LayerwiseMeasure[PerceptualSpec]):
    """Feature distance ``Σ weight · mean (x - y)²`` over layers, the mean over channels and places (C·H·W).

    Direction: lower is better; 0 for identical images. Range: [0, ∞), in the square of the features' own scale: layers
    of large features count for more, and values of different backbones do not compare.
    """

    def _kept(self, features: Tensor) -> Tensor:
        return features

    def _term(self, features: Tensor, reference: Tensor) -> Tensor:
        distance = F.mse_loss if self.spec.distance == "l2" else F.l1_loss  # one pass, where a difference costs two
        features = wide(features)
        return distance(features, wide(reference).expand_as(features), reduction="none").mean((1, 2, 3))
