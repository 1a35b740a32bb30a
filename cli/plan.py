"""``lopsided plan``: what a run would compute."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from . import console
from .options import RUNS, Experiment, Overrides, StoreFolder, flag

if TYPE_CHECKING:
    from rich.text import Text

    from ..experiments import Status


def plan(
    experiment: Experiment,
    store: StoreFolder = RUNS,
    set_: Overrides = [],  # noqa: B006 - typer reads the default
    every: Annotated[bool, flag("--all", help="Show one row per cell, with its ID.")] = False,
) -> None:
    """Show what a run would compute and what is there already. Nothing is computed.

    An experiment is made of cells: a training, a restored test set, the scores of one judge on it, and so on. Cells
    that another run or another experiment has computed in the same store are not computed again.

    Example: lopsided plan study.yaml --set grid.seed=[0,1]
    """
    from .. import experiments

    planned = experiments.plan(experiment, set_)
    rows: dict[tuple[str, str, str, str, str], int] = {}
    counts = {"new": 0, "cached": 0}
    for cell, status in planned.with_status(experiments.Store(store)):
        counts["cached" if status.state in ("done", "diverged") else "new"] += 1
        name, label = (cell.id, cell.title.removeprefix(f"{cell.stage} ")) if every else ("", cell.row)
        row = (cell.stage, name, label, status.state, _why(status))
        rows[row] = rows.get(row, 0) + 1
    reasons = ["why"] if any(why for *_, why in rows) else []
    ids = ["id"] if every else []
    table = console.table("stage", *ids, "cells", "state", *reasons, whole=["id", "state"])
    for (stage, name, label, state, why), count in rows.items():
        cells = console.text(label, (f" ×{count}" if count > 1 else "", "dim"))
        table.add_row(stage, *([name] if ids else []), cells, _state(state), *([why] if reasons else []))
    console.show(table)
    console.say(f"{counts['new']} new, {counts['cached']} cached of {len(planned.cells)} cells in '{store}'")


def _state(state: str) -> Text:
    return console.state(state, {"pending": "new", "done": "cached"}.get(state))


def _why(status: Status) -> str:
    if status.state == "failed":
        return f"will be tried again: {status.reason}"
    return "" if status.state in ("done", "pending") else status.reason
