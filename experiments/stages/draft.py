"""A plan while it is being made: the experiment, what its data are, and the cells so far."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any, TypeVar

from ...common.sources import ImageItem, overlap
from ..schema.errors import ExperimentError
from ..schema.experiment import Experiment
from .cell import Cell, CellSpec, only

K = TypeVar("K", bound=CellSpec)
T = TypeVar("T")


class Draft:
    """What stages plan from.

    Args:
        experiment: what is planned.
    """

    def __init__(self, experiment: Experiment) -> None:
        self.experiment = experiment
        self._cells: dict[str, Cell[Any]] = {}
        self._made: dict[str, Any] = {}

    @property
    def cells(self) -> list[Cell[Any]]:
        """Every cell so far once, inputs before the cells that read them."""
        return list(self._cells.values())

    def add(self, cell: Cell[Any]) -> None:
        """Add a cell after its inputs; one that is there already stays as it is."""
        for source in cell.inputs.values():
            self.add(source)
        self._cells.setdefault(cell.id, cell)

    def of(self, kind: type[K]) -> list[Cell[K]]:
        """Return the cells of one kind so far."""
        return only(self.cells, kind)

    def once(self, key: str, make: Callable[[], T]) -> T:
        """Return what ``make`` made the first time it was asked for under ``key``."""
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]

    @cached_property
    def train_items(self) -> list[ImageItem]:
        """The training images."""
        with self.experiment.placed("data", "train"):
            return self.experiment.optimized.data.train.items()

    @cached_property
    def train_identity(self) -> str:
        """Content identity of the training images."""
        with self.experiment.placed("data", "train"):
            return self.experiment.optimized.data.train.identity(self.train_items)

    @cached_property
    def _test_items(self) -> dict[str, list[ImageItem]]:
        found = {}
        for name, test in self.experiment.optimized.data.test.items():
            with self.experiment.placed("data", "test", name, "images"):
                found[name] = test.images.items()
                _refuse_leak(f"the training set and test set '{name}'", self.train_items, found[name])
        return found

    @cached_property
    def test_identities(self) -> dict[str, str]:
        """Content identity of every test set by name, after checking that training does not use its images."""
        tests = self.experiment.optimized.data.test
        return {name: tests[name].images.identity(items) for name, items in self._test_items.items()}

    @cached_property
    def validation_identity(self) -> str | None:
        """Content identity of the validation images, after checking that neither training nor testing uses them."""
        validation = self.experiment.optimized.super_resolution.validation
        if validation is None:
            return None
        with self.experiment.placed("super_resolution", "validation", "images"):
            items = validation.images.items()
            _refuse_leak("the training set and the validation images", self.train_items, items)
            for name, test in self._test_items.items():
                # Weights that were chosen on the test images would have test scores that are too good.
                _refuse_leak(f"the validation images and test set '{name}'", items, test)
            return validation.images.identity(items)

    @cached_property
    def fr_identities(self) -> dict[str, str]:
        """Content identity of every FR set by name."""
        found = {}
        for name, dataset in self.experiment.assessment.datasets.items():
            with self.experiment.placed("assessment", "datasets", name):
                found[name] = dataset.identity()
        return found


def _refuse_leak(both: str, one: list[ImageItem], other: list[ImageItem]) -> None:
    twins = overlap(one, other)
    if twins:
        first = f"'{twins[0][0].path}' and '{twins[0][1].path}'"
        raise ExperimentError(f"{len(twins)} file(s) are in both {both}, e.g. {first}; remove them from one")
