"""``lopsided worker``: take part in an experiment, from any machine that sees the store."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import console
from .options import Experiment, Only, Overrides, Skip
from .run import tell_summary


def worker(
    store: Annotated[Path, typer.Argument(metavar="STORE", file_okay=False, help="Folder that holds all results.")],
    experiment: Experiment,
    set_: Overrides = [],  # noqa: B006 - typer reads the default
    only: Only = [],  # noqa: B006
    skip: Skip = [],  # noqa: B006
) -> None:
    """Take cells of an experiment that nobody computes, one after the other, until all are done.

    Start as many as you like, on every machine that sees the store: each cell is computed once. A cell that has failed
    stays as it is; 'lopsided run' or 'lopsided retry' tries it again. SIGTERM makes it checkpoint and end.

    Example: lopsided worker runs study.yaml
    """
    from .. import experiments

    with console.resumable("the same command continues where it stopped"):
        planned = experiments.plan(experiment, set_, store=store)
        summary = experiments.run(
            experiment,
            store=store,
            planned=planned,
            reporter=experiments.Reporter(console.out),
            workers=1,
            executor="serial",
            only=only,
            skip=skip,
            retry=False,
        )
    tell_summary(summary, len(planned.cells))
