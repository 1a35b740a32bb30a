"""``lopsided report``: the report of what is done."""

from __future__ import annotations

from . import console
from .options import RUNS, Experiment, Overrides, StoreFolder


def report(experiment: Experiment, store: StoreFolder = RUNS, set_: Overrides = []) -> None:  # noqa: B006
    """Write the report of everything that is done: one HTML file, with its tables beside it.

    Example: lopsided report study.yaml
    """
    from ..experiments import api

    console.say(f"report: {api.report(experiment, store=store, overrides=set_)}")
