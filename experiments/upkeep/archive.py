"""Cells and looks as one file, to move them between stores: every byte is checked, and nothing can leave its place."""

from __future__ import annotations

import json
import re
import shutil
import tarfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO

from ...common.errors import one_line
from ...common.files import atomic_path, remove, temporary_name
from ..adaptive import adopt, parse_record, record_path, recorded_names
from ..schema.errors import ExperimentError
from ..store import LeasedError, Store, disk_errors
from ..store.outputs import STATUS, damage, recorded

Key = tuple[str, str]  # stage and ID of a cell
Progress = Callable[[float, int, str], None]
FORMAT = 1
MANIFEST = "manifest.json"
MOST_MANIFEST = 1 << 30  # bytes; 10,000 cells have some 10 MB
MOST_FILES = 10_000_000
MOST_RECORD = 1 << 26  # bytes; twenty looks at thousands of contrasts have some 10 MB
CHUNK = 1 << 20
_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.,=+@-]{0,200}\Z")  # of a path: no folder above, no hidden file


@dataclass
class Moved:
    """What was put into an archive, or taken out of it.

    Attributes:
        cells: stage and ID of those that were.
        there: those that the store has already; they stay as they are.
        unfinished: those that have not ended, and are left out.
        looks: names of the experiments whose looks went along.
        size: in bytes, of all files of cells.
    """

    cells: list[Key] = field(default_factory=list)
    there: list[Key] = field(default_factory=list)
    unfinished: list[Key] = field(default_factory=list)
    looks: list[str] = field(default_factory=list)
    size: int = 0


def pack(
    store: Store,
    to: Path,
    cells: Iterable[Key] | None = None,
    progress: Progress = lambda *_: None,
    looks: Iterable[str] | None = None,
) -> Moved:
    """Write finished cells into an archive (a tar file), and what is kept of looks at them, with SHA-256 of every file.

    Args:
        store: where they are.
        to: the file to write.
        cells: stage and ID of those to write; None: all.
        progress: told (cells done, cells in all, the last one).
        looks: names of the experiments whose looks go along, if there were any; None: all.

    Raises:
        ExperimentError: an output or a record of looks is damaged; the archive is not written then.
    """
    moved, manifest = Moved(), {}
    for key in store.cells() if cells is None else dict.fromkeys(cells):
        folder = store.folder(*key)
        try:
            status = recorded(folder)
        except ValueError as error:
            raise ExperimentError(f"'{folder / STATUS}' is damaged ({one_line(error)})") from None
        if status is None or status.state == "failed" or status.outputs is None:
            moved.unfinished.append(key)
            continue
        if found := damage(folder, status.outputs, status.outputs, again=True):
            raise ExperimentError(f"{found}; 'lopsided verify --repair' sets it back")
        files = {name: {"size": output.size, "sha256": output.sha256} for name, output in status.outputs.items()}
        text = (folder / STATUS).read_bytes()
        files[STATUS] = _stated(text)
        manifest["/".join(key)] = files
        moved.cells.append(key)
        moved.size += sum(int(one["size"]) for one in files.values())
    # After the cells: an archive may know of a look without its cells, which are computed again, but not the reverse.
    names = recorded_names(store)
    records = {name: record_path(store, name).read_bytes() for name in names if looks is None or name in {*looks}}
    for name, text in records.items():
        parse_record(text, record_path(store, name))
    moved.looks = [*records]
    listed = {"format": FORMAT, "looks": {name: _stated(text) for name, text in records.items()}, "cells": manifest}
    with disk_errors(to.parent), atomic_path(to) as temporary, tarfile.open(temporary, "w") as tar:
        _add(tar, MANIFEST, json.dumps(listed, indent=1).encode())
        for name, text in records.items():
            _add(tar, f"looks/{name}.json", text)
        for number, key in enumerate(moved.cells, start=1):
            for name in manifest["/".join(key)]:
                tar.add(store.folder(*key) / name, "/".join(("cells", *key, name)), recursive=False)
            progress(number, len(moved.cells), " ".join(key))
    return moved


def unpack(archive: Path, store: Store, most_bytes: int, progress: Progress = lambda *_: None) -> Moved:
    """Add the cells of an archive to a store, and the looks at them. Cells that it has already stay as they are.

    Of two records of looks at one experiment, the one that goes on from the other is kept. Only files that the
    archive's list names are read, each up to the size that it states; they are checked, and a cell is put in its place
    when all of it is right. Links, devices and paths that lead elsewhere are refused.

    Args:
        archive: what :func:`pack` has written.
        store: where the cells go; the folder is made.
        most_bytes: of all files together.
        progress: told (cells done, cells in all, the last one).

    Raises:
        ExperimentError: the archive is damaged, too large, or not what ``pack`` writes; an experiment was looked at
            otherwise here. What came before that place stays.
    """
    moved = Moved()
    try:
        with disk_errors(store.root), tarfile.open(archive, "r:") as tar:
            looks, cells = _manifest(tar, archive, most_bytes, store)
            # Before the cells: a store that has those of later looks has to know of them.
            for name, stated in looks.items():
                path = f"looks/{name}.json"
                text = _member(tar, path, archive).read(MOST_RECORD)
                if _stated(text) != stated:
                    raise ExperimentError(f"'{archive}': '{path}' is not what the list says; the archive is damaged")
                adopt(store, name, parse_record(text, archive / path))
                moved.looks.append(name)
            for number, (name, files) in enumerate(cells.items(), start=1):
                key = (name.split("/")[0], name.split("/")[1])
                _take(tar, key, files, store, moved, archive)
                progress(number, len(cells), " ".join(key))
            if tar.next() is not None:
                raise ExperimentError(f"'{archive}' holds files that its list does not name; it is not used further")
    except FileNotFoundError:
        raise ExperimentError(f"there is no archive '{archive}'") from None
    except (tarfile.TarError, EOFError) as error:
        raise ExperimentError(f"'{archive}' is damaged, or no archive of lopsided: {one_line(error)}") from None
    return moved


