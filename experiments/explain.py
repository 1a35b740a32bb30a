"""Why a cell is not done yet, what a plan will cost, and how two cells differ, from what the store has of others."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..common.errors import did_you_mean
from .planning import Statuses
from .schema.errors import ExperimentError
from .stages.cell import Cell
from .stages.stage import Stage
from .store import Status, Store
from .store.outputs import PROVENANCE, SPEC

MOST_COMPARED = 500  # finished cells of a stage that a new one is compared with
MOST_READ = 50  # finished cells of a stage that its time is estimated from, where the plan has none
MOST_EXPLAINED = 200  # new cells that are compared; a plan has a row for all cells that are alike
MOST_NAMED = 3  # fields in one explanation
Flat = dict[str, str]


@dataclass(frozen=True)
class Cost:
    """What new cells will take, judged by finished ones.

    Attributes:
        seconds: of computing, all cells added up.
        size: of their outputs, in bytes.
        unknown: stages of which no cell is finished: they are not in the numbers.
    """

    seconds: float
    size: float
    unknown: tuple[str, ...]


def reasons(statuses: Statuses, store: Store) -> dict[str, str]:
    """Say why cells are to be computed, by ID: the first cells of each row of the plan, and those alike get the same.

    A cell is new because an input of it is, or because no finished cell has its settings: then the fields are named in
    which the nearest one differs.
    """
    new = {cell.id: cell for cell, status in statuses if status.state == "pending"}
    finished: dict[str, list[tuple[str, Flat]]] = {}
    said: dict[tuple[str, str], str] = {}
    found: dict[str, str] = {}
    for cell in new.values():
        sources = [source for source in cell.inputs.values() if source.id in new]
        key = cell.stage, cell.row
        if sources:
            found[cell.id] = f"needs {sources[0].stage}, which is new"
        elif key in said:
            found[cell.id] = said[key]
        elif len(said) < MOST_EXPLAINED:
            if cell.stage not in finished:
                finished[cell.stage] = list(_finished(store, cell.stage))
            found[cell.id] = said[key] = _nearest(cell, finished[cell.stage])
    return found


def cost(statuses: Sequence[tuple[Cell[Stage], Status]], store: Store) -> Cost:
    """Estimate what is left to do from finished cells of the plan, or else of the store.

    Where the plan has finished cells of a stage that says how much work each is (training steps), it is scaled by that.
    """
    done = [(cell, status) for cell, status in statuses if status.state == "done"]
    left = [cell for cell, status in statuses if status.state not in ("done", "diverged")]
    seconds = size = 0.0
    unknown = []
    for stage in dict.fromkeys(cell.stage for cell in left):
        mine = [cell for cell in left if cell.stage == stage]
        known = [(cell.spec.effort, status) for cell, status in done if cell.stage == stage]
        known = known or [(None, status) for status in _statuses(store, stage)]
        if not known:
            unknown.append(stage)
            continue
        took = sum(status.seconds or 0.0 for _, status in known)
        bytes_ = sum(output.size for _, status in known for output in (status.outputs or {}).values())
        efforts, wanted = [effort or 0.0 for effort, _ in known], [cell.spec.effort or 0.0 for cell in mine]
        seconds += took * (sum(wanted) / sum(efforts) if all(efforts) and all(wanted) else len(mine) / len(known))
        size += bytes_ * len(mine) / len(known)
    return Cost(seconds, size, tuple(unknown))


@dataclass(frozen=True)
class Difference:
    """How two cells differ.

    Attributes:
        first: stage and ID of the one.
        second: of the other.
        settings: what determines their outputs: field, value of the first, value of the second.
        making: the same for how they were made: versions, machine, device.
        outputs: file, and whether it is equal, different, or in one of them only.
    """

    first: tuple[str, str]
    second: tuple[str, str]
    settings: list[tuple[str, str, str]]
    making: list[tuple[str, str, str]]
    outputs: list[tuple[str, str]]


def difference(store: Store, first: str, second: str) -> Difference:
    """Compare two cells by their IDs, or the beginnings of them.

    Raises:
        ExperimentError: there is no such cell, or there are several.
    """
    keys = [_found(store, name) for name in (first, second)]
    folders = [store.folder(*key) for key in keys]
    specs = [{"stage": key[0], **_settings(folder)} for key, folder in zip(keys, folders, strict=True)]
    making = [_flat(_json(folder / PROVENANCE)) for folder in folders]
    outputs = [store.status(*key).outputs or {} for key in keys]
    files = []
    for name in sorted({*outputs[0], *outputs[1]} - {SPEC, PROVENANCE}):
        one, other = (side.get(name) for side in outputs)
        only = "only in the first" if one else "only in the second"
        files.append((name, only if not (one and other) else "equal" if one.sha256 == other.sha256 else "different"))
    return Difference(keys[0], keys[1], list(_differing(*specs)), list(_differing(*making)), files)


def _found(store: Store, name: str) -> tuple[str, str]:
    cells = store.cells()
    fits = [key for key in cells if key[1].startswith(name)]
    if len(fits) != 1:
        what = f"{len(fits)} cells begin with '{name}'" if fits else f"there is no cell '{name}'"
        hint = (
            "give more of the ID"
            if fits
            else did_you_mean(name, [cell for _, cell in cells], "see lopsided plan --all")
        )
        raise ExperimentError(f"{what} in '{store.root}'; {hint}")
    return fits[0]


def _nearest(cell: Cell[Stage], finished: Sequence[tuple[str, Flat]]) -> str:
    if not finished:
        return f"no finished {cell.stage} in this store"
    inputs = {role: source.id for role, source in cell.inputs.items()}
    mine = _flat({"version": cell.spec.version, **cell.spec.content(), "inputs": inputs})
    items = set(mine.items())
    other, theirs = min(finished, key=lambda one: len(items ^ one[1].items()))
    fields = list(_differing(mine, theirs))
    if not fields:
        return f"{other} has the same settings under another name; a newer version may name cells otherwise"
    named = ", ".join(f"{name} {_short(ours)} (not {_short(its)})" for name, ours, its in fields[:MOST_NAMED])
    more = f" and {len(fields) - MOST_NAMED} more" if len(fields) > MOST_NAMED else ""
    return f"{named}{more}; nearest: {other}"


def _finished(store: Store, stage: str) -> Iterator[tuple[str, Flat]]:
    for cell, _ in _done(store, stage, MOST_COMPARED):
        if settings := _settings(store.folder(stage, cell)):
            yield cell, settings


def _statuses(store: Store, stage: str) -> list[Status]:
    return [status for _, status in _done(store, stage, MOST_READ)]


def _done(store: Store, stage: str, most: int) -> Iterator[tuple[str, Status]]:
    """Yield finished cells of a stage; of very many, some."""
    found = ((cell, store.status(stage, cell)) for of, cell in store.cells() if of == stage)
    return itertools.islice(((cell, status) for cell, status in found if status.state == "done"), most)


def _settings(folder: Path) -> Flat:
    record = _json(folder / SPEC)
    return _flat({"version": record.get("version"), **record.get("content", {}), "inputs": record.get("inputs", {})})


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):  # verify says so; nothing can be said about it here
        return {}
    return found if isinstance(found, dict) else {}


def _flat(value: Any, place: str = "") -> Flat:
    """Return every value by its path: ``{"a": {"b": [1]}}`` is ``{"a.b[0]": "1"}``."""
    if isinstance(value, Mapping):
        children = {f"{place}.{key}" if place else str(key): child for key, child in value.items()}
    elif isinstance(value, list | tuple):
        children = {f"{place}[{index}]": child for index, child in enumerate(value)}
    else:
        return {place: str(value)}
    return {name: text for where, child in children.items() for name, text in _flat(child, where).items()}


def _differing(first: Flat, second: Flat) -> Iterator[tuple[str, str, str]]:
    for name in dict.fromkeys([*first, *second]):
        if first.get(name) != second.get(name):
            yield name, first.get(name, "–"), second.get(name, "–")


def _short(text: str) -> str:
    return text if len(text) <= 20 else f"{text[:12]}…"
