"""``lopsided compare``: several experiments beside one another."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import console
from .options import RUNS, Open, ReportFolder, StoreFolder


def compare(
    sources: Annotated[
        list[Path], typer.Argument(metavar="EXPERIMENT.yaml...", help="Two experiment files or more, of one store.")
    ],
    store: StoreFolder = RUNS,
    to: ReportFolder = None,
    open_: Open = False,
) -> None:
    """Write a report of several experiments beside one another: which settings differ, and do the results?

    Only what is done counts. A difference is a finding only if it was tested, paired by seed and image.

    Example: lopsided compare first.yaml second.yaml --open
    """
    from .. import experiments

    console.page("comparison", experiments.compare(sources, store=store, folder=to), open_)
