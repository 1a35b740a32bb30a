"""Find what in a store nobody needs: what kills left, and cells and caches that no experiment refers to."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...common.files import leftovers, remove
from ..planning import Plan
from ..schema.errors import ExperimentError
from ..store import LeasedError, Store, disk_errors


@dataclass(frozen=True)
class Garbage:
    """A file or folder that can go.

    Attributes:
        path: where it is.
        why: why it is not needed.
        size: in bytes, with all that is in it.
        cell: stage and ID, where it is a whole cell.
    """

    path: Path
    why: str
    size: int
    cell: tuple[str, str] | None = None


def garbage(store: Store, keep: Sequence[Plan] = ()) -> list[Garbage]:
    """Find what can be deleted; nothing that a live process holds is among it.

    Args:
        store: the store.
        keep: the experiments whose cells and caches are needed. Without any, all are, and only what kills left is
            found.

    Raises:
        ExperimentError: a newer version of lopsided wrote to the store.
    """
    return [*_of_kills(store), *(_unreferenced(store, keep) if keep else ())]


def delete_garbage(store: Store, found: Iterable[Garbage]) -> list[Garbage]:
    """Delete what :func:`garbage` found; returns what a live process has begun to use since then, which stays.

    Raises:
        ExperimentError: something cannot be deleted.
    """
    left = []
    for one in found:
        try:
            with disk_errors(store.root):
                if one.cell:
                    store.remove(*one.cell)
                else:
                    remove(one.path)
        except LeasedError:
            left.append(one)
            continue
        if one.path.exists():
            raise ExperimentError(f"'{one.path}' cannot be deleted; the store may be read-only, or not yours")
    return left


def _of_kills(store: Store) -> Iterator[Garbage]:
    for path in leftovers(store.root):
        yield Garbage(path, "temporary, of a process that was killed", _size(path))
    for stage, cell in store.cells():
        work = store.folder(stage, cell) / "work"
        if work.exists() and store.status(stage, cell).state in ("done", "diverged"):
            yield Garbage(work, "working files of a cell that is done", _size(work))


def _unreferenced(store: Store, keep: Sequence[Plan]) -> Iterator[Garbage]:
    needed = {(cell.stage, cell.id) for plan in keep for cell in plan.cells}
    for key in store.cells():
        if key not in needed and store.status(*key).state != "running":
            folder = store.folder(*key)
            yield Garbage(folder, "a cell of none of the experiments", _size(folder), key)
    if not store.cache.is_dir() or store.cache_in_use():
        return
    used = {name for plan in keep for cell in plan.cells for name in cell.spec.caches()}
    for path in sorted(store.cache.glob("[!.]*")):
        if path.is_dir() and path.name not in used:
            yield Garbage(path, "a cache of none of the experiments", _size(path))


def _size(path: Path) -> int:
    files = [Path(place, file) for place, _, names in os.walk(path) for file in names] if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.exists())
