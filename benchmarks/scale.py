"""A simulation of 10,000 cells on 500 workers of which 5 % are lost: time, and what the store's file system sees.

    python benchmarks/scale.py [--cells 10000] [--workers 500] [--losses 0.05] [--seed 0]

The rules by which workers choose, look and wait are lopsided's own (``running/board.py``, ``running/work.py``); time
and the store are simulated. A lost worker does not come back; its cell is free for others when they have seen its lease
unchanged for a minute, and a training goes on from its last checkpoint. The durations, in minutes: pretraining 30,
fine-tuning 30, restoring 2, judging 3, each with a lognormal spread of 0.3.

The bound is the longer of the critical path (the longest chain) and the area: the earliest end of a pretraining plus
all other work divided by the number of workers. No schedule need reach it: who does not know durations can begin a long
training last. So a list schedule without delays and losses is computed as well.
"""

from __future__ import annotations

import argparse
import heapq
import random
import resource
from collections import Counter, defaultdict
from types import SimpleNamespace
from typing import Any, ClassVar

from lopsided.experiments.running import board as board_module
from lopsided.experiments.running.board import Board
from lopsided.experiments.running.work import wait_after
from lopsided.experiments.stages.cell import Cell, CellSpec
from lopsided.experiments.store.lease import HEARTBEAT_SECONDS, STALE_SECONDS

MINUTES = {"pretrain": 30.0, "finetune": 30.0, "restore": 2.0, "judge": 3.0}
CHECKPOINT = 300.0  # seconds between two checkpoints of a training
# What each thing costs: operations that a network file system sees. A listing is read in parts of some 400 names.
LEASE, FINISH, NAMES = 12, 20, 400


class Piece(CellSpec):
    """A cell of which nothing but its place in the plan counts."""

    stage: ClassVar[str] = ""
    number: int

    def content(self) -> dict[str, Any]:
        """The number."""
        return {"number": self.number}


KINDS: dict[str, Any] = {
    name: type(name.title(), (Piece,), {"stage": name, "__module__": __name__}) for name in MINUTES
}


