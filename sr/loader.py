"""Draw the crops of the steps to come in threads, while the networks compute."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Generic, TypeVar

T = TypeVar("T")
Key = tuple[int, int]


class Loader(Generic[T]):
    """Batches by (step, micro-batch), drawn ahead of time.

    A batch is a function of its key alone, so which thread draws it, and when, cannot change it.

    Args:
        draw: draws the batch of a key.
        following: the keys that will be asked for, from a key on, that one included.
        threads: threads that draw; 0 draws when asked.
    """

    def __init__(self, draw: Callable[[Key], T], following: Callable[[Key], Iterator[Key]], threads: int) -> None:
        self._draw, self._following, self._ahead = draw, following, 2 * threads
        self._threads = ThreadPoolExecutor(threads, "crops") if threads else None
        self._drawn: dict[Key, Future[T]] = {}

    def __call__(self, key: Key) -> T:
        """Return the batch of ``key``."""
        if self._threads is None:
            return self._draw(key)
        wanted = list(islice(self._following(key), 1 + self._ahead))
        # What is not wanted any more was drawn for a run that was set back to a checkpoint.
        self._drawn = {k: self._drawn.get(k) or self._threads.submit(self._draw, k) for k in wanted}
        return self._drawn[key].result()
