"""Workers as processes of this machine. They end with the process that started them."""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import signal
from collections.abc import Sequence
from dataclasses import replace
from multiprocessing import connection
from multiprocessing.context import SpawnProcess

from ..work import Task, be_worker
from .pool import Pool

log = logging.getLogger("lopsided")

RESTARTS = 20  # of one worker; a cell in which processes die is given up long before


class LocalPool(Pool):
    """Processes of this machine.

    With several GPUs each worker sees one of them, in turn: two workers per GPU where there are twice as many.
    """

    here = True

    def __init__(self) -> None:
        self._tasks: list[Task] = []
        self._processes: list[SpawnProcess] = []
        self._restarts: list[int] = []

    def start(self, tasks: Sequence[Task]) -> None:
        """Start a process for each task."""
        gpus = _gpus() if any(task.execution.device == "cuda" for task in tasks) else []
        for number, task in enumerate(tasks):
            mine = task.execution.device == "cuda" and len(gpus) > 1
            self._tasks.append(replace(task, visible=gpus[number % len(gpus)]) if mine else task)
            self._processes.append(_started(self._tasks[-1]))
            self._restarts.append(0)

    def tend(self) -> int:
        """Start a process again that was killed or crashed: it costs one attempt at one cell."""
        for number, process in enumerate(self._processes):
            if process.exitcode and self._restarts[number] < RESTARTS:
                self._restarts[number] += 1
                log.warning("a worker died (%s); started again", _how(process.exitcode))
                self._processes[number] = _started(self._tasks[number])
        return sum(process.is_alive() for process in self._processes)

    def stop(self, *, at_once: bool = False) -> None:
        """Send them SIGTERM, and wait."""
        for process in self._processes:
            if process.is_alive() and process.pid is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGKILL if at_once else signal.SIGTERM)
        for process in self._processes:
            process.join()


def _started(task: Task) -> SpawnProcess:
    spawn = multiprocessing.get_context("spawn")  # a forked child would inherit torch's threads in an unknown state
    process = spawn.Process(target=_work, args=(task,), daemon=False)
    process.start()
    return process


def _work(task: Task) -> None:
    log.addHandler(logging.NullHandler())
    be_worker(task, [signal.SIGTERM], _end_with_parent)


def _end_with_parent() -> None:
    """Wait until the first process is gone, even by a kill that it could not pass on, and then ask this one to stop."""
    if parent := multiprocessing.parent_process():
        connection.wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)


def _gpus() -> list[str]:
    """Return the names of the GPUs that this process sees."""
    if visible := os.environ.get("CUDA_VISIBLE_DEVICES"):
        return visible.split(",")
    import torch

    return [str(number) for number in range(torch.cuda.device_count())]


def _how(exitcode: int) -> str:
    return f"exit status {exitcode}" if exitcode > 0 else f"signal {signal.Signals(-exitcode).name}"
