"""Rated images, full-reference and no-reference, as a CSV manifest lists them: the one format of every data set.

A manifest has one row per rated image; paths are relative to the CSV. Columns:

=======================  ==========================================================================================
image, reference         the two files, of equal size in pixels; a no-reference manifest has no column ``reference``
distortion               name of the kind of distortion; required beside references
level                    optional: strength within the kind, a whole number
label                    the label, finite
label_std, votes         optional: its standard deviation, and the number of votes behind it
split                    optional: ``train``, ``validation`` or ``test``, as the data set's authors divided it
sha256, reference_sha256 optional: the files' hashes, checked on load
label_kind               ``mos``, ``dmos`` or ``severity_grade``
label_higher_is_better   ``true`` or ``false``; ``false`` for severity grades
label_min, label_max     optional: the scale's ends, which no label may exceed
label_std_of             optional: ``votes`` (spread of single votes) or ``mean`` (standard error of the label)
licence                  optional: of the images and labels
=======================  ==========================================================================================

The columns from ``label_kind`` on hold one value for the whole manifest. Other columns are ignored. Files are UTF-8
with commas; a byte-order mark is accepted.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, Literal, TypeVar, cast, get_args

from ..common.errors import ImageError, SourceError
from ..common.identity import identity
from ..common.images import upright_size
from ..common.paths import expanded, why_missing
from ..common.sources import hash_file, read_rows

LabelKind = Literal["mos", "dmos", "severity_grade"]
StdOf = Literal["votes", "mean"]
Split = Literal["train", "validation", "test"]
Record = tuple[str, dict[str, str]]  # place of a row, for messages; its cells by the manifest's columns

REQUIRED = ("image", "label", "label_kind", "label_higher_is_better")
REFERENCED = ("image", "reference", "distortion", *REQUIRED[1:])
CONSTANT = ("label_kind", "label_higher_is_better", "label_min", "label_max", "label_std_of", "licence")


@dataclass(frozen=True)
class Labels:
    """What the labels of a data set mean.

    Attributes:
        kind: ``mos``, ``dmos`` or ``severity_grade`` (which is a setting of the distortion, not an opinion).
        higher_is_better: their direction.
        scale: the ends that no label may exceed, or None.
        std_of: whether ``label_std`` is the spread of single votes or the standard error of the label; None: unknown.
        licence: of images and labels, or None.

    Examples:
        >>> Labels("mos", higher_is_better=True, scale=(1, 5)).cells()["label_max"]
        '5'
    """

    kind: LabelKind
    higher_is_better: bool
    scale: tuple[float, float] | None = None
    std_of: StdOf | None = None
    licence: str | None = None

    def cells(self) -> dict[str, str]:
        """Return the manifest's cells that state it."""
        low, high = self.scale or ("", "")
        return {
            "label_kind": self.kind,
            "label_higher_is_better": str(self.higher_is_better).lower(),
            "label_min": str(low),
            "label_max": str(high),
            "label_std_of": self.std_of or "",
            "licence": self.licence or "",
        }


@dataclass(frozen=True)
class Listing:
    """What a manifest or a data set's own label files list, not yet checked.

    Attributes:
        source: the manifest, or the folder of the data set.
        folder: folder to which paths are relative.
        records: the rows in order.
        labels: what the labels mean.
        belonging: other image files that belong to the set, such as undistorted copies, relative to ``folder``.
    """

    source: Path
    folder: Path
    records: list[Record]
    labels: Labels
    belonging: frozenset[str] = field(default=frozenset())


@dataclass(frozen=True, kw_only=True)
class RatedImage:
    """One rated image.

    Attributes:
        image: its path as the manifest writes it; tables name the image by it.
        image_path: the file.
        distortion: kind of distortion; empty where a no-reference set gives none.
        level: strength within the kind, or None where the manifest gives none.
        label: in the data set's own units; see the data set's ``label_kind`` and ``label_higher_is_better``.
        label_std: standard deviation of the label, or None.
        votes: number of votes behind the label, or None.
        split: ``train``, ``validation`` or ``test`` by the authors' own division, or None.
    """

    image: str
    image_path: Path
    distortion: str
    level: int | None
    label: float
    label_std: float | None
    votes: int | None = None
    split: Split | None = None

    @property
    def files(self) -> list[Path]:
        """The image and, where there is one, its reference."""
        return [self.image_path]


