"""Execute a plan over the store, in this process and optionally others beside it. Done cells stay as they are."""

from __future__ import annotations

import contextlib
import errno
import logging
import math
import multiprocessing
import os
import shutil
import signal
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, Literal

from ...common.errors import LopsidedError
from ...common.files import write_json
from ...sr import DivergedError
from ...sr.distributed import current_ranks, join_torchrun
from ...sr.trainer import StoppedError
from ..planning import Plan
from ..schema.errors import ExperimentError
from ..schema.execution import Execution
from ..stages.cell import Cell
from ..stages.train import TrainingCell
from ..store import LeasedError, Store
from .progress import Reporter, SilentReporter
from .provenance import peak_memory_mb, provenance

log = logging.getLogger("lopsided")

POLL_SECONDS = 0.2  # between two looks at cells that other processes are computing


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
    failed in an earlier run is tried again. On SIGINT or SIGTERM the cell in hand is checkpointed or finished, and the
    run stops; a second signal stops at once, which loses at most the work since the last checkpoint.

    Several workers, or several runs started by hand on one store, share the work: a cell belongs to whoever holds its
    lease, and the others go on with what is free. Results do not depend on who computed what.

    Under torchrun this is process 0, which computes everything and calls the others, which :func:`follow`, to each
    training.

    Args:
        plan: the cells.
        store: where they lie.
        execution: threads, device, checkpoint interval.
        reporter: follows the run.
        workers: processes, this one included.

    Raises:
        LopsidedError: something a pending cell needs is missing (found before any is computed), or workers under
            torchrun.
    """
    execution = _joined(execution, workers)
    began, clock = time.time(), time.perf_counter()
    before = {cell.id: status.state for cell, status in plan.with_status(store)}
    pending = [cell for cell in plan.cells if before[cell.id] not in ("done", "diverged")]
    stopped = False
    if pending:
        _set_threads(execution.threads)
        with _stop_on_signal() as stop, reporter.running(pending):
            from ..stages.stage_list import (  # heavy imports, which a run with nothing to do is spared
                Context,
                preflight,
            )

            context = Context(store, execution, reporter.step, stop)
            try:
                preflight(pending, context)
            except OSError as error:  # of the cache of images
                raise ExperimentError(_disk_reason(error, store.root)) from None
            with _helpers(workers, pending, store, execution, began):
                _work(pending, store, execution, context, reporter, stop, began, workers)
            stopped = stop()
    current_ranks().agreed(None)  # lets those that follow go
    return _summary(plan, store, before, stopped, time.perf_counter() - clock)


def follow(plan: Plan, store: Store, execution: Execution) -> None:
    """Take part in the trainings that process 0 of torchrun calls to, until it is done."""
    execution = _joined(execution, 1)
    cells = {cell.id: cell for cell in plan.cells}
    _set_threads(execution.threads)
    with _stop_on_signal():  # a signal stops process 0, which says so to the others
        from ..stages.stage_list import Context, run_stage

        context = Context(store, execution)
        while called := current_ranks().agreed(""):
            cell = cells[called]
            with contextlib.suppress(DivergedError, StoppedError):
                run_stage(cell, store.folder(cell.stage, cell.id), context)


def _joined(execution: Execution, workers: int) -> Execution:
    """Join torchrun's processes; returns the settings with this process's own device."""
    ranks, device = join_torchrun(execution.device)
    if ranks.count > 1 and workers > 1:
        raise ExperimentError("under torchrun the processes share each training; leave --workers out")
    return execution.model_copy(update={"device": device})


def _work(
    pending: list[Cell],
    store: Store,
    execution: Execution,
    context: Any,
    reporter: Reporter,
    stop: Callable[[], bool],
    began: float,
    workers: int,
) -> None:
    """Go over the cells until each is computed, here or elsewhere, or cannot be."""
    remaining, lost = {cell.id: cell for cell in pending}, set[str]()

    def look(cell: Cell) -> Literal["ended", "lost", "waiting", "free"]:
        status = store.status(cell.stage, cell.id)
        if status.state in ("done", "diverged") or (status.state == "failed" and (status.ended or 0) > began):
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
                if cell.together:
                    alike = [other for other in remaining.values() if other.together == cell.together]
                    free = [other for other in alike if look(other) == "free"]
                    company = free[: math.ceil(len(free) / workers)] or company  # the others' share is left to them
                reporter.started(company[0], len(company) - 1)
                try:
                    if _compute(company, store, execution, context):
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
def _helpers(workers: int, pending: list[Cell], store: Store, execution: Execution, began: float) -> Iterator[None]:
    """Run the other workers over the same cells while the block runs; they are told to stop when it ends early."""
    spawn = multiprocessing.get_context("spawn")  # a forked child would inherit torch's threads in an unknown state
    processes = [
        spawn.Process(target=_help, args=(pending, store, execution, began, workers), daemon=False)
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


def _help(pending: list[Cell], store: Store, execution: Execution, began: float, workers: int) -> None:
    from ..stages.stage_list import Context

    _set_threads(execution.threads)
    log.addHandler(logging.NullHandler())
    with _stop_on_signal() as stop:
        # A Ctrl-C reaches every process of the terminal; the first process passes it on, once.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        context = Context(store, execution, stop=stop)
        _work(pending, store, execution, context, SilentReporter(), stop, began, workers)


def _summary(plan: Plan, store: Store, before: dict[str, str], stopped: bool, seconds: float) -> Summary:
    summary = Summary(stopped=stopped, seconds=seconds)
    for cell, status in plan.with_status(store):
        if status.state == "done" and before[cell.id] == "done":
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


def _compute(cells: list[Cell], store: Store, execution: Execution, context: Any) -> bool:
    """Compute cells in one go, under their leases, and record how each ended; False if others hold them all.

    If several fail, each is tried alone: the failure of one is not that of the others.

    Raises:
        StoppedError: it was asked to stop, and they can be resumed.
    """
    began = time.perf_counter()
    with contextlib.ExitStack() as held:
        folders: dict[Cell, Path] = {}
        for cell in cells:
            with contextlib.suppress(LeasedError):  # taken between the look and the grasp
                folder = held.enter_context(store.lease(cell.stage, cell.id))
                if store.status(cell.stage, cell.id).state not in ("done", "diverged"):  # by someone, since the look
                    held.enter_context(_logged(folder / "log.txt"))
                    folders[cell] = folder
        if not folders:
            return False
        state, reason = _attempt(folders, store, execution, context)
        log.info("%s %s", state, reason)
        if state != "failed" or len(folders) == 1:
            seconds = (time.perf_counter() - began) / len(folders)
            for cell, folder in folders.items():
                try:
                    store.finish(folder, state, reason, seconds, peak_memory_mb(), len(folders))
                except OSError as error:  # not even the status can be written
                    reason = _disk_reason(error, store.root)
                    raise ExperimentError(f"cannot record how {cell.id} ended: {reason}") from None
                if state == "failed" and isinstance(cell.spec, TrainingCell) and current_ranks().count > 1:
                    raise ExperimentError(
                        f"{cell.stage} {cell.id} failed, and the other processes wait in it: {reason}"
                    )
            return True
    for cell in folders:
        _compute([cell], store, execution, context)
    return True


def _attempt(
    folders: dict[Cell, Path], store: Store, execution: Execution, context: Any
) -> tuple[Literal["done", "failed", "diverged"], str]:
    """Compute cells whose leases are held; returns how it ended and why.

    Raises:
        StoppedError: it was asked to stop, and they can be resumed.
    """
    from ..stages.stage_list import run_stage, run_together

    try:
        for cell, folder in folders.items():
            (folder / "status.json").unlink(missing_ok=True)  # of a failure that is tried again
            _describe(cell, folder, execution)
            if isinstance(cell.spec, TrainingCell):
                current_ranks().agreed(cell.id)  # calls those that follow
        if len(folders) == 1:
            run_stage(*next(iter(folders.items())), context)
        else:
            run_together(folders, context)
    except DivergedError as error:
        return "diverged", str(error)
    except StoppedError as error:
        log.info("%s", error)
        raise
    except LopsidedError as error:
        return "failed", str(error)
    except OSError as error:
        return "failed", _disk_reason(error, store.root)
    except Exception as error:
        log.info("%s", traceback.format_exc())
        logs = ", ".join(f"'{folder / 'log.txt'}'" for folder in folders.values())
        return "failed", f"{type(error).__name__}: {error} (traceback in {logs})"
    return "done", ""


def _describe(cell: Cell, folder: Path, execution: Execution) -> None:
    spec = {"stage": cell.stage, "version": cell.spec.version, "spec": cell.spec.model_dump(mode="json")}
    inputs = {role: source.id for role, source in cell.inputs.items()}
    write_json(
        folder / "spec.json", {**spec, "content": cell.spec.content(), "inputs": inputs, "labels": dict(cell.labels)}
    )
    write_json(folder / "provenance.json", provenance(execution.threads, execution.device))


def _disk_reason(error: OSError, root: Path) -> str:
    # The words are for errors of safetensors, which have no number.
    if error.errno in (errno.ENOSPC, errno.EDQUOT) or "No space" in str(error):
        free = shutil.disk_usage(root).free / 2**20
        return f"the disk is full ({free:.0f} MiB free under '{root}'): {error}; free some space and run again"
    if error.errno == errno.EFBIG or "too large" in str(error):
        return f"a file would exceed the limit on file sizes (ulimit -f): {error}; raise it and run again"
    return f"{error.strerror or error}: {error.filename}" if error.filename else f"{type(error).__name__}: {error}"


def _set_threads(threads: int) -> None:
    import torch

    torch.set_num_threads(threads)
    os.environ["OMP_NUM_THREADS"] = str(threads)


class _CellLog(logging.FileHandler):
    """A log file that stays silent when the disk is full: the cell's failure says so once, and clearly."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 (logging's name)
        del record


@contextlib.contextmanager
def _logged(path: Path) -> Iterator[None]:
    """Also write what is logged to the cell's own file, which a resumed cell continues."""
    log.setLevel(logging.INFO)  # of this logger only: what a terminal shows is its handler's affair
    handler = _CellLog(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)
        handler.close()


class _Stop:
    """Whether a signal has asked to stop; the second one raises KeyboardInterrupt."""

    def __init__(self) -> None:
        self.asked = False

    def __call__(self) -> bool:
        return self.asked

    def handle(self, _number: int, _frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        log.warning("stopping after the current checkpoint; once more to stop at once")


@contextlib.contextmanager
def _stop_on_signal() -> Iterator[_Stop]:
    stop = _Stop()
    previous = {}
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            previous[number] = signal.signal(number, stop.handle)
    except ValueError:  # not the main thread (a notebook's worker): signals are then someone else's business
        previous = {}
    try:
        yield stop
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
