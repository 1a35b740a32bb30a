"""Stopping on SIGINT, SIGTERM and SIGHUP: first at the next good moment, then at once."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
from collections.abc import Iterator
from types import FrameType

log = logging.getLogger("lopsided")


class Stop:
    """Whether a signal has asked to stop; the second one raises KeyboardInterrupt.

    A terminal that is closed asks once, however often: its shell and the system both send SIGHUP.
    """

    def __init__(self) -> None:
        self.asked = False

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

    def ask(self, _number: int, _frame: FrameType | None) -> None:
        """Note a signal that never stops at once."""
        self.asked = True


@contextlib.contextmanager
def stop_on_signal(*, helper: bool = False) -> Iterator[Stop]:
    """Yield an object that tells, while the block runs, whether a signal has asked to stop.

    Args:
        helper: this is not the first process of a run. A signal can reach every process of a terminal or a job, and
            the first one also passes it on: only what comes as SIGTERM counts here, and it counts once.
    """
    stop = Stop()
    if helper:
        handlers = {signal.SIGINT: signal.SIG_IGN, signal.SIGHUP: signal.SIG_IGN, signal.SIGTERM: stop.ask}
    else:
        handlers = dict.fromkeys((signal.SIGINT, signal.SIGTERM, signal.SIGHUP), stop.handle)
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
