"""A part of a plan, by stages, IDs and words."""

from __future__ import annotations

from collections.abc import Sequence

from ..common.errors import did_you_mean
from .schema.errors import ExperimentError
from .stages.cell import Cell
from .stages.stage import Stage


def select(cells: Sequence[Cell[Stage]], only: Sequence[str] = (), skip: Sequence[str] = ()) -> list[Cell[Stage]]:
    """Return the cells that a part of a run needs, in their order.

    A cell is named by its stage, the beginning of its ID (six letters or more), or words that its title has. What
    ``only`` names brings its inputs; what ``skip`` names takes along whatever needs it.

    Args:
        cells: all cells, inputs first.
        only: what is wanted; none: everything.
        skip: what is not.

    Raises:
        ExperimentError: a name fits no cell.
    """
    left_out: set[str] = set()
    for cell in cells:
        if any(_fits(cell, name) for name in skip) or any(one.id in left_out for one in cell.inputs.values()):
            left_out.add(cell.id)
    wanted = {cell.id for cell in cells if not only or any(_fits(cell, name) for name in only)}
    for cell in reversed(cells):
        if cell.id in wanted:
            wanted.update(one.id for one in cell.inputs.values())
    for name in (*only, *skip):
        if not any(_fits(cell, name) for cell in cells):
            stages = list(dict.fromkeys(cell.stage for cell in cells))
            raise ExperimentError(f"no cell is called '{name}'; {did_you_mean(name, stages)}")
    return [cell for cell in cells if cell.id in wanted and cell.id not in left_out]


def _fits(cell: Cell[Stage], name: str) -> bool:
    words = cell.title.split()
    return name == cell.stage or (len(name) >= 6 and cell.id.startswith(name)) or set(name.split()) <= set(words)
