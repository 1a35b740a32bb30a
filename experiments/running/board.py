"""Which cells of a run can be computed now: kept up to date by one listing, however many there are."""

from __future__ import annotations

import math
import time
import zlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from ..stages.cell import Cell
from ..stages.stage import Stage
from ..store import End, Store
from ..store.lease import STALE_SECONDS

LOOK_SECONDS = 1.0  # between two listings, while there is something to do
BUSY_SECONDS = 2.0  # for which a cell that another process computes is not looked at again
MOST_LEASES = 20  # looked at in one go
MOST_AGAIN = 5  # of them, those that were held when they were looked at before


@dataclass
class News:
    """What has changed since the last look.

    Attributes:
        ended: cells and how they ended, here or in another process.
        lost: cells that cannot be computed, since an input failed, diverged or is left out of this run.
    """

    ended: list[tuple[Cell[Stage], End]] = field(default_factory=list)
    lost: list[Cell[Stage]] = field(default_factory=list)


class Board:
    """The cells of a run that have not ended, as one process knows them.

    A cell that has ended is never asked after again. Cells whose inputs are missing are not looked at. Of the others,
    those of earlier stages come first; which of a stage comes first differs between workers, so that they seldom meet.

    Args:
        pending: the cells, inputs first.
        store: where they are; its index agrees with it.
        workers: how many processes share the cells.
        name: of this one; empty: it takes the cells in the order of the plan.
        stages: those that this one computes; none: all.
    """

    def __init__(
        self, pending: Sequence[Cell[Stage]], store: Store, workers: int = 1, name: str = "", stages: Sequence[str] = ()
    ) -> None:
        self._store, self._workers = store, workers
        self._remaining = {cell.id: cell for cell in pending}
        self._place = {cell: place for place, cell in enumerate(self._remaining)}
        self._users: dict[str, list[Cell[Stage]]] = defaultdict(list)
        self._missing: dict[str, int] = {}
        self._busy: dict[str, float] = {}
        self._alike: dict[str, list[str]] = defaultdict(list)
        self._together = {cell.id: key for cell in pending if (key := cell.spec.together)}
        self._stages = list(dict.fromkeys(cell.stage for cell in pending))
        self._ready: dict[str, dict[str, Cell[Stage]]] = {
            stage: {} for stage in self._stages if not stages or stage in stages
        }
        self._looked = -math.inf
        self._news = News()
        self.failed = 0
        self._unordered: set[str] = set()
        self._rank = {
            id_: zlib.crc32(f"{name} {id_}".encode()) if name else place for id_, place in self._place.items()
        }
        for cell in sorted(pending, key=lambda cell: self._rank[cell.id]):
            if cell.id in self._together:
                self._alike[self._together[cell.id]].append(cell.id)
            for source in cell.inputs.values():
                self._users[source.id].append(cell)
        before = store.index.ended({source.stage for cell in pending for source in cell.inputs.values()})
        for cell in pending:
            outside = [source.id for source in cell.inputs.values() if source.id not in self._remaining]
            self._missing[cell.id] = len(cell.inputs) - len(outside)
            if any(before.get(source) != "done" for source in outside):
                self._lose(cell)
            elif not self._missing[cell.id]:
                self._free(cell)

    @property
    def over(self) -> bool:
        """Whether every cell has ended or is lost."""
        return not self._remaining

    @property
    def idle(self) -> bool:
        """Whether this process has nothing left that it could ever take."""
        return not any(cell.stage in self._ready for cell in self._remaining.values())

    def look(self, *, now: bool = False) -> News:
        """Return what is new; the index is listed if the last look was a while ago, or ``now``."""
        if now or time.monotonic() - self._looked >= LOOK_SECONDS:
            seen = self._store.index.ended(self._stages)
            self._looked = time.monotonic()
            for cell in sorted(self._remaining.keys() & seen.keys(), key=self._place.__getitem__):
                self.settle(self._remaining[cell], seen[cell])
        news, self._news = self._news, News()
        return news

    def settle(self, cell: Cell[Stage], state: End) -> None:
        """Note that a cell has ended."""
        if self._remaining.pop(cell.id, None) is None:
            return
        self._news.ended.append((cell, state))
        self._ready.get(cell.stage, {}).pop(cell.id, None)
        self.failed += state == "failed"
        for user in self._users[cell.id]:
            if state != "done":
                self._lose(user)
            elif user.id in self._remaining:
                self._missing[user.id] -= 1
                if not self._missing[user.id]:
                    self._free(user)

    def next(self) -> list[Cell[Stage]]:
        """Return a cell that nobody computes, with those that are best computed with it; none: there is none now."""
        for stage in self._ready:
            ready = self._in_order(stage)
            for cell in self._unheld(list(ready.values())):
                alike = [ready[other] for other in self._alike[self._together.get(cell.id, "")] if other in ready]
                share = math.ceil(len(alike) / self._workers)  # the others' is left to them
                if share < 2:
                    return [cell]
                others = self._unheld([other for other in alike if other is not cell])
                return [cell, *(other for other, _ in zip(others, range(share - 1), strict=False))]
        return []

    def _unheld(self, cells: Sequence[Cell[Stage]]) -> Iterator[Cell[Stage]]:
        looks, now = 0, time.monotonic()
        seen = [cell for cell in cells if cell.id in self._busy]
        # A few that were held a while ago, since their holder may be gone; then those that nobody was seen to hold.
        again = [cell for cell in seen if now - self._busy[cell.id] > STALE_SECONDS][:MOST_AGAIN]
        for cell in (*again, *(cell for cell in cells if cell.id not in self._busy), *seen):
            if now - self._busy.get(cell.id, -math.inf) < BUSY_SECONDS:
                continue
            if looks == MOST_LEASES:
                return
            if self._store.holder(cell.stage, cell.id):
                looks += 1
                self._busy[cell.id] = now
            else:
                yield cell

    def busy(self, cells: Sequence[Cell[Stage]]) -> None:
        """Note that others compute these cells."""
        self._busy.update(dict.fromkeys((cell.id for cell in cells), time.monotonic()))

    def _free(self, cell: Cell[Stage]) -> None:
        if cell.stage in self._ready:
            self._ready[cell.stage][cell.id] = cell
            self._unordered.add(cell.stage)

    def _in_order(self, stage: str) -> dict[str, Cell[Stage]]:
        """Return the cells of a stage whose inputs are there, in this worker's order."""
        if stage in self._unordered:
            self._unordered.remove(stage)
            self._ready[stage] = dict(sorted(self._ready[stage].items(), key=lambda one: self._rank[one[0]]))
        return self._ready[stage]

    def _lose(self, cell: Cell[Stage]) -> None:
        if self._remaining.pop(cell.id, None) is None:
            return
        self._news.lost.append(cell)
        for user in self._users[cell.id]:
            self._lose(user)
