"""Cells: one stage with everything that determines its outputs, and the content hash that names it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, SerializeAsAny

from ..common.identity import identity
from ..common.sources import ImageSource
from ..discriminators import DiscriminatorSpec
from ..iqa import JudgeSpec
from ..iqa.nr import NRSpec, Splits, ZeroLabelSpec
from ..losses import MeasureSpec
from ..losses.dists import DistsSpec
from ..losses.learn_weights import LearningSpec
from ..sr import FinetuneSpec, GeneratorSpec, TrainingSpec
from ..sr.tasks import Bicubic, Degradation
from .no_reference import RatedManifest, RatedPublished
from .spec import LadderSet, ManifestSet, PublishedSet, TestSet, ValidationSet

# Numbers of a fine-tuning that only a discriminator makes use of.
ADVERSARIAL = {
    *("objective", "label_smoothing", "augmentation", "discriminator_learning_rate"),
    *("gradient_penalty", "r1_penalty", "r2_penalty"),
}


class CellSpec(BaseModel, ABC):
    """What a stage needs besides the outputs of other cells.

    Attributes:
        stage: the stage's name.
        version: raised whenever the stage would give other outputs for the same content.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    stage: ClassVar[str]
    version: ClassVar[int] = 1

    @abstractmethod
    def content(self) -> dict[str, Any]:
        """Return what determines the outputs, as JSON: contents by hash, never places on this machine."""

    @property
    def together(self) -> str | None:
        """See :attr:`Cell.together`."""
        return None


def _of_task(task: Degradation) -> dict[str, Any]:
    """Return what a task adds to a content; bicubic, once the only one, adds nothing."""
    return {} if isinstance(task, Bicubic) else {"task": task.identity}


class TrainingCell(CellSpec, ABC):
    """Train a generator.

    Attributes:
        task: how LR images are made.
        validation_identity: content identity of the validation images, where there are any.
    """

    version: ClassVar[int] = 2  # 2: crops drawn for each micro-batch, fused Adam, SwinIR's own attention
    scale: int
    task: SerializeAsAny[Degradation] = Bicubic()
    generator: GeneratorSpec
    train: ImageSource
    train_identity: str
    validation: ValidationSet | None = None
    validation_identity: str | None = None
    training: TrainingSpec
    seed: int

    def content(self) -> dict[str, Any]:
        """Task, generator, data, training numbers and seed."""
        common = {
            "scale": self.scale,
            **_of_task(self.task),
            "generator": self.generator.identity,
            "train": self.train_identity,
            "training": self.training.model_dump(mode="json"),
            "seed": self.seed,
        }
        if self.validation is None:
            return common
        validation = {
            "images": self.validation_identity,
            "judges": [judge.identity for judge in self.validation.judges],
            **self.validation.model_dump(mode="json", include={"crop", "every", "top"}),
        }
        return {**common, "validation": validation}


class Pretrain(TrainingCell):
    """Train a generator with the pixel loss alone."""

    stage: ClassVar[str] = "pretrain"


class Finetune(TrainingCell):
    """Fine-tune a pretrained generator with fidelity and adversarial terms."""

    stage: ClassVar[str] = "finetune"
    training: FinetuneSpec  # pyright: ignore[reportIncompatibleVariableOverride] (frozen, so it may be narrower)
    fidelity: SerializeAsAny[MeasureSpec] | None
    discriminator: DiscriminatorSpec
    gan_weight: float

    def content(self) -> dict[str, Any]:
        """As for pretraining, with the two terms; numbers of a term that is absent do not count."""
        absent: set[str] = set()
        if self.fidelity is None:
            absent |= {"fidelity_weight", "gradient_matching"}
        if self.discriminator.form == "none":
            absent |= ADVERSARIAL
        elif self.training.objective != "wasserstein":
            absent |= {"gradient_penalty"}
        return {
            **super().content(),
            "training": self.training.model_dump(mode="json", exclude=absent),
            "fidelity": self.fidelity.identity if self.fidelity else None,
            "discriminator": self.discriminator.identity,
            "gan_weight": self.gan_weight,
        }


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
        generator = self.generator.identity if self.generator else self.task.baseline
        images = {"scale": self.scale, "test": self.test_identity, "crop": self.test.crop}
        return {**images, **_of_task(self.task), "generator": generator}


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


class LearnWeights(CellSpec):
    """Learn alpha and beta of a DISTS from an FR set."""

    stage: ClassVar[str] = "learn_weights"
    measure: DistsSpec
    dataset: LadderSet | ManifestSet | PublishedSet
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


class AssessFR(CellSpec):
    """Score an FR set by one measure."""

    stage: ClassVar[str] = "assess_fr"
    version: ClassVar[int] = 2  # 2: smaller batches, which changes last bits
    measure: SerializeAsAny[MeasureSpec]
    dataset: LadderSet | ManifestSet | PublishedSet
    dataset_identity: str

    def content(self) -> dict[str, Any]:
        """Measure and images."""
        return {"measure": self.measure.identity, "dataset": self.dataset_identity}

    @property
    def together(self) -> str:
        """The images: measures on them share decoding and, on one backbone, the passes."""
        return f"{self.stage} {self.dataset_identity}"


class AssessNR(CellSpec):
    """Train a no-reference model on the training part of one split, and score its test part.

    Attributes:
        model: the model. Where a discriminator comes in as input, its weights take the place of the random ones.
        discriminator: definition of the input, for a model that starts from its trunk.
        layers: probe each layer alone, in place of the whole.
        splits: how the set is divided.
        split: name of the one division.
    """

    stage: ClassVar[str] = "assess_nr"
    model: NRSpec | ZeroLabelSpec
    discriminator: DiscriminatorSpec | None = None
    layers: bool = False
    dataset: LadderSet | ManifestSet | PublishedSet | RatedManifest | RatedPublished
    dataset_identity: str
    splits: Splits
    split: str

    def content(self) -> dict[str, Any]:
        """Model, images and the one split, whatever their number; a discriminator's weights come in as an input."""
        return {
            "model": self.model.identity,
            "discriminator": self.discriminator.identity if self.discriminator else None,
            "layers": self.layers,
            "dataset": self.dataset_identity,
            # The first of more random splits are those of fewer.
            "splits": self.splits.model_copy(update={"count": 1}).identity,
            "split": self.split,
        }


@dataclass(frozen=True, eq=False)
class Cell:
    """A node of the plan.

    Attributes:
        spec: the stage and what it needs.
        inputs: cells whose outputs it reads, by role.
        labels: names for tables and people; they do not enter the identity.
    """

    spec: CellSpec
    inputs: Mapping[str, Cell] = field(default_factory=dict)
    labels: Mapping[str, Any] = field(default_factory=dict)

    @property
    def stage(self) -> str:
        """The stage's name."""
        return self.spec.stage

    @property
    def together(self) -> str | None:
        """What cells have in common that are best computed in one go; None: it is computed alone."""
        return self.spec.together

    @cached_property
    def id(self) -> str:
        """Content hash of stage, spec and inputs."""
        return identity(
            {
                "stage": self.stage,
                "version": self.spec.version,
                "spec": self.spec.content(),
                "inputs": {role: cell.id for role, cell in self.inputs.items()},
            }
        )
