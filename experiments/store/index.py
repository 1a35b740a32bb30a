"""Which cells have ended, as the names of empty files: one listing where statuses would be one read for each cell."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import cast, get_args

from .status import End

_STATES = get_args(End)


class Index:
    """The folder ``index/<stage>/`` with a file ``<id>.<state>`` for each cell that has ended.

    It is a help, and no record: ``status.json`` is. A run compares the two when it begins, and then only looks here.

    Args:
        root: the folder, which need not exist.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def ended(self, stages: Iterable[str]) -> dict[str, End]:
        """Return how the cells of these stages ended, by ID."""
        found: dict[str, End] = {}
        for stage in stages:
            with contextlib.suppress(FileNotFoundError):
                for name in os.listdir(self.root / stage):  # noqa: PTH208 - names are enough
                    cell, _, state = name.rpartition(".")
                    if state in _STATES:
                        found[cell] = cast(End, state)
        return found

    def failed(self, stage: str, cell: str) -> bool:
        """Tell whether a cell has failed since it was last to be tried again."""
        return (self.root / stage / f"{cell}.failed").exists()

    def put(self, stage: str, cell: str, state: End | None) -> None:
        """Note how a cell ended; None: that it has not."""
        folder = self.root / stage
        for other in _STATES:
            if other != state:
                (folder / f"{cell}.{other}").unlink(missing_ok=True)
        if state:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{cell}.{state}").touch()

    def repair(self, states: Mapping[tuple[str, str], End | None]) -> None:
        """Make it agree with what the statuses of these cells, by stage and ID, say."""
        seen = self.ended({stage for stage, _ in states})
        for (stage, cell), state in states.items():
            if seen.get(cell) != state:
                self.put(stage, cell, state)
