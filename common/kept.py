"""Results that are kept while they fit into a number of bytes, and computed again otherwise."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar

from torch import Tensor

T = TypeVar("T")


class Kept:
    """A bounded cache: the least recently used result makes room; a result larger than the bound is not kept.

    Args:
        limit: most bytes of tensors to hold.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._held: OrderedDict[str, tuple[Any, int]] = OrderedDict()

    def get(self, key: str, make: Callable[[], T]) -> T:
        """Return the result kept under ``key``, or else the result of ``make``, which is kept from then on."""
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
    """Return the bytes of all tensors in nested sequences, mappings and dataclasses; a view counts in full."""
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
