""""""

from __future__ import annotations

from typing import Any, ClassVar

from ...common.sources import ImageSource
from ...losses.dists import DistsSpec
from ...losses.learn_weights import LearningSpec
from ..schema.datasets import FRManifest, FRPublished, LadderSet
from .cell import CellSpec


class LearnWeights(CellSpec):
    """Learn alpha and beta of a DISTS from an FR set."""

    stage: ClassVar[str] = "learn_weights"
    measure: DistsSpec
    dataset: LadderSet | FRManifest | FRPublished
    dataset_identity: str
    learning: LearningSpec
    textures: ImageSource | None
    textures_identity: str | None

    def content(self) -> dict[str, Any]:
        """The measure with uniform weights, images, recipe and seeds; textures where the recipe looks at them."""
        return {
            "measure": self.measure.identity,
            "dataset": self.dataset_identity,
            "learning": self.learning.identity,
            "textures": self.textures_identity,
        }
