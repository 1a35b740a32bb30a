"""``lopsided run``: compute an experiment."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from . import console
from .options import RUNS, Experiment, Overrides, StoreFolder

SHOWN = 5  # failures
RESUMES = "the same command resumes from the last checkpoint"


def run(
    experiment: Experiment,
    store: StoreFolder = RUNS,
    set_: Overrides = [],  # noqa: B006 - typer reads the default
    workers: Annotated[
        int, typer.Option("--workers", "-j", metavar="N", min=1, max=1024, help="Processes that share the work.")
    ] = 1,
    write: Annotated[
        bool, typer.Option("--report/--no-report", metavar="", help="Write the report at the end.")
    ] = True,
) -> None:
    """Compute whatever is not done yet, then write the report. Ctrl-C is safe: the same command resumes.

    On several GPUs, torchrun --nproc-per-node N -m lopsided run … shares each training among N processes, one GPU each.

    Example: lopsided run study.yaml --workers 2
    """
    from .. import experiments

    if int(os.environ.get("RANK", "0")) > 0:  # of torchrun
        experiments.follow(experiment, store=store, overrides=set_)
        return
    with console.resumable(RESUMES):
        planned = experiments.plan(experiment, set_)
        summary = experiments.run(
            experiment, store=store, planned=planned, reporter=experiments.Reporter(console.out), workers=workers
        )
    parts = [f"{summary.done} computed", f"{summary.cached} cached"]
    more = {"diverged": summary.diverged, "failed": len(summary.failed), "skipped": summary.skipped}
    parts += [f"{count} {what}" for what, count in {**more, "not reached": summary.remaining}.items() if count]
    console.say(f"{', '.join(parts)} of {len(planned.cells)} cells, in {summary.seconds:.0f} s")
    failures = [f"{cell.title}: {reason}" for cell, reason in summary.failed]
    console.some("failed", failures, SHOWN, "'lopsided status' shows them", problem=True)
    if summary.stopped:
        console.err.print("stopped; the same command resumes")
        raise typer.Exit(console.INTERRUPTED)
    if not summary.ok:
        raise typer.Exit(console.FAILED)
    if write:
        path = experiments.report(experiment, store=store, overrides=set_, planned=planned, force=False)
        console.say(f"report: {path}")
