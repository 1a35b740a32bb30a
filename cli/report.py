"""``lopsided report``: the report of what is done."""

from __future__ import annotations

from . import console
from .options import RUNS, Experiment, Open, Overrides, ReportFolder, StoreFolder


def report(
    experiment: Experiment,
    store: StoreFolder = RUNS,
    set_: Overrides = [],  # noqa: B006 - typer reads the default
    to: ReportFolder = None,
    open_: Open = False,
) -> None:
    """Write the report of everything that is done: one HTML file, with its tables beside it.

    Example: lopsided report study.yaml --open
    """
    from .. import experiments

    planned = experiments.plan(experiment, set_, store=store)
    done = sum(status.state in ("done", "diverged") for _, status in planned.with_status(experiments.Store(store)))
    if done < len(planned.cells):
        console.tell("note", f"{done} of {len(planned.cells)} cells are done; the report is about those")
    path = experiments.report(experiment, store=store, overrides=set_, planned=planned, folder=to)
    console.page("report", path, open_)