def plan(count: int) -> list[Cell[Any]]:
    """Return cells in the shape of a study: a pretraining per 100 fine-tunings, a test set, three judges."""
    cells: list[Cell[Any]] = []
    number = 0

    def made(stage: str, **inputs: Cell[Any]) -> Cell[Any]:
        nonlocal number
        number += 1
        cells.append(Cell(KINDS[stage](number=number), inputs))
        return cells[-1]

    tunings = max(1, count // 5)
    first = [made("pretrain") for _ in range(max(1, tunings // 100))]
    tuned = [made("finetune", start=first[index % len(first)]) for index in range(tunings)]
    restored = [made("restore", generator=one) for one in tuned]
    while number < count:
        made("judge", images=restored[number % len(restored)])
    return cells


class Simulation:
    """The store and the workers.

    Args:
        cells: the plan.
        workers: how many.
        losses: share of them that are lost, at random moments.
        draw: what decides.
    """

    def __init__(self, cells: list[Cell[Any]], workers: int, losses: float, draw: random.Random) -> None:
        self.cells, self.workers, self.draw = cells, workers, draw
        self.seconds = {cell.id: 60 * MINUTES[cell.stage] * draw.lognormvariate(0, 0.3) for cell in cells}
        self.now = 0.0
        self.operations: Counter[str] = Counter()
        self.per_second: Counter[int] = Counter()
        self._ended: dict[str, str] = {}
        self._leases: dict[str, int] = {}
        self._left = dict(self.seconds)
        self._dead: set[int] = set()
        self.lost = 0.0
        bound = self.bound()
        self._losses = {worker: draw.uniform(0, bound) for worker in draw.sample(range(workers), int(losses * workers))}
        board_module.time = SimpleNamespace(monotonic=lambda: self.now)  # pyright: ignore[reportAttributeAccessIssue]

    def bound(self) -> float:
        """Return the least time in which all could be done."""
        longest: dict[str, float] = {}
        for cell in self.cells:
            longest[cell.id] = self.seconds[cell.id] + max((longest[s.id] for s in cell.inputs.values()), default=0.0)
        first = [self.seconds[cell.id] for cell in self.cells if cell.stage == "pretrain"]
        others = sum(self.seconds[cell.id] for cell in self.cells if cell.stage != "pretrain")
        return max(*longest.values(), min(first) + others / self.workers)

    def ideal(self) -> float:
        """Return the time of a list schedule: every worker knows at once what is free, and none is lost.

        It takes earlier stages first and knows no durations, as real workers do.
        """
        order = {stage: place for place, stage in enumerate(MINUTES)}
        users: dict[str, list[Cell[Any]]] = defaultdict(list)
        for cell in self.cells:
            for source in cell.inputs.values():
                users[source.id].append(cell)
        ready = [(order[cell.stage], cell.id, cell) for cell in self.cells if not cell.inputs]
        heapq.heapify(ready)
        running: list[tuple[float, str, Cell[Any]]] = []
        now = 0.0
        while ready or running:
            while ready and len(running) < self.workers:
                _, _, cell = heapq.heappop(ready)
                heapq.heappush(running, (now + self.seconds[cell.id], cell.id, cell))
            now, _, cell = heapq.heappop(running)
            for user in users[cell.id]:  # each cell here has one input at most
                heapq.heappush(ready, (order[user.stage], user.id, user))
        return now

    def count(self, what: str, operations: int) -> None:
        """Note operations of the store."""
        self.operations[what] += operations
        self.per_second[int(self.now)] += operations

    def store(self) -> Any:
        """Return the store as one worker sees it."""
        seen: dict[str, float] = {}

        def holder(_stage: str, cell: str) -> int | None:
            self.count("leases read", 2)
            by = self._leases.get(cell)
            if by is None or by not in self._dead:
                return by
            return by if self.now - seen.setdefault(f"{cell} {by}", self.now) <= STALE_SECONDS else None

        def ended(_stages: object) -> dict[str, str]:
            self.count("listings", 4 + len(self._ended) // NAMES)
            return self._ended

        return SimpleNamespace(holder=holder, index=SimpleNamespace(ended=ended))

    def run(self) -> float:
        """Simulate all; returns the time when the last cell has ended."""
        boards = [Board(self.cells, self.store(), self.workers, f"worker {w}") for w in range(self.workers)]
        free_at = [0.0] * self.workers
        events: list[tuple[float, int, Cell[Any] | None]] = [
            (self.draw.uniform(0, 30), w, None) for w in range(self.workers)
        ]
        heapq.heapify(events)
        last = 0.0
        while events:
            self.now, worker, cell = heapq.heappop(events)
            board = boards[worker]
            if self.now >= self._losses.get(worker, float("inf")):
                self._dead.add(worker)
                continue
            if cell is not None and self._leases.get(cell.id) == worker:
                self.count("cells ended", FINISH)
                del self._leases[cell.id]
                self._ended[cell.id] = "done"
                board.settle(cell, "done")
                free_at[worker], last = self.now, max(last, self.now)
            board.look(now=cell is None)
            if board.over:
                continue
            company = board.next()
            if not company:
                heapq.heappush(events, (self.now + wait_after(self.now - free_at[worker]), worker, None))
                continue
            (chosen,) = company
            self.count("leases taken", LEASE)
            self._leases[chosen.id] = worker
            end = self.now + self._left[chosen.id]
            self.count("heartbeats", int(self._left[chosen.id] / HEARTBEAT_SECONDS))
            death = self._losses.get(worker, float("inf"))
            if death < end:
                done = death - self.now
                kept = done // CHECKPOINT * CHECKPOINT if chosen.stage in ("pretrain", "finetune") else 0.0
                self._left[chosen.id] -= kept
                self.lost += done - kept
                end = death
            heapq.heappush(events, (end, worker, chosen))
        if len(self._ended) != len(self.cells):
            raise AssertionError(f"{len(self._ended)} of {len(self.cells)} cells have ended")
        return last


def main() -> None:
    """Simulate, and say how long it took and what the file system saw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=500)
    parser.add_argument("--losses", type=float, default=0.05)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    cells = plan(options.cells)
    simulation = Simulation(cells, options.workers, options.losses, random.Random(options.seed))
    bound, ideal, took = simulation.bound(), simulation.ideal(), simulation.run()
    print(f"{len(cells)} cells: {dict(Counter(cell.stage for cell in cells))}; {options.workers} workers")
    print(f"makespan {took / 3600:.2f} h, bound {bound / 3600:.2f} h, ratio {took / bound:.3f}")
    print(f"a list schedule that knows all at once and loses nobody: {ideal / 3600:.2f} h, ratio {took / ideal:.3f}")
    print(f"work lost with workers: {simulation.lost / 3600:.1f} h")
    total = sum(simulation.operations.values())
    busiest = sorted(simulation.per_second.values())
    print(f"operations of the store: {total}, {total / took:.0f} per second; {dict(simulation.operations)}")
    print(f"busiest second {busiest[-1]}, 99 % of the seconds below {busiest[int(0.99 * len(busiest))]}")
    print(f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.1f} GiB at the peak")


if __name__ == "__main__":
    main()
