""""""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import SerializeAsAny

from ...sr import GeneratorSpec
from ...sr.tasks import Bicubic, Degradation
from ..schema.restoration import TestSet
from .cell import CellSpec, _of_task


class Restore(CellSpec):
    """Restore a test set with a fine-tuned generator, or without one by the task's baseline."""

    stage: ClassVar[str] = "restore"
    scale: int
    task: SerializeAsAny[Degradation] = Bicubic()
    test: TestSet
    test_identity: str
    generator: GeneratorSpec | None

    def content(self) -> dict[str, Any]:
        """Task and images; the generator's weights come in as an input."""
        generator = self.generator.definition() if self.generator else self.task.baseline
        images = {"scale": self.scale, "test": self.test_identity, "crop": self.test.crop}
        return {**images, **_of_task(self.task), "generator": generator}
