"""From an experiment to its cells, in an order in which every cell follows its inputs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ..common.errors import LopsidedError
from ..common.sources import ImageItem, overlap
from ..iqa.manifest import FRDataset
from ..losses import MeasureSpec
from .cells import AssessFR, Cell, Finetune, JudgeImages, Pretrain, Restore
from .grid import GridPoint, expand
from .spec import Experiment, ExperimentError, LadderSet
from .store import Status, Store

BICUBIC = {"generator": "none", "fidelity": "bicubic", "discriminator": "none", "gan_weight": 0.0, "seed": 0}


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
            set, or a grid without cells.
    """
    sr, data = experiment.super_resolution, experiment.data
    with _placed(experiment, "data", "train"):
        train_items = data.train.items()
        train_identity = data.train.identity(train_items)
    test_identities = {}
    for name, test in data.test.items():
        with _placed(experiment, "data", "test", name, "images"):
            items = test.images.items()
            _refuse_leak(name, train_items, items)
            test_identities[name] = test.images.identity(items)

    cells: dict[str, Cell] = {}

    def add(cell: Cell) -> Cell:
        return cells.setdefault(cell.id, cell)

    def finetune(point: GridPoint) -> Cell:
        common: dict[str, Any] = {
            "scale": sr.scale,
            "generator": point.generator,
            "train": data.train,
            "train_identity": train_identity,
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
        return add(Cell(spec, {"pretrain": first}, point.labels))

    trained = [(finetune(point), point) for point in expand(experiment.grid)]
    judged: list[tuple[Cell, Any]] = []
    for name, test in data.test.items():
        for source, point in [(None, None), *trained]:
            spec = Restore(
                scale=sr.scale,
                test=test,
                test_identity=test_identities[name],
                generator=point.generator if point else None,
            )
            labels = {**(point.labels if point else BICUBIC), "test_set": name}
            judged.append((add(Cell(spec, {"finetune": source} if source else {}, labels)), test))
    for judge in experiment.judges:
        for restored, test in judged:
            spec = JudgeImages(
                scale=sr.scale, test=test, test_identity=test_identities[restored.labels["test_set"]], judge=judge
            )
            add(Cell(spec, {"restore": restored}, {**restored.labels, "judge": judge.key}))
    for cell in _assessment(experiment, trained):
        add(cell)
    return Plan(experiment, tuple(cells.values()))


def _assessment(experiment: Experiment, trained: list[tuple[Cell, GridPoint]]) -> list[Cell]:
    chosen = [point.fidelity for _, point in trained if point.fidelity]
    measures: dict[str, MeasureSpec] = {}
    for measure in [*chosen, *experiment.assessment.measures]:
        measures.setdefault(measure.identity, measure)
    cells = []
    for name, dataset in experiment.assessment.datasets.items():
        with _placed(experiment, "assessment", "datasets", name):
            if isinstance(dataset, LadderSet):
                dataset_identity = dataset.ladder.identity
            else:
                dataset_identity = FRDataset(dataset.manifest).identity
        for measure in measures.values():
            spec = AssessFR(measure=measure, dataset=dataset, dataset_identity=dataset_identity)
            cells.append(Cell(spec, {}, {"measure": measure.key, "dataset": name}))
    return cells


@contextlib.contextmanager
def _placed(experiment: Experiment, *place: str) -> Iterator[None]:
    """Say of an error in which part of the experiment it arose."""
    try:
        yield
    except LopsidedError as error:
        raise experiment.error(place, str(error)) from None


def _refuse_leak(name: str, train: list[ImageItem], test: list[ImageItem]) -> None:
    twins = overlap(train, test)
    if twins:
        first = f"'{twins[0][0].path}' and '{twins[0][1].path}'"
        raise ExperimentError(
            f"{len(twins)} file(s) are in both the training set and test set '{name}', e.g. {first}; "
            "remove them from one"
        )
