"""Where images come from: scikit-image's embedded photographs, a folder, or a manifest; each usable in YAML.

.. code-block:: yaml

    train: {source: skimage, split: train}
    train: {folder: data/div2k, pattern: "*.png"}
    test: {manifest: data/test.csv}

Relative paths are relative to the working directory; those inside a manifest, to the manifest. The identity of a
set depends on the names and bytes of its files, never on where they are.

Examples:
    >>> from lopsided.common.sources import parse_source
    >>> [item.name for item in parse_source({"source": "skimage", "split": "test"}).items()]
    ['astronaut', 'camera', 'chelsea', 'coffee', 'ihc', 'rocket']
"""

from __future__ import annotations

import csv
import difflib
import importlib.util
import io
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, Tag, TypeAdapter, ValidationError, field_validator

from .errors import SourceError, one_line
from .fields import Settings, by_own_key
from .identity import identity, sha256_file
from .images import EXTENSIONS
from .paths import expanded, read_file, why_missing

# Photographs inside the scikit-image wheel, by file name and SHA-256. Of the stereo pair only one view is used, and
# diagrams, scans and silhouettes are left out. The test split is kept to scenes in colour where there are any; what
# neither of the two has is for assessment: five grey ones, of a cell, a clock, a retina, print and handwriting.
SKIMAGE_TRAIN = {
    "brick.png": "7966caf324f6ba843118d98f7a07746d22f6a343430add0233eca5f6eaaa8fcf",
    "coins.png": "f8d773fc9cfa6f4d8e5942dc34d0a0788fcaed2a4fefbbed0aef5398d7ef4cba",
    "grass.png": "b6b6022426b38936c43a4ac09635cd78af074e90f42ffa8227ac8b7452d39f89",
    "gravel.png": "c48615b451bf1e606fbd72c0aa9f8cc0f068ab7111ef7d93bb9b0f2586440c12",
    "hubble_deep_field.jpg": "3a19c5dd8a927a9334bb1229a6d63711b1c0c767fb27e2286e7c84a3e2c2f5f4",
    "moon.png": "78739619d11f7eb9c165bb5d2efd4772cee557812ec847532dbb1d92ef71f577",
    "motorcycle_left.png": "db18e9c4157617403c3537a6ba355dfeafe9a7eabb6b9b94cb33f6525dd49179",
    "retina.jpg": "38a07f36f27f095e818aea7b96d34202c05176d30253c66733f2e00379e9e0e6",
}
SKIMAGE_TEST = {
    "astronaut.png": "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5",
    "camera.png": "b0793d2adda0fa6ae899c03989482bff9a42d3d5690fc7e3648f2795d730c23a",
    "chelsea.png": "596aa1e7cb875eb79f437e310381d26b338a81c2da23439704a73c4651e8c4bb",
    "coffee.png": "cc02f8ca188b167c775a7101b5d767d1e71792cf762c33d6fa15a4599b5a8de7",
    "ihc.png": "f8dd1aa387ddd1f49d8ad13b50921b237df8e9b262606d258770687b0ef93cef",
    "rocket.jpg": "c2dd0de7c538df8d111e479619b129464d0269d0ae5fd18ca91d33a7fdfea95c",
}
SKIMAGE_ASSESS = {
    "cell.png": "8d23a7fb81f7cc877cd09f330357fc7f595651306e84e17252f6e0a1b3f61515",
    "clock_motion.png": "f029226b28b642e80113d86622e9b215ee067a0966feaf5e60604a1e05733955",
    "microaneurysms.png": "a1e1be59aa447f8ce082f7fa809997ab369a2b137cb6c4202abc647c7ccf6456",
    "page.png": "341a6f0a61557662b02734a9b6e56ec33a915b2c41886b97509dedf2a43b47a3",
    "text.png": "bd84aa3a6e3c9887850d45d606c96b2e59433fbef50338570b63c319e668e6d1",
}
_SPLITS = {
    "train": SKIMAGE_TRAIN,
    "test": SKIMAGE_TEST,
    "assess": SKIMAGE_ASSESS,
    "all": {**SKIMAGE_TRAIN, **SKIMAGE_TEST},
}


