"""``lopsided status``: how much of an experiment is done."""

from __future__ import annotations

from . import console
from .options import RUNS, Experiment, Overrides, StoreFolder


def status(experiment: Experiment, store: StoreFolder = RUNS, set_: Overrides = []) -> None:  # noqa: B006
    """Count the cells that are done, failed and so on, stage by stage, and say why cells failed or diverged.

    Example: lopsided status study.yaml
    """
    from .. import experiments

    found = experiments.status(experiment, store=store, overrides=set_)
    header, rows = found.by_stage()
    table = console.table(*header, numbers=header[1:])
    for row in rows:
        table.add_row(*row)
    console.show(table)
    for cell, state in found.unfinished():
        console.tell(state.state, f"{cell.title} [{cell.id}]: {state.reason}")
