"""``lopsided verify``: are the results still what was computed?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..common.errors import LopsidedError
from . import console
from .options import Overrides, flag

if TYPE_CHECKING:
    from ..experiments import Store

Folder = Annotated[Path, typer.Argument(metavar="STORE", file_okay=False, help="Folder that holds all results.")]
SHOWN = 20  # dependants named per damaged cell


def existing(folder: Path) -> Store:
    """Return the store in a folder.

    Raises:
        LopsidedError: there is none.
    """
    from ..experiments import Store

    if not (folder / "cells").is_dir():
        raise LopsidedError(f"'{folder}' is not a store: it has no folder 'cells'")
    return Store(folder)


def verify(
    store: Folder,
    experiment: Annotated[
        Path | None, typer.Argument(metavar="EXPERIMENT.yaml", help="Check the cells of this experiment only.")
    ] = None,
    set_: Overrides = [],  # noqa: B006 - typer reads the default
    repair: Annotated[
        bool, flag("--repair", help="Set damaged cells, and those made from them, back: the next run computes them.")
    ] = False,
    record: Annotated[
        bool, flag("--record", help="Record the files of cells of which an older version recorded nothing.")
    ] = False,
) -> None:
    """Compare every result with what was recorded when it was computed, and name what depends on damage.

    Example: lopsided verify runs study.yaml
    """
    from .. import experiments

    place = existing(store)
    cells = (
        [(cell.stage, cell.id) for cell in experiments.plan(experiment, set_, store=store).cells]
        if experiment
        else None
    )
    with console.progress("checking", "cells") as progress:
        found = experiments.verify(place, cells, progress)
    for fault in found.faults:
        console.tell("wrong", f"{' '.join(fault.cell)}: {fault.reason}", problem=True)
        names = [" ".join(cell) for cell in fault.dependants]
        console.some("made from it", names, SHOWN, "the next run computes all of them", problem=True)
    damaged = len({cell for fault in found.faults for cell in (fault.cell, *fault.dependants)})
    console.say(
        f"compared {found.files} files of {found.cells} cells; damaged cells: {len(found.faults)}, "
        f"others made from them: {damaged - len(found.faults)}"
    )
    if found.unrecorded and record:
        experiments.record_outputs(place, found)
        console.say(f"recorded the files of {len(found.unrecorded)} cells as they are now")
    elif found.unrecorded:
        console.tell(
            "note",
            f"nothing is recorded of the files of {len(found.unrecorded)} cells, which an older version computed; "
            "--record does it now",
        )
    if found.faults and repair:
        cells = experiments.repair(place, found)
        console.say(f"set {len(cells)} cells back; 'lopsided run' computes them again")
    elif found.faults:
        console.tell("note", "--repair sets these cells back, and the next run computes them again")
        raise typer.Exit(console.FAILED)
