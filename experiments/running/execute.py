"""Execute a plan over the store, in this process and optionally others beside it. Done cells stay as they are."""

from __future__ import annotations

import contextlib
import logging
import math
import multiprocessing
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from multiprocessing import connection
from typing import Literal

from ...common.devices import check_device
from ...common.errors import LopsidedError
from ...common.files import clear_leftovers
from ...sr import DivergedError
from ...sr.distributed import current_ranks, join_torchrun
from ...sr.trainer import StoppedError
from ..planning import Plan
from ..schema.errors import ExperimentError
from ..schema.execution import Execution
from ..stages.cell import Cell
from ..stages.context import Context
from ..stages.stage import Stage
from ..stages.stage_list import STAGES
from ..store import Status, Store, disk_errors
from .compute import compute
from .progress import Reporter, SilentReporter
from .stopping import stop_on_signal

log = logging.getLogger("lopsided")

POLL_SECONDS = 0.2  # seconds between two checks of cells that other processes are computing

Failures = Mapping[str, float | None]  # when each cell failed in an earlier run, so that a failure in this one is told


@dataclass
class Summary:
    """What a run did; every cell of the plan is counted once.

    Attributes:
        done: computed in this run, by any of its workers.
        cached: done before.
        diverged: trainings that became non-finite, now or before (a result).
        failed: (cell, reason) of those that raised.
        skipped: cells whose input failed or diverged.
        remaining: cells not reached because the run was stopped.
        seconds: wall time.
    """

    done: int = 0
    cached: int = 0
    diverged: int = 0
    failed: list[tuple[Cell, str]] = field(default_factory=list)
    skipped: int = 0
    remaining: int = 0
    stopped: bool = False
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether everything that could be computed is."""
        return not self.failed and not self.stopped


def execute(plan: Plan, store: Store, execution: Execution, reporter: Reporter, workers: int = 1) -> Summary:
    """Compute every cell of ``plan`` that is not done.

    A cell that fails is recorded with its reason and the run goes on with what does not depend on it; a cell that
    failed in an earlier run is tried again. On SIGINT, SIGTERM or SIGHUP the cell in hand is checkpointed or finished,
    and the run stops; a second Ctrl-C or SIGTERM stops at once, which loses at most the work since the last checkpoint.

    Several workers, or several runs started by hand on one store, share the work: a cell belongs to whoever holds its
    lease, and the others go on with what is free. Results do not depend on who computed what.

    Under torchrun this is process 0, which computes everything and asks the others, which run :func:`follow`, to join
    each training.

    Args:
        plan: the cells.
        store: where the cells are.
        execution: threads, device, checkpoint interval.
        reporter: follows the run.
        workers: processes, this one included.

    Raises:
        LopsidedError: something a pending cell needs is missing (found before any is computed), or workers under
            torchrun.
    """
    execution = _joined(execution, workers)
    began = time.perf_counter()
    before = {cell.id: status for cell, status in plan.with_status(store)}
    pending = [cell for cell in plan.cells if before[cell.id].state not in ("done", "diverged")]
    stopped = False
    _clear(plan, store, before)
    if pending:
        failures = {cell.id: before[cell.id].ended for cell in pending}
        _set_threads(execution.threads)
        with disk_errors(store.root), store.using_cache(), stop_on_signal() as stop, reporter.running(pending):
            context = Context(store, execution, reporter.step, stop)
            check_device(execution.device)
            for stage in STAGES:
                stage.preflight(pending, context)
            with _helpers(workers, pending, store, execution, failures):
                _work(pending, context, reporter, stop, failures, workers)
            stopped = stop()
    current_ranks().agreed(None)  # lets those that follow go
    return _summary(plan, store, before, stopped, time.perf_counter() - began)


def follow(plan: Plan, store: Store, execution: Execution) -> None:
    """Take part in the trainings that process 0 of torchrun calls to, until it is done."""
    execution = _joined(execution, 1)
    cells = {cell.id: cell for cell in plan.cells}
    _set_threads(execution.threads)
    with stop_on_signal():  # a signal stops process 0, which says so to the others
        context = Context(store, execution)
        while called := current_ranks().agreed(""):
            cell = cells[called]
            with contextlib.suppress(DivergedError, StoppedError):
                cell.spec.run(cell, store.folder(cell.stage, cell.id), context)  # only process 0 writes


def _joined(execution: Execution, workers: int) -> Execution:
    """Join torchrun's processes; returns the settings with this process's own device."""
    ranks, device = join_torchrun(execution.device)
    if ranks.count > 1 and workers > 1:
        raise ExperimentError("under torchrun the processes share each training; leave --workers out")
    return execution.model_copy(update={"device": device})


def _work(
    pending: list[Cell[Stage]],
    context: Context,
    reporter: Reporter,
    stop: Callable[[], bool],
    failures: Failures,
    workers: int,
) -> None:
    """Go over the cells until each is computed, here or elsewhere, or cannot be computed."""
    store = context.store
    remaining, lost = {cell.id: cell for cell in pending}, set[str]()

    def look(cell: Cell[Stage]) -> Literal["ended", "lost", "waiting", "free"]:
        status = store.status(cell.stage, cell.id)
        if status.state in ("done", "diverged") or (status.state == "failed" and status.ended != failures.get(cell.id)):
            return "ended"
        inputs = {source.id: store.status(source.stage, source.id).state for source in cell.inputs.values()}
        if any(source in lost or state == "diverged" for source, state in inputs.items()):
            return "lost"
        return "waiting" if status.state == "running" or any(s != "done" for s in inputs.values()) else "free"

    while remaining and not stop():
        idle = True
        for cell in list(remaining.values()):
            if stop():
                return
            if cell.id not in remaining:  # computed together with one before it
                continue
            if (seen := look(cell)) == "waiting":
                continue
            if seen == "lost":
                lost.add(cell.id)
                del remaining[cell.id]
                reporter.skipped(cell)
                continue
            company = [cell]
            if seen == "free":
                if cell.spec.together:
                    alike = [other for other in remaining.values() if other.spec.together == cell.spec.together]
                    free = [other for other in alike if look(other) == "free"]
                    company = free[: math.ceil(len(free) / workers)] or company  # the others' share is left to them
                reporter.started(company[0], len(company) - 1)
                try:
                    if compute(company, context):
                        idle = False
                except StoppedError:
                    return
            for ended in [one for one in company if look(one) == "ended"]:
                status = store.status(ended.stage, ended.id)
                if status.state != "done":
                    lost.add(ended.id)
                del remaining[ended.id]
                reporter.ended(ended, status)
        if idle and remaining:
            time.sleep(POLL_SECONDS)


@contextlib.contextmanager
def _helpers(
    workers: int, pending: list[Cell[Stage]], store: Store, execution: Execution, failures: Failures
) -> Iterator[None]:
    """Run the other workers over the same cells while the block runs; they are told to stop when it ends early."""
    spawn = multiprocessing.get_context("spawn")  # a forked child would inherit torch's threads in an unknown state
    processes = [
        spawn.Process(target=_help, args=(pending, store, execution, failures, workers), daemon=False)
        for _ in range(workers - 1)
    ]
    for process in processes:
        process.start()
    try:
        yield
    finally:
        for process in processes:
            if process.is_alive() and process.pid is not None:
                # Nothing is left to take, or the run is stopping: a helper finishes or checkpoints its cell and ends.
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGTERM)
        try:
            for process in processes:
                process.join()
        except KeyboardInterrupt:
            for process in processes:
                process.kill()
            raise


def _help(pending: list[Cell[Stage]], store: Store, execution: Execution, failures: Failures, workers: int) -> None:
    _set_threads(execution.threads)
    log.addHandler(logging.NullHandler())
    try:
        with disk_errors(store.root), store.using_cache(), stop_on_signal(helper=True) as stop:
            threading.Thread(target=_end_with_parent, daemon=True).start()
            context = Context(store, execution, stop=stop)
            _work(pending, context, SilentReporter(), stop, failures, workers)
    except LopsidedError as error:  # the first process meets the same, or goes on without this one
        sys.stderr.write(f"warning: one of the workers ended: {error}\n")


def _end_with_parent() -> None:
    """Wait until the first process is gone, even by a kill that it could not pass on, and then ask this one to stop."""
    if parent := multiprocessing.parent_process():
        connection.wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)


def _clear(plan: Plan, store: Store, statuses: Mapping[str, Status]) -> None:
    """Delete what killed runs left in the cache, and in cells that were done when they were killed."""
    clear_leftovers(store.cache)
    for cell in plan.cells:
        work = store.folder(cell.stage, cell.id) / "work"
        if statuses[cell.id].state in ("done", "diverged") and work.exists():
            shutil.rmtree(work, ignore_errors=True)


def _summary(plan: Plan, store: Store, before: Mapping[str, Status], stopped: bool, seconds: float) -> Summary:
    summary = Summary(stopped=stopped, seconds=seconds)
    for cell, status in plan.with_status(store):
        if status.state == "done" and before[cell.id].state == "done":
            summary.cached += 1
        elif status.state == "done":
            summary.done += 1
        elif status.state == "diverged":
            summary.diverged += 1
        elif status.state == "failed":
            summary.failed.append((cell, status.reason))
        elif stopped:
            summary.remaining += 1
        else:
            summary.skipped += 1
    return summary


def _set_threads(threads: int) -> None:
    import torch

    torch.set_num_threads(threads)
    os.environ["OMP_NUM_THREADS"] = str(threads)
