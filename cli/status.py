"""``lopsided status``: how much of an experiment is done."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from . import console
from .options import RUNS, Experiment, Overrides, StoreFolder, flag

if TYPE_CHECKING:
    from ..experiments import Look, Running, Watcher

SHOWN = 40  # cells in work


def status(
    experiment: Experiment,
    store: StoreFolder = RUNS,
    set_: Overrides = [],  # noqa: B006 - typer reads the default
    watch: Annotated[bool, flag("--watch", help="Go on showing it until all is done, or Ctrl-C.")] = False,
    every: Annotated[
        float, typer.Option("--every", metavar="SECONDS", min=0.1, help="Seconds between two looks of --watch.")
    ] = 5.0,
    failures: Annotated[bool, flag("--failures", help="Show the traceback and last lines of failed cells.")] = False,
) -> None:
    """Count the cells that are done, failed and so on, stage by stage, and say why cells failed or diverged.

    Example: lopsided status study.yaml --watch
    """
    from .. import experiments

    if watch:
        with console.resumable("the run itself goes on"):
            _watch(
                experiments.Watcher(experiments.plan(experiment, set_, store=store), experiments.Store(store)), every
            )
        return
    found = experiments.status(experiment, store=store, overrides=set_)
    header, rows = found.by_stage()
    table = console.table(*header, numbers=header[1:])
    for row in rows:
        table.add_row(*row)
    console.show(table)
    for cell, state in found.unfinished():
        console.tell(state.state, f"{cell.title} [{cell.id}]: {state.reason}")
        if failures and state.state == "failed":
            for line in experiments.failure_lines(experiments.Store(store), cell.stage, cell.id):
                console.say(f"    {line}")


def _watch(watcher: Watcher, every: float) -> None:
    from rich.live import Live

    with Live(console=console.out, transient=True, auto_refresh=False) as live:
        while True:
            look = watcher.look()
            lines = [_summary(look), *map(_line, look.running[:SHOWN])]
            if len(look.running) > SHOWN:
                lines.append(f"  … and {len(look.running) - SHOWN} more")
            if console.out.is_terminal:
                live.update(console.text("\n".join(lines)), refresh=True)
            else:
                console.say("\n".join(lines))
            if not any(look.counts[state] for state in ("pending", "running", "interrupted")):
                break
            time.sleep(every)
    if console.out.is_terminal:
        console.say(_summary(look))


def _summary(look: Look) -> str:
    parts = [f"{count} {state}" for state, count in sorted(look.counts.items()) if state not in ("done", "pending")]
    parts.insert(0, f"{look.counts['done']}/{sum(look.counts.values())} done")
    if look.per_minute:
        parts.append(f"{look.per_minute:.1f} cells per minute")
    if look.seconds_left:
        parts.append(f"about {console.duration(look.seconds_left)} left")
    return ", ".join(parts)


def _line(one: Running) -> str:
    parts = [f"  {one.cell.title}"]
    if one.done is not None and one.total:
        parts.append(f"{one.done}/{one.total}")
    if one.rate and one.total:
        left = (one.total - (one.done or 0)) / one.rate
        parts.append(f"{one.rate:.1f}/s, {console.duration(left)} left")
    if one.note:
        parts.append(one.note)
    parts.append(one.holder + (f", {one.memory_mb:.0f} MiB" if one.memory_mb else ""))
    return "  ".join(parts)