@dataclass(frozen=True, kw_only=True)
class FRRow(RatedImage):
    """One distorted image with its reference.

    Attributes:
        reference: its reference's path as the manifest writes it.
        reference_path: the reference file.
    """

    reference: str
    reference_path: Path

    @property
    def files(self) -> list[Path]:
        """The image and its reference."""
        return [self.image_path, self.reference_path]


RowT = TypeVar("RowT", bound=RatedImage)


class _RatedDataset(Generic[RowT]):
    """Rated images, checked as a whole before anything is done with them."""

    _required = REQUIRED

    def __init__(
        self, manifest: Path | str, *, name: str | None = None, split: Split | None = None, verify: bool = True
    ) -> None:
        manifest = expanded(manifest)
        self._fill(read_manifest(manifest, self._required), name or manifest.resolve().parent.name, split, verify)

    @classmethod
    def from_listing(cls, listing: Listing, name: str, *, split: Split | None = None, verify: bool = True):
        """Make a data set of what a reader lists; arguments, checks and errors are those of the constructor."""
        dataset = cls.__new__(cls)
        dataset._fill(listing, name, split, verify)
        return dataset

    def _fill(self, listing: Listing, name: str, split: Split | None, verify: bool) -> None:
        self.manifest = listing.source
        self.name = name
        self.labels = listing.labels
        self.label_kind = listing.labels.kind
        self.label_higher_is_better = listing.labels.higher_is_better
        sizes: dict[Path, tuple[int, int]] = {}
        rows: list[RowT] = []
        for (where, cells), row in zip(listing.records, parse_rows(listing), strict=True):
            if isinstance(row, SourceError):
                raise row
            _check_sizes(where, row, sizes)
            if verify:
                check_hashes(where, row, cells)
            rows.append(cast(RowT, row))
        self.rows: tuple[RowT, ...] = tuple(rows)
        records = [cells for _, cells in listing.records]
        if split:  # the identity is then that of a manifest with these rows only
            records = [cells for cells, row in zip(records, rows, strict=True) if row.split == split]
            self.rows = self.split(split)
        pixels = [[hash_file(path) for path in row.files] for row in self.rows]
        self.identity = identity({"manifest": records, "pixels": pixels})

    def __len__(self) -> int:
        return len(self.rows)

    def split(self, name: Split) -> tuple[RowT, ...]:
        """Return the rows of one part of the authors' own division.

        Raises:
            SourceError: no row belongs to it; the message names the parts that have rows.
        """
        rows = tuple(row for row in self.rows if row.split == name)
        if not rows:
            known = ", ".join(sorted({row.split for row in self.rows if row.split})) or "none"
            raise SourceError(f"{self.manifest}: no image is in split {name!r}; splits of this set: {known}.")
        return rows


class NRDataset(_RatedDataset[RatedImage]):
    r"""A no-reference IQA data set, read from a manifest and checked as a whole before anything is scored.

    Arguments, attributes and errors are those of :class:`FRDataset`, without references.

    Examples:
        >>> import tempfile
        >>> from lopsided.common.sources import SkimageSource
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     manifest = Path(folder, "ratings.csv")
        ...     rows = [f"{item.path},{n},mos,true" for n, item in enumerate(SkimageSource(split="test").items())]
        ...     _ = manifest.write_text("\n".join(["image,label,label_kind,label_higher_is_better", *rows]))
        ...     dataset = NRDataset(manifest, name="photographs")
        >>> dataset.name, len(dataset), dataset.rows[0].label
        ('photographs', 6, 0.0)
    """


