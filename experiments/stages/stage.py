"""What a stage is: everything the toolkit needs to know about one kind of cell, in one object."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import pandas as pd

from .cell import Cell, CellSpec
from .context import Context
from .draft import Draft


class Stage(CellSpec, ABC):
    """A stage: its cells, and how they are planned, checked, computed and read.

    A subclass is the specification of the stage's cells. Its class methods are about all cells of the stage, its other
    methods about one cell. Planning, executing, progress and tables loop over ``stage_list.STAGES`` and know nothing
    else about stages.

    Attributes:
        distributed: all processes of torchrun compute a cell together, instead of the first one alone.
        announced: cells take long enough that each one's end gets a line in a log.
        has_rows: the states of a cell in which it has rows for the result tables.
    """

    distributed: ClassVar[bool] = False
    announced: ClassVar[bool] = False
    has_rows: ClassVar[tuple[str, ...]] = ("done",)

    @property
    def effort(self) -> float | None:
        """Amount of work, from which progress estimates times until a first cell has ended; None: unknown."""
        return None

    def caches(self) -> tuple[str, ...]:
        """Return the names of the folders in the store's cache that a cell of this spec uses."""
        return ()

    @classmethod
    def plan(cls, draft: Draft) -> Iterable[Cell[Stage]]:  # noqa: ARG003
        """Return the cells that the experiment asks for; cells that are only inputs of others come with those.

        Raises:
            LopsidedError: something that the experiment names is missing or does not fit.
        """
        return ()

    @classmethod
    def preflight(cls, pending: Sequence[Cell[Stage]], context: Context) -> None:
        """Check what could make this stage's cells among ``pending`` fail, before hours of training are spent.

        Raises:
            LopsidedError: the first thing that is missing or does not fit.
        """

    @abstractmethod
    def run(self, cell: Cell[Stage], folder: Path, context: Context) -> None:
        """Compute the outputs of this spec's cell into ``folder``, which is empty.

        They become the cell's when it returns or diverges, and are deleted otherwise; what a later run resumes from
        goes to ``context.work(cell)``.

        Raises:
            DivergedError: training became non-finite; the history is in the folder.
            StoppedError: ``context.stop`` said so; the state to resume from is in the working folder.
            LopsidedError: an input or setting that cannot be used.
        """

    @classmethod
    def run_together(cls, folders: Mapping[Cell[Stage], Path], context: Context) -> None:
        """Compute several cells that agree in ``together``, each into its folder; errors as for :meth:`run`."""
        for cell, folder in folders.items():
            cell.spec.run(cell, folder, context)

    def rows(self, cell: Cell[Stage], folder: Path) -> dict[str, pd.DataFrame]:  # noqa: ARG002
        """Return the rows of this spec's cell by result table.

        Raises:
            ExperimentError: an output is missing or damaged.
        """
        return {}
