"""The stages pretrain and finetune: train a generator, validate it on the way, write what is to be kept."""

from __future__ import annotations

import json
from abc import ABC
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd
import torch
from pydantic import SerializeAsAny
from torch import nn

from ...analysis import SHARE, STABILITY
from ...common.files import write_json, write_text
from ...common.images import to_tensor, to_uint8
from ...common.sources import ImageSource
from ...discriminators import DiscriminatorSpec, build_discriminator, objective
from ...losses import MeasureSpec
from ...sr import (
    Adversarial,
    AdversarialShare,
    DivergedError,
    Fidelity,
    FinetuneSpec,
    GeneratorSpec,
    Trainer,
    TrainingSpec,
    Validated,
    Validation,
    build_generator,
    require_trackers,
    super_resolve,
    tracker,
)
from ...sr.checkpoint import write_tensors
from ...sr.distributed import current_ranks
from ...sr.history import read_history
from ...sr.images import Pair, PairCache, pairs
from ...sr.stability import summarise_stability
from ...sr.tasks import Bicubic, Degradation
from ..schema.grid import expand
from ..schema.restoration import ValidationSet
from ..store import checked
from .cell import Cell, only
from .cell_files import NAMES, damaged
from .context import Context
from .draft import Draft
from .learn_weights import planned_measure, weights_input
from .pictures import check_judged_sizes, of_task
from .stage import Stage
from .titles import network

GENERATOR = "generator.safetensors"
DISCRIMINATOR = "discriminator.safetensors"
HISTORY = "training.jsonl"
RESULT = "result.json"
TOP = "top"  # folder of the weights that validation ranked best
SHOWN = 4  # validation images that TensorBoard shows

# Numbers of a fine-tuning that matter only with a discriminator.
ADVERSARIAL = {
    *("objective", "label_smoothing", "augmentation", "discriminator_learning_rate", "hold_adversarial_share"),
    *("gradient_penalty", "r1_penalty", "r2_penalty"),
}


