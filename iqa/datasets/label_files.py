"""Strict reading of label files (text, CSV, MATLAB, Excel), with errors that name the line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...common.errors import SourceError, one_line
from ...common.sources import read_rows
from ..manifest import Record


@dataclass(frozen=True)
class Listed:
    """What a reader finds.

    Attributes:
        records: one per rated image, in the label file's order; their cells are the manifest's.
        belonging: other image files that belong to the set, relative to its folder.
    """

    records: list[Record]
    belonging: frozenset[str] = field(default=frozenset())


def record(where: str, **cells: Any) -> Record:
    """Make a record; cells of None are left out, and floats keep every digit."""
    texts = {column: repr(float(v)) if isinstance(v, float) else str(v) for column, v in cells.items() if v is not None}
    return where, texts


def one_of(folder: Path, names: Sequence[str]) -> Path:
    """Return the first of some files or folders that exists.

    Raises:
        SourceError: none exists.
    """
    if not folder.is_dir():
        state = "is a file; give the data set's folder" if folder.exists() else "no such folder"
        raise SourceError(f"{folder}: {state}.")
    for name in names:
        if (folder / name).exists():
            return folder / name
    others = f" (nor {', '.join(names[1:])})" if len(names) > 1 else ""
    raise SourceError(f"{folder}: no {names[0]}{others}; give the folder that holds it.")


def read_lines(path: Path, cells: int) -> list[tuple[str, list[str]]]:
    """Read a text file of blank- or comma-separated cells without a header; blank lines are skipped.

    Raises:
        SourceError: missing, empty or not UTF-8, or a line with more or fewer cells.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise SourceError(f"{path}: not UTF-8 text ({error.reason} at byte {error.start}).") from error
    except OSError as error:
        raise SourceError(f"{path}: cannot be read ({error.strerror or one_line(error)}).") from error
    lines = []
    for number, line in enumerate(text.splitlines(), start=1):
        if found := line.replace(",", " ").split():
            if len(found) != cells:
                raise SourceError(f"{path}, line {number}: {len(found)} cells, expected {cells}: {line.strip()!r}.")
            lines.append((f"{path}, line {number}", found))
    if not lines:
        raise SourceError(f"{path}: the file lists no images.")
    return lines


def read_column(path: Path, rows: int) -> list[str]:
    """Read a text file with one number per line, which belongs to another file of ``rows`` lines.

    Raises:
        SourceError: missing, or of another length.
    """
    lines = read_lines(path, 1)
    if len(lines) != rows:
        raise SourceError(f"{path}: {len(lines)} lines, but {rows} images are listed.")
    return [cells[0] for _, cells in lines]


def read_table(path: Path, required: Sequence[str]) -> list[Record]:
    """Read a CSV file, or an Excel sheet if openpyxl is installed, with a header that holds ``required``.

    Raises:
        SourceError: what :func:`read_rows` refuses; an Excel file that cannot be read here.
    """
    if path.suffix == ".csv":
        return [(f"{path}, line {line}", cells) for line, cells in read_rows(path, required)]
    return _read_sheet(path, required)


def read_mat(path: Path, *names: str) -> list[NDArray[Any]]:
    """Read variables of a MATLAB file (up to version 7), each flattened; cells of text become text.

    Raises:
        SourceError: scipy is not installed; the file is missing, not a MATLAB file, of version 7.3, or has no such
            variable.
    """
    try:
        from scipy.io import loadmat
        from scipy.io.matlab import MatReadError
    except ImportError:
        raise SourceError(f"{path}: reading MATLAB files needs scipy: pip install 'lopsided[study]'.") from None
    try:
        found = loadmat(path)
    except NotImplementedError:
        raise SourceError(
            f"{path}: MATLAB 7.3 file, which scipy does not read; the published one is older, or save it with '-v7'."
        ) from None
    except FileNotFoundError:
        raise SourceError(f"{path}: no such file.") from None
    except (MatReadError, ValueError, TypeError, OSError, EOFError) as error:
        raise SourceError(f"{path}: not a readable MATLAB file ({one_line(error)}).") from None
    missing = [name for name in names if name not in found]
    if missing:
        seen = ", ".join(name for name in found if not name.startswith("__"))
        raise SourceError(f"{path}: no variable {missing[0]!r} (variables seen: {seen}).")
    return [_plain(found[name]) for name in names]


class AnyCase:
    """The files of a folder, found without regard to case: some sets spell a name in two ways."""

    def __init__(self, folder: Path, sub: str) -> None:
        self._sub = sub
        self._names: dict[str, list[str]] = {}
        if (folder / sub).is_dir():
            for path in (folder / sub).iterdir():
                self._names.setdefault(path.name.lower(), []).append(path.name)

    def find(self, where: str, name: str) -> str:
        """Return a file's path relative to the set's folder; of a missing file, the path that it should have.

        Raises:
            SourceError: two files have this name in another case, and none has it exactly.
        """
        found = self._names.get(name.lower(), [name])
        if name not in found and len(found) > 1:
            raise SourceError(f"{where}: {name!r} can mean {' or '.join(map(repr, sorted(found)))}; remove one.")
        return f"{self._sub}/{name if name in found else found[0]}"


def _plain(values: NDArray[Any]) -> NDArray[Any]:
    """Flatten a MATLAB matrix or cell array; a cell of text holds an array of one string, perhaps twice nested."""
    flat = values.ravel()
    if flat.dtype != object:
        return flat
    texts = []
    for cell in flat:
        while isinstance(cell, np.ndarray) and cell.size == 1:
            cell = cell.ravel()[0]
        texts.append(str(cell))
    return np.array(texts, dtype=object)


def _read_sheet(path: Path, required: Sequence[str]) -> list[Record]:
    """Read the first sheet of an Excel workbook that has a row with all required column names."""
    if path.suffix != ".xlsx":
        raise SourceError(f"{path}: an old Excel file; save it as {path.stem}.csv beside it.")
    try:
        from openpyxl import load_workbook  # pyright: ignore[reportMissingModuleSource, reportMissingImports]
    except ImportError:
        raise SourceError(
            f"{path}: reading Excel files needs openpyxl; install it, or save the sheet as {path.stem}.csv beside it."
        ) from None
    try:
        workbook = load_workbook(path, read_only=True, data_only=True)
    except Exception as error:  # openpyxl lets errors of zip and XML through as they come
        raise SourceError(f"{path}: not a readable Excel file ({one_line(error)}).") from None
    for sheet in workbook:
        header: list[str] = []
        records = []
        for number, cells in enumerate(sheet.iter_rows(values_only=True), start=1):
            texts = ["" if cell is None else str(cell).strip() for cell in cells]
            if not header and all(column in texts for column in required):
                header = texts
            elif header and any(texts):
                row = {column: text for column, text in zip(header, texts, strict=True) if column}
                records.append((f"{path}, sheet {sheet.title!r}, row {number}", row))
        if records:
            return records
    raise SourceError(f"{path}: no sheet with columns {', '.join(map(repr, required))} and rows under them.")
