"""What a reader returns: the items of one benchmark, their identity, and notes on what was read."""

from __future__ import annotations

from dataclasses import dataclass

from ..item import Item


@dataclass(frozen=True)
class Benchmark:
    """A benchmark as it was read.

    Attributes:
        name: key of the reader, e.g. ``unipercept-vr``.
        items: in the order of the files; (``benchmark``, ``dimension``, ``id``) is unique.
        identity: short content hash of every item's question, options, target and names; images are not in it.
        notes: what differs from the official files or is not known about them, one line each.
    """

    name: str
    items: tuple[Item, ...]
    identity: str
    notes: tuple[str, ...] = ()
