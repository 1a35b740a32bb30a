"""Draws the crops of coming steps in threads, while the networks compute."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Generic, TypeVar

T = TypeVar("T")
Key = tuple[int, int]


class Loader(Generic[T]):
    """Batches by (step, micro-batch), drawn ahead of time.

    A batch depends on its key alone, so it does not matter which thread draws it, and when.

    Args:
        draw: draws the batch of a key.
        following: yields a key and those that will be asked for after it.
        threads: threads that draw; with 0, each batch is drawn when it is asked for.

    Examples:
        >>> loader = Loader(sum, lambda key: iter([(step, 0) for step in range(key[0], 9)]), threads=1)
        >>> loader((3, 0)), loader((4, 0))
        (3, 4)
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
        # Batches that are no longer wanted were drawn for a run that has returned to a checkpoint since.
        self._drawn = {k: self._drawn.get(k) or self._threads.submit(self._draw, k) for k in wanted}
        return self._drawn[key].result()
