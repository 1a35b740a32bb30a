"""``lopsided gc``: delete what nobody needs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import console
from .options import flag
from .verify import Folder, existing

SHOWN = 20


def gc(
    store: Folder,
    keep: Annotated[
        list[Path],
        typer.Option(
            "--keep",
            metavar="EXPERIMENT.yaml",
            help="Cells and caches that no experiment given like this needs can go too (repeatable).",
        ),
    ] = [],  # noqa: B006 - typer reads the default
    delete: Annotated[bool, flag("--delete", help="Delete it; without this, it is only shown.")] = False,
) -> None:
    """Show, or delete, what killed runs left, and what no experiment needs any more.

    Example: lopsided gc runs --keep study.yaml --delete
    """
    from .. import experiments

    place = existing(store)
    found = experiments.garbage(place, [experiments.plan(path, store=store) for path in keep])
    lines = [f"{one.path} ({one.size / 2**20:.1f} MiB): {one.why}" for one in found]
    console.some("unneeded", lines, SHOWN if delete else None, "all of them are deleted")
    size = f"{sum(one.size for one in found) / 2**20:.1f} MiB"
    if not delete:
        console.say(f"{len(found)} files and folders, {size}" + ("; --delete deletes them" if found else ""))
        return
    left = experiments.delete_garbage(place, found)
    console.say(f"deleted {len(found) - len(left)} of {len(found)} files and folders, {size} in all")
    for one in left:
        console.tell("note", f"{one.path} is in use again and stays")
