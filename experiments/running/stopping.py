"""Stopping on SIGINT, SIGTERM and SIGHUP: first at the next good moment, then at once."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
from collections.abc import Collection, Iterator
from types import FrameType
from typing import Any

log = logging.getLogger("lopsided")


class Stop:
    """Whether a signal has asked to stop; the second one raises KeyboardInterrupt.

    A terminal that is closed asks once, however often: its shell and the system both send SIGHUP.
    """

    def __init__(self) -> None:
        self.asked = False
        self.number = 0  # of the signal

    def __call__(self) -> bool:
        """Return whether to stop."""
        return self.asked

    def handle(self, number: int, _frame: FrameType | None) -> None:
        """Note a signal."""
        if number == signal.SIGHUP:
            _let_go_of_closed_terminal()
        elif self.asked:
            raise KeyboardInterrupt
        if not self.asked:
            self.asked = True
            log.warning("stopping after the current checkpoint; once more to stop at once")

    def ask(self, number: int, _frame: FrameType | None) -> None:
        """Note a signal that never stops at once."""
        self.asked, self.number = True, number


@contextlib.contextmanager
def stop_on_signal(asked_by: Collection[int] = ()) -> Iterator[Stop]:
    """Yield an object that tells, while the block runs, whether a signal has asked to stop.

    Args:
        asked_by: if given, this is a worker of a run, and these signals ask it to stop, once and never at once. What
            reaches every process of a terminal is ignored: the first process passes it on.
    """
    stop = Stop()
    handlers: dict[int, Any] = dict.fromkeys((signal.SIGINT, signal.SIGTERM, signal.SIGHUP), stop.handle)
    if asked_by:
        handlers = {**dict.fromkeys(handlers, signal.SIG_IGN), **dict.fromkeys(asked_by, stop.ask)}
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:  # under nohup
        del handlers[signal.SIGHUP]
    previous = {}
    try:
        for number, handler in handlers.items():
            previous[number] = signal.signal(number, handler)
    except ValueError:  # not the main thread (a notebook's worker): signals then reach someone else
        previous = {}
    try:
        yield stop
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _let_go_of_closed_terminal() -> None:
    """Send to nowhere what this process says to a terminal that is not there any more: writing to it would raise."""
    for number in (1, 2):
        try:
            os.write(number, b"")
        except OSError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, number)
            os.close(nowhere)
