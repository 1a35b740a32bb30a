"""``lopsided report``: the report of what is done."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import console
from .options import RUNS, Experiment, Overrides, StoreFolder


def report(
    experiment: Experiment,
    store: StoreFolder = RUNS,
    set_: Overrides = [],  # noqa: B006 - typer reads the default
    to: Annotated[
        Path | None,
        typer.Option(
            "--to",
            metavar="FOLDER",
            file_okay=False,
            help="Folder to write to; default: the experiment's, in the store.",
        ),
    ] = None,
) -> None:
    """Write the report of everything that is done: one HTML file, with its tables beside it.

    Example: lopsided report study.yaml
    """
    from .. import experiments

    planned = experiments.plan(experiment, set_)
    done = sum(status.state in ("done", "diverged") for _, status in planned.with_status(experiments.Store(store)))
    if done < len(planned.cells):
        console.tell("note", f"{done} of {len(planned.cells)} cells are done; the report is about those")
    path = experiments.report(experiment, store=store, overrides=set_, planned=planned, folder=to)
    console.say(f"report: {path}")
