"""The content-addressed store: one folder a cell, whole or absent, shared by every experiment and process."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..common.files import write_json
from .spec import ExperimentError

State = Literal["done", "failed", "diverged", "running", "interrupted", "pending"]

HEARTBEAT_SECONDS = 10.0
STALE_SECONDS = 60.0  # a lease not renewed for this long belongs to a machine that died


@dataclass(frozen=True)
class Status:
    """What the store knows of a cell.

    Attributes:
        state: ``done``, ``failed``, ``diverged`` (a result), ``running`` (leased by a live process), ``interrupted``
            (work to resume) or ``pending``.
        reason: why, for people.
        seconds: time of the finishing run; None before.
        peak_memory_mb: largest resident memory of the process by then; None before.
    """

    state: State
    reason: str = ""
    seconds: float | None = None
    peak_memory_mb: float | None = None


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
            record = json.loads(path.read_text(encoding="utf-8"))
            return Status(record["state"], record["reason"], record["seconds"], record["peak_memory_mb"])
        except FileNotFoundError:
            pass
        except (ValueError, KeyError):
            return Status("failed", f"its status file {path} is damaged")
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
            ExperimentError: another live process holds it.
        """
        folder = self.folder(stage, cell)
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "lease.json"
        _take(path)
        stop = threading.Event()
        renewing = threading.Thread(target=_renew, args=(path, stop), daemon=True)
        renewing.start()
        try:
            yield folder
        finally:
            stop.set()
            renewing.join()
            path.unlink(missing_ok=True)

    def finish(
        self, folder: Path, state: Literal["done", "failed", "diverged"], reason: str, seconds: float, memory: float
    ) -> None:
        """Record a cell's end. Its working files are deleted unless it failed (a retry resumes from them)."""
        record = {"state": state, "reason": reason, "seconds": round(seconds, 3), "peak_memory_mb": round(memory, 1)}
        write_json(folder / "status.json", record)
        if state != "failed":
            shutil.rmtree(folder / "work", ignore_errors=True)


def _take(path: Path) -> None:
    record = json.dumps({"host": socket.gethostname(), "pid": os.getpid()})
    for _ in range(2):
        try:
            with path.open("x", encoding="utf-8") as file:
                file.write(record)
            return
        except FileExistsError:
            holder = _live_holder(path)
            if holder:
                raise ExperimentError(f"cell {path.parent.name} is being computed by {holder}") from None
            path.unlink(missing_ok=True)
    raise ExperimentError(f"cell {path.parent.name}: another process took it first")


def _live_holder(path: Path) -> str | None:
    """Say who holds a lease; None when nobody does or its holder is dead."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        age = time.time() - path.stat().st_mtime
        host, pid = str(record["host"]), int(record["pid"])
    except FileNotFoundError:
        return None
    except (ValueError, KeyError):
        # Being written this instant, or cut off by a kill: its age tells.
        return "a process that has just started" if time.time() - path.stat().st_mtime < STALE_SECONDS else None
    if age > STALE_SECONDS:
        return None
    if host == socket.gethostname() and not _alive(pid):
        return None
    return f"process {pid} on {host}"


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    # A zombie still answers to the signal.
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    return True


def _renew(path: Path, stop: threading.Event) -> None:
    while not stop.wait(HEARTBEAT_SECONDS):
        with contextlib.suppress(OSError):
            os.utime(path)
