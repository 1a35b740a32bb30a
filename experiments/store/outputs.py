"""Known bytes: what a cell has written is recorded by size and SHA-256, and compared when it is read."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ...common.errors import one_line
from ...common.identity import canonical_json, sha256_file, sha256_text
from ..schema.errors import ExperimentError
from .status import Output, Status, parse_status

SPEC, PROVENANCE, STATUS, FAILURE = "spec.json", "provenance.json", "status.json", "failure.json"
# In a cell's folder, and no outputs: what is known of it, what is said on the way, and what may be begun anew.
OTHERS = (STATUS, FAILURE, "lease.json", "progress.json", "log.txt", "work", "tensorboard", "tracking")

_hashes: dict[tuple[str, int, int, int], str] = {}


class DamagedError(ExperimentError):
    """An output that is not as the cell left it."""


@dataclass(frozen=True)
class Damage:
    """How an output differs from what was recorded.

    Attributes:
        path: the file.
        expected: what was recorded.
        found: what is there.
    """

    path: Path
    expected: str
    found: str

    def __str__(self) -> str:
        return f"'{self.path}' is damaged: {self.expected} were recorded, found {self.found}"


def files_of(folder: Path) -> list[str]:
    """Return the names of the outputs in a cell's folder, spec and provenance among them."""
    return sorted(
        Path(place, file).relative_to(folder).as_posix()
        for place, _, files in _walk(folder)
        for file in files
        if not file.startswith(".")
    )


def _walk(folder: Path) -> Iterator[tuple[str, list[str], list[str]]]:
    for place, folders, files in os.walk(folder):
        if Path(place) == folder:
            files[:] = [file for file in files if file not in OTHERS]
            folders[:] = [name for name in folders if name not in OTHERS]
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield place, folders, files


def describe(path: Path) -> Output:
    """Return what is to be recorded of an output."""
    rows = None
    if path.suffix == ".parquet":
        from pyarrow import ArrowInvalid
        from pyarrow.parquet import read_metadata

        try:
            rows = read_metadata(path).num_rows
        except ArrowInvalid:  # recorded from an old store that holds a damaged one: reading it says so
            rows = None
    return Output(path.stat().st_size, known_sha256(path), rows)


def known_sha256(path: Path) -> str:
    """Return a file's SHA-256, computed once per process while size, time and inode stay the same."""
    found = path.stat()
    key = str(path), found.st_size, found.st_mtime_ns, found.st_ino
    if key not in _hashes:
        _hashes[key] = sha256_file(path)
    return _hashes[key]


def damage(folder: Path, outputs: Mapping[str, Output], names: Iterable[str], *, again: bool = False) -> Damage | None:
    """Return the first of some outputs that is not as it was recorded.

    Args:
        folder: the cell's.
        outputs: what was recorded.
        names: those to look at.
        again: hash files that this process has hashed before.
    """
    for name in names:
        path, output = folder / name, outputs[name]
        try:
            size = path.stat().st_size
            # Where the size differs, the file need not be read.
            sha256 = "" if size != output.size else sha256_file(path) if again else known_sha256(path)
        except FileNotFoundError:
            return Damage(path, str(output), "no such file")
        except OSError as error:
            return Damage(path, str(output), f"what cannot be read ({error.strerror or one_line(error)})")
        if sha256 != output.sha256:
            return Damage(path, str(output), str(Output(size, sha256)))
    return None


def recorded(folder: Path) -> Status | None:
    """Return what was recorded when the cell in this folder ended; None if it has not.

    Raises:
        ExperimentError: the record is of a newer version.
        ValueError: it is damaged.
    """
    path = folder / STATUS
    try:
        return parse_status(path.read_text(encoding="utf-8"), path)
    except FileNotFoundError:
        return None


def checked(folder: Path, name: str) -> tuple[Path, str | None]:
    """Compare an output with what was recorded; once per process and file.

    Args:
        folder: the folder of a cell that has ended.
        name: an output, or a folder of outputs.

    Returns:
        Its path, and its SHA-256; of a folder, that of the names and SHA-256 of its files. Where the cell was made
        before outputs were recorded there is nothing to compare with, and None if it is missing.

    Raises:
        DamagedError: it is missing or differs.
    """
    try:
        status = recorded(folder)
    except ValueError as error:
        raise DamagedError(f"'{folder / STATUS}' is damaged ({one_line(error)}); {_way_out(folder)}") from None
    outputs = status.outputs if status else None
    if outputs is None:
        hashes = {file: known_sha256(folder / file) for file in _of(files_of(folder), name)}
        return folder / name, tree_sha256(name, hashes)
    wanted = _of(outputs, name)
    if not wanted:
        raise DamagedError(f"'{folder / name}' is not among the outputs that were recorded; {_way_out(folder)}")
    if found := damage(folder, outputs, wanted):
        raise DamagedError(f"{found}; {_way_out(folder)}")
    return folder / name, tree_sha256(name, {file: outputs[file].sha256 for file in wanted})


def tree_sha256(name: str, files: Mapping[str, str]) -> str | None:
    """Return one SHA-256 for a file or folder ``name``, from those of all files of a cell by name; None: not there."""
    wanted = _of(files, name)
    if not wanted:
        return None
    return files[name] if wanted == [name] else sha256_text(canonical_json({file: files[file] for file in wanted}))


def _of(files: Iterable[str], name: str) -> list[str]:
    return [file for file in files if file == name or file.startswith(f"{name}/")]


def _way_out(folder: Path) -> str:
    store = shlex.quote(str(folder.parents[2]))
    return f"'lopsided verify {store} --repair' sets it back, with what was made from it, to be computed again"
