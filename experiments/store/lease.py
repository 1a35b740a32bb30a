"""Who computes a cell: a file in its folder, kept by a live process, and lost by one that slept too long elsewhere.

Taking, taking over and giving back are single operations of the file system that succeed for one process only: a link
under a name that must be free, and a rename. They need neither locks nor clocks that several machines share.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import threading
import time
import uuid
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ...common.files import remove, temporary_name, write_text
from ...common.processes import ProcessId, this_process
from ..schema.errors import ExperimentError

HEARTBEAT_SECONDS = 10.0
STALE_SECONDS = 60.0  # a lease of another machine that was seen to stay unchanged for this long belongs to nobody
MOST_BYTES = 4096  # of a lease; more is damage
PROGRESS = "progress.json"  # in a cell's folder while it is computed: how far it is


class LeasedError(ExperimentError):
    """A cell that another live process is computing."""


class LostLeaseError(Exception):
    """This process held a cell and has lost it to another one, because it did not show itself for too long."""


@dataclass(frozen=True)
class Lease:
    """A cell that this process holds.

    Attributes:
        folder: the cell's folder.
        path: the lease's file.
        id: random, so that no two leases are the same.
        outputs: an empty folder; what is written there becomes the cell's when it ends.
        deaths: how many processes in a row died in this cell, or lost it, without getting further.
        progress: how far the work is; what is in it is shown to others.
    """

    folder: Path
    path: Path
    id: str
    outputs: Path
    deaths: int = 0
    progress: dict[str, Any] = field(default_factory=dict)

    @property
    def held(self) -> bool:
        """Whether it still is the lease that was taken."""
        found = _read(self.path)
        return found is not None and found.id == self.id

    def check(self) -> None:
        """Raise LostLeaseError unless it is still held: another process then computes the cell or has done so."""
        if not self.held:
            raise LostLeaseError(f"{self.folder.parent.name} {self.folder.name} was taken over by another process")

    @contextlib.contextmanager
    def renewed(self) -> Iterator[None]:
        """Show others every few seconds, while the block runs, that this process is alive."""
        stop = threading.Event()

        def beat() -> None:
            told: dict[str, Any] = {}
            while not stop.wait(HEARTBEAT_SECONDS):
                with contextlib.suppress(OSError):
                    if self.held:
                        os.utime(self.path)
                        if (now := dict(self.progress)) != told:
                            write_text(self.folder / PROGRESS, json.dumps(now))
                            told = now

        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()


@dataclass(frozen=True)
class _Record:
    """What the file of a lease says, and when it last changed."""

    holder: ProcessId
    id: str
    deaths: int
    reached: str
    changed: int


class Watch:
    """What this process has seen of the leases of others.

    A live process of this machine keeps its lease whatever any clock says. Of other machines only the heartbeat is
    known: a lease is nobody's when its file's time did not *change* while this process looked for ``STALE_SECONDS``.
    The time itself is compared with nothing, so clocks may differ.
    """

    def __init__(self) -> None:
        self._seen: dict[Path, tuple[object, float]] = {}

    def holder(self, path: Path) -> ProcessId | None:
        """Return who holds a lease; None when nobody does, its holder is dead, or it is damaged."""
        found = _read(path)
        return found.holder if found and self._is_held(path, found) else None

    def _is_held(self, path: Path, found: _Record) -> bool:
        if found.holder.here:
            if not found.holder.alive:
                return False
            if found.holder.start is not None:
                return True
        now, beat = time.monotonic(), (found.id, found.changed)
        seen, since = self._seen.get(path, (None, now))
        if seen != beat:
            self._seen[path] = beat, now
            return True
        return now - since <= STALE_SECONDS


def take(folder: Path, watch: Watch) -> Lease:
    """Take the lease of a cell for this process.

    Raises:
        LeasedError: another live process holds it, or takes it at this moment.
        ExperimentError: the file system has no hard links.
    """
    path = folder / "lease.json"
    found = _read(path)
    if found and watch._is_held(path, found):
        raise LeasedError(f"cell {folder.name} is being computed by {found.holder}")
    reached = _reached(folder)
    deaths = 0 if found is None else found.deaths + 1 if found.reached == reached else 1
    if path.exists() and not _put_aside(path, found.id if found else None):
        raise LeasedError(f"cell {folder.name} is being taken over by another process")
    lease = Lease(folder, path, uuid.uuid4().hex, temporary_name(folder / "outputs"), deaths)
    record = {**asdict(this_process()), "lease": lease.id, "deaths": deaths, "reached": reached}
    aside = _beside(folder)
    aside.write_text(json.dumps(record), encoding="utf-8")
    try:
        os.link(aside, path)
    except FileExistsError:
        raise LeasedError(f"cell {folder.name} is being taken by another process") from None
    except OSError as error:
        if error.errno in (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP):
            raise ExperimentError(
                f"the file system of '{folder}' has no hard links, which keep two processes from computing one cell; "
                "put the store on another one (--store)"
            ) from None
        raise
    finally:
        remove(aside)
    return lease


def give_back(lease: Lease) -> None:
    """Delete the lease, unless it belongs to another process by now."""
    if lease.held and _put_aside(lease.path, lease.id):
        remove(lease.folder / PROGRESS)


def _put_aside(path: Path, identity: str | None) -> bool:
    """Delete the lease of that ID (None: a damaged one); False if there is another, or another process did it first."""
    aside = _beside(path.parent)
    try:
        path.rename(aside)
    except FileNotFoundError:
        return False
    found = _read(aside)
    ours = (found.id if found else None) == identity
    if not ours:  # taken since we looked: it goes back, unless a third process has taken the cell in this very moment
        with contextlib.suppress(FileExistsError):
            os.link(aside, path)
    remove(aside)
    return ours


def _beside(folder: Path) -> Path:
    """Return a temporary name for a lease: not in the cell's folder, where its holder deletes temporary files."""
    return temporary_name(folder.with_name(f"lease-{folder.name}.json"))


def _reached(folder: Path) -> str:
    """Return a text that changes when the working files do: how far a cell has come."""
    found = []
    for place, _, names in os.walk(folder / "work"):
        for name in sorted(names):
            with contextlib.suppress(FileNotFoundError):
                found.append(f"{name} {Path(place, name).stat().st_size}")
    return f"{zlib.crc32(chr(10).join(sorted(found)).encode()):08x}"


def _read(path: Path) -> _Record | None:
    """Return what a lease states; None if there is none or it is damaged.

    Raises:
        ExperimentError: in its place is something that no program of ours has put there.
    """
    if path.is_dir():
        raise ExperimentError(f"'{path}' is a folder, and the lease of a cell should be there; move it away")
    try:
        with path.open(encoding="utf-8") as file:  # first: over a network, opening asks the server for the file's time
            about = os.fstat(file.fileno())
            if about.st_size > MOST_BYTES:
                return None
            record: dict[str, Any] = json.loads(file.read())
        start = record.get("start")
        holder = ProcessId(str(record["host"]), int(record["pid"]), None if start is None else int(start))
        deaths, reached = int(record.get("deaths", 0)), str(record.get("reached", ""))
        return _Record(holder, str(record.get("lease")), deaths, reached, about.st_mtime_ns)
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        return None
