""""""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import SerializeAsAny

from ...losses import MeasureSpec
from ..schema.datasets import FRManifest, FRPublished, LadderSet
from .cell import CellSpec


class AssessFR(CellSpec):
    """Score an FR set by one measure."""

    stage: ClassVar[str] = "assess_fr"
    version: ClassVar[int] = 2  # 2: smaller batches, which changes last bits
    measure: SerializeAsAny[MeasureSpec]
    dataset: LadderSet | FRManifest | FRPublished
    dataset_identity: str

    def content(self) -> dict[str, Any]:
        """Measure and images."""
        return {"measure": self.measure.identity, "dataset": self.dataset_identity}

    @property
    def together(self) -> str:
        """The images: measures on them share decoding and, on one backbone, the passes."""
        return f"{self.stage} {self.dataset_identity}"