@dataclass(frozen=True)
class ImageItem:
    """One image file of a source.

    Attributes:
        name: the file's stem, unique within its source; tables call the image by it.
        path: the file.
        sha256: hexadecimal SHA-256 of the file's bytes.
    """

    name: str
    path: Path
    sha256: str


class _Source(Settings, ABC):
    """What all sources share."""

    @abstractmethod
    def items(self) -> list[ImageItem]:
        """List the images, in an order that depends on their names only; at least one, names unique.

        Raises:
            SourceError: the source is missing, empty, ambiguous or has changed.
        """

    def identity(self, items: Sequence[ImageItem]) -> str:
        """Return the content identity of ``items``: their names and hashes in order, wherever they are."""
        return identity({"images": [[item.name, item.sha256] for item in items]})


def _known_split(value: Any) -> Any:
    """Refuse an unknown split, naming the nearest known one."""
    if value in list(_SPLITS):
        return value
    nearest = difflib.get_close_matches(str(value), _SPLITS, n=1, cutoff=0)[0]
    raise ValueError(f"unknown split {value!r}; did you mean {nearest!r}? (known: {', '.join(_SPLITS)})")


class SkimageSource(_Source):
    """The photographs inside the scikit-image wheel: nothing is downloaded, and every file's hash is checked.

    ``train`` and ``test`` are fixed and disjoint; ``all`` is both. ``assess`` has none of theirs: five grey photographs
    of 102 pixels or more, for labelled sets that share nothing with training and test images.
    """

    source: Literal["skimage"] = "skimage"
    split: Annotated[Literal["train", "test", "assess", "all"], BeforeValidator(_known_split)] = Field(
        description="Which photographs: train, test and assess share none; all is train and test."
    )

    def items(self) -> list[ImageItem]:
        """List the split's photographs.

        Raises:
            SourceError: scikit-image is not installed, or ships other files than those listed here.
        """
        folder = _skimage_folder()
        items = []
        for file, expected in _SPLITS[self.split].items():
            path = folder / file
            if not path.is_file():
                raise SourceError(f"{path}: scikit-image ships without this photograph; install scikit-image>=0.22.")
            items.append(_checked(path, expected, str(path)))
        return items


class FolderSource(_Source):
    """The images of a folder, in natural order (``img2`` before ``img10``).

    Without ``pattern``: the files in the folder itself that have an image's extension, in upper or lower case. With
    it: the files that match the glob (case as written; ``**/`` descends). Hidden files are left out.
    """

    folder: Path = Field(description="Folder of the images.")
    pattern: str | None = Field(
        default=None, description="Glob such as '*_HR.png'; `**/` descends. Default: the images in the folder itself."
    )

    @field_validator("pattern")
    @classmethod
    def _relative(cls, pattern: str | None) -> str | None:
        if pattern is not None and (not pattern.strip() or Path(pattern).is_absolute()):
            raise ValueError(f"pattern {pattern!r} must be a glob relative to the folder, such as '*.png'")
        return pattern

    def items(self) -> list[ImageItem]:
        """List the folder's images.

        Raises:
            SourceError: no such folder, no image in it, or two images with one stem.
        """
        folder = expanded(self.folder)
        if not folder.is_dir():
            state = "is a file" if folder.exists() else f"does not exist{why_missing(folder)}"
            raise SourceError(f"{folder}: {state}; `folder` must name a folder of images.")
        try:
            found = [path for path in folder.glob(self.pattern or "*") if path.is_file()]
        except ValueError as error:
            raise SourceError(f"{folder}: pattern {self.pattern!r} is not a glob ({one_line(error)}).") from error
        paths = [path for path in found if not any(part.startswith(".") for part in path.relative_to(folder).parts)]
        if self.pattern is None:
            paths = [path for path in paths if path.suffix.lower() in EXTENSIONS]
        if not paths:
            wanted = f"matches {self.pattern!r}" if self.pattern else f"ends in {', '.join(EXTENSIONS)}"
            raise SourceError(f"{folder}: no file {wanted}; `pattern: '**/*.png'` looks into subfolders too.")
        paths.sort(key=lambda path: _natural(path.relative_to(folder).as_posix()))
        return _unique(str(folder), [ImageItem(path.stem, path, hash_file(path)) for path in paths])


