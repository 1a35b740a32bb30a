"""``lopsided diff``: how two cells differ."""

from __future__ import annotations

from typing import Annotated

import typer

from . import console
from .options import RUNS, CellStore


def diff(
    first: Annotated[str, typer.Argument(metavar="CELL", help="ID of a cell, or its beginning.")],
    second: Annotated[str, typer.Argument(metavar="CELL", help="Another one.")],
    store: CellStore = RUNS,
) -> None:
    """Show in which settings two cells differ, how they were made, and whether their outputs are equal.

    Example: lopsided diff 9b9bdf46ce41 5a0b7c2e9d13
    """
    from ..experiments import Store, difference

    found = difference(Store(store), first, second)
    heads = [" ".join(key) for key in (found.first, found.second)]
    for title, rows in (("settings", found.settings), ("made with", found.making)):
        if not rows:
            console.say(f"{title}: equal")
            continue
        table = console.table(title, *heads)
        for row in rows:
            table.add_row(*row)
        console.show(table)
    for name, state in found.outputs:
        console.tell(state, name)
