"""From an experiment to its cells, in an order in which every cell follows its inputs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from ..common.errors import LopsidedError
from ..common.identity import identity as content_identity
from ..common.sources import ImageItem, overlap
from ..iqa.learn import needs_textures, texture_items
from ..losses import MeasureSpec
from .schema.datasets import LadderSet
from .schema.errors import ExperimentError
from .schema.experiment import Experiment
from .schema.grid import GridPoint, expand
from .schema.measures import LearntDists
from .stages.assess_fr import AssessFR
from .stages.assess_nr import plan_nr
from .stages.cell import Cell
from .stages.judge import JudgeImages
from .stages.learn_weights import LearnWeights
from .stages.rate import rate_cells
from .stages.restore import Restore
from .stages.train import Finetune, Pretrain
from .store import Status, Store

UNTRAINED = {"generator": "none", "discriminator": "none", "gan_weight": 0.0, "seed": 0}  # fidelity: the baseline


@dataclass(frozen=True)
class Plan:
    """The cells of an experiment.

    Attributes:
        experiment: what was planned.
        cells: every cell once, inputs first.
    """

    experiment: Experiment
    cells: tuple[Cell, ...]

    def of_stage(self, stage: str) -> list[Cell]:
        """Return the cells of one stage."""
        return [cell for cell in self.cells if cell.stage == stage]

    def with_status(self, store: Store) -> list[tuple[Cell, Status]]:
        """Return every cell with what the store knows of it."""
        return [(cell, store.status(cell.stage, cell.id)) for cell in self.cells]


def make_plan(experiment: Experiment) -> Plan:
    """Plan an experiment: expand its grid, look at its data, refuse leaks.

    Raises:
        ExperimentError: images that are missing or ambiguous, a file that is both in the training set and in a test
            set, a grid without cells, or weights learnt from one FR set that hold out different references.
    """
    sr, data = experiment.super_resolution, experiment.data
    with _placed(experiment, "data", "train"):
        train_items = data.train.items()
        train_identity = data.train.identity(train_items)
    test_identities = {}
    for name, test in data.test.items():
        with _placed(experiment, "data", "test", name, "images"):
            items = test.images.items()
            _refuse_leak(f"the training set and test set '{name}'", train_items, items)
            test_identities[name] = test.images.identity(items)

    validation_identity = _validation_identity(experiment, train_items)
    fr_identities = _fr_identities(experiment)
    cells: dict[str, Cell] = {}

    def add(cell: Cell) -> Cell:
        return cells.setdefault(cell.id, cell)

    learnt = {name: add(cell) for name, cell in _learning(experiment, fr_identities).items()}

    def finetune(point: GridPoint) -> Cell:
        common: dict[str, Any] = {
            "scale": sr.scale,
            "task": sr.task,
            "generator": point.generator,
            "train": data.train,
            "train_identity": train_identity,
            "validation": sr.validation,
            "validation_identity": validation_identity,
            "seed": point.seed,
        }
        names = {"generator": point.generator.name, "seed": point.seed}
        first = add(Cell(Pretrain(training=sr.pretrain, **common), {}, names))
        spec = Finetune(
            training=sr.finetune,
            fidelity=point.fidelity,
            discriminator=point.discriminator,
            gan_weight=point.gan_weight,
            **common,
        )
        return add(Cell(spec, {"pretrain": first, **_weights(point.fidelity, learnt)}, point.labels))

    points = [replace(point, fidelity=_planned(point.fidelity, learnt)) for point in expand(experiment.grid)]
    trained = [(finetune(point), point) for point in points]
    judged: list[tuple[Cell, Any]] = []
    for name, test in data.test.items():
        for source, point in [(None, None), *trained]:
            spec = Restore(
                scale=sr.scale,
                task=sr.task,
                test=test,
                test_identity=test_identities[name],
                generator=point.generator if point else None,
            )
            labels = point.labels if point else {**UNTRAINED, "fidelity": sr.task.baseline}
            labels = {**labels, "test_set": name}
            judged.append((add(Cell(spec, {"finetune": source} if source else {}, labels)), test))
    for judge in experiment.judges:
        for restored, test in judged:
            spec = JudgeImages(
                scale=sr.scale,
                task=sr.task,
                test=test,
                test_identity=test_identities[restored.labels["test_set"]],
                judge=judge,
            )
            add(Cell(spec, {"restore": restored}, {**restored.labels, "judge": judge.key}))
    for cell in rate_cells(experiment, [restored for restored, _ in judged], fr_identities):
        add(cell)
    measures: dict[str, MeasureSpec] = {}
    for measure in [*(point.fidelity for point in points), *experiment.assessment.measures]:
        if planned := _planned(measure, learnt):
            measures.setdefault(planned.identity, planned)
    for name, dataset in experiment.assessment.datasets.items():
        for measure in measures.values():
            spec = AssessFR(measure=measure, dataset=dataset, dataset_identity=fr_identities[name])
            add(Cell(spec, _weights(measure, learnt), {"measure": measure.key, "dataset": name}))
    for cell in plan_nr(experiment, [cell for cell, _ in trained], fr_identities, train_items):
        add(cell)
    return Plan(experiment, tuple(cells.values()))


def _validation_identity(experiment: Experiment, train: list[ImageItem]) -> str | None:
    """Return the identity of the validation images, once it is sure that neither training nor testing uses them."""
    validation = experiment.super_resolution.validation
    if validation is None:
        return None
    with _placed(experiment, "super_resolution", "validation", "images"):
        items = validation.images.items()
        _refuse_leak("the training set and the validation images", train, items)
        for name, test in experiment.data.test.items():
            # Weights that were chosen on test images are not tested by them.
            _refuse_leak(f"the validation images and test set '{name}'", items, test.images.items())
        return validation.images.identity(items)


def _fr_identities(experiment: Experiment) -> dict[str, str]:
    """Return the identity of every FR set by its name."""
    found = {}
    for name, dataset in experiment.assessment.datasets.items():
        with _placed(experiment, "assessment", "datasets", name):
            if isinstance(dataset, LadderSet):
                found[name] = dataset.ladder.identity
            else:
                found[name] = dataset.open().identity
    return found


def _learning(experiment: Experiment, fr_identities: dict[str, str]) -> dict[str, Cell]:
    """Return the cells that learn weights, by name."""
    cells: dict[str, Cell] = {}
    splits: dict[str, tuple[str, float, int]] = {}
    for name, learn in experiment.learn.items():
        identity = fr_identities[learn.dataset]
        other, *split = splits.setdefault(identity, (name, learn.held_out, learn.split_seed))
        if split != [learn.held_out, learn.split_seed]:
            # Measures are compared on what none of them has seen.
            raise experiment.error(
                ("learn", name),
                f"'{name}' and '{other}' learn from one FR set but hold out different references; give them the same "
                "held_out and split_seed",
            )
        with _placed(experiment, "learn", name, "textures"):
            items = texture_items(learn.textures) if needs_textures(learn) else None
        spec = LearnWeights(
            measure=learn.measure,
            dataset=experiment.assessment.datasets[learn.dataset],
            dataset_identity=identity,
            learning=learn.learning,
            textures=learn.textures,
            textures_identity=content_identity([item.sha256 for item in items]) if items else None,
        )
        measure = LearntDists(name=name, of=learn.measure)
        cells[name] = Cell(spec, {}, {"measure": measure.key, "dataset": learn.dataset})
    return cells


def _planned(measure: MeasureSpec | None, learnt: dict[str, Cell]) -> MeasureSpec | None:
    """Return the measure, a learnt one with the cell that learns its weights."""
    return measure.model_copy(update={"cell": learnt[measure.name].id}) if isinstance(measure, LearntDists) else measure


def _weights(measure: MeasureSpec | None, learnt: dict[str, Cell]) -> dict[str, Cell]:
    """Return the input that a cell needs which uses the measure: none, unless its weights are learnt."""
    return {"weights": learnt[measure.name]} if isinstance(measure, LearntDists) else {}


@contextlib.contextmanager
def _placed(experiment: Experiment, *place: str) -> Iterator[None]:
    """Say of an error in which part of the experiment it arose."""
    try:
        yield
    except LopsidedError as error:
        raise experiment.error(place, str(error)) from None


def _refuse_leak(both: str, one: list[ImageItem], other: list[ImageItem]) -> None:
    twins = overlap(one, other)
    if twins:
        first = f"'{twins[0][0].path}' and '{twins[0][1].path}'"
        raise ExperimentError(f"{len(twins)} file(s) are in both {both}, e.g. {first}; remove them from one")
