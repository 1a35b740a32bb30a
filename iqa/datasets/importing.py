"""Manifests made from any CSV and its images, or from a data set in its published layout."""

from __future__ import annotations

import codecs
import csv
import io
import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from ...common.errors import SourceError, one_line
from ...common.files import atomic_path
from ...common.paths import expanded, read_file
from ...common.sources import hash_file
from ..manifest import Labels, Listing, Record
from .check import CheckReport, Progress, check_listing, silent

DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs"}
SPLITS = {"training": "train", "val": "validation", "valid": "validation", "testing": "test"}
FILES = {"image": "sha256", "reference": "reference_sha256"}
COLUMNS = ("image", "reference", "distortion", "level", "label", "label_std", "votes", "split")


@dataclass(frozen=True)
class Columns:
    """Names of a CSV's columns; None for a column that it lacks. Without ``reference`` the set is no-reference."""

    image: str
    label: str
    reference: str | None = None
    distortion: str | None = None
    level: str | None = None
    label_std: str | None = None
    votes: str | None = None
    split: str | None = None

    def named(self) -> dict[str, str]:
        """Return the columns that are given, by the manifest's names.

        Examples:
            >>> Columns(image="file", label="score").named()
            {'image': 'file', 'label': 'score'}
        """
        return {field.name: name for field in fields(self) if (name := getattr(self, field.name))}


def import_csv(
    table: Path | str,
    to: Path | str,
    columns: Columns,
    labels: Labels,
    *,
    images: Path | str | None = None,
    encoding: str = "utf-8",
    progress: Progress = silent,
) -> CheckReport:
    r"""Write a manifest of a CSV's images and labels, if all of them are right.

    The header tells whether commas, semicolons or tabs separate the columns; it must hold all columns. A byte-order
    mark is accepted. The caller states direction and scale of the labels; nothing is guessed from the numbers.

    Args:
        table: the CSV.
        to: the manifest to write; its paths become relative to its folder, and the hashes of the files are recorded.
        columns: names of the CSV's columns.
        labels: what the labels mean.
        images: folder to which the CSV's paths are relative; default: its own folder.
        encoding: encoding of the CSV.
        progress: called with (images done, images in all, image).

    Returns:
        The result of checking every row and image; the manifest is written only if nothing is wrong.

    Raises:
        SourceError: the CSV cannot be read as a table with these columns; an FR set without a column of distortions.

    Examples:
        >>> import tempfile
        >>> from lopsided.common.sources import SkimageSource
        >>> photographs = SkimageSource(split="test").items()
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     table = Path(folder, "scores.csv")
        ...     rows = [f"{item.path};{n}" for n, item in enumerate(photographs)]
        ...     _ = table.write_text("\n".join(["file;score", *rows]))
        ...     columns = Columns(image="file", label="score")
        ...     report = import_csv(table, f"{folder}/mine.csv", columns, Labels("mos", higher_is_better=True))
        >>> report.ok, report.right
        (True, 6)
    """
    table, to = expanded(table), expanded(to)
    if columns.reference and not columns.distortion:
        raise SourceError(f"{table}: images with references need a column that names their distortion.")
    named = columns.named()
    records = []
    for where, row in read_delimited(table, tuple(named.values()), encoding):
        cells = {ours: row[theirs] for ours, theirs in named.items()}
        if "split" in cells:
            cells["split"] = SPLITS.get(cells["split"].lower(), cells["split"])
        records.append((where, cells))
    listing = Listing(table, expanded(images) if images else table.parent, records, labels)
    report = check_listing(table.stem, listing, [], progress)
    if report.ok:
        write_manifest(listing, to)
    return report


def write_manifest(listing: Listing, to: Path | str) -> None:
    """Write a listing as a manifest with the hashes of its files; paths become relative to the manifest.

    Raises:
        SourceError: the name does not end in ``.csv``.
    """
    to = expanded(to)
    if to.suffix.lower() != ".csv":
        raise SourceError(f"{to}: a manifest's name must end in .csv.")
    folder = to.resolve().parent
    constant = listing.labels.cells()
    used = [column for column in COLUMNS if any(column in cells for _, cells in listing.records)]
    header = [*used, *(column for column, value in constant.items() if value)]
    header += [column for file, column in FILES.items() if file in used]
    with atomic_path(to) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, header, restval="", extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        for _, cells in listing.records:
            writer.writerow({**cells, **constant, **_files(listing.folder, folder, cells)})


def read_delimited(path: Path, required: tuple[str, ...], encoding: str = "utf-8") -> list[Record]:
    """Read a CSV separated by commas, semicolons or tabs, whichever splits the header into the required columns.

    Raises:
        SourceError: missing, of another encoding, empty, without a required column, or a row of another length.
    """
    try:
        plain = codecs.lookup(encoding).name == "utf-8"  # which has many spellings, such as UTF_8
        text = read_file(path).decode("utf-8-sig" if plain else encoding)
    except (UnicodeError, LookupError) as error:
        raise SourceError(
            f"{path}: not {encoding} text ({one_line(error)}); give its encoding, such as latin-1."
        ) from None
    except OSError as error:
        raise SourceError(f"{path}: cannot be read ({error.strerror or one_line(error)}).") from error
    if not text.strip():
        raise SourceError(f"{path}: the file is empty.")
    tables, fault = [], None
    for mark in DELIMITERS:
        try:
            tables.append((mark, _split(path, text, mark)))
        except SourceError as error:  # quoted cells end where it does not expect it
            fault = fault or error
    fitting = [table for _, table in tables if set(required) <= set(table[0][1])]
    if not fitting and fault:
        raise fault
    if not fitting:
        mark, table = max(tables, key=lambda pair: len(pair[1][0][1]))
        missing = [column for column in required if column not in table[0][1]]
        seen = ", ".join(table[0][1])
        raise SourceError(f"{path}: no column {missing[0]!r} (separated by {DELIMITERS[mark]}, columns seen: {seen}).")
    (_, header), *rows = fitting[0]
    for column in required:
        if header.count(column) > 1:
            raise SourceError(f"{path}: column {column!r} appears more than once.")
    if not rows:
        raise SourceError(f"{path}: a header without rows.")
    records = []
    for line, cells in rows:
        if len(cells) != len(header):
            raise SourceError(f"{path}, line {line}: {len(cells)} cells, but the header has {len(header)}.")
        records.append((f"{path}, line {line}", dict(zip(header, cells, strict=True))))
    return records


def _split(path: Path, text: str, delimiter: str) -> list[tuple[int, list[str]]]:
    """Split text into (line number, cells), blank lines left out."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        rows = [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader]
    except csv.Error as error:
        raise SourceError(f"{path}, line {reader.line_num}: not valid CSV ({one_line(error)}).") from None
    return [(line, cells) for line, cells in rows if any(cells)]


def _files(base: Path, folder: Path, cells: Mapping[str, str]) -> dict[str, str]:
    """Return the cells of the files: paths relative to the manifest, and hashes."""
    found = {}
    for column, digest in FILES.items():
        if column in cells:
            path = (base / cells[column]).resolve()
            found[column] = Path(os.path.relpath(path, folder)).as_posix()
            found[digest] = hash_file(path)
    return found
