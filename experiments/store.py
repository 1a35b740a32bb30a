"""The content-addressed store: one folder a cell, whole or absent, shared by every experiment and process."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from ..common.files import write_json, write_text
from .schema.errors import ExperimentError

State = Literal["done", "failed", "diverged", "running", "interrupted", "pending"]
ENDS = ("done", "failed", "diverged")  # states that are written down; the others follow from what lies there

HEARTBEAT_SECONDS = 10.0
STALE_SECONDS = 60.0  # a lease not renewed for this long belongs to a machine that died


class LeasedError(ExperimentError):
    """A cell that another live process is computing."""


@dataclass(frozen=True)
class Status:
    """What the store knows of a cell.

    Attributes:
        state: ``done``, ``failed``, ``diverged`` (a result), ``running`` (leased by a live process), ``interrupted``
            (work to resume) or ``pending``.
        reason: why, for people.
        seconds: time of the finishing run, of cells computed in one go an equal share of it; None before.
        peak_memory_mb: largest resident memory of the process by then; None before.
        ended: when it ended, in seconds since 1970; None before.
        together: how many cells were computed in one go, this one included.
    """

    state: State
    reason: str = ""
    seconds: float | None = None
    peak_memory_mb: float | None = None
    ended: float | None = None
    together: int = 1


class Store:
    """A folder of cells, caches and experiments.

    Layout: ``cells/<stage>/<id>/`` (``spec.json``, ``provenance.json``, ``status.json``, ``log.txt``, outputs and,
    until it is done, ``work/``), ``cache/`` (image pairs, ladders), ``experiments/<name>/`` (tables, report).
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)

    def folder(self, stage: str, cell: str) -> Path:
        """Return the folder of a cell."""
        return self.root / "cells" / stage / cell

    @property
    def cache(self) -> Path:
        """Folder of what can be made again: image pairs and ladders."""
        return self.root / "cache"

    def experiment(self, name: str) -> Path:
        """Return the folder of an experiment's tables and report."""
        return self.root / "experiments" / name

    def status(self, stage: str, cell: str) -> Status:
        """Return what is known of a cell."""
        folder = self.folder(stage, cell)
        path = folder / "status.json"
        try:
            status = Status(**json.loads(path.read_text(encoding="utf-8")))
            if status.state not in ENDS:
                raise ValueError(status.state)
            return status
        except FileNotFoundError:
            pass
        except (ValueError, TypeError):
            return Status("failed", f"its status file '{path}' is damaged")
        holder = _live_holder(folder / "lease.json")
        if holder:
            return Status("running", f"leased by {holder}")
        if (folder / "work").is_dir():
            return Status("interrupted", "will resume from its last checkpoint")
        return Status("pending")

    @contextlib.contextmanager
    def lease(self, stage: str, cell: str) -> Iterator[Path]:
        """Hold a cell for this process, renewing the lease until the block ends; yields its folder.

        Raises:
            LeasedError: another live process holds it.
        """
        folder = self.folder(stage, cell)
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "lease.json"
        record = json.dumps({"host": socket.gethostname(), "pid": os.getpid(), "lease": uuid.uuid4().hex})
        with self._locked():
            holder = _live_holder(path)
            if holder:
                raise LeasedError(f"cell {cell} is being computed by {holder}")
            write_text(path, record)
        stop = threading.Event()
        renewing = threading.Thread(target=_renew, args=(path, record, stop), daemon=True)
        renewing.start()
        try:
            yield folder
        finally:
            stop.set()
            renewing.join()
            with self._locked():
                if _holds(path, record):
                    path.unlink()

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Keep other processes from looking at a lease and replacing it at the same time."""
        with (self.root / "cells" / ".lock").open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # let go when the file is closed, by a kill too
            yield

    def finish(
        self,
        folder: Path,
        state: Literal["done", "failed", "diverged"],
        reason: str,
        seconds: float,
        memory: float,
        together: int = 1,
    ) -> None:
        """Record a cell's end. Its working files are deleted unless it failed (a retry resumes from them)."""
        status = Status(state, reason, round(seconds, 3), round(memory, 1), time.time(), together)
        write_json(folder / "status.json", asdict(status))
        if state != "failed":
            shutil.rmtree(folder / "work", ignore_errors=True)


def _live_holder(path: Path) -> str | None:
    """Say who holds a lease; None when nobody does, its holder is dead, or it is damaged."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        host, pid = str(record["host"]), int(record["pid"])
        age = time.time() - path.stat().st_mtime
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None
    if age > STALE_SECONDS or (host == socket.gethostname() and not _alive(pid)):
        return None
    return f"process {pid} on {host}"


def _holds(path: Path, record: str) -> bool:
    """Tell whether the lease is still the one that was taken: a machine that slept may have lost it to another."""
    with contextlib.suppress(OSError):
        return path.read_text(encoding="utf-8") == record
    return False


def _alive(pid: int) -> bool:
    if pid <= 0:  # a damaged lease: these numbers mean whole groups of processes
        return False
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    # A zombie still answers to the signal.
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    return True


def _renew(path: Path, record: str, stop: threading.Event) -> None:
    while not stop.wait(HEARTBEAT_SECONDS):
        if _holds(path, record):
            with contextlib.suppress(OSError):
                os.utime(path)
