"""Full-reference IQA data sets: distorted images, their references and labels, as a CSV manifest lists them.

One row for each distorted image; paths are relative to the CSV. Columns:

=======================  ==========================================================================================
image, reference         the two files, of equal size in pixels
distortion               name of the kind of distortion
level                    optional: strength within the kind, a whole number
label, label_std         the label (finite) and, optional, its standard deviation
label_kind               ``mos``, ``dmos`` or ``severity_grade``; one for the whole manifest
label_higher_is_better   ``true`` or ``false``; one for the whole manifest, ``false`` for severity grades
sha256, reference_sha256 optional: the files' hashes, checked on load
=======================  ==========================================================================================

Other columns are left alone. Files are UTF-8 with commas; a byte-order mark is accepted.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast, get_args

from PIL import Image

from ..common.errors import SourceError
from ..common.identity import identity
from ..common.sources import hash_file, read_rows

LabelKind = Literal["mos", "dmos", "severity_grade"]
REQUIRED = ("image", "reference", "distortion", "label", "label_kind", "label_higher_is_better")


@dataclass(frozen=True)
class FRRow:
    """One distorted image.

    Attributes:
        image: its path as the manifest writes it; tables call the image by it.
        reference: its reference's path as the manifest writes it.
        image_path: the distorted file.
        reference_path: the reference file.
        distortion: kind of distortion.
        level: strength within the kind, or None where the manifest gives none.
        label: in the data set's own units; see the data set's ``label_kind`` and ``label_higher_is_better``.
        label_std: standard deviation of the label, or None.
    """

    image: str
    reference: str
    image_path: Path
    reference_path: Path
    distortion: str
    level: int | None
    label: float
    label_std: float | None


class FRDataset:
    """A full-reference IQA data set, read from a manifest and checked as a whole before anything is scored.

    Args:
        manifest: the CSV file.
        name: what tables call the data set; by default the name of the manifest's folder.
        verify: hash the files whose hashes the manifest gives (remembered within a process while a file's size and
            modification time stay the same). Without it a changed file goes unnoticed as long as its size in pixels
            stays.

    Attributes:
        name: as above.
        identity: hash of the manifest's content and of every file it lists.
        rows: all rows, in the manifest's order.
        label_kind: ``mos``, ``dmos`` or ``severity_grade`` (which is a setting of the distortion, not an opinion).
        label_higher_is_better: direction of the labels.

    Raises:
        SourceError: a bad CSV; a missing, unreadable or repeated image; an image and its reference of unequal size;
            a label that is not finite; an unknown or changing kind or direction; a hash that is not the stated one.
            The message names the manifest, the line and the value.
    """

    def __init__(self, manifest: Path, *, name: str | None = None, verify: bool = True) -> None:
        self.manifest = manifest
        self.name = name or manifest.resolve().parent.name
        table = read_rows(manifest, REQUIRED)
        _, first = table[0]
        self.label_kind = _label_kind(manifest, first["label_kind"])
        self.label_higher_is_better = _direction(manifest, first["label_higher_is_better"])
        if self.label_kind == "severity_grade" and self.label_higher_is_better:
            raise SourceError(
                f"{manifest}: severity grades are lower for better images; set label_higher_is_better false."
            )
        sizes: dict[Path, tuple[int, int]] = {}
        lines: dict[Path, int] = {}
        rows = []
        for line, cells in table:
            where = f"{manifest}, line {line}"
            for column in ("label_kind", "label_higher_is_better"):
                if cells[column].lower() != first[column].lower():
                    raise SourceError(
                        f"{where}: {column} is {cells[column]!r}, but {first[column]!r} above; split the manifest."
                    )
            row = _row(manifest.parent, where, cells)
            file = row.image_path.resolve()
            if file in lines:
                raise SourceError(f"{where}: image {row.image!r} is listed on line {lines[file]} already.")
            lines[file] = line
            _check_sizes(where, row, sizes)
            if verify:
                _check_hash(where, row.image_path, cells.get("sha256", ""))
                _check_hash(where, row.reference_path, cells.get("reference_sha256", ""))
            rows.append(row)
        self.rows: tuple[FRRow, ...] = tuple(rows)
        pixels = [[hash_file(row.image_path), hash_file(row.reference_path)] for row in rows]
        self.identity = identity({"manifest": [row for _, row in table], "pixels": pixels})

    def __len__(self) -> int:
        return len(self.rows)

    def by_reference(self) -> Iterator[tuple[Path, list[FRRow]]]:
        """Yield each reference with its rows, so that it need be read once; references in order of first appearance.

        Every row comes exactly once.
        """
        groups: dict[Path, list[FRRow]] = {}
        for row in self.rows:
            groups.setdefault(row.reference_path, []).append(row)
        yield from groups.items()


def _row(folder: Path, where: str, cells: dict[str, str]) -> FRRow:
    """Make a row of a CSV line, checking each cell."""
    for column in ("image", "reference"):
        if not cells[column] or not (folder / cells[column]).is_file():
            raise SourceError(f"{where}: no such {column} file: {cells[column]!r}.")
    if not cells["distortion"]:
        raise SourceError(f"{where}: the distortion is empty.")
    level, label_std = cells.get("level", ""), cells.get("label_std", "")
    deviation = _number(where, "label_std", label_std) if label_std else None
    if deviation is not None and deviation < 0:
        raise SourceError(f"{where}: label_std is negative: {label_std}.")
    return FRRow(
        image=cells["image"],
        reference=cells["reference"],
        image_path=folder / cells["image"],
        reference_path=folder / cells["reference"],
        distortion=cells["distortion"],
        level=_whole(where, level) if level else None,
        label=_number(where, "label", cells["label"]),
        label_std=deviation,
    )


def _number(where: str, column: str, text: str) -> float:
    """Parse a finite number."""
    try:
        value = float(text)
    except ValueError:
        raise SourceError(f"{where}: {column} is not a number: {text!r}.") from None
    if not math.isfinite(value):
        raise SourceError(f"{where}: {column} is {text!r}; every row needs a finite one, or must be left out.")
    return value


def _whole(where: str, text: str) -> int:
    """Parse a whole number, also one that a table program wrote as ``3.0``."""
    value = _number(where, "level", text)
    if value != int(value):
        raise SourceError(f"{where}: level is not a whole number: {text!r}.")
    return int(value)


def _label_kind(manifest: Path, text: str) -> LabelKind:
    """Parse the kind of the labels."""
    known = get_args(LabelKind)
    if text.lower() not in known:
        raise SourceError(f"{manifest}: unknown label_kind {text!r}; known: {', '.join(known)}.")
    return cast(LabelKind, text.lower())


def _direction(manifest: Path, text: str) -> bool:
    """Parse the direction of the labels."""
    if text.lower() not in ("true", "false"):
        raise SourceError(f"{manifest}: label_higher_is_better is {text!r}; write true or false.")
    return text.lower() == "true"


def _check_sizes(where: str, row: FRRow, sizes: dict[Path, tuple[int, int]]) -> None:
    """Compare the sizes of an image and its reference by their headers; ``sizes`` remembers those of references."""
    if row.reference_path not in sizes:
        sizes[row.reference_path] = _size(where, row.reference_path)
    image, reference = _size(where, row.image_path), sizes[row.reference_path]
    if image != reference:
        raise SourceError(
            f"{where}: {row.image} has {image[0]}×{image[1]} pixels, "
            f"its reference {row.reference} {reference[0]}×{reference[1]}."
        )


def _size(where: str, path: Path) -> tuple[int, int]:
    """Read an image's (width, height) without decoding it."""
    try:
        with Image.open(path) as image:
            return image.size
    except (OSError, SyntaxError, ValueError) as error:
        raise SourceError(f"{where}: {path} is not a readable image ({error}).") from error


def _check_hash(where: str, path: Path, expected: str) -> None:
    """Compare a file with its stated hash, if there is one."""
    if expected and hash_file(path) != expected.lower():
        raise SourceError(f"{where}: sha256 of {path} is {hash_file(path)}, expected {expected}; the file has changed.")
