"""Execute a plan over the store: serially, in this process. Done cells are never computed again."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import shutil
import signal
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from ..common.errors import LopsidedError
from ..common.files import write_json
from ..sr import DivergedError
from ..sr.trainer import StoppedError
from .cells import Cell
from .planning import Plan
from .progress import Reporter
from .provenance import peak_memory_mb, provenance
from .spec import Execution
from .store import Store

log = logging.getLogger("lopsided")


@dataclass
class Summary:
    """What a run did; every cell of the plan is counted once.

    Attributes:
        done: computed now.
        cached: done before.
        diverged: trainings that became non-finite, now or before (a result).
        failed: (cell, reason) of those that raised.
        skipped: cells whose input is not done.
        stopped: whether the run was interrupted; the cells left are counted in ``remaining``.
        remaining: cells not reached.
    """

    done: int = 0
    cached: int = 0
    diverged: int = 0
    failed: list[tuple[Cell, str]] = field(default_factory=list)
    skipped: int = 0
    stopped: bool = False
    remaining: int = 0
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether everything that could be computed is."""
        return not self.failed and not self.stopped


def run_serial(plan: Plan, store: Store, execution: Execution, reporter: Reporter) -> Summary:
    """Compute every cell of ``plan`` that is not done, one after another.

    A cell that fails is recorded with its reason and the run goes on with what does not depend on it. On SIGINT or
    SIGTERM the cell in hand is checkpointed or finished, and the run stops; a second signal stops at once, which
    loses at most the work since the last checkpoint.

    Raises:
        LopsidedError: something a pending cell needs is missing (found before any is computed).
    """
    began = time.perf_counter()
    summary = Summary()
    pending: list[Cell] = []
    for cell, status in plan.with_status(store):
        if status.state == "done":
            summary.cached += 1
        elif status.state == "diverged":
            summary.diverged += 1
        else:
            pending.append(cell)
    if not pending:
        return summary
    _deliberate_threads(execution.threads)

    from .stages import Context, preflight  # imports every heavy library, which a run with nothing to do is spared

    with _stop_on_signal() as stop, reporter.running(pending):
        context = Context(store, execution, reporter.step, stop)
        preflight(pending, context)
        finished: set[str] = {c.id for c, s in plan.with_status(store) if s.state == "done"}
        for index, cell in enumerate(pending):
            if stop():
                summary.stopped, summary.remaining = True, len(pending) - index
                break
            if any(source.id not in finished for source in cell.inputs.values()):
                summary.skipped += 1
                reporter.skipped(cell)
                continue
            reporter.started(cell)
            state, reason, seconds = _compute(cell, store, execution, context)
            if state == "stopped":
                summary.stopped, summary.remaining = True, len(pending) - index
                break
            reporter.ended(cell, state, reason, seconds)
            if state == "done":
                summary.done += 1
                finished.add(cell.id)
            elif state == "diverged":
                summary.diverged += 1
            else:
                summary.failed.append((cell, reason))
    summary.seconds = time.perf_counter() - began
    return summary


def _compute(cell: Cell, store: Store, execution: Execution, context: Any) -> tuple[str, str, float]:
    from .stages import run_stage

    began = time.perf_counter()
    reason = ""
    with store.lease(cell.stage, cell.id) as folder, _logged(folder / "log.txt"):
        try:
            (folder / "status.json").unlink(missing_ok=True)  # of a failure that is tried again
            _describe(cell, folder, execution)
            run_stage(cell, folder, context)
            state = "done"
        except DivergedError as error:
            state, reason = "diverged", str(error)
        except StoppedError as error:
            log.info("%s", error)
            return "stopped", "", 0.0
        except LopsidedError as error:
            state, reason = "failed", str(error)
        except OSError as error:
            state, reason = "failed", _disk_reason(error, store.root)
        except Exception as error:
            state, reason = "failed", f"{type(error).__name__}: {error}"
            log.error("%s", traceback.format_exc())
        seconds = time.perf_counter() - began
        (log.info if state == "done" else log.error)("%s %s", state, reason)
        try:
            store.finish(folder, state, reason, seconds, peak_memory_mb())
        except OSError as error:  # the disk is so full that not even the status fits
            state, reason = "failed", _disk_reason(error, store.root)
    return state, reason, seconds


def _describe(cell: Cell, folder: Path, execution: Execution) -> None:
    spec = {"stage": cell.stage, "version": cell.spec.version, "spec": cell.spec.model_dump(mode="json")}
    inputs = {role: source.id for role, source in cell.inputs.items()}
    write_json(
        folder / "spec.json", {**spec, "content": cell.spec.content(), "inputs": inputs, "labels": dict(cell.labels)}
    )
    write_json(folder / "provenance.json", provenance(execution.threads, execution.device))


def _disk_reason(error: OSError, root: Path) -> str:
    if (
        error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        or "No space" in str(error)
        or "too large" in str(error)
    ):
        free = shutil.disk_usage(root).free / 2**20
        return f"the disk is full ({free:.0f} MiB free under '{root}'): {error}; free some space and run again"
    return f"{error.strerror or error}: {error.filename}" if error.filename else f"{type(error).__name__}: {error}"


def _deliberate_threads(threads: int) -> None:
    import torch

    torch.set_num_threads(threads)
    os.environ["OMP_NUM_THREADS"] = str(threads)


@contextlib.contextmanager
def _logged(path: Path) -> Iterator[None]:
    """Also write what is logged to the cell's own file, which a resumed cell continues."""
    handler = logging.FileHandler(path, encoding="utf-8")
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