def _manifest(
    tar: tarfile.TarFile, archive: Path, most_bytes: int, store: Store
) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Return what the list says of the records of looks, by experiment, and of each cell's files."""
    member = tar.next()
    if member is None or member.name != MANIFEST or not member.isreg() or member.size > MOST_MANIFEST:
        raise ExperimentError(f"'{archive}' is no archive of lopsided: it does not begin with a list of its files")
    try:
        record = json.loads(_opened(tar, member).read(member.size))
        if record["format"] > FORMAT:
            raise ExperimentError(f"'{archive}' was written by a newer lopsided; update lopsided")
        cells: dict[str, dict[str, Any]] = record["cells"]
        looks: dict[str, Any] = record["looks"]
        paths = [(*cell.split("/"), *name.split("/")) for cell, files in cells.items() for name in files]
        paths += [(name,) for name in looks]
        stated = [*looks.values(), *(one for files in cells.values() for one in files.values())]
        sizes = [int(one["size"]) for one in stated]
        ok = all(len(cell.split("/")) == 2 and STATUS in files for cell, files in cells.items())
        ok = ok and all(isinstance(one["sha256"], str) for one in stated)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ExperimentError(f"the list of files in '{archive}' is damaged: {one_line(error)}") from None
    for path in paths:
        if not all(_PART.match(part) for part in path):
            raise ExperimentError(f"'{archive}' names the file {'/'.join(path)!r}, which is no file of a cell")
    if not ok or min(sizes, default=0) < 0 or len(sizes) > MOST_FILES:
        raise ExperimentError(f"the list of files in '{archive}' is damaged")
    store.check_there()
    for limit, what in ((most_bytes, "the limit is {}; raise it with --most"), (_room(store), "{} are free")):
        if sum(sizes) > limit:
            told = what.format(f"{limit / 2**30:.1f} GiB")
            raise ExperimentError(f"'{archive}' holds {sum(sizes) / 2**30:.1f} GiB, and {told}")
    return looks, cells


def _room(store: Store) -> int:
    return shutil.disk_usage(store.root).free


def _take(tar: tarfile.TarFile, key: Key, files: dict[str, Any], store: Store, moved: Moved, archive: Path) -> None:
    """Put one cell of an archive in its place, or pass over it."""
    folder = store.folder(*key)
    aside = temporary_name(folder)
    try:
        for name, stated in files.items():
            source = _member(tar, "/".join(("cells", *key, name)), archive)
            _copy(source, aside / name, int(stated["size"]), stated["sha256"], archive)
        found = recorded(aside)
        if found is None or found.state == "failed" or not found.outputs or {*found.outputs, STATUS} != {*files}:
            raise ExperimentError(f"'{archive}': the status of {' '.join(key)} does not fit its files")
        if wrong := damage(aside, found.outputs, found.outputs):
            raise ExperimentError(f"'{archive}': {wrong}")
        with store.lease(*key) as lease:
            if store.status(*key).end in ("done", "diverged"):
                moved.there.append(key)
                return
            store.begin(lease)
            for path in aside.iterdir():
                if path.name != STATUS:
                    remove(folder / path.name)
                    path.rename(folder / path.name)
            (aside / STATUS).rename(folder / STATUS)
            store.index.put(*key, found.end)
        moved.cells.append(key)
        moved.size += sum(int(one["size"]) for one in files.values())
    except LeasedError:
        moved.there.append(key)  # it is being computed, and will be
    except ValueError as error:
        raise ExperimentError(f"'{archive}': the status of {' '.join(key)} is damaged: {one_line(error)}") from None
    finally:
        remove(aside)


def _copy(source: BinaryIO, to: Path, size: int, expected: str, archive: Path) -> None:
    to.parent.mkdir(parents=True, exist_ok=True)
    hashed, left = sha256(), size
    with to.open("xb") as file:
        while left and (chunk := source.read(min(CHUNK, left))):
            hashed.update(chunk)
            file.write(chunk)
            left -= len(chunk)
    if left or source.read(1) or hashed.hexdigest() != expected:
        raise ExperimentError(f"'{archive}': '{to.name}' is not what the list says; the archive is damaged")


def _stated(content: bytes) -> dict[str, Any]:
    """Return what the list says of a file."""
    return {"size": len(content), "sha256": sha256(content).hexdigest()}


def _member(tar: tarfile.TarFile, name: str, archive: Path) -> BinaryIO:
    """Open the next file, which has to have this name."""
    member = tar.next()
    if member is None or member.name != name or not member.isreg():
        found = "nothing" if member is None else f"{member.name!r}"
        raise ExperimentError(f"'{archive}': {name} is expected, {found} is there")
    return _opened(tar, member)


def _opened(tar: tarfile.TarFile, member: tarfile.TarInfo) -> BinaryIO:
    file = tar.extractfile(member)
    if file is None:
        raise ExperimentError(f"{member.name!r} in the archive is no file")
    return file  # pyright: ignore[reportReturnType]


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    import io

    info = tarfile.TarInfo(name)
    info.size = len(content)
    tar.addfile(info, io.BytesIO(content))
