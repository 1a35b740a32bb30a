"""The content-addressed store: one folder per cell, whole or absent, shared by every experiment and process."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from ...common.files import clear_temporary, remove, temporary_name, write_json
from ...common.processes import ProcessId
from ..schema.errors import ExperimentError
from .index import Index
from .lease import Lease, Watch, give_back, take
from .outputs import FAILURE, OTHERS, PROVENANCE, SPEC, STATUS, describe, files_of, recorded
from .status import End, Status

_IN_THE_WAY = (errno.ENOTEMPTY, errno.EEXIST, errno.EISDIR, errno.ENOTDIR)  # what a rename does not replace


class Store:
    """A folder of cells, caches and experiments.

    Layout: ``cells/<stage>/<id>/`` (``spec.json``, ``provenance.json``, ``status.json``, ``log.txt``, outputs and,
    until it is done, ``work/``), ``index/<stage>/`` (which cells have ended), ``cache/`` (image pairs, ladders),
    ``experiments/<name>/`` (tables, report).

    Attributes:
        root: its folder.
        index: which cells have ended, at one look.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        self.index = Index(self.root / "index")
        self._watch = Watch()
        self._is: tuple[int, int] | None = None  # device and inode of the folder that was there at first

    def folder(self, stage: str, cell: str) -> Path:
        """Return the folder of a cell."""
        return self.root / "cells" / stage / cell

    def cells(self) -> list[tuple[str, str]]:
        """Return stage and ID of every cell that has a folder."""
        # Not by glob, which passes over folders that it is not allowed to read.
        cells = self.root / "cells"
        stages = [path for path in cells.iterdir() if path.is_dir()] if cells.is_dir() else []
        found = (path for stage in stages for path in stage.iterdir() if path.name[0] != "." and path.is_dir())
        return sorted((folder.parent.name, folder.name) for folder in found)

    def check_there(self) -> None:
        """Make the folder where it is missing; later, raise unless it is still the one that was there first.

        A run must not go on in what is there instead, such as the empty folder of a share that is not mounted.

        Raises:
            ExperimentError: it was deleted, renamed or unmounted.
        """
        if self._is is None:
            self.root.mkdir(parents=True, exist_ok=True)
        try:
            found = self.root.stat()
            seen = found.st_dev, found.st_ino
        except FileNotFoundError:
            seen = None
        self._is = self._is or seen
        if seen is None or seen != self._is:
            raise ExperimentError(
                f"the store '{self.root}' is not there any more: it was deleted, renamed or unmounted in the meantime; "
                "put it back, and run again"
            )

    def input_ids(self, stage: str, cell: str) -> dict[str, str]:
        """Return the IDs of the cells whose outputs a cell reads, by role, as its ``spec.json`` states them."""
        try:
            record = json.loads((self.folder(stage, cell) / SPEC).read_text(encoding="utf-8"))
            return {str(role): str(source) for role, source in record["inputs"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return {}

    @property
    def cache(self) -> Path:
        """Folder of files that can be made again: image pairs and ladders."""
        return self.root / "cache"

    def experiment(self, name: str) -> Path:
        """Return the folder of an experiment's tables and report."""
        return self.root / "experiments" / name

    def status(self, stage: str, cell: str) -> Status:
        """Return what is known of a cell.

        Raises:
            ExperimentError: a newer version of lopsided recorded it.
        """
        folder = self.folder(stage, cell)
        try:
            if ended := recorded(folder):
                return ended
        except ValueError:
            return Status("failed", f"its status file '{folder / STATUS}' is damaged")
        holder = self.holder(stage, cell)
        if holder:
            return Status("running", f"leased by {holder}")
        if (folder / "work").is_dir():
            return Status("interrupted", "will resume from its last checkpoint")
        return Status("pending")

    def holder(self, stage: str, cell: str) -> ProcessId | None:
        """Return the live process that computes a cell, None if there is none; one small file is read."""
        return self._watch.holder(self.folder(stage, cell) / "lease.json")

    @contextlib.contextmanager
    def lease(self, stage: str, cell: str) -> Iterator[Lease]:
        """Hold a cell for this process, renewing the lease until the block ends.

        Raises:
            LeasedError: another live process holds it.
        """
        self.check_there()
        folder = self.folder(stage, cell)
        folder.mkdir(parents=True, exist_ok=True)
        with self._locked():
            lease = take(folder, self._watch)
        try:
            with lease.renewed():
                clear_temporary(folder)  # of whoever held it before
                lease.outputs.mkdir()
                yield lease
        finally:
            remove(lease.outputs)
            with self._locked():
                give_back(lease)

    @contextlib.contextmanager
    def using_cache(self) -> Iterator[None]:
        """Let others know, while the block runs, that this process uses what is in the cache."""
        self.check_there()
        self.cache.mkdir(parents=True, exist_ok=True)
        with (self.cache / ".lock").open("a") as file:
            fcntl.flock(file, fcntl.LOCK_SH)
            yield

    def cache_in_use(self) -> bool:
        """Tell whether a process is in :meth:`using_cache`."""
        lock = self.cache / ".lock"
        if not lock.exists():
            return False
        with lock.open("a" if os.access(lock, os.W_OK) else "r") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
            return False

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Keep other processes of this machine from looking at a lease and replacing it at the same time.

        Nothing depends on it: of two processes one gets the lease in any case. Where locks work, a third that looks at
        that very moment cannot take it from the one.
        """
        self.check_there()
        with (self.root / "cells" / ".lock").open("a") as file:
            with contextlib.suppress(OSError):  # a network file system without locks
                fcntl.flock(file, fcntl.LOCK_EX)  # released when the file is closed, also by a kill
            yield

    def begin(self, lease: Lease) -> None:
        """Forget how an earlier attempt at a cell ended."""
        self.index.put(lease.folder.parent.name, lease.folder.name, None)
        for name in (STATUS, FAILURE):
            (lease.folder / name).unlink(missing_ok=True)

    def finish(
        self,
        lease: Lease,
        state: End,
        reason: str,
        seconds: float,
        memory: float,
        together: int = 1,
        inputs: Mapping[str, Mapping[str, str]] | None = None,
    ) -> None:
        """Record a cell's end and put its outputs in their place, unless it failed.

        Its working files are deleted unless it failed: a retry resumes from them.

        Args:
            lease: the cell, held by this process.
            state: how it ended.
            reason: why, for people.
            seconds: how long it took.
            memory: largest resident memory in MiB.
            together: how many cells were computed in one go.
            inputs: SHA-256 of what it read, by role and name.

        Raises:
            LostLeaseError: it belongs to another process by now; what that one recorded stays.
            OSError: something cannot be written.
        """
        folder = lease.folder
        status = Status(state, reason, round(seconds, 3), round(memory, 1), time.time(), together)
        try:
            if state != "failed":
                described = {name: describe(lease.outputs / name) for name in files_of(lease.outputs)}
                described |= {name: describe(folder / name) for name in (SPEC, PROVENANCE) if (folder / name).exists()}
                status = replace(status, outputs=described, inputs=inputs)
            write_json(lease.outputs / STATUS, status.record())
            with self._locked():
                lease.check()
                _publish(lease, outputs=state != "failed")
        except FileNotFoundError:
            lease.check()  # whoever took the cell over has deleted what was written aside
            raise
        self.index.put(folder.parent.name, folder.name, state)
        if state != "failed":
            shutil.rmtree(folder / "work", ignore_errors=True)

    def record(self, stage: str, cell: str) -> None:
        """Record the outputs of a cell that ended before outputs were recorded, as they are now.

        Raises:
            LeasedError: another live process holds the cell.
        """
        with self.lease(stage, cell) as lease:
            status = self.status(stage, cell)
            outputs = {name: describe(lease.folder / name) for name in files_of(lease.folder)}
            write_json(lease.folder / STATUS, replace(status, outputs=outputs).record())

    def reset(self, stage: str, cell: str) -> None:
        """Set a cell back to pending: everything in its folder but the log is deleted.

        Raises:
            LeasedError: another live process holds it.
        """
        with self.lease(stage, cell) as lease:
            self.begin(lease)  # first: the rest is nothing without its status
            for path in lease.folder.iterdir():
                if path not in (lease.path, lease.outputs, lease.folder / "log.txt"):
                    remove(path)

    def remove(self, stage: str, cell: str) -> None:
        """Delete a cell.

        Raises:
            LeasedError: another live process holds it.
        """
        with self.lease(stage, cell) as lease:
            self.index.put(stage, cell, None)
            aside = temporary_name(lease.folder)  # at once, before another process looks at what is left of it
            lease.folder.rename(aside)
        remove(aside)


def _publish(lease: Lease, *, outputs: bool) -> None:
    """Put what was written aside in its place, the status last, where nothing of an earlier attempt stays.

    Every step takes something from the lease's own folder, which whoever takes the cell over deletes first. A process
    that slept through that is stopped by the next step, whatever it believes.

    Raises:
        FileNotFoundError: the cell was taken over.
    """
    names = [path.name for path in lease.outputs.iterdir() if path.name != STATUS] if outputs else []
    for name in names:
        try:
            (lease.outputs / name).replace(lease.folder / name)
        except OSError as error:
            if error.errno not in _IN_THE_WAY:
                raise
            remove(lease.folder / name)
            (lease.outputs / name).replace(lease.folder / name)
    (lease.outputs / STATUS).replace(lease.folder / STATUS)
    if outputs:
        kept = {*OTHERS, SPEC, PROVENANCE, lease.outputs.name, *names}
        for path in lease.folder.iterdir():
            if path.name not in kept:
                remove(path)
