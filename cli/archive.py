"""``lopsided pack`` and ``lopsided unpack``: results as one file, to move them to another store."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import console
from .options import Only, Overrides, Skip
from .verify import Folder, existing

Archive = Annotated[Path, typer.Argument(metavar="ARCHIVE.tar", dir_okay=False, help="The archive.")]


def pack(
    store: Folder,
    archive: Archive,
    experiment: Annotated[
        Path | None, typer.Argument(metavar="EXPERIMENT.yaml", help="Take the cells of this experiment only.")
    ] = None,
    set_: Overrides = [],  # noqa: B006 - typer reads the default
    only: Only = [],  # noqa: B006
    skip: Skip = [],  # noqa: B006
) -> None:
    """Write finished cells into one file, and the looks of --until at them, with the SHA-256 of all that is in it.

    Example: lopsided pack runs study.tar study.yaml
    """
    from .. import experiments

    cells = looks = None
    if experiment:
        planned = experiments.plan(experiment, set_, store=store)
        cells = [(cell.stage, cell.id) for cell in experiments.select(planned.cells, only, skip)]
        looks = [planned.experiment.name]
    place = existing(store)
    with console.progress("packing", "cells") as progress:
        moved = experiments.pack(place, archive, cells, progress, looks)
    left = f"; {len(moved.unfinished)} that have not ended are left out" if moved.unfinished else ""
    console.say(f"{len(moved.cells)} cells, {moved.size / 2**20:.1f} MiB{_looks(moved.looks)}: {archive}{left}")


def unpack(
    archive: Archive,
    store: Annotated[Path, typer.Argument(metavar="STORE", file_okay=False, help="Folder that holds all results.")],
    most: Annotated[float, typer.Option("--most", metavar="GIB", min=0, help="Refuse an archive of more.")] = 100.0,
) -> None:
    """Add the cells of an archive to a store, once every byte is checked; cells that are there stay as they are.

    Example: lopsided unpack study.tar runs
    """
    from .. import experiments

    with console.progress("unpacking", "cells") as progress:
        moved = experiments.unpack(archive, experiments.Store(store), int(most * 2**30), progress)
    added = f"{len(moved.cells)} cells{_looks(moved.looks)} added to '{store}'"
    console.say(f"{added}, {len(moved.there)} were there already")


def _looks(names: list[str]) -> str:
    return f" and the looks at {', '.join(names)}" if names else ""
