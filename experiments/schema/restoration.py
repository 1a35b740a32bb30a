"""The super-resolution side of an experiment: images, the degradation to reverse, trainings, validation."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from ...common.fields import COUNT, SIDE, STEPS, ByKey, Settings
from ...common.sources import ImageSource
from ...iqa import JudgeSpec, list_judges
from ...sr import TASKS, AnyTask, Bicubic, FinetuneSpec, TrainingSpec
from .errors import PlacedError

JudgeAxis = Annotated[JudgeSpec, ByKey(list_judges())]


class TestSet(Settings):
    """Images that the trained generators restore and the judges score."""

    images: ImageSource = Field(description="Where the high-resolution images come from.")
    crop: int | None = Field(
        default=None, ge=16, le=SIDE, description="Centre crop to this many pixels per side; default: the whole image."
    )


class ValidationSet(Settings):
    """Images that trainings are validated on; they must not share a file with training or test images."""

    images: ImageSource = Field(description="Where the high-resolution images come from.")
    crop: int | None = Field(
        default=None, ge=16, le=SIDE, description="Centre crop to this many pixels per side; default: the whole image."
    )
    every: int = Field(
        default=500, ge=1, le=STEPS, description="Steps between validations; the last step is validated too."
    )
    judges: list[JudgeAxis] = Field(min_length=1, description="Judges; the first one ranks the weights.")
    top: int = Field(
        default=1, ge=1, le=COUNT, description="How many of the best weights are kept in addition to the last ones."
    )


class Data(Settings):
    """Images of the super-resolution side. Train and test must not share a file."""

    train: ImageSource = Field(description="High-resolution training images.")
    test: dict[str, TestSet] = Field(min_length=1, description="Test sets by name.")


class SuperResolution(Settings):
    """Task and training of the super-resolvers."""

    task: AnyTask = Field(
        default=Bicubic(),
        description="The degradation to reverse: bicubic, real, denoising, jpeg or deblurring.",
    )
    scale: Literal[1, 2, 3, 4] = Field(
        default=4, description="Magnification; 1 for denoising, jpeg and deblurring, which keep the size."
    )
    pretrain: TrainingSpec = Field(description="Pixel-loss training that every fine-tuning starts from.")
    finetune: FinetuneSpec = Field(description="Training with fidelity and adversarial terms.")
    validation: ValidationSet | None = Field(default=None, description="How both trainings are validated on the way.")

    @model_validator(mode="after")
    def _scale_fits(self) -> SuperResolution:
        if self.scale in self.task.scales:
            return self
        name = self.task.name()
        if self.task.scales == (1,):
            raise PlacedError(f"task '{name}' keeps the size; write scale: 1, got {self.scale}", "scale")
        same_size = ", ".join(key for key, task in TASKS.items() if task.scales == (1,))
        raise PlacedError(
            f"task '{name}' supports scale 2, 3 or 4, got {self.scale}; tasks of scale 1 are {same_size}", "scale"
        )

    @property
    def border(self) -> int:
        """Pixels that judges cut off each border by default: the scale, as papers do; none if a task keeps the size."""
        return 0 if self.scale == 1 else self.scale
