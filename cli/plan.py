"""``lopsided plan``: what a run would compute."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

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
    flag,
    until_of,
)

if TYPE_CHECKING:
    from rich.text import Text

    from ..experiments import Cost, Status


def plan(
    experiment: Experiment,
    store: StoreFolder = RUNS,
    set_: Overrides = [],  # noqa: B006 - typer reads the default
    every: Annotated[bool, flag("--all", help="Show one row per cell, with its ID.")] = False,
    only: Only = [],  # noqa: B006
    skip: Skip = [],  # noqa: B006
    until: UntilWhat = [],  # noqa: B006
    looks: Looks = None,
    most_seeds: MostSeeds = None,
    hours: Hours = None,
) -> None:
    """Show what a run would compute and why, what is there already, and what it will take. Nothing is computed.

    An experiment is made of cells: a training, a restored test set, the scores of one judge on it, and so on. Cells
    that another run or another experiment has computed in the same store are not computed again.

    Example: lopsided plan study.yaml --set grid.seed=[0,1]
    """
    from .. import experiments

    place, adding = experiments.Store(store), until_of(until, looks, most_seeds, hours)
    planned = experiments.plan(experiment, set_, store=store)
    record = None
    if adding:
        record = experiments.begin(experiments.load_experiment(experiment, set_), place, adding)
        planned = experiments.plan_of(planned.experiment, record)
    statuses = planned.with_status(place)
    if only or skip:
        wanted = {cell.id for cell in experiments.select(planned.cells, only, skip)}
        statuses = experiments.Statuses(pair for pair in statuses if pair[0].id in wanted)
    reasons_of = experiments.reasons(statuses, place)
    rows: dict[tuple[str, str, str, str, str], int] = {}
    counts = {"new": 0, "cached": 0}
    for cell, status in statuses:
        counts["cached" if status.state in ("done", "diverged") else "new"] += 1
        name, label = (cell.id, cell.title.removeprefix(f"{cell.stage} ")) if every else ("", cell.row)
        row = (cell.stage, name, label, status.state, _why(status) or reasons_of.get(cell.id, ""))
        rows[row] = rows.get(row, 0) + 1
    reasons = ["why"] if any(why for *_, why in rows) else []
    ids = ["id"] if every else []
    table = console.table("stage", *ids, "cells", "state", *reasons, whole=["id", "state"])
    for (stage, name, label, state, why), count in rows.items():
        cells = console.text(label, (f" ×{count}" if count > 1 else "", "dim"))
        table.add_row(stage, *([name] if ids else []), cells, _state(state), *([why] if reasons else []))
    console.show(table)
    console.say(f"{counts['new']} new, {counts['cached']} cached of {len(statuses)} cells in '{store}'")
    if counts["new"] and (line := _costs(experiments.cost(statuses, place))):
        console.say(line)
    if record and counts["new"]:
        console.say(
            f"look {len(record.looks) + 1} of {record.planned} comes when these {len(record.seeds)} seeds are done"
        )
    elif record and adding:
        for line in experiments.look_at_results(planned, place, record, adding)[1]:
            console.say(line)


def _costs(cost: Cost) -> str:
    parts = []
    if cost.seconds:
        time, size = console.duration(cost.seconds), f"{cost.size / 2**20:.0f} MiB"
        parts.append(f"as finished ones did, the new ones will take about {time} of one worker and {size}")
    if cost.unknown and parts:
        parts.append(f"nothing is known yet of {', '.join(cost.unknown)}")
    return "; ".join(parts)


def _state(state: str) -> Text:
    return console.state(state, {"pending": "new", "done": "cached"}.get(state))


def _why(status: Status) -> str:
    if status.state == "failed":
        return f"will be tried again: {status.reason}"
    return "" if status.state in ("done", "pending") else status.reason
