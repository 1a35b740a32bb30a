"""``lopsided status``: how much of an experiment is done."""

from __future__ import annotations

from collections import Counter

from . import console
from .options import RUNS, Experiment, Overrides, StoreFolder

STATES = ("done", "diverged", "failed", "running", "interrupted", "pending")


def status(experiment: Experiment, store: StoreFolder = RUNS, set_: Overrides = []) -> None:  # noqa: B006
    """Count the cells that are done, failed and so on, stage by stage, and say why cells failed or diverged.

    Example: lopsided status study.yaml
    """
    from .. import experiments

    found = experiments.status(experiment, store=store, overrides=set_)
    states = [state for state in STATES if state == "done" or any(s.state == state for _, s in found)]
    table = console.table("stage", *states, "time", numbers=[*states, "time"])
    for stage in dict.fromkeys(cell.stage for cell, _ in found):
        of_stage = [state for cell, state in found if cell.stage == stage]
        counts = Counter(state.state for state in of_stage)
        seconds = sum(state.seconds or 0 for state in of_stage)
        table.add_row(stage, *(str(counts[state] or "·") for state in states), f"{seconds:.0f} s")
    console.show(table)
    for cell, state in found:
        if state.state not in ("done", "pending"):
            console.tell(state.state, f"{cell.title} [{cell.id}]: {state.reason}")
