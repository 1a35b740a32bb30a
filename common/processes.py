"""Processes by more than their number: a number is used again, a number with a start time is not."""

from __future__ import annotations

import contextlib
import os
import socket
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ProcessId:
    """A process of any machine.

    Attributes:
        host: name of its machine.
        pid: its number there.
        start: when it began, in clock ticks since the machine started; None: not known (no ``/proc``).
    """

    host: str
    pid: int
    start: int | None = None

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"

    @property
    def here(self) -> bool:
        """Whether it belongs to this machine."""
        return self.host == socket.gethostname()

    @property
    def alive(self) -> bool:
        """Whether this process, and not a later one of the same number, is running; ask only where it is ``here``."""
        if self.pid <= 0:  # a damaged record: these numbers mean whole groups of processes
            return False
        try:
            os.kill(self.pid, 0)
        except (ProcessLookupError, OverflowError):
            return False
        except PermissionError:
            pass  # somebody else's
        found = _state_and_start(self.pid)
        if found is None:
            return True
        state, start = found
        return state != "Z" and self.start in (None, start)  # a zombie still answers to the signal


def this_process() -> ProcessId:
    """Return the process that runs this."""
    found = _state_and_start(os.getpid())
    return ProcessId(socket.gethostname(), os.getpid(), found[1] if found else None)


def _state_and_start(pid: int) -> tuple[str, int] | None:
    """Return a process's state and start time, fields 3 and 22 of its ``stat``; None: not known."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rsplit(")", 1)[1].split()
        return fields[0], int(fields[19])
    return None
