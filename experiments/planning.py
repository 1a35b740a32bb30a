"""Plan an experiment: list its cells, each after the cells it reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from .schema.experiment import Experiment
from .stages.cell import Cell, only
from .stages.draft import Draft
from .stages.stage import Stage
from .stages.stage_list import STAGES
from .store import Status, Store

K = TypeVar("K", bound=Stage)


@dataclass(frozen=True)
class Plan:
    """The cells of an experiment.

    Attributes:
        experiment: what was planned.
        cells: every cell once, inputs first.
    """

    experiment: Experiment
    cells: tuple[Cell[Stage], ...]

    def of_stage(self, stage: str) -> list[Cell[Stage]]:
        """Return the cells of the stage with that name."""
        return [cell for cell in self.cells if cell.stage == stage]

    def of(self, kind: type[K]) -> list[Cell[K]]:
        """Return the cells of one kind."""
        return only(self.cells, kind)

    def with_status(self, store: Store) -> list[tuple[Cell[Stage], Status]]:
        """Return every cell with what the store knows of it."""
        return [(cell, store.status(cell.stage, cell.id)) for cell in self.cells]


def make_plan(experiment: Experiment) -> Plan:
    """Plan an experiment: ask every stage for its cells.

    Raises:
        ExperimentError: images that are missing or ambiguous, a file that is both in the training set and in a test
            set, a grid without cells, or whatever else a stage refuses.
    """
    draft = Draft(experiment)
    for stage in STAGES:
        for cell in stage.plan(draft):
            draft.add(cell)
    return Plan(experiment, tuple(draft.cells))
