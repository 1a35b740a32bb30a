"""What presets, benchmarks and published tables share: things known by a name that only one of them has."""

from __future__ import annotations

from typing import TypeVar

from .errors import MllmError

Thing = TypeVar("Thing")


def register(known: dict[str, Thing], kind: str, name: str, thing: Thing) -> None:
    """Add a thing under its name.

    Args:
        known: the things known so far.
        kind: what they are, for the message.
        name: the new one's name.
        thing: the new one.

    Raises:
        MllmError: the name is taken.
    """
    if name in known:
        raise MllmError(f"there is a {kind} called '{name}' already; choose another name")
    known[name] = thing