def images_below(folder: Path | str) -> list[Path]:
    """Return the images of a folder and its sub-folders, in natural order; hidden ones are left out.

    Raises:
        SourceError: there is no such folder, or it has no images.
    """
    folder = expanded(folder)
    if not folder.is_dir():
        state = "is a file, not a folder" if folder.exists() else f"no such folder{why_missing(folder)}"
        raise SourceError(f"{folder}: {state}.")
    paths = [
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in EXTENSIONS
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]
    if not paths:
        raise SourceError(f"{folder}: no file in it or its sub-folders ends in {', '.join(EXTENSIONS)}.")
    return sorted(paths, key=lambda path: _natural(path.relative_to(folder).as_posix()))


class ManifestSource(_Source):
    """The images a CSV lists: column ``image`` (path relative to the CSV), optional column ``sha256``, in its order."""

    manifest: Path = Field(description="The CSV.")

    def items(self) -> list[ImageItem]:
        """List the manifest's images.

        Raises:
            SourceError: a bad CSV, a missing file, a hash that is not the stated one, or two images with one stem.
        """
        manifest = expanded(self.manifest)
        items = []
        for line, row in read_rows(manifest, ["image"]):
            path = manifest.parent / row["image"]
            if not row["image"] or not path.is_file():
                raise SourceError(f"{manifest}, line {line}: no such file: {row['image']!r}{why_missing(path)}.")
            items.append(_checked(path, row.get("sha256", "").lower(), f"{manifest}, line {line}: {row['image']}"))
        return _unique(str(manifest), items)


ImageSource = Annotated[
    Annotated[SkimageSource, Tag("source")]
    | Annotated[FolderSource, Tag("folder")]
    | Annotated[ManifestSource, Tag("manifest")],
    by_own_key(
        *("source", "folder", "manifest"),
        error="image_source",
        message="images come from exactly one of `source: skimage`, `folder: …` and `manifest: …`",
    ),
]
"""Field type of anything that needs images; pydantic locates its errors under the tag source, folder or manifest."""

_ADAPTER: TypeAdapter[SkimageSource | FolderSource | ManifestSource] = TypeAdapter(ImageSource)


def parse_source(value: Any) -> SkimageSource | FolderSource | ManifestSource:
    """Validate a mapping, such as one read from YAML, as an image source.

    Raises:
        SourceError: unknown kind, key or split.
    """
    try:
        return _ADAPTER.validate_python(value)
    except ValidationError as error:
        first = error.errors()[0]
        key = f" ({first['loc'][-1]})" if len(first["loc"]) > 1 else ""
        raise SourceError(f"Image source {value!r}{key}: {first['msg']}.") from error


def overlap(train: Iterable[ImageItem], test: Iterable[ImageItem]) -> list[tuple[ImageItem, ImageItem]]:
    """Return every (train, test) pair of files with equal bytes, whatever their names; empty when there is no leak."""
    by_hash: dict[str, list[ImageItem]] = {}
    for item in train:
        by_hash.setdefault(item.sha256, []).append(item)
    return [(twin, item) for item in test for twin in by_hash.get(item.sha256, [])]


