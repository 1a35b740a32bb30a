"""Plan an experiment: list its cells, each after the cells it reads."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TypeVar

from ..common.html import html_paragraph, html_table
from .schema.errors import ExperimentError
from .schema.experiment import Experiment
from .stages.cell import Cell, only
from .stages.draft import Draft
from .stages.stage import Stage
from .stages.stage_list import STAGES
from .store import Status, Store
from .store.status import State

K = TypeVar("K", bound=Stage)
STATES: tuple[State, ...] = ("done", "diverged", "failed", "running", "interrupted", "pending")


class Statuses(list[tuple[Cell[Stage], Status]]):
    """Every cell of an experiment with what the store knows of it; a notebook shows how much is done."""

    def by_stage(self) -> tuple[list[str], list[list[str]]]:
        """Return a table with one row per stage: how many cells are in each state, and the time they took."""
        states = [state for state in STATES if state == "done" or any(s.state == state for _, s in self)]
        rows = []
        for stage in dict.fromkeys(cell.stage for cell, _ in self):
            own = [status for cell, status in self if cell.stage == stage]
            counts = Counter(status.state for status in own)
            seconds = sum(status.seconds or 0 for status in own)
            rows.append([stage, *(str(counts[state] or "·") for state in states), f"{seconds:.0f} s"])
        return ["stage", *states, "time"], rows

    def unfinished(self) -> list[tuple[Cell[Stage], Status]]:
        """Return the cells that were begun and are not done, whose status says why."""
        return [(cell, status) for cell, status in self if status.state not in ("done", "pending")]

    def __repr__(self) -> str:
        counts = Counter(status.state for _, status in self)
        return f"Statuses({len(self):,} cells: {', '.join(f'{n:,} {state}' for state, n in counts.items())})"

    def _repr_html_(self) -> str:
        reasons = [f"{status.state}: {cell.title} [{cell.id}]: {status.reason}" for cell, status in self.unfinished()]
        return html_table(*self.by_stage()) + "".join(map(html_paragraph, reasons))


@dataclass(frozen=True, repr=False)
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

    def with_status(self, store: Store) -> Statuses:
        """Return every cell with what the store knows of it."""
        return Statuses((cell, store.status(cell.stage, cell.id)) for cell in self.cells)

    def __repr__(self) -> str:
        return f"Plan({self.experiment.name}: {len(self.cells):,} cells)"

    def _repr_html_(self) -> str:
        """Show what a run would compute, in a notebook: the rows of ``lopsided plan``."""
        rows = Counter((cell.stage, cell.row) for cell in self.cells)
        table = html_table(["stage", "cells", "number"], [(*row, count) for row, count in rows.items()])
        return html_paragraph(f"{self.experiment.name}: {len(self.cells)} cells") + table


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
    if not draft.cells:
        raise ExperimentError(
            f"experiment '{experiment.name}' has nothing to compute: measures need rated sets; give assessment.datasets"
        )
    return Plan(experiment, tuple(draft.cells))