class FRDataset(_RatedDataset[FRRow]):
    """A full-reference IQA data set, read from a manifest and checked as a whole before anything is scored.

    Args:
        manifest: the CSV file.
        name: what tables call the data set; by default the name of the manifest's folder.
        split: keep only the rows of this part of the authors' own division; the whole set is checked all the same.
        verify: compare files with the hashes that the manifest states (a hash is remembered within a process while
            a file's size and modification time stay the same). Without it, a changed file goes unnoticed while its
            size in pixels stays the same.

    Attributes:
        name: as above.
        identity: hash of the rows as the manifest writes them and of their files; of a split, of its rows only.
        rows: the rows, in the manifest's order.
        labels: what the labels mean: kind, direction, scale, what their standard deviation is of, licence.
        label_kind: ``mos``, ``dmos`` or ``severity_grade`` (which is a setting of the distortion, not an opinion).
        label_higher_is_better: direction of the labels.

    Raises:
        SourceError: a bad CSV; a missing, unreadable or repeated image; an image and its reference of unequal size;
            a label that is not finite or off its scale; an unknown or changing kind, direction or scale; a hash that
            is not the stated one. The message names the manifest, the line and the value.

    Examples:
        >>> import tempfile
        >>> from lopsided.common.sources import SkimageSource
        >>> from lopsided.iqa import LadderSpec, build_ladder
        >>> spec = LadderSpec(source=SkimageSource(split="test"), size=32, types=("jpeg",), levels=(1, 5))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     dataset = FRDataset(build_ladder(spec, folder))
        >>> len(dataset), dataset.label_kind, dataset.rows[0].image
        (12, 'severity_grade', 'images/astronaut_jpeg_1.png')
    """

    _required = REFERENCED

    def by_reference(self) -> Iterator[tuple[Path, list[FRRow]]]:
        """Yield each reference with its rows, so that it can be read once; references in order of first appearance.

        Every row comes exactly once.
        """
        groups: dict[Path, list[FRRow]] = {}
        for row in self.rows:
            groups.setdefault(row.reference_path, []).append(row)
        yield from groups.items()


def read_manifest(manifest: Path | str, required: tuple[str, ...] = REQUIRED) -> Listing:
    """Read a manifest's rows and what its labels mean, without looking at the images.

    Raises:
        SourceError: a bad CSV, an unknown or changing kind, direction or scale.
    """
    manifest = expanded(manifest)
    table = read_rows(manifest, required)
    _, first = table[0]
    labels = Labels(
        kind=cast(LabelKind, _one_of(manifest, "label_kind", first["label_kind"], get_args(LabelKind))),
        higher_is_better=_direction(manifest, first["label_higher_is_better"]),
        scale=_scale(manifest, first.get("label_min", ""), first.get("label_max", "")),
        std_of=cast(StdOf, _one_of(manifest, "label_std_of", text, get_args(StdOf)))
        if (text := first.get("label_std_of", ""))
        else None,
        licence=first.get("licence") or None,
    )
    if labels.kind == "severity_grade" and labels.higher_is_better:
        raise SourceError(
            f"{manifest}: severity grades are lower for better images; set label_higher_is_better to false."
        )
    records = [(f"{manifest}, line {line}", cells) for line, cells in table]
    for where, cells in records:
        for column in CONSTANT:
            if cells.get(column, "").lower() != first.get(column, "").lower():
                raise SourceError(
                    f"{where}: {column} is {cells[column]!r}, but {first[column]!r} above; split the manifest."
                )
    return Listing(manifest, manifest.parent, records, labels)


def parse_rows(listing: Listing) -> Iterator[RatedImage | SourceError]:
    """Yield a row for each record, or the first error in it."""
    seen: dict[Path, str] = {}
    for where, cells in listing.records:
        try:
            row = _row(listing, where, cells)
            if (file := row.image_path.resolve()) in seen:
                at = seen[file].removeprefix(f"{listing.source}, ")
                raise SourceError(f"{where}: image {row.image!r} is already listed on {at}.")
            seen[file] = where
            yield row
        except SourceError as error:
            yield error


def check_hashes(where: str, row: RatedImage, cells: dict[str, str]) -> None:
    """Compare a row's files with the hashes that its cells state.

    Raises:
        SourceError: a file has changed.
    """
    for path, column in zip(row.files, ("sha256", "reference_sha256"), strict=False):
        if (expected := cells.get(column, "")) and hash_file(path) != expected.lower():
            raise SourceError(
                f"{where}: sha256 of {path} is {hash_file(path)}, expected {expected}; the file has changed."
            )