def read_rows(path: Path | str, required: Sequence[str]) -> list[tuple[int, dict[str, str]]]:
    """Read a comma-separated table with a header, strictly; a UTF-8 byte-order mark is accepted.

    Args:
        path: the CSV file, UTF-8.
        required: columns that must be there; others are kept.

    Returns:
        (line number in the file, row) pairs, cells stripped of outer blanks; at least one. Blank lines are skipped.

    Raises:
        SourceError: missing, unreadable, empty or semicolon-separated file, missing or repeated column, or a row
            with more or fewer cells than the header.
    """
    path = Path(path)
    try:
        text = read_file(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SourceError(
            f"{path}: not UTF-8 text ({error.reason} at byte {error.start}); save it as UTF-8."
        ) from error
    except OSError as error:
        raise SourceError(f"{path}: the manifest cannot be read ({error.strerror or one_line(error)}).") from error
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows: list[tuple[int, dict[str, str]]] = []
    header: list[str] = []
    try:
        for cells in reader:
            cells = [cell.strip() for cell in cells]
            if not any(cells):
                continue
            if not header:
                header = _header(path, cells, required)
            elif len(cells) != len(header):
                raise SourceError(
                    f"{path}, line {reader.line_num}: {len(cells)} cells, but the header has {len(header)}."
                )
            else:
                rows.append((reader.line_num, dict(zip(header, cells, strict=True))))
    except csv.Error as error:
        raise SourceError(f"{path}, line {reader.line_num}: not valid CSV ({one_line(error)}).") from error
    if not rows:
        raise SourceError(f"{path}: the manifest lists no images.")
    return rows


def hash_file(path: Path) -> str:
    """Return a file's SHA-256, remembered within this process while its modification time and size stay the same."""
    stat = path.stat()
    return _hash(path, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=1 << 16)
def _hash(path: Path, mtime_ns: int, size: int) -> str:
    """Hash a file; the extra arguments only key the cache."""
    del mtime_ns, size
    return sha256_file(path)


def _header(path: Path, header: list[str], required: Sequence[str]) -> list[str]:
    """Check a CSV header."""
    if len(header) == 1 and ";" in header[0]:
        raise SourceError(f"{path}: separated by semicolons; save it with commas.")
    missing = [column for column in required if column not in header]
    if missing:
        raise SourceError(f"{path}: no column {', '.join(map(repr, missing))} (columns seen: {', '.join(header)}).")
    repeated = sorted({column for column in header if header.count(column) > 1})
    if repeated:
        raise SourceError(f"{path}: column {repeated[0]!r} appears more than once.")
    return header


def _skimage_folder() -> Path:
    """Find scikit-image's data folder without importing the library."""
    spec = importlib.util.find_spec("skimage")
    if spec is None or not spec.submodule_search_locations:
        raise SourceError(
            "scikit-image is not installed, but its photographs are needed: pip install 'lopsided[study]'."
        )
    return Path(spec.submodule_search_locations[0]) / "data"


def _checked(path: Path, expected: str, where: str) -> ImageItem:
    """Make an item of a file whose hash, if one is expected, is the expected one."""
    seen = hash_file(path)
    if expected and seen != expected:
        raise SourceError(f"{where}: sha256 is {seen}, expected {expected}; the file has changed.")
    return ImageItem(path.stem, path, seen)


def _unique(where: str, items: list[ImageItem]) -> list[ImageItem]:
    """Refuse two images with one name, which tables could not tell apart."""
    by_name: dict[str, ImageItem] = {}
    for item in items:
        if item.name in by_name:
            raise SourceError(
                f"{where}: {by_name[item.name].path} and {item.path} are both named {item.name!r}; rename one."
            )
        by_name[item.name] = item
    return items


def _natural(text: str) -> tuple[list[tuple[int, str]], str]:
    """Sort key that orders digits by value and letters without case; the text itself breaks ties."""
    parts = re.split(r"(\d+)", text.lower())
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts], text
