"""Checks of a data set, image by image: every fault on one line, and every image counted exactly once."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ...common.errors import ImageError, SourceError
from ...common.images import EXTENSIONS, read_header, read_rgb
from ...common.paths import expanded
from ..manifest import FRRow, Listing, RatedImage, check_hashes, parse_rows, unequal
from . import pairs
from .opening import MANIFEST, list_images, wrong_counts
from .registry import dataset_info

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class CheckReport:
    """The result of a check.

    Attributes:
        name: name of the data set.
        listed: number of images (or pairs) that the labels list.
        right: number of those without a fault.
        problems: the faults, one line each.
        notes: what is worth knowing but not wrong: the same pixels under two labels, grey images, unlisted files.
    """

    name: str
    listed: int
    right: int
    problems: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems

    @property
    def wrong(self) -> int:
        """Images (or pairs) with a fault; faults of the set as a whole are not counted here."""
        return self.listed - self.right


@dataclass(frozen=True)
class _Decoded:
    size: tuple[int, int]
    pixels: str  # hash
    grey: bool


def silent(_done: int, _total: int, _note: str) -> None:
    """Show no progress."""


def check_dataset(name: str, path: Path | str, *, complete: bool = True, progress: Progress = silent) -> CheckReport:
    """Check counts, labels and every image of a data set.

    Args:
        name: a name of :func:`list_datasets`, or ``manifest``.
        path: the folder that the authors publish; for ``manifest`` the CSV file.
        complete: count it as a fault if the set lists fewer or more images than its authors published.
        progress: called with (images done, images in all, image).

    Returns:
        What was found; faults of the set are reported and never raised.

    Raises:
        SourceError: unknown name.

    Examples:
        >>> import tempfile
        >>> from lopsided.common.sources import SkimageSource
        >>> from lopsided.iqa import LadderSpec, build_ladder
        >>> spec = LadderSpec(source=SkimageSource(split="test"), size=32, types=("jpeg",), levels=(1, 5))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     report = check_dataset("manifest", build_ladder(spec, folder))
        >>> report.ok, report.listed, report.right
        (True, 12, 12)
    """
    path = expanded(path)
    info = None if name == MANIFEST else dataset_info(name)
    try:
        if info and info.task == "pairs":
            return _check_pairs(name, path, progress)
        listing = list_images(name, path)
    except SourceError as error:
        return CheckReport(name, 0, 0, (str(error),), ())
    counts = wrong_counts(info, listing) if info and complete else []
    return check_listing(name, listing, counts, progress)


def check_listing(name: str, listing: Listing, problems: list[str], progress: Progress = silent) -> CheckReport:
    """Check the rows and images of a listing; ``problems`` are known faults of the set as a whole."""
    problems = list(problems)
    decoded: dict[Path, _Decoded | None] = {}
    rows: list[RatedImage] = []
    total = len(listing.records)
    for done, ((where, cells), row) in enumerate(zip(listing.records, parse_rows(listing), strict=True), start=1):
        if isinstance(row, SourceError):
            problems.append(str(row))
        else:
            before = len(problems)
            _check_row(where, cells, row, decoded, problems)
            if len(problems) == before and all(decoded[path] for path in row.files):
                rows.append(row)
        progress(done, total, cells.get("image", ""))
    notes = [*_same_pixels(rows, decoded), *_grey(rows, decoded), *_unlisted(listing)]
    return CheckReport(name, total, len(rows), tuple(problems), tuple(notes))


def _check_row(
    where: str, cells: dict[str, str], row: RatedImage, decoded: dict[Path, _Decoded | None], problems: list[str]
) -> None:
    """Decode those of a row's files that are not decoded yet, and compare sizes and hashes."""
    for path in row.files:
        if path not in decoded:
            try:
                decoded[path] = _decode(path)
            except ImageError as error:
                decoded[path] = None
                problems.append(str(error))
    if isinstance(row, FRRow):
        image, reference = decoded[row.image_path], decoded[row.reference_path]
        if image and reference and image.size != reference.size:
            problems.append(f"{where}: {unequal(row, image.size, reference.size)}.")
    try:
        check_hashes(where, row, cells)
    except SourceError as error:
        problems.append(str(error))


def _decode(path: Path) -> _Decoded:
    """Decode an image as strictly as it will be for scoring."""
    pixels = read_rgb(path)
    grey = read_header(path).mode in ("1", "L", "LA")
    height, width = pixels.shape[:2]
    return _Decoded((width, height), hashlib.sha256(pixels.tobytes()).hexdigest(), grey)


def _same_pixels(rows: list[RatedImage], decoded: dict[Path, _Decoded | None]) -> list[str]:
    """Note images with the same pixels (and the same reference), with their labels: some sets have them."""
    groups: dict[tuple[object, ...], list[RatedImage]] = {}
    for row in rows:
        seen = [found and (found.size, found.pixels) for found in (decoded[path] for path in row.files)]
        groups.setdefault(tuple(seen), []).append(row)
    return [
        f"{', '.join(row.image for row in same)}: the same pixels, labels {', '.join(f'{row.label:g}' for row in same)}"
        for same in groups.values()
        if len(same) > 1
    ]


def _grey(rows: list[RatedImage], decoded: dict[Path, _Decoded | None]) -> list[str]:
    """Note images with one channel, which are read as three equal ones."""
    paths = dict.fromkeys(path for row in rows for path in row.files)
    return [f"{path}: grey; read as three equal channels" for path in paths if (seen := decoded[path]) and seen.grey]


def _unlisted(listing: Listing) -> list[str]:
    """Note images that are in the folders of the listed ones but are not listed."""
    names = {cells[column] for _, cells in listing.records for column in ("image", "reference") if column in cells}
    paths = [listing.folder / name for name in names | listing.belonging]
    known = {path.resolve() for path in paths}
    folders = sorted({path.parent for path in paths if path.parent.is_dir()})
    found = (path for folder in folders for path in sorted(folder.iterdir()))
    extra = (path for path in found if path.suffix.lower() in EXTENSIONS and path.resolve() not in known)
    return [f"{path}: not listed; left out" for path in extra]


def _check_pairs(name: str, folder: Path, progress: Progress) -> CheckReport:
    """Check every judged pair of BAPPS."""
    problems: list[str] = []
    listed = right = 0
    found = list(pairs.read_pairs(folder))
    for done, (label, row) in enumerate(found, start=1):
        listed += 1
        try:
            if isinstance(row, SourceError):
                raise row
            sizes = [_decode(path).size for path in row.files]
            if len(set(sizes)) > 1:
                raise SourceError(pairs.unequal(row, sizes))
            right += 1
        except (SourceError, ImageError) as error:
            problems.append(str(error))
        progress(done, len(found), label)
    return CheckReport(name, listed, right, tuple(problems), ())
