"""What one worker does, wherever it runs: take a free cell, compute it, and look again."""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path

from ...common.devices import check_device
from ...common.errors import LopsidedError
from ...sr.trainer import StoppedError
from ..schema.execution import Execution, Workers
from ..stages.cell import Cell
from ..stages.context import Context
from ..stages.stage import Stage
from ..store import Store, disk_errors
from .board import Board, News
from .compute import compute
from .progress import Reporter, SilentReporter
from .stopping import Stop, stop_on_signal

FIRST_WAIT, LONGEST_WAIT = 0.2, 30.0  # seconds between two looks for a free cell
IDLE_SHARE = 0.1  # of the time in which there was none: the wait until the next look


@dataclass(frozen=True)
class Task:
    """What a worker has to know.

    Attributes:
        pending: the cells of the run that had not ended when it began.
        store: the folder of the store, absolute.
        execution: device, threads, checkpoints.
        workers: how many share the cells.
        stages: those that this worker computes; none: all.
        needs: the group it belongs to, with what such workers need.
        visible: what ``CUDA_VISIBLE_DEVICES`` is set to; None: it stays as it is.
    """

    pending: tuple[Cell[Stage], ...]
    store: Path
    execution: Execution
    workers: int = 1
    stages: tuple[str, ...] = ()
    needs: Workers = field(default_factory=Workers)
    visible: str | None = None


def work(board: Board, context: Context, reporter: Reporter, stop: Callable[[], bool]) -> None:
    """Compute what is free until every cell has ended, here or elsewhere, or cannot be computed."""
    most = context.execution.failure_budget
    free_at = time.monotonic()
    while not stop():
        tell(board.look(), context.store, reporter)
        if board.over or board.idle or (most is not None and board.failed > most):
            return
        company = board.next()
        if not company:
            _wait(wait_after(time.monotonic() - free_at), stop)
            tell(board.look(now=True), context.store, reporter)
            continue
        reporter.started(company[0], len(company) - 1)
        try:
            compute(company, context)
        except StoppedError:
            return
        free_at = time.monotonic()
        for cell in company:
            state = context.store.status(cell.stage, cell.id).state
            if state in ("done", "diverged") or (state == "failed" and context.store.index.failed(cell.stage, cell.id)):
                board.settle(cell, state)
            else:
                board.busy([cell])
    tell(board.look(), context.store, reporter)


def tell(news: News, store: Store, reporter: Reporter) -> None:
    """Report what has changed."""
    if isinstance(reporter, SilentReporter):
        return
    for cell, _ in news.ended:
        reporter.ended(cell, store.status(cell.stage, cell.id))
    for cell in news.lost:
        reporter.skipped(cell)


def be_worker(task: Task, asked_by: Collection[int], stop_when: Callable[[], None] | None = None) -> int:
    """Be a worker process of a run: compute what is free until nothing is left; returns the signal that ended it, or 0.

    Args:
        task: what to do.
        asked_by: the signals that ask it to stop; it checkpoints or finishes the cell in hand first.
        stop_when: waits in a thread of its own for another reason to stop, and then sends this process one of them.
    """
    if task.visible is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = task.visible
    set_threads(task.execution.threads)
    store, stop = Store(task.store), Stop()
    try:
        with disk_errors(store.root), store.using_cache(), stop_on_signal(asked_by) as stop:
            if stop_when:
                threading.Thread(target=stop_when, daemon=True).start()
            check_device(task.execution.device)
            context = Context(store, task.execution, stop=stop)
            name = f"{socket.gethostname()} {os.getpid()}"
            work(Board(task.pending, store, task.workers, name, task.stages), context, SilentReporter(), stop)
    except LopsidedError as error:  # the other workers meet the same, or go on without this one
        sys.stderr.write(f"warning: one of the workers ended: {error}\n")
    return stop.number


def wait_after(idle: float) -> float:
    """Return how long to wait until the next look, after so many seconds without a free cell."""
    return min(max(IDLE_SHARE * idle, FIRST_WAIT), LONGEST_WAIT)


def _wait(seconds: float, stop: Callable[[], bool]) -> None:
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0 and not stop():
        time.sleep(min(left, FIRST_WAIT))


def set_threads(threads: int) -> None:
    """Let torch, and libraries that are loaded later, use so many threads of the CPU."""
    import torch

    torch.set_num_threads(threads)
    os.environ["OMP_NUM_THREADS"] = str(threads)
