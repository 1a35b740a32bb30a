"""What a run shows: a live bar with rate and time left on a terminal or in a notebook, plain lines in a log."""

from __future__ import annotations

import contextlib
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from ..stages.cell import Cell
from ..stages.stage import Stage
from ..store import Status

UNSEEN_SECONDS = 0.5  # taken for a cell of a stage not yet seen: scoring one cell's images takes about that
PLAIN_SECONDS = 15.0  # in a log, between two lines about the same cell, and after which short cells get a line too


class Reporter:
    """Follows a run. One class for both outputs: the console decides which it is.

    The time left counts the cells that remain at the mean time of their stage so far, see ``_expected``.
    """

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console()
        self._cells: list[Cell[Stage]] = []
        self._waiting: dict[str, Cell[Stage]] = {}
        self._ended = 0
        self._seconds: dict[str, list[float]] = defaultdict(list)
        self._began = self._cell_began = self._last_line = self._shown = time.monotonic()
        self._label = ""
        self._bar: Progress | None = None
        self._tasks: tuple[TaskID, TaskID] | None = None

    @contextlib.contextmanager
    def running(self, cells: Sequence[Cell[Stage]]) -> Iterator[None]:
        """Show progress over ``cells`` while the block runs."""
        self._cells, self._began = list(cells), time.monotonic()
        self._waiting = {cell.id: cell for cell in cells}
        # In a notebook rich draws the bar with ipywidgets; it calls that no terminal.
        if not (self.console.is_terminal or self.console.is_jupyter):
            self._line(f"{len(cells)} cell{'s' * (len(cells) != 1)} to compute")
            yield
            return
        columns = (
            TextColumn("{task.description}"),
            BarColumn(24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
        )
        with Progress(*columns, console=self.console, transient=True) as self._bar:
            total = self._bar.add_task("[bold]cells", total=len(cells), note="preparing")
            self._tasks = (total, self._bar.add_task("", total=None, note=""))
            yield
        self._bar = None

    def started(self, cell: Cell[Stage], others: int = 0) -> None:
        """Note that a cell begins, and how many others with it."""
        self._label = cell.title + (f" and {others} more" if others else "")
        self._cell_began = time.monotonic()
        self._last_line = self._cell_began
        if self._bar and self._tasks:
            self._bar.update(self._tasks[0], note=f"{self._left()}")
            self._bar.reset(self._tasks[1], description=self._label, total=None, note="")

    def step(self, done: int, total: int, note: str) -> None:
        """Note a cell's progress, in its own units (steps, images, pairs)."""
        now = time.monotonic()
        rate = done / max(now - self._cell_began, 1e-9)
        text = f"{rate:.1f}/s  {_duration((total - done) / max(rate, 1e-9))} left  {note}"
        if self._bar and self._tasks:
            self._bar.update(self._tasks[1], completed=done, total=total, note=text)
        elif now - self._last_line >= PLAIN_SECONDS:
            self._last_line = now
            self._line(f"{self._label}: {done}/{total}  {text}")

    def ended(self, cell: Cell[Stage], status: Status) -> None:
        """Note a cell's end, here or in another process."""
        seconds = status.seconds or 0.0
        self._seconds[cell.stage].append(seconds)
        self._advance(cell)
        if status.state != "done":
            self._line(f"{status.state}: {cell.title} [{cell.id}]: {status.reason}")
        elif not self._bar and (cell.spec.announced or time.monotonic() - self._shown >= PLAIN_SECONDS):
            self._line(f"done {self._ended}/{len(self._cells)}: {cell.title} in {_duration(seconds)}; {self._left()}")

    def skipped(self, cell: Cell[Stage]) -> None:
        """Note that a cell cannot be computed because an input is missing."""
        self._advance(cell)
        if cell.spec.effort:  # cells that depend on trainings are only counted at the end
            self._line(f"skipped: {cell.title} [{cell.id}]: its input is not done")

    def _advance(self, cell: Cell[Stage]) -> None:
        self._ended += 1
        self._waiting.pop(cell.id, None)
        if self._bar and self._tasks:
            self._bar.update(self._tasks[0], advance=1)

    def _left(self) -> str:
        seen = [second for seconds in self._seconds.values() for second in seconds]
        if not seen:
            return ""
        work = sum(self._expected(cell) for cell in self._waiting.values())
        # Other workers are counted through the amount of work done so far.
        elapsed = time.monotonic() - self._began
        return f"{_duration(elapsed)} so far, about {_duration(work * elapsed / max(sum(seen), elapsed))} left"

    def _expected(self, cell: Cell[Stage]) -> float:
        """Guess a cell's seconds: as its stage took so far; before that, by its effort where stages state it."""
        if seen := self._seconds.get(cell.stage):
            return sum(seen) / len(seen)
        if cell.spec.effort:
            ended = [c for c in self._cells if c.id not in self._waiting and c.spec.effort]
            effort = sum(c.spec.effort or 0 for c in ended)
            seconds = sum(sum(self._seconds.get(stage, [])) for stage in {c.stage for c in ended})
            return cell.spec.effort * seconds / effort if effort else UNSEEN_SECONDS
        return UNSEEN_SECONDS

    def _line(self, text: str) -> None:
        self._shown = time.monotonic()
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)


class SilentReporter(Reporter):
    """Shows nothing: for all processes but the one that reports."""

    def _line(self, text: str) -> None:
        """Say nothing."""


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
