"""Execute a plan over the store, in this process or by workers elsewhere. Done cells stay as they are."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ...common.devices import check_device
from ...common.errors import did_you_mean
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
from ..store import End, Status, Store, disk_errors
from .board import Board
from .executors.pool import Pool, make_pool
from .progress import Reporter
from .stopping import Stop, stop_on_signal
from .work import Task, set_threads, tell, work

log = logging.getLogger("lopsided")

WATCH_SECONDS = 0.5  # between two looks at what workers have done


@dataclass
class Summary:
    """What a run did; every cell of the plan is counted once.

    Attributes:
        done: computed in this run, by any of its workers.
        cached: done before.
        diverged: trainings that became non-finite, now or before (a result).
        failed: (cell, reason) of those that raised.
        skipped: cells whose input failed or diverged.
        remaining: cells not reached because the run was stopped, or left to others.
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


def execute(
    plan: Plan,
    store: Store,
    execution: Execution,
    reporter: Reporter,
    *,
    only: Sequence[Cell[Stage]] | None = None,
    retry: bool = True,
) -> Summary:
    """Compute every cell of ``plan`` that is not done.

    A cell that fails is recorded with its reason and the run goes on with what does not depend on it; a cell that
    failed in an earlier run is tried again. On SIGINT, SIGTERM or SIGHUP the cells in hand are checkpointed or
    finished, and the run stops; a second Ctrl-C or SIGTERM stops at once, which loses at most the work since the last
    checkpoint.

    Several workers, or several runs started by hand on one store, share the work: a cell belongs to whoever holds its
    lease, and the others go on with what is free. Results do not depend on who computed what.

    Under torchrun this is process 0, which computes everything and asks the others, which run :func:`follow`, to join
    each training.

    Args:
        plan: the cells.
        store: where the cells are.
        execution: the workers, their device, checkpoint interval.
        reporter: follows the run.
        only: the cells to compute if they are not done; None: all.
        retry: try cells again that failed before; otherwise they stay as they are, for whoever joins a run.

    Raises:
        LopsidedError: something a pending cell needs is missing (found before any is computed), or workers under
            torchrun.
    """
    executor = execution.executor or ("serial" if execution.worker_count == 1 else "local")
    execution = _joined(execution, executor)
    began = time.perf_counter()
    before = {cell.id: status for cell, status in plan.with_status(store)}
    settled = ("done", "diverged") if retry else ("done", "diverged", "failed")
    wanted = plan.cells if only is None else only
    pending = [cell for cell in wanted if before[cell.id].state not in settled]
    stopped = False
    _clear(plan, store, before)
    if pending:
        pool = None if executor == "serial" else make_pool(executor)
        states: dict[tuple[str, str], End | None] = {(cell.stage, cell.id): before[cell.id].end for cell in plan.cells}
        set_threads(execution.threads)
        with disk_errors(store.root), store.using_cache(), stop_on_signal() as stop, reporter.running(pending):
            store.index.repair({key: None if retry and state == "failed" else state for key, state in states.items()})
            # The machines of a cluster have devices that this one need not have.
            here = execution if pool is None or pool.here else execution.model_copy(update={"device": "cpu"})
            context = Context(store, here, reporter.step, stop)
            check_device(here.device)
            for stage in STAGES:
                stage.preflight(pending, context)
            if pool is None:
                work(Board(pending, store), context, reporter, stop)
            else:
                del context  # and the networks that the checks have built
                _supervise(pool, _tasks(pending, store, execution, executor), store, reporter, stop)
            stopped = stop()
    current_ranks().agreed(None)  # lets those that follow go
    return _summary(plan, store, before, pending, stopped, time.perf_counter() - began)


