"""Workers as tasks of Ray, on a cluster or on this machine. They pull cells from the store, which all nodes see."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ....common.errors import one_line
from ...schema.errors import ExperimentError
from ..work import Task, be_worker
from .pool import Pool

RESTARTS = 20  # of one worker whose process or node is lost
END_SECONDS = 300.0  # for which workers that were asked to end are waited for


class RayPool(Pool):
    """Tasks of Ray: each is a worker that ends when nothing is left, and starts again elsewhere if its node is lost."""

    def __init__(self) -> None:
        self._refs: list[Any] = []
        self._began = False

    def start(self, tasks: Sequence[Task]) -> None:
        """Join the cluster, or start Ray here, and give it one task per worker."""
        import ray  # pyright: ignore[reportMissingImports]

        address = tasks[0].execution.ray.address
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        try:
            if not ray.is_initialized():
                ray.init(address=address, include_dashboard=False, log_to_driver=True, configure_logging=False)
                self._began = True
        except (ConnectionError, RuntimeError, ValueError, OSError) as error:
            raise ExperimentError(
                f"Ray cannot be reached at '{address or 'this machine'}': {one_line(error)}; see execution.ray.address"
            ) from None
        cells = ray.put(tasks[0].pending)  # once for all: a plan of 10,000 cells is megabytes
        for task in tasks:
            gpus = task.needs.gpus
            worker = ray.remote(max_calls=1)(_work)  # a process of its own, whose memory is free again afterwards
            remote = worker.options(
                num_cpus=task.needs.cpus or task.execution.threads,
                num_gpus=gpus if gpus is not None else float(task.execution.device.startswith("cuda")),
                memory=int(task.needs.memory * 2**30) if task.needs.memory else None,
                max_retries=RESTARTS,
            )
            self._refs.append(remote.remote(replace(task, pending=()), cells))

    def tend(self) -> int:
        """Count the tasks that have not ended; Ray itself starts those again whose process or node is lost."""
        import ray  # pyright: ignore[reportMissingImports]

        ended, waiting = ray.wait(self._refs, num_returns=len(self._refs), timeout=0)
        for ref in ended:
            try:
                ray.get(ref)
            except ray.exceptions.RayError as error:
                raise ExperimentError(f"a worker on Ray ended: {one_line(error)}") from None
        return len(waiting)

    def stop(self, *, at_once: bool = False) -> None:
        """Ask the workers to checkpoint, and wait for them."""
        import ray  # pyright: ignore[reportMissingImports]

        _, waiting = ray.wait(self._refs, num_returns=len(self._refs), timeout=0) if self._refs else ([], [])
        for ref in waiting:
            ray.cancel(ref, force=at_once)  # without force it is a SIGINT
        if waiting:
            ray.wait(waiting, num_returns=len(waiting), timeout=END_SECONDS)
        if self._began:
            ray.shutdown()


def _work(task: Task, cells: tuple[Any, ...]) -> None:
    """Be a worker: this is what a task of Ray runs."""
    be_worker(replace(task, pending=cells), [signal.SIGINT, signal.SIGTERM])
