""""""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import SerializeAsAny

from ...iqa import JudgeSpec
from ...sr.tasks import Bicubic, Degradation
from ..schema.restoration import TestSet
from .cell import CellSpec, _of_task


class JudgeImages(CellSpec):
    """Score the restored images of one cell by one judge."""

    stage: ClassVar[str] = "judge"
    version: ClassVar[int] = 2  # 2: batches of a bounded size, which changes last bits
    scale: int
    task: SerializeAsAny[Degradation] = Bicubic()
    test: TestSet
    test_identity: str
    judge: JudgeSpec

    def content(self) -> dict[str, Any]:
        """The judge and the references."""
        images = {"test": self.test_identity, "crop": self.test.crop, "scale": self.scale}
        return {"judge": self.judge.identity, **images, **_of_task(self.task)}
