"""Who computes a cell: a file in its folder, kept by a live process, and lost by one that slept too long elsewhere."""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ...common.files import temporary_name
from ...common.processes import ProcessId, this_process
from ..schema.errors import ExperimentError

HEARTBEAT_SECONDS = 10.0
STALE_SECONDS = 60.0  # a lease of another machine that was seen to stay unchanged for this long belongs to nobody
MOST_BYTES = 4096  # of a lease; more is damage


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
    """

    folder: Path
    path: Path
    id: str
    outputs: Path

    @property
    def held(self) -> bool:
        """Whether it still is the lease that was taken."""
        found = _read(self.path)
        return found is not None and found[1] == self.id

    def check(self) -> None:
        """Raise LostLeaseError unless it is still held: another process then computes the cell or has done so."""
        if not self.held:
            raise LostLeaseError(f"{self.folder.parent.name} {self.folder.name} was taken over by another process")

    @contextlib.contextmanager
    def renewed(self) -> Iterator[None]:
        """Show others every few seconds, while the block runs, that this process is alive."""
        stop = threading.Event()

        def beat() -> None:
            while not stop.wait(HEARTBEAT_SECONDS):
                with contextlib.suppress(OSError):
                    if self.held:
                        os.utime(self.path)

        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()


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
        if found is None:
            return None
        holder, identity = found
        if holder.here:
            if not holder.alive:
                return None
            if holder.start is not None:
                return holder
        try:
            now, beat = time.monotonic(), (identity, path.stat().st_mtime_ns)
        except FileNotFoundError:
            return None
        seen, since = self._seen.get(path, (None, now))
        if seen != beat:
            self._seen[path] = beat, now
            return holder
        return holder if now - since <= STALE_SECONDS else None


def new_lease(folder: Path) -> tuple[Lease, str]:
    """Return a lease of a cell for this process, and the text of its file."""
    lease = Lease(folder, folder / "lease.json", uuid.uuid4().hex, temporary_name(folder / "outputs"))
    return lease, json.dumps({**asdict(this_process()), "lease": lease.id})


def _read(path: Path) -> tuple[ProcessId, str] | None:
    """Return the holder and the random ID that a lease states; None if there is none or it is damaged.

    Raises:
        ExperimentError: in its place is something that no program of ours has put there.
    """
    if path.is_dir():
        raise ExperimentError(f"'{path}' is a folder, and the lease of a cell should be there; move it away")
    try:
        if path.stat().st_size > MOST_BYTES:
            return None
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        start = record.get("start")
        holder = ProcessId(str(record["host"]), int(record["pid"]), None if start is None else int(start))
        return holder, str(record.get("lease"))
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        return None
