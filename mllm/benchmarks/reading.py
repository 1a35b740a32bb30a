"""Reading label files strictly: completely or not at all, and every error names the file and the entry."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from ...common.errors import SourceError, one_line
from ...common.files import atomic_path
from ...common.sources import read_rows
from ..errors import MllmError
from ..item import Item

Entry = tuple[str, dict[str, Any]]  # place in the file, for messages, and content


@dataclass(frozen=True)
class Count:
    """Number of items in a part of a benchmark, and the authors' number; ``certain`` if their files agree with it."""

    part: str
    found: int
    official: int
    certain: bool = True


@dataclass(frozen=True)
class Found:
    """What a reader finds.

    Attributes:
        items: in the order of the files.
        counts: numbers of items, with the official ones if known.
        notes: what a user should know, one line each.
        extract: writes images that are inside the label file to the paths in ``items``; None if there are none.
    """

    items: list[Item]
    counts: list[Count] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    extract: Callable[[], None] | None = None


def one_of(folder: Path, *names: str) -> Path:
    """Return the first of some files or folders, relative to ``folder``, that is there."""
    for name in names:
        if (folder / name).exists():
            return folder / name
    raise MllmError(f"{folder}: {' or '.join(names)} is not there; give the folder that holds it.")


def read_text(path: Path) -> str:
    """Return a file as text, without a UTF-8 byte-order mark."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise MllmError(f"{path}: not UTF-8 text ({error.reason} at byte {error.start}); save it as UTF-8.") from error
    except OSError as error:
        raise MllmError(f"{path}: cannot be read ({error.strerror or one_line(error)}).") from error


def read_list(path: Path) -> list[Any]:
    """Return a JSON file that holds a list; at least one entry."""
    value = _parse(path, read_text(path), str(path))
    if not isinstance(value, list) or not value:
        raise MllmError(f"{path}: must hold a list with entries, got {_kind(value)}.")
    return value


def read_objects(path: Path, required: Iterable[str]) -> list[Entry]:
    """Return a JSON file that holds a list of objects, each with the required fields."""
    return [_entry(f"{path}, entry {n}", value, required) for n, value in enumerate(read_list(path), start=1)]


def read_lines(path: Path, required: Iterable[str]) -> list[Entry]:
    """Return a file of JSON lines, each an object with the required fields; blank lines are skipped."""
    lines = [(f"{path}, line {n}", line) for n, line in enumerate(read_text(path).splitlines(), start=1)]
    entries = [_entry(where, _parse(path, line, where), required) for where, line in lines if line.strip()]
    if not entries:
        raise MllmError(f"{path}: holds no items.")
    return entries


def read_concatenated(path: Path, required: Iterable[str]) -> list[Entry]:
    """Return JSON objects, written one after the other with or without blanks between them, or as one list."""
    text, entries, position = read_text(path).strip(), [], 0
    if text.startswith("["):
        return read_objects(path, required)
    decoder = json.JSONDecoder()
    while position < len(text):
        where = f"{path}, entry {len(entries) + 1}"
        try:
            value, position = decoder.raw_decode(text, position)
        except json.JSONDecodeError as error:
            raise MllmError(f"{where}: not JSON ({error.msg}); the file may be cut off: get it again.") from error
        entries.append(_entry(where, value, required))
        while text[position : position + 1].isspace():
            position += 1
    if not entries:
        raise MllmError(f"{path}: holds no items.")
    return entries


def read_table(path: Path, required: Iterable[str]) -> list[Entry]:
    """Return a CSV file with a header that has the required columns."""
    if not path.is_file():
        raise MllmError(f"{path}: is not there.")
    try:
        rows = read_rows(path, tuple(required))
    except SourceError as error:
        raise MllmError(str(error)) from error
    return [(f"{path}, line {line}", dict(row)) for line, row in rows]


def read_parquet(paths: Iterable[Path], required: Iterable[str]) -> list[Entry]:
    """Return the rows of parquet files, in the order of the files, each with the required columns."""
    import pyarrow  # imported here because only the parquet editions need it
    from pyarrow import parquet

    entries: list[Entry] = []
    for path in paths:
        try:
            table = parquet.read_table(path)
        except (OSError, pyarrow.ArrowException) as error:
            raise MllmError(f"{path}: not a readable parquet file ({one_line(error)}).") from error
        if missing := [name for name in required if name not in table.column_names]:
            raise MllmError(f"{path}: lacks the column {missing[0]!r}; it has {', '.join(table.column_names)}.")
        entries += [(f"{path}, row {n}", row) for n, row in enumerate(table.to_pylist(), start=1)]
    if not entries:
        raise MllmError("the parquet files hold no rows.")
    return entries


def text(where: str, entry: Mapping[str, Any], name: str) -> str:
    """Return a field that must be non-empty text."""
    value = entry[name]
    if not isinstance(value, str) or not value.strip() or not _is_unicode(value):
        raise MllmError(f"{where}: {name} must be text, got {value!r}.")
    return value.strip()


def _is_unicode(value: str) -> bool:
    """Tell whether a text can be written: JSON can hold half a character."""
    return not any("\ud800" <= letter <= "\udfff" for letter in value)


def optional(entry: Mapping[str, Any], *names: str) -> dict[str, str]:
    """Return the fields that are there and not empty, as text."""
    return {name: str(value).strip() for name in names if (value := entry.get(name)) not in (None, "")}


def number(where: str, value: Any, scale: tuple[float, float] | None = None, name: str = "score") -> float:
    """Return a finite number, also one written as text; within ``scale`` if it is given."""
    try:
        result = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        result = math.nan
    if not math.isfinite(result):
        raise MllmError(f"{where}: {name} must be a number, got {value!r}.")
    if scale is not None and not scale[0] <= result <= scale[1]:
        raise MllmError(f"{where}: {name} {result:g} is outside {scale[0]:g} … {scale[1]:g}.")
    return result


def inside(where: str, folder: Path, name: str) -> Path:
    """Return ``folder / name``; a name that leads out of the folder is refused."""
    relative = PurePosixPath(name.replace("\\", "/"))
    if relative.is_absolute() or ".." in relative.parts or not relative.parts:
        raise MllmError(f"{where}: {name!r} is not a path within {folder}; it must be below that folder.")
    return folder / relative


def letter(where: str, value: str, options: int) -> str:
    """Return the letter of an option, from ``A``, written in any case and brackets."""
    found = value.strip().strip("().").upper()
    if len(found) != 1 or not 0 <= ord(found) - ord("A") < options:
        raise MllmError(f"{where}: answer {value!r} is not one of the {options} options.")
    return found


SUFFIXES = {b"\x89PNG": ".png", b"\xff\xd8\xff": ".jpg", b"RIFF": ".webp", b"BM": ".bmp", b"GIF8": ".gif"}


class EmbeddedImages:
    """Images of a Hugging Face image column: files next to the table, or bytes inside it that are written to files.

    Args:
        folder: what paths in the column are relative to.
        extract: where to write images that are inside; "" if not given.
    """

    def __init__(self, folder: Path, extract: str):
        self.folder, self.extract = folder, extract
        self._files: dict[Path, bytes] = {}

    def path(self, where: str, cell: Any, name: str) -> Path:
        """Return where the image is or will be; an image inside the table gets ``name`` and an ending."""
        data = cell.get("bytes") if isinstance(cell, Mapping) else None
        if isinstance(data, bytes) and data:
            path = inside(where, Path(self.extract or self.folder), name + _suffix(where, data))
            self._files[path] = data
            return path
        written = cell.get("path") if isinstance(cell, Mapping) else cell
        if not isinstance(written, str) or not written:
            raise MllmError(f"{where}: image holds neither bytes nor a path.")
        return inside(where, self.folder, written)

    def write(self) -> None:
        """Write the images that are missing or different.

        Raises:
            MllmError: images are inside the table and ``extract`` was not given.
        """
        if self._files and not self.extract:
            raise MllmError(
                f"{self.folder}: {len(self._files)} images are inside the parquet files; give extract=<folder>."
            )
        for path, data in self._files.items():
            if not path.is_file() or path.read_bytes() != data:
                with atomic_path(path) as temporary:
                    temporary.write_bytes(data)


def _suffix(where: str, data: bytes) -> str:
    for start, ending in SUFFIXES.items():
        if data.startswith(start):
            return ending
    raise MllmError(f"{where}: image begins with {data[:4]!r}, which is not a known image format.")


def _parse(path: Path, content: str, where: str) -> Any:
    try:
        return json.loads(content)
    except (RecursionError, ValueError) as error:
        if not isinstance(error, json.JSONDecodeError):  # endless brackets, or digits
            raise MllmError(f"{where}: cannot be read: {one_line(error)}.") from error
        at = f"line {error.lineno}, column {error.colno}" if where == str(path) else f"column {error.colno}"
        raise MllmError(f"{where}: not JSON ({error.msg} at {at}); the file may be cut off: get it again.") from error


def _entry(where: str, value: Any, required: Iterable[str]) -> Entry:
    if not isinstance(value, dict):
        raise MllmError(f"{where}: must be an object, got {_kind(value)}.")
    if missing := [name for name in required if name not in value]:
        raise MllmError(f"{where}: lacks {missing[0]!r}; it has {', '.join(map(repr, value)) or 'nothing'}.")
    return where, value


def _kind(value: Any) -> str:
    return {dict: "an object", list: "an empty list", str: "text", type(None): "null"}.get(type(value), "a number")
