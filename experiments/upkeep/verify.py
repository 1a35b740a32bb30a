"""Check the bytes of a store, and say what depends on what is damaged."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from ...common.errors import one_line
from ..store import Status, Store, disk_errors
from ..store.outputs import damage, recorded, tree_sha256

Key = tuple[str, str]  # stage and ID of a cell


@dataclass(frozen=True)
class Fault:
    """A cell that ended and is not as it was then.

    Attributes:
        cell: its stage and ID.
        reason: what is wrong.
        dependants: cells that were made from its outputs, directly or through others.
    """

    cell: Key
    reason: str
    dependants: tuple[Key, ...] = ()


@dataclass
class Verified:
    """What a check found.

    Attributes:
        cells: how many cells have ended and were looked at.
        files: how many files of theirs were compared.
        faults: what is damaged.
        unrecorded: cells made before outputs were recorded, of which nothing can be said.
    """

    cells: int = 0
    files: int = 0
    faults: list[Fault] = field(default_factory=list)
    unrecorded: list[Key] = field(default_factory=list)


def verify(
    store: Store,
    cells: Iterable[Key] | None = None,
    progress: Callable[[float, int, str], None] = lambda _done, _total, _last: None,
) -> Verified:
    """Read every output and compare it with what was recorded when its cell ended.

    Args:
        store: the store. Its caches are not looked at: they are checked whenever they are used.
        cells: stage and ID of those to look at; None: all. Dependants are looked for among all in any case.
        progress: told (cells done, cells in all, the last one).

    Raises:
        ExperimentError: a newer version of lopsided wrote to the store.
    """
    everything = store.cells()
    wanted = everything if cells is None else [cell for cell in dict.fromkeys(cells) if cell in set(everything)]
    inputs = {cell: store.input_ids(*cell) for cell in everything}
    by_id = {cell[1]: cell for cell in everything}
    found = Verified()
    reasons: dict[Key, str] = {}
    for done, cell in enumerate(wanted, start=1):
        if (reason := _look(store, cell, inputs[cell], by_id, found)) is not None:
            reasons[cell] = reason
        progress(done, len(wanted), " ".join(cell))
    found.faults = [Fault(cell, reason, _dependants(cell, inputs)) for cell, reason in reasons.items()]
    return found


def repair(store: Store, found: Verified) -> list[Key]:
    """Set damaged cells, and those made from them, back to pending; returns them.

    Raises:
        ExperimentError: the store cannot be written to.
        LeasedError: a live process is computing one of them.
    """
    cells = list(dict.fromkeys(cell for fault in found.faults for cell in (fault.cell, *fault.dependants)))
    for cell in reversed(cells):  # what was made from it first: a kill leaves nothing whose input is gone
        with disk_errors(store.root):
            store.reset(*cell)
    return cells


def record_outputs(store: Store, found: Verified) -> None:
    """Record the outputs of cells of which nothing was recorded, as they are now.

    Raises:
        ExperimentError: the store cannot be written to.
        LeasedError: a live process is computing one of them.
    """
    for cell in found.unrecorded:
        with disk_errors(store.root):
            store.record(*cell)


def _look(store: Store, cell: Key, inputs: Mapping[str, str], by_id: Mapping[str, Key], found: Verified) -> str | None:
    """Return what is wrong with a cell, None if nothing is or it has not ended, and count it."""
    folder = store.folder(*cell)
    try:
        status = recorded(folder)
    except ValueError as error:
        found.cells += 1
        return f"'{folder / 'status.json'}' is damaged ({one_line(error)})"
    if status is None or status.state == "failed":
        return None
    found.cells += 1
    if status.outputs is None:
        found.unrecorded.append(cell)
        return None
    found.files += len(status.outputs)
    if damaged := damage(folder, status.outputs, status.outputs, again=True):
        return str(damaged)
    return _other_input(store, status, inputs, by_id)


def _other_input(store: Store, status: Status, inputs: Mapping[str, str], by_id: Mapping[str, Key]) -> str | None:
    """Return which input was made anew with other bytes since the cell read it."""
    for role, names in (status.inputs or {}).items():
        source = by_id.get(inputs.get(role, ""))
        try:
            now = recorded(store.folder(*source)) if source else None
        except ValueError:
            now = None  # it is a fault of its own
        if source is None or now is None or now.outputs is None:
            continue
        for name, sha256 in names.items():
            if tree_sha256(name, {file: output.sha256 for file, output in now.outputs.items()}) != sha256:
                return f"it was made from another '{name}' than {' '.join(source)} has now"
    return None


def _dependants(cell: Key, inputs: Mapping[Key, Mapping[str, str]]) -> tuple[Key, ...]:
    """Return the cells made from a cell, those made from these, and so on."""
    users: dict[str, list[Key]] = defaultdict(list)
    for user, sources in inputs.items():
        for source in sources.values():
            users[source].append(user)
    found: dict[Key, None] = {}
    ahead = [cell]
    while ahead:
        for user in users[ahead.pop(0)[1]]:
            if user not in found:
                found[user] = None
                ahead.append(user)
    return tuple(found)
