"""Stopping on SIGINT and SIGTERM: first at the next good moment, then at once."""

from __future__ import annotations

import contextlib
import logging
import signal
from collections.abc import Iterator
from types import FrameType

log = logging.getLogger("lopsided")


class Stop:
    """Whether a signal has asked to stop; the second one raises KeyboardInterrupt."""

    def __init__(self) -> None:
        self.asked = False

    def __call__(self) -> bool:
        """Return whether to stop."""
        return self.asked

    def handle(self, _number: int, _frame: FrameType | None) -> None:
        """Note a signal."""
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        log.warning("stopping after the current checkpoint; once more to stop at once")


@contextlib.contextmanager
def stop_on_signal() -> Iterator[Stop]:
    """Yield an object that tells, while the block runs, whether a signal has asked to stop."""
    stop = Stop()
    previous = {}
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            previous[number] = signal.signal(number, stop.handle)
    except ValueError:  # not the main thread (a notebook's worker): signals then reach someone else
        previous = {}
    try:
        yield stop
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
