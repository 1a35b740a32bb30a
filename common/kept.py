"""Results that are kept as long as they fit into a number of bytes, and made again where they do not."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar

from torch import Tensor

T = TypeVar("T")


class Kept:
    """A cache with a bound: what was used longest ago makes room, and what does not fit alone is not kept.

    Args:
        limit: bytes of tensors that it may hold.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._held: OrderedDict[str, tuple[Any, int]] = OrderedDict()

    def get(self, key: str, make: Callable[[], T]) -> T:
        """Return what is kept under ``key``, or what ``make`` makes."""
        if key in self._held:
            self._held.move_to_end(key)
            return self._held[key][0]
        value = make()
        size = tensor_bytes(value)
        if size <= self.limit:
            while self.size + size > self.limit:
                self._held.popitem(last=False)
            self._held[key] = value, size
        return value

    @property
    def size(self) -> int:
        """Bytes of tensors held."""
        return sum(size for _, size in self._held.values())


def tensor_bytes(value: Any) -> int:
    """Return the bytes of all tensors within nested sequences, mappings and dataclasses; a view counts as the whole."""
    storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in _tensors(value)}
    return sum(storages.values())


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
        return
    if is_dataclass(value):
        value = [getattr(value, field.name) for field in fields(value)]
    elif isinstance(value, Mapping):
        value = value.values()
    elif not isinstance(value, list | tuple):
        return
    for part in value:
        yield from _tensors(part)