def _row(listing: Listing, where: str, cells: dict[str, str]) -> RatedImage:
    """Make a row of a record, checking each cell."""
    referenced = "reference" in cells
    for column in ("image", "reference") if referenced else ("image",):
        _check_file(where, listing.folder, column, cells[column])
    if referenced and not cells.get("distortion"):
        raise SourceError(f"{where}: the distortion is empty.")
    level, label_std, votes, split = (cells.get(column, "") for column in ("level", "label_std", "votes", "split"))
    deviation = _number(where, "label_std", label_std) if label_std else None
    if deviation is not None and deviation < 0:
        raise SourceError(f"{where}: label_std is negative: {label_std}.")
    rated = RatedImage(
        image=cells["image"],
        image_path=listing.folder / cells["image"],
        distortion=cells.get("distortion", ""),
        level=_whole(where, "level", level) if level else None,
        label=_on_scale(where, _number(where, "label", cells["label"]), listing.labels.scale),
        label_std=deviation,
        votes=_votes(where, votes) if votes else None,
        split=cast(Split, _one_of(where, "split", split, get_args(Split))) if split else None,
    )
    if not referenced:
        return rated
    return FRRow(**vars(rated), reference=cells["reference"], reference_path=listing.folder / cells["reference"])


def _check_file(where: str, folder: Path, column: str, name: str) -> None:
    """Refuse a missing file, and say what exists instead."""
    path = folder / name
    if name and path.is_file():
        return
    raise SourceError(f"{where}: no such {column} file: {name!r}{why_missing(path) if name else ''}.")


def _number(where: str, column: str, text: str) -> float:
    """Parse a finite number."""
    try:
        value = float(text)
    except ValueError:
        raise SourceError(f"{where}: {column} is not a number: {text!r}.") from None
    if not math.isfinite(value):
        raise SourceError(f"{where}: {column} is {text!r}; every row needs a finite one, or must be left out.")
    return value


def _whole(where: str, column: str, text: str) -> int:
    """Parse a whole number, also one that a table program wrote as ``3.0``."""
    value = _number(where, column, text)
    if value != int(value):
        raise SourceError(f"{where}: {column} is not a whole number: {text!r}.")
    return int(value)


def _votes(where: str, text: str) -> int:
    """Parse a number of votes."""
    votes = _whole(where, "votes", text)
    if votes < 1:
        raise SourceError(f"{where}: votes is {text}; a label rests on at least one.")
    return votes


def _on_scale(where: str, label: float, scale: tuple[float, float] | None) -> float:
    """Refuse a label outside its scale."""
    if scale and not scale[0] <= label <= scale[1]:
        raise SourceError(f"{where}: label is {label:g}, outside the scale {scale[0]:g} to {scale[1]:g}.")
    return label


def _scale(manifest: Path, low: str, high: str) -> tuple[float, float] | None:
    """Parse the ends of the labels' scale."""
    if not low and not high:
        return None
    ends = _number(str(manifest), "label_min", low), _number(str(manifest), "label_max", high)
    if ends[0] >= ends[1]:
        raise SourceError(f"{manifest}: label_min {low} is not below label_max {high}.")
    return ends


def _one_of(where: object, column: str, text: str, known: tuple[str, ...]) -> str:
    """Parse one of a few words."""
    if text.lower() not in known:
        raise SourceError(f"{where}: unknown {column} {text!r}; known: {', '.join(known)}.")
    return text.lower()


def _direction(manifest: Path, text: str) -> bool:
    """Parse the direction of the labels."""
    if text.lower() not in ("true", "false"):
        raise SourceError(f"{manifest}: label_higher_is_better is {text!r}; write true or false.")
    return text.lower() == "true"


def _check_sizes(where: str, row: RatedImage, sizes: dict[Path, tuple[int, int]]) -> None:
    """Compare the sizes of an image and its reference by their headers; ``sizes`` remembers those of references."""
    image = _size(where, row.image_path)
    if not isinstance(row, FRRow):
        return
    if row.reference_path not in sizes:
        sizes[row.reference_path] = _size(where, row.reference_path)
    if image != sizes[row.reference_path]:
        raise SourceError(f"{where}: {unequal(row, image, sizes[row.reference_path])}.")


def unequal(row: FRRow, image: tuple[int, int], reference: tuple[int, int]) -> str:
    """Say that an image and its reference differ in size (width, height)."""
    return f"{row.image} has {image[0]}×{image[1]} pixels, its reference {row.reference} {reference[0]}×{reference[1]}"


def _size(where: str, path: Path) -> tuple[int, int]:
    """Read the (width, height) of an upright image without decoding it."""
    try:
        return upright_size(path)
    except ImageError as error:
        raise SourceError(f"{where}: {error}") from error
