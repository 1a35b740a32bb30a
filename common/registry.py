"""Things by name, where a name that is taken is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeVar

from .errors import LopsidedError

T = TypeVar("T")


class Registry(Mapping[str, T]):
    """Things by name, in the order in which they were registered.

    Args:
        kind: what it holds, for messages.
        reserved: returns other names that are taken.

    Examples:
        >>> units = Registry[float]("unit")
        >>> units.register("metre", 1.0)
        1.0
        >>> dict(units)
        {'metre': 1.0}
        >>> units.register("metre", 1000.0)
        Traceback (most recent call last):
        lopsided.common.errors.LopsidedError: unit 'metre' exists already; register it under another name
    """

    def __init__(self, kind: str, reserved: Callable[[], Iterable[str]] = tuple) -> None:
        self.kind, self.reserved = kind, reserved
        self._entries: dict[str, T] = {}

    def register(self, name: str, entry: T) -> T:
        """Add an entry and return it.

        Raises:
            LopsidedError: the name is taken.
        """
        if name in self._entries or name in self.reserved():
            raise LopsidedError(f"{self.kind} '{name}' exists already; register it under another name")
        self._entries[name] = entry
        return entry

    def __getitem__(self, name: str) -> T:
        return self._entries[name]

    def __contains__(self, name: object) -> bool:  # torch 2.6 on Python 3.10 cannot compile through Mapping's
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)
