"""Compute one cell, or several in one go, under their leases, and record how each ended."""

from __future__ import annotations

import contextlib
import logging
import os
import time
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import cast

from ...common.errors import LopsidedError, one_line
from ...common.files import write_json
from ...common.processes import this_process
from ...sr import DivergedError
from ...sr.distributed import current_ranks
from ...sr.trainer import StoppedError
from ..schema.errors import ExperimentError
from ..schema.execution import Execution
from ..stages.cell import Cell
from ..stages.context import Context
from ..stages.stage import Stage
from ..store import End, Lease, LeasedError, LostLeaseError, Store, disk_reason
from ..store.outputs import FAILURE, PROVENANCE, SPEC
from .provenance import peak_memory_mb, provenance

log = logging.getLogger("lopsided")

LAST_LINES = 50  # of a cell's log that are kept with its failure
# Kept with a failure; not all, for there can be passwords among them.
KEPT_VARIABLES = {"CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "SLURM_JOB_ID", "SLURM_ARRAY_TASK_ID", "LD_LIBRARY_PATH"}


def compute(cells: list[Cell[Stage]], context: Context) -> bool:
    """Compute cells in one go, under their leases, and record how each ended; False if others hold them all.

    If several fail, each is tried alone: one failure must not fail the others. If one is lost to another
    process, because this one slept, nothing is recorded of them.

    Raises:
        StoppedError: it was asked to stop, and they can be resumed.
    """
    began = time.perf_counter()
    with contextlib.ExitStack() as held:
        leases: dict[Cell[Stage], Lease] = {}
        for cell in cells:
            with contextlib.suppress(LeasedError):  # leased by another process since we checked
                lease = held.enter_context(context.store.lease(cell.stage, cell.id))
                if _ended(cell, context.store):  # by another process, since we checked
                    continue
                held.enter_context(_logged(lease.folder / "log.txt"))
                leases[cell] = lease
        if not leases:
            return False
        try:
            state, reason, trace = _attempt(leases, _fenced(context, leases))
            if state != "failed" or len(leases) == 1:
                seconds = (time.perf_counter() - began) / len(leases)
                for cell, lease in leases.items():
                    if state == "failed":
                        _keep_failure(lease, context, reason, trace)
                    _finish(cell, lease, context, state, reason, seconds, len(leases))
                log.info("%s %s", state, reason)
                return True
            log.info("%s %s; each is tried alone", state, reason)
        except LostLeaseError as error:
            context.store.check_there()
            if next(iter(leases)).spec.distributed and current_ranks().count > 1:
                raise ExperimentError(f"{error}, and the other processes are waiting in this cell") from None
            log.warning("%s, because this one did not show itself for too long; left to it", error)
            return False
    for cell in leases:
        compute([cell], context)
    return True


def _ended(cell: Cell[Stage], store: Store) -> bool:
    state = store.status(cell.stage, cell.id).state
    if state in ("done", "diverged") and not store.index.ended([cell.stage]).get(cell.id):
        store.index.put(
            cell.stage, cell.id, cast(End, state)
        )  # the process that computed it was killed before it could
    return state in ("done", "diverged") or (state == "failed" and store.index.failed(cell.stage, cell.id))


def _fenced(context: Context, leases: Mapping[Cell[Stage], Lease]) -> Context:
    """Return the context of cells that are held.

    Asking whether to stop also finds out that they are not held any more, and their progress is shown to others.
    """
    began = time.monotonic()

    def progress(done: int, total: int, note: str) -> None:
        seconds, memory = round(time.monotonic() - began, 1), round(peak_memory_mb())
        for lease in leases.values():
            lease.progress.update(done=done, total=total, note=note, seconds=seconds, memory_mb=memory)
        context.progress(done, total, note)

    def stop() -> bool:
        for lease in leases.values():
            lease.check()
        return context.stop()

    return replace(context, stop=stop, progress=progress)


def _finish(
    cell: Cell[Stage],
    lease: Lease,
    context: Context,
    state: End,
    reason: str,
    seconds: float,
    together: int,
) -> None:
    inputs = context.inputs_read(cell)
    try:
        context.store.finish(lease, state, reason, seconds, peak_memory_mb(), together, inputs)
    except OSError as error:  # not even the status can be written
        cause = disk_reason(error, context.store.root)
        raise ExperimentError(f"cannot record how {cell.id} ended: {cause}") from None
    if state == "failed" and cell.spec.distributed and current_ranks().count > 1:
        raise ExperimentError(
            f"{cell.stage} {cell.id} failed, and the other processes are waiting in this cell: {reason}"
        )


def _keep_failure(lease: Lease, context: Context, reason: str, trace: str) -> None:
    """Keep what is known of a failure beside the cell: it is deleted when the cell is tried again."""
    path = lease.folder / "log.txt"
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []
    environment = {name: value for name, value in os.environ.items() if name in KEPT_VARIABLES}
    record = {
        "reason": reason,
        "traceback": trace.splitlines(),
        "last_lines": lines[-LAST_LINES:],
        "process": str(this_process()),
        "variables": environment,
        **provenance(context.execution.threads, context.execution.device),
    }
    with contextlib.suppress(OSError):  # on a full disk the status says why
        write_json(lease.folder / FAILURE, record)


def _attempt(leases: Mapping[Cell[Stage], Lease], context: Context) -> tuple[End, str, str]:
    """Compute cells whose leases are held; returns how it ended, why, and the traceback of a failure.

    Raises:
        StoppedError: it was asked to stop, and they can be resumed.
        LostLeaseError: another process has taken one of them over.
    """
    try:
        for cell, lease in leases.items():
            context.store.begin(lease)  # a failure that is tried again
            if lease.deaths >= context.execution.attempts:
                raise ExperimentError(
                    f"{lease.deaths} processes in a row died in this cell without getting further; the memory may not "
                    f"suffice (see '{lease.folder / 'log.txt'}'); another run tries again"
                )
            _describe(cell, lease.folder, context.execution)
            if cell.spec.distributed:
                current_ranks().agreed(cell.id)  # asks the following processes to join
        first = next(iter(leases))
        if len(leases) == 1:
            first.spec.run(first, leases[first].outputs, context)
        else:
            first.spec.run_together({cell: lease.outputs for cell, lease in leases.items()}, context)
    except DivergedError as error:
        return "diverged", str(error), ""
    except (StoppedError, LostLeaseError) as error:
        log.info("%s", error)
        raise
    except LopsidedError as error:
        return "failed", str(error), traceback.format_exc()
    except OSError as error:
        return "failed", disk_reason(error, context.store.root), traceback.format_exc()
    except Exception as error:
        log.info("%s", traceback.format_exc())
        logs = ", ".join(f"'{folder / 'log.txt'}'" for folder in (lease.folder for lease in leases.values()))
        reason = f"{type(error).__name__}: {one_line(error)} (traceback in {logs})"
        return "failed", reason, traceback.format_exc()
    return "done", "", ""


def _describe(cell: Cell, folder: Path, execution: Execution) -> None:
    spec = {"stage": cell.stage, "version": cell.spec.version, "spec": cell.spec.model_dump(mode="json")}
    inputs = {role: source.id for role, source in cell.inputs.items()}
    write_json(folder / SPEC, {**spec, "content": cell.spec.content(), "inputs": inputs, "labels": dict(cell.labels)})
    write_json(folder / PROVENANCE, provenance(execution.threads, execution.device))


class _CellLog(logging.FileHandler):
    """A log file that stays silent when the disk is full: the cell's failure says so once, and clearly."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 (logging's name)
        del record


@contextlib.contextmanager
def _logged(path: Path) -> Iterator[None]:
    """Also write what is logged to the cell's own file, which a resumed cell continues."""
    log.setLevel(logging.INFO)  # of this logger only: what a terminal shows is up to its handler
    handler = _CellLog(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)
        handler.close()
