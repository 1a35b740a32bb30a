"""What stages that restore or judge test images share: which images, and how they are degraded."""

from __future__ import annotations

from abc import ABC
from collections.abc import Iterable
from typing import Any

from pydantic import SerializeAsAny

from ...iqa import JudgeSpec
from ...sr.images import Pair, pairs
from ...sr.tasks import Bicubic, Degradation
from ..schema.errors import ExperimentError
from ..schema.restoration import TestSet
from .context import Context
from .stage import Stage


def of_task(task: Degradation) -> dict[str, Any]:
    """Return what a task adds to a cell's content; bicubic adds nothing, because it was once the only task."""
    return {} if isinstance(task, Bicubic) else {"task": task.identity}


class TestImagesStage(Stage, ABC):
    """A stage whose cells are about one test set.

    Attributes:
        scale: magnification.
        task: how LR images are made.
        test: the set.
        test_identity: content identity of its images.
    """

    scale: int
    task: SerializeAsAny[Degradation] = Bicubic()
    test: TestSet
    test_identity: str

    def content(self) -> dict[str, Any]:
        """Images and task."""
        images = {"scale": self.scale, "test": self.test_identity, "crop": self.test.crop}
        return {**images, **of_task(self.task)}

    @property
    def pictures(self) -> str:
        """Key of the pairs of images."""
        return f"test {self.test_identity} crop {self.test.crop} ×{self.scale} {self.task.identity}"

    def pairs(self, context: Context) -> list[Pair]:
        """Return the images with their LR versions; decoded once per process."""
        return context.once(
            self.pictures,
            lambda: list(pairs(self.test.images.items(), self.scale, crop=self.test.crop, task=self.task)),
        )


def check_judged_sizes(judge: JudgeSpec, images: Iterable[Pair], setting: str) -> None:
    """Raise ExperimentError if an image is too small for the judge; ``setting`` is what to change."""
    need = judge.min_size + 2 * (judge.crop or 0)
    for pair in images:
        height, width = pair.hr.shape[:2]
        if min(height, width) < need:
            raise ExperimentError(
                f"judge '{judge.key}' needs images of at least {need} px per side (its border crop included), "
                f"'{pair.name}' is {width}×{height}; raise {setting} or leave the judge out"
            )
