"""Compute one cell, or several in one go, under their leases, and record how each ended."""

from __future__ import annotations

import contextlib
import errno
import logging
import shutil
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from ...common.errors import LopsidedError
from ...common.files import write_json
from ...sr import DivergedError
from ...sr.distributed import current_ranks
from ...sr.trainer import StoppedError
from ..schema.errors import ExperimentError
from ..schema.execution import Execution
from ..stages.cell import Cell
from ..stages.context import Context
from ..stages.stage import Stage
from ..store import LeasedError
from .provenance import peak_memory_mb, provenance

log = logging.getLogger("lopsided")


def compute(cells: list[Cell[Stage]], context: Context) -> bool:
    """Compute cells in one go, under their leases, and record how each ended; False if others hold them all.

    If several fail, each is tried alone: the failure of one is not that of the others.

    Raises:
        StoppedError: it was asked to stop, and they can be resumed.
    """
    began = time.perf_counter()
    with contextlib.ExitStack() as held:
        folders: dict[Cell[Stage], Path] = {}
        for cell in cells:
            with contextlib.suppress(LeasedError):  # leased by another process since we checked
                folder = held.enter_context(context.store.lease(cell.stage, cell.id))
                if context.store.status(cell.stage, cell.id).state not in (
                    "done",
                    "diverged",
                ):  # by another process, since we checked
                    held.enter_context(_logged(folder / "log.txt"))
                    folders[cell] = folder
        if not folders:
            return False
        state, reason = _attempt(folders, context)
        log.info("%s %s", state, reason)
        if state != "failed" or len(folders) == 1:
            seconds = (time.perf_counter() - began) / len(folders)
            for cell, folder in folders.items():
                try:
                    context.store.finish(folder, state, reason, seconds, peak_memory_mb(), len(folders))
                except OSError as error:  # not even the status can be written
                    reason = disk_reason(error, context.store.root)
                    raise ExperimentError(f"cannot record how {cell.id} ended: {reason}") from None
                if state == "failed" and cell.spec.distributed and current_ranks().count > 1:
                    raise ExperimentError(
                        f"{cell.stage} {cell.id} failed, and the other processes wait in it: {reason}"
                    )
            return True
    for cell in folders:
        compute([cell], context)
    return True


def _attempt(folders: dict[Cell[Stage], Path], context: Context) -> tuple[Literal["done", "failed", "diverged"], str]:
    """Compute cells whose leases are held; returns how it ended and why.

    Raises:
        StoppedError: it was asked to stop, and they can be resumed.
    """
    try:
        for cell, folder in folders.items():
            (folder / "status.json").unlink(missing_ok=True)  # of a failure that is tried again
            _describe(cell, folder, context.execution)
            if cell.spec.distributed:
                current_ranks().agreed(cell.id)  # calls those that follow
        first = next(iter(folders))
        if len(folders) == 1:
            first.spec.run(first, folders[first], context)
        else:
            first.spec.run_together(folders, context)
    except DivergedError as error:
        return "diverged", str(error)
    except StoppedError as error:
        log.info("%s", error)
        raise
    except LopsidedError as error:
        return "failed", str(error)
    except OSError as error:
        return "failed", disk_reason(error, context.store.root)
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


def disk_reason(error: OSError, root: Path) -> str:
    """Return what an error of the operating system means and what to do."""
    # The words are for errors of safetensors, which have no number.
    if error.errno in (errno.ENOSPC, errno.EDQUOT) or "No space" in str(error):
        free = shutil.disk_usage(root).free / 2**20
        return f"the disk is full ({free:.0f} MiB free under '{root}'): {error}; free some space and run again"
    if error.errno == errno.EFBIG or "too large" in str(error):
        return f"a file would exceed the limit on file sizes (ulimit -f): {error}; raise it and run again"
    return f"{error.strerror or error}: {error.filename}" if error.filename else f"{type(error).__name__}: {error}"


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