class TrainingStage(Stage, ABC):
    """Train a generator.

    Attributes:
        scale: magnification.
        task: how LR images are made.
        generator: what is trained.
        train: the training images.
        train_identity: their content identity.
        validation: how the training is validated on the way, if it is.
        validation_identity: content identity of the validation images, where there are any.
        training: the numbers of the training.
        seed: seed of weights and crops.
    """

    version: ClassVar[int] = 3  # 3: the average of the weights begins with the first step; matching over 16 batches
    distributed: ClassVar[bool] = True
    announced: ClassVar[bool] = True
    has_rows: ClassVar[tuple[str, ...]] = ("done", "diverged")
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
            **of_task(self.task),
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

    def title(self, labels: Mapping[str, Any]) -> str:
        """The network."""
        return network(labels)

    @property
    def effort(self) -> float:
        """Training steps."""
        return self.training.steps

    @classmethod
    def preflight(cls, pending: Sequence[Cell[Stage]], context: Context) -> None:
        """Make the training crops, decode the validation images, and build judges and generators."""
        specs = [cell.spec for cell in only(pending, cls)]
        if specs:
            require_trackers(context.execution.tracking)
        for spec in specs:
            current_ranks().share(spec.training.micro_batches)
            spec.crops(context).validate(spec.training.patch // spec.scale)
            for judge in spec.validation.judges if spec.validation else ():
                context.judge(judge)
                check_judged_sizes(judge, spec.validation_pairs(context), "super_resolution.validation.crop")
        for spec in {(str(spec.generator.identity), spec.scale): spec for spec in specs}.values():
            build_generator(spec.generator, spec.scale)

    def crops(self, context: Context) -> PairCache:
        """Return the training images with their LR versions, prepared for drawing crops."""
        key = f"pairs {self.train_identity} ×{self.scale} {self.task.identity}"
        return context.once(
            key, lambda: PairCache.build(self.train.items(), self.scale, context.store.cache, task=self.task)
        )

    def caches(self) -> tuple[str, ...]:
        """That of the training images."""
        return (PairCache.folder_name(self.train.items(), self.scale, self.task),)

    def validation_pairs(self, context: Context) -> list[Pair]:
        """Return the validation images, none if there is no validation."""
        validation = self.validation
        if validation is None:
            return []
        key = f"validation {self.validation_identity} crop {validation.crop} ×{self.scale}"
        return context.once(key, lambda: list(pairs(validation.images.items(), self.scale, crop=validation.crop)))

    def terms(self, cell: Cell[Stage], context: Context) -> tuple[Fidelity | None, Adversarial | None]:  # noqa: ARG002
        """Return the terms of the loss besides the pixel loss."""
        return None, None

    def initial_generator(self, cell: Cell[Stage], context: Context) -> nn.Module:  # noqa: ARG002
        """Return the generator that the training starts from."""
        return build_generator(self.generator, self.scale, seed=self.seed)

    def run(self, cell: Cell[Stage], folder: Path, context: Context) -> None:
        """Train, and write networks, history and result; ``work`` in the folder holds checkpoints."""
        fidelity, adversarial = self.terms(cell, context)
        trainer = Trainer(
            self.training,
            self.initial_generator(cell, context),
            self.crops(context),
            seed=self.seed,
            stream=self.stage,
            fidelity=fidelity,
            adversarial=adversarial,
            validation=_validation(self.validation, self, context) if self.validation else None,
            runtime=context.execution.runtime,
        )
        place = context.work(cell)
        history = place / "history.jsonl"
        try:
            trainer.run(
                place,
                checkpoint_every=context.execution.checkpoint_every,
                progress=lambda step, loss: context.progress(step, self.training.steps, f"loss {loss:.4f}"),
                stop=context.stop,
                trackers=[
                    tracker(name, place.parent, context.store.root / "tracking", cell.id, cell.title)
                    for name in context.execution.tracking
                ],
            )
            kept = trainer.averaged_generator().state_dict()
            for name, tensor in kept.items():
                if not torch.isfinite(tensor).all():
                    raise DivergedError(trainer.step, f"weight {name}", float("nan"), len(trainer.skipped))
        except DivergedError:
            # A diverged run's history is its result, and empty if it diverged at its first step.
            _write_result(trainer, history, folder)
            raise
        _write_result(trainer, history, folder)
        if trainer.ranks.first:
            _write_networks(self, trainer, kept, folder)

    def rows(self, cell: Cell[Stage], folder: Path) -> dict[str, pd.DataFrame]:
        """One row per recorded step and term, and the summary of stability at the last step."""
        path, _ = checked(folder, HISTORY)
        try:
            lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        except (OSError, ValueError) as error:
            raise damaged(path, error) from None
        if lines:
            lines.append({"step": lines[-1]["step"], **_stability(checked(folder, RESULT)[0])})
        terms = [(line["step"], term, value) for line in lines for term, value in line.items() if term != "step"]
        table = pd.DataFrame(terms, columns=["step", "term", "value"])
        return {"training": table.assign(cell=cell.id, stage=self.stage, **self.names(cell))}

    def names(self, cell: Cell[Stage]) -> dict[str, Any]:
        """Return the columns that name the network."""
        return {name: cell.labels.get(name) for name in NAMES}


class Pretrain(TrainingStage):
    """Train a generator with the pixel loss alone; planned as the start of fine-tunings."""

    stage: ClassVar[str] = "pretrain"

    def names(self, cell: Cell[Stage]) -> dict[str, Any]:
        """Return the columns that name the network: it has no term besides the pixel loss."""
        return {**super().names(cell), "fidelity": "none", "discriminator": "none", "gan_weight": 0.0}


class Finetune(TrainingStage):
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

    @classmethod
    def plan(cls, draft: Draft) -> Iterator[Cell[Stage]]:
        """Fine-tune at every point of the grid, from the generator that was pretrained with its seed."""
        if (wanted := draft.experiment.optimization) is None:
            return
        sr, data = wanted.super_resolution, wanted.data
        images: dict[str, Any] = {
            "scale": sr.scale,
            "task": sr.task,
            "train": data.train,
            "train_identity": draft.train_identity,
            "validation": sr.validation,
            "validation_identity": draft.validation_identity,
        }
        pretrained: dict[tuple[GeneratorSpec, int], Cell[Stage]] = {}
        for point in expand(wanted.grid):
            start = point.generator, point.seed
            common: dict[str, Any] = {**images, "generator": point.generator, "seed": point.seed}
            if start not in pretrained:
                names = {"generator": point.generator.name, "seed": point.seed}
                pretrained[start] = Cell(Pretrain(training=sr.pretrain, **common), {}, names)
            fidelity = planned_measure(point.fidelity, draft) if point.fidelity else None
            spec = cls(
                training=sr.finetune,
                fidelity=fidelity,
                discriminator=point.discriminator,
                gan_weight=point.gan_weight,
                **common,
            )
            inputs = {"pretrain": pretrained[start], **weights_input(fidelity, draft)}
            labels = replace(point, fidelity=fidelity).labels
            if spec.discriminator.form != "none" and sr.finetune.hold_adversarial_share:
                labels["discriminator"] += SHARE
            yield Cell(spec, inputs, labels)

    @classmethod
    def preflight(cls, pending: Sequence[Cell[Stage]], context: Context) -> None:
        """As for pretraining; also build measures and discriminators."""
        super().preflight(pending, context)
        cells = only(pending, cls)
        measures = [cell.spec.fidelity for cell in cells if cell.spec.fidelity]
        for measure in {measure.identity: measure for measure in measures}.values():
            context.measure(measure)
        discriminators = {cell.spec.discriminator.identity: cell.spec.discriminator for cell in cells}
        for discriminator in discriminators.values():
            if discriminator.form != "none":
                build_discriminator(discriminator)

    def initial_generator(self, cell: Cell[Stage], context: Context) -> nn.Module:
        """Return the pretrained generator."""
        generator = super().initial_generator(cell, context)
        generator.load_state_dict(context.weights(cell, "pretrain", GENERATOR))
        return generator

    def terms(self, cell: Cell[Stage], context: Context) -> tuple[Fidelity | None, Adversarial | None]:
        """Return the fidelity and the adversarial term, each if there is one."""
        fidelity = adversarial = None
        if self.fidelity:
            weight = None if self.training.gradient_matching else self.training.fidelity_weight
            fidelity = Fidelity(context.measure(self.fidelity, cell), weight)
        if self.discriminator.form != "none":
            adversarial = _adversarial(self, self.training)
        return fidelity, adversarial


def _adversarial(spec: Finetune, training: FinetuneSpec) -> Adversarial:
    return Adversarial(
        build_discriminator(spec.discriminator, seed=spec.seed),
        objective(training.objective, label_smoothing=training.label_smoothing),
        AdversarialShare(spec.gan_weight) if training.hold_adversarial_share else spec.gan_weight,
        training.discriminator_learning_rate,
        gradient_penalty=training.gradient_penalty if training.objective == "wasserstein" else 0.0,
        r1_penalty=training.r1_penalty,
        r2_penalty=training.r2_penalty,
        augmentation=training.augmentation,
    )


def _validation(settings: ValidationSet, spec: TrainingStage, context: Context) -> Validation:
    images = spec.validation_pairs(context)
    judges = {judge.key: context.judge(judge) for judge in settings.judges}
    device = context.execution.device

    def score(generator: nn.Module) -> Validated:
        found: dict[str, list[float]] = {key: [] for key in judges}
        shown = []
        for pair in images:
            low = to_tensor(pair.lr).to(device)
            restored = super_resolve(generator, low, spec.scale, multiple=spec.generator.side_multiple(spec.scale))
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


def _write_result(trainer: Trainer, history: Path, folder: Path) -> None:
    """Write the results of a training besides its weights, whether it diverged or not."""
    if not trainer.ranks.first:
        return
    ranking = trainer.ranking
    write_text(folder / HISTORY, history.read_text(encoding="utf-8") if history.exists() else "")
    result = {
        "steps": trainer.step,
        "fidelity_weight": trainer.fidelity.weight if trainer.fidelity else None,
        "skipped": [{**asdict(skip), "value": str(skip.value)} for skip in trainer.skipped],
        "best": [{"step": step, ranking.validation.judge: score} for step, score in ranking.entries] if ranking else [],
        "stability": summarise_stability(read_history(history)),
    }
    write_json(folder / RESULT, result)


def _write_networks(spec: TrainingStage, trainer: Trainer, kept: dict[str, Any], folder: Path) -> None:
    about = {"generator": spec.generator.name, "scale": spec.scale}
    if trainer.ranking:
        best = list(trainer.ranking.read())
        for path, weights, scored in best:
            write_tensors(folder / TOP / path.name, weights, {**about, **scored})
        if spec.training.keep == "best":
            _, kept, scored = best[0]
            about |= scored
    write_tensors(folder / GENERATOR, kept, about)
    if trainer.adversarial:
        network = trainer.adversarial.discriminator
        write_tensors(folder / DISCRIMINATOR, network.state_dict(), {"discriminator": network.spec.key})


def _stability(path: Path) -> dict[str, float]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))["stability"]
    except (OSError, ValueError, KeyError) as error:
        raise damaged(path, error) from None
    return {f"{STABILITY}{name}": value for name, value in found.items()}
