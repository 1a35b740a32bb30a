"""``lopsided run``: compute an experiment."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from ..common.errors import LopsidedError, did_you_mean
from . import console
from .options import (
    RUNS,
    Experiment,
    Hours,
    Looks,
    MostSeeds,
    Only,
    Overrides,
    Skip,
    StoreFolder,
    UntilWhat,
    WorkerCount,
    flag,
    until_of,
)
from .plan import plan

if TYPE_CHECKING:
    from ..experiments import Summary
    from ..experiments.schema.execution import Executor

SHOWN = 5  # failures
RESUMES = "the same command resumes from the last checkpoint"


def run(
    experiment: Experiment,
    store: StoreFolder = RUNS,
    set_: Overrides = [],  # noqa: B006 - typer reads the default
    workers: WorkerCount = None,
    executor: Annotated[
        str | None,
        typer.Option("--executor", metavar="NAME", help="Where they run: serial, local, slurm or ray (docs/scale.md)."),
    ] = None,
    only: Only = [],  # noqa: B006
    skip: Skip = [],  # noqa: B006
    until: UntilWhat = [],  # noqa: B006
    looks: Looks = None,
    most_seeds: MostSeeds = None,
    hours: Hours = None,
    write: Annotated[
        bool, typer.Option("--report/--no-report", metavar="", help="Write the report at the end.")
    ] = True,
    dry_run: Annotated[bool, flag("--dry-run", help="Show what would be computed, as 'lopsided plan' does.")] = False,
) -> None:
    """Compute whatever is not done yet, then write the report. Ctrl-C is safe: the same command resumes.

    On several GPUs, torchrun --nproc-per-node N -m lopsided run … shares each training among N processes, one GPU each.

    Example: lopsided run study.yaml --workers 2
    """
    from .. import experiments

    if until and "RANK" in os.environ:
        raise LopsidedError("--until does not work under torchrun")
    if int(os.environ.get("RANK", "0")) > 0:  # of torchrun
        experiments.follow(experiment, store=store, overrides=set_)
        return
    where = _known(executor)
    if dry_run:
        plan(
            experiment, store, set_, only=only, skip=skip, until=until, looks=looks, most_seeds=most_seeds, hours=hours
        )
        return
    adding = until_of(until, looks, most_seeds, hours)
    if adding and (only or skip):
        raise LopsidedError("--until looks at all results; leave --only and --skip out")
    with console.resumable(RESUMES):
        if adding:
            summary = experiments.run_until(
                experiment,
                adding,
                store=store,
                overrides=set_,
                say=console.say,
                reporter=lambda: experiments.Reporter(console.out),
                workers=workers,
                executor=where,
            )
            planned = experiments.plan(experiment, set_, store=store)
        else:
            planned = experiments.plan(experiment, set_, store=store)
            summary = experiments.run(
                experiment,
                store=store,
                planned=planned,
                reporter=experiments.Reporter(console.out),
                workers=workers,
                executor=where,
                only=only,
                skip=skip,
            )
    tell_summary(summary, len(planned.cells))
    if write and not summary.remaining:
        path = experiments.report(experiment, store=store, overrides=set_, planned=planned, force=False)
        console.say(f"report: {path}")


def tell_summary(summary: Summary, cells: int) -> None:
    """Say what a run did, and exit unless everything that could be computed is."""
    parts = [f"{summary.done} computed", f"{summary.cached} cached"]
    more = {"diverged": summary.diverged, "failed": len(summary.failed), "skipped": summary.skipped}
    parts += [f"{count} {what}" for what, count in {**more, "not reached": summary.remaining}.items() if count]
    console.say(f"{', '.join(parts)} of {cells} cells, in {summary.seconds:.0f} s")
    failures = [f"{cell.title}: {reason}" for cell, reason in summary.failed]
    console.some("failed", failures, SHOWN, "'lopsided status' shows them", problem=True)
    if summary.stopped:
        console.err.print("stopped; the same command resumes")
        raise typer.Exit(console.INTERRUPTED)
    if not summary.ok:
        raise typer.Exit(console.FAILED)


def _known(name: str | None) -> Executor | None:
    """Return the executor of that name.

    Raises:
        LopsidedError: there is none.
    """
    from ..experiments.schema.execution import Executor

    known: tuple[Executor, ...] = get_args(Executor)
    if name is not None and name not in known:
        raise LopsidedError(f"--executor: unknown executor '{name}'; {did_you_mean(name, known)}")
    return name
