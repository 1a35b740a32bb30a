"""How far a run is, whoever computes it: looked at again and again without reading what was read before."""

from __future__ import annotations

import json
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from .explain import cost
from .planning import Plan, Statuses
from .stages.cell import Cell
from .stages.stage import Stage
from .store import Status, Store
from .store.lease import PROGRESS


@dataclass
class Running:
    """A cell that is being computed.

    Attributes:
        cell: the cell.
        holder: the process that computes it.
        done: how far it is, in its own units; None: not known yet, as in the first ten seconds.
        total: how far it will go.
        note: what its training says, such as the loss.
        seconds: how long it took to get there.
        memory_mb: largest memory of that process, in MiB.
    """

    cell: Cell[Stage]
    holder: str
    done: int | None = None
    total: int | None = None
    note: str = ""
    seconds: float | None = None
    memory_mb: float | None = None

    @property
    def rate(self) -> float | None:
        """Units per second."""
        return self.done / self.seconds if self.done and self.seconds else None


@dataclass
class Look:
    """What was seen.

    Attributes:
        counts: cells by state.
        running: the cells in work.
        per_minute: cells that ended per minute since the first look; None: at the first one.
        seconds_left: time left, by what finished cells took and how many are in work; None: not known.
    """

    counts: Counter[str]
    running: list[Running] = field(default_factory=list)
    per_minute: float | None = None
    seconds_left: float | None = None


class Watcher:
    """Looks at an experiment again and again.

    At each look it lists the cells that have ended and those that have begun. It reads the status of those that ended
    since the last one, and the lease of those in work: a few small files, whatever the size of the experiment.

    Args:
        plan: the experiment.
        store: where its cells are.
    """

    def __init__(self, plan: Plan, store: Store) -> None:
        self._store = store
        self._statuses = dict(zip((cell.id for cell in plan.cells), plan.with_status(store), strict=True))
        self._stages = list(dict.fromkeys(cell.stage for cell in plan.cells))
        self._began, self._at_first = time.monotonic(), self._ended()

    @property
    def statuses(self) -> Statuses:
        """Every cell with what was seen of it."""
        return Statuses(self._statuses.values())

    def look(self) -> Look:
        """Look again."""
        ended = self._store.index.ended(self._stages)
        begun = {cell for _, cell in self._store.cells()}
        running = []
        for cell, status in list(self._statuses.values()):
            if ended.get(cell.id, "") != (status.end or ""):
                status = self._store.status(cell.stage, cell.id)
            elif status.end is None and cell.id in begun:
                holder = self._store.holder(cell.stage, cell.id)
                status = Status("running", f"leased by {holder}") if holder else Status("interrupted")
                if holder:
                    running.append(self._progress(cell, str(holder)))
            self._statuses[cell.id] = cell, status
        minutes = (time.monotonic() - self._began) / 60
        left = cost(self.statuses, self._store)
        return Look(
            Counter(status.state for _, status in self._statuses.values()),
            running,
            (self._ended() - self._at_first) / minutes if minutes > 1 / 60 else None,
            left.seconds / max(1, len(running)) if left.seconds and not left.unknown else None,
        )

    def _ended(self) -> int:
        return sum(status.end is not None for _, status in self._statuses.values())

    def _progress(self, cell: Cell[Stage], holder: str) -> Running:
        try:
            path = self._store.folder(cell.stage, cell.id) / PROGRESS
            record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            return Running(cell, holder, **record)
        except (OSError, ValueError, TypeError):  # nothing is told yet, or it is being written
            return Running(cell, holder)
