"""The stages pretrain and finetune: train a generator, validate it on the way, write what is to be kept."""

from __future__ import annotations

from abc import ABC
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar

import torch
from pydantic import SerializeAsAny
from torch import nn

from ...common.files import write_json, write_text
from ...common.images import to_tensor, to_uint8
from ...common.sources import ImageSource
from ...discriminators import DiscriminatorSpec, build_discriminator, objective
from ...losses import MeasureSpec
from ...sr import (
    Adversarial,
    DivergedError,
    Fidelity,
    FinetuneSpec,
    GeneratorSpec,
    Trainer,
    TrainingSpec,
    Validated,
    Validation,
    build_generator,
    super_resolve,
)
from ...sr.checkpoint import read_tensors, write_tensors
from ...sr.history import read_history
from ...sr.images import Pair, PairCache
from ...sr.stability import summarise_stability
from ...sr.tasks import Bicubic, Degradation
from ..schema.restoration import ValidationSet
from .cell import Cell, CellSpec, _of_task
from .context import Context

GENERATOR = "generator.safetensors"
DISCRIMINATOR = "discriminator.safetensors"
HISTORY = "training.jsonl"
TOP = "top"  # folder of the weights that validation ranked best
SHOWN = 4  # validation images that TensorBoard shows


def train(
    cell: Cell, spec: Pretrain | Finetune, folder: Path, context: Context, crops: PairCache, validated: Sequence[Pair]
) -> None:
    """Train a cell's generator into ``folder``.

    Args:
        cell: the cell.
        spec: its spec.
        folder: where outputs go; ``work`` in it holds checkpoints.
        context: see :class:`Context`.
        crops: training images.
        validated: validation images, none if there is no validation.

    Raises:
        DivergedError: training became non-finite; the history is in the folder.
        StoppedError: it was asked to stop; the state to resume from is in the folder.
        LopsidedError: an input or setting that cannot be used.
    """
    generator = build_generator(spec.generator, spec.scale, seed=spec.seed)
    fidelity: Fidelity | None = None
    adversarial: Adversarial | None = None
    if isinstance(spec, Finetune):
        generator.load_state_dict(context.weights(cell, "pretrain", GENERATOR))
        if spec.fidelity:
            weight = None if spec.training.gradient_matching else spec.training.fidelity_weight
            fidelity = Fidelity(context.measure(spec.fidelity), weight)
        if spec.discriminator.form != "none":
            adversarial = _adversarial(spec, spec.training)
    trainer = Trainer(
        spec.training,
        generator,
        crops,
        seed=spec.seed,
        stream=spec.stage,
        fidelity=fidelity,
        adversarial=adversarial,
        validation=_validation(spec.validation, spec, validated, context) if spec.validation else None,
        runtime=context.execution.runtime,
    )
    work, history = folder / "work", folder / "work" / "history.jsonl"
    try:
        trainer.run(
            work,
            checkpoint_every=context.execution.checkpoint_every,
            progress=lambda step, loss: context.progress(step, spec.training.steps, f"loss {loss:.4f}"),
            stop=context.stop,
            tensorboard=folder / "tensorboard" if context.execution.tensorboard else None,
        )
        kept = trainer.averaged_generator().state_dict()
        for name, tensor in kept.items():
            if not torch.isfinite(tensor).all():
                raise DivergedError(trainer.step, f"weight {name}", float("nan"), len(trainer.skipped))
    finally:
        # A diverged run's history is its result, and empty if it diverged at its first step.
        if trainer.ranks.first:
            write_text(folder / HISTORY, history.read_text(encoding="utf-8") if history.exists() else "")
            write_json(folder / "result.json", _result(trainer, history))
    if trainer.ranks.first:
        _write_networks(spec, trainer, kept, folder)


def _adversarial(spec: Finetune, training: FinetuneSpec) -> Adversarial:
    return Adversarial(
        build_discriminator(spec.discriminator, seed=spec.seed),
        objective(training.objective, label_smoothing=training.label_smoothing),
        spec.gan_weight,
        training.discriminator_learning_rate,
        gradient_penalty=training.gradient_penalty if training.objective == "wasserstein" else 0.0,
        r1_penalty=training.r1_penalty,
        r2_penalty=training.r2_penalty,
        augmentation=training.augmentation,
    )


def _validation(
    settings: ValidationSet, spec: Pretrain | Finetune, images: Sequence[Pair], context: Context
) -> Validation:
    judges = {judge.key: context.judge(judge) for judge in settings.judges}
    device = context.execution.device

    def score(generator: nn.Module) -> Validated:
        found: dict[str, list[float]] = {key: [] for key in judges}
        shown = []
        for pair in images:
            low = to_tensor(pair.lr).to(device)
            restored = super_resolve(generator, low, spec.scale, multiple=spec.generator.side_multiple)
            if not torch.isfinite(restored).all():
                return Validated(dict.fromkeys(judges, float("nan")))
            # As judges see restored images: in 8 bits.
            restored, reference = to_tensor(to_uint8(restored.cpu())), to_tensor(pair.hr)
            shown += [restored[0]] if len(shown) < SHOWN else []
            for key, judge in judges.items():
                found[key].append(judge.score(restored.to(device), reference.to(device)).item())
        return Validated({key: sum(scores) / len(scores) for key, scores in found.items()}, shown)

    best = next(iter(judges))
    return Validation(settings.every, best, judges[best].lower_is_better, settings.top, score)


def _result(trainer: Trainer, history: Path) -> dict[str, Any]:
    """What a training comes to besides its weights, diverged or not."""
    ranking = trainer.ranking
    return {
        "steps": trainer.step,
        "fidelity_weight": trainer.fidelity.weight if trainer.fidelity else None,
        "skipped": [{**asdict(skip), "value": str(skip.value)} for skip in trainer.skipped],
        "best": [{"step": step, ranking.validation.judge: score} for step, score in ranking.entries] if ranking else [],
        "stability": summarise_stability(read_history(history)),
    }


def _write_networks(spec: Pretrain | Finetune, trainer: Trainer, kept: dict[str, Any], folder: Path) -> None:
    about = {"generator": spec.generator.name, "scale": spec.scale}
    if trainer.ranking:
        for path in trainer.ranking.paths():
            weights, scored = read_tensors(path)
            write_tensors(folder / TOP / path.name, weights, {**about, **scored})
        if spec.training.keep == "best":
            kept, scored = read_tensors(trainer.ranking.paths()[0])
            about |= scored
    write_tensors(folder / GENERATOR, kept, about)
    if trainer.adversarial:
        network = trainer.adversarial.discriminator
        write_tensors(folder / DISCRIMINATOR, network.state_dict(), {"discriminator": network.spec.key})


# Numbers of a fine-tuning that only a discriminator makes use of.
ADVERSARIAL = {
    *("objective", "label_smoothing", "augmentation", "discriminator_learning_rate"),
    *("gradient_penalty", "r1_penalty", "r2_penalty"),
}


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
            "generator": self.generator.definition(),
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