def _tasks(pending: Sequence[Cell[Stage]], store: Store, execution: Execution, executor: str) -> list[Task]:
    """Return what each worker is to do.

    Raises:
        ExperimentError: no worker computes the cells of some stage, or a group names one that does not exist.
    """
    groups = execution.groups
    known = list(dict.fromkeys([*(stage.stage for stage in STAGES), *(cell.stage for cell in pending)]))
    for name in (name for group in groups for name in group.stages):
        if name not in known:
            raise ExperimentError(f"execution.workers: unknown stage '{name}'; {did_you_mean(name, known)}")
    for stage in dict.fromkeys(cell.stage for cell in pending):
        if not any(not group.stages or stage in group.stages for group in groups):
            raise ExperimentError(f"execution.workers: no group computes '{stage}'; add it to the stages of one")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = execution.worker_count * execution.threads
    if executor == "local" and threads > cores and execution.threads > 1:
        log.warning(
            "%d workers with %d threads each on %d cores hinder one another; set execution.threads to %d or less",
            execution.worker_count,
            execution.threads,
            cores,
            max(1, cores // execution.worker_count),
        )
    cells, root, count = tuple(pending), store.root.resolve(), execution.worker_count
    return [
        Task(cells, root, execution.of(group), count, group.stages, group)
        for group in groups
        for _ in range(group.count)
    ]


def _supervise(pool: Pool, tasks: Sequence[Task], store: Store, reporter: Reporter, stop: Stop) -> None:
    """Let workers compute the cells, and report what they have done until nothing is left."""
    board, most = Board(tasks[0].pending, store), tasks[0].execution.failure_budget
    try:
        pool.start(tasks)
        while not stop():
            at_work = pool.tend()
            tell(board.look(), store, reporter)
            if board.over or not at_work or (most is not None and board.failed > most):
                break
            time.sleep(WATCH_SECONDS)
    except BaseException:
        pool.stop(at_once=True)
        raise
    try:
        pool.stop()  # nothing is left, or the run stops: a worker finishes or checkpoints its cell and ends
    except KeyboardInterrupt:
        pool.stop(at_once=True)
        raise
    tell(board.look(now=True), store, reporter)
    if not board.over and not stop() and (most is None or board.failed <= most):
        store.check_there()
        raise ExperimentError("no worker is left, and cells are; see above, or the logs of the jobs, why they ended")


def follow(plan: Plan, store: Store, execution: Execution) -> None:
    """Take part in the trainings that process 0 of torchrun calls to, until it is done."""
    execution = _joined(execution, "serial")
    cells = {cell.id: cell for cell in plan.cells}
    set_threads(execution.threads)
    with stop_on_signal():  # a signal stops process 0, which says so to the others
        context = Context(store, execution)
        while called := current_ranks().agreed(""):
            cell = cells[called]
            with contextlib.suppress(DivergedError, StoppedError):
                cell.spec.run(cell, store.folder(cell.stage, cell.id), context)  # only process 0 writes


def _joined(execution: Execution, executor: str) -> Execution:
    """Join torchrun's processes; returns the settings with this process's own device."""
    ranks, device = join_torchrun(execution.device)
    if ranks.count > 1 and executor != "serial":
        raise ExperimentError("under torchrun the processes share each training; leave --workers and --executor out")
    return execution.model_copy(update={"device": device})


def _clear(plan: Plan, store: Store, statuses: Mapping[str, Status]) -> None:
    """Delete what killed runs left in the cache, and in cells that were done when they were killed."""
    clear_leftovers(store.cache)
    for cell in plan.cells:
        work = store.folder(cell.stage, cell.id) / "work"
        if statuses[cell.id].state in ("done", "diverged") and work.exists():
            shutil.rmtree(work, ignore_errors=True)


def _summary(
    plan: Plan,
    store: Store,
    before: Mapping[str, Status],
    pending: Sequence[Cell[Stage]],
    stopped: bool,
    seconds: float,
) -> Summary:
    summary = Summary(stopped=stopped, seconds=seconds)
    wanted = {cell.id for cell in pending}
    for cell in plan.cells:
        status = store.status(cell.stage, cell.id) if cell.id in wanted else before[cell.id]
        if status.state == "done" and cell.id not in wanted:
            summary.cached += 1
        elif status.state == "done":
            summary.done += 1
        elif status.state == "diverged":
            summary.diverged += 1
        elif status.state == "failed":
            summary.failed.append((cell, status.reason))
        elif stopped or cell.id not in wanted:
            summary.remaining += 1
        else:
            summary.skipped += 1
    return summary
