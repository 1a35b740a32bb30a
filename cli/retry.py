"""``lopsided retry``: try failed cells again."""

from __future__ import annotations

from . import console
from .options import RUNS, Experiment, Only, Overrides, StoreFolder


def retry(
    experiment: Experiment,
    store: StoreFolder = RUNS,
    set_: Overrides = [],  # noqa: B006 - typer reads the default
    only: Only = [],  # noqa: B006
) -> None:
    """Set failed cells back, so that workers that start from now on take them again; a checkpoint is kept.

    'lopsided run' does this by itself. Nothing is computed here.

    Example: lopsided retry study.yaml --only finetune
    """
    from .. import experiments

    back = experiments.retry(experiment, store=store, overrides=set_, only=only)
    for cell in back:
        console.tell("set back", f"{cell.title} [{cell.id}]")
    console.say(f"{len(back)} failed cells are to be computed again")
