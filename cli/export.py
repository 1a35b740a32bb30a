"""``lopsided export``: give a trained generator to other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import console
from .options import RUNS, Architecture, CellStore, Scale


def export(
    source: Annotated[
        str, typer.Argument(metavar="CELL|FILE", help="ID or folder of a finished cell; or a file of weights.")
    ],
    to: Annotated[Path, typer.Argument(metavar="OUT", help="File to write: .safetensors, or .pth for BasicSR.")],
    name: Architecture = None,
    scale: Scale = None,
    store: CellStore = RUNS,
    licence: Annotated[
        str | None, typer.Option("--licence", metavar="TEXT", help="Licence of the weights, written into the file.")
    ] = None,
    compact: Annotated[
        bool, typer.Option("--compact", help="Without masks and indices: smaller, but only lopsided loads it.")
    ] = False,
) -> None:
    """Write a trained generator as a file that other programs load: BasicSR, spandrel, and programs built on spandrel.

    Example: lopsided export 9b9bdf46ce41 x4.safetensors
    """
    from ..experiments import find_generator
    from ..sr.export import export_generator, load_exported, read_metadata

    path, origin = find_generator(source, store)
    loaded = load_exported(path, name, scale)
    # What an exported file says about its own training stays.
    kept = {key: value for key, value in read_metadata(path).items() if key in ("training", "licence")}
    stated = {"training": origin, **kept, **({"licence": licence} if licence else {})}
    export_generator(to, loaded, stated, compact=compact)
    console.say(f"{loaded.spec.name} ×{loaded.scale}: {to}")
