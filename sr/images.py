"""HR/LR image pairs: training images decoded once into memory-mapped files and cropped at random; test images whole.

The LR image of a bicubic pair is a function of the HR image: it is stored too, and crops are cut from both. Every other
task degrades each crop anew, on a window around the crop (see :meth:`PairCache.crop`). A test image is degraded once,
whole, with a seed made of its own hash and the task's identity, so a test set depends on its files and the task alone.
"""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..common.errors import ImageError
from ..common.files import atomic_path, write_json
from ..common.identity import identity, sha256_file
from ..common.images import read_rgb
from ..common.paths import expanded
from ..common.sources import ImageItem
from .degradation import DEGRADATION, bicubic_resize, mod_crop
from .errors import SuperResolutionError
from .tasks import Bicubic, Degradation

_LAYOUT = 1  # version of the files below
_GRID = 16  # windows begin on multiples of this in LR pixels, so that JPEG blocks are placed as in the whole image


@dataclass(frozen=True)
class Pair:
    """A test image at both resolutions.

    Attributes:
        name: the image's name.
        lr: (h, w, 3), uint8.
        hr: (scale · h, scale · w, 3), uint8; the file's pixels, cut at the bottom and right to a multiple of scale.
        original_size: (height, width) of the file.
    """

    name: str
    lr: NDArray[np.uint8]
    hr: NDArray[np.uint8]
    original_size: tuple[int, int]


@dataclass(frozen=True)
class _Entry:
    """One image of a cache; its pixels begin ``offset`` LR pixels into the LR file."""

    name: str
    sha256: str
    original_size: tuple[int, int]
    lr_size: tuple[int, int]
    offset: int


@dataclass(frozen=True)
class _Place:
    """Position of a crop: its corner in LR pixels of the image before turning, and the turn of both."""

    image: int
    top: int
    left: int
    turn: int


def pairs(
    items: Sequence[ImageItem], scale: int, *, crop: int | None = None, task: Degradation | None = None
) -> Iterator[Pair]:
    """Yield each image whole, with its LR version; one is in memory at a time.

    Args:
        items: the images.
        scale: LR images have 1/scale of the side. HR images whose sides are not multiples of it are cut (``mod_crop``).
        crop: cut HR images first to this many pixels per side around their centre.
        task: how LR images are made; default: bicubic.

    Raises:
        ImageError: an unreadable image, or one smaller than ``scale`` or ``crop`` pixels.

    Examples:
        >>> from lopsided.common.sources import SkimageSource
        >>> photographs = SkimageSource(split="test").items()
        >>> pair = next(pairs(photographs, 4, crop=64))
        >>> pair.name, pair.lr.shape, pair.hr.shape, pair.original_size
        ('astronaut', (16, 16, 3), (64, 64, 3), (512, 512))
    """
    task = task or Bicubic()
    for item, hr, original_size in _originals(items, scale, crop):
        rng = np.random.default_rng([int(item.sha256, 16), int(task.identity, 16)])
        yield Pair(item.name, task.degrade(hr, scale, rng), hr, original_size)


def _originals(
    items: Sequence[ImageItem], scale: int, crop: int | None = None
) -> Iterator[tuple[ImageItem, NDArray[np.uint8], tuple[int, int]]]:
    """Yield each HR image, cut to size, with the (height, width) of its file."""
    for item in items:
        image = read_rgb(item.path)
        try:
            hr = np.ascontiguousarray(mod_crop(image if crop is None else _centre(image, crop), scale))
        except ImageError as error:
            raise ImageError(f"{item.path}: {error}") from error
        yield item, hr, (image.shape[0], image.shape[1])


def _centre(image: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Cut the central square of ``side`` pixels."""
    height, width = image.shape[:2]
    if min(height, width) < side:
        raise ImageError(f"has {width}×{height} pixels, too few for a centre crop of {side}; lower `crop`.")
    top, left = (height - side) // 2, (width - side) // 2
    return image[top : top + side, left : left + side]


class PairCache:
    """Training images, decoded once, then read through the page cache by any number of processes and threads.

    :meth:`build` makes it. A cache is a folder of all HR pixels, all LR pixels if the task is bicubic, and a JSON
    index; all other tasks share one.

    Attributes:
        scale: HR side over LR side.
        task: how LR crops are made.
        identity: content identity of the images and the scale, and of the degradation if its results are stored.
        names: the images, in order.

    Examples:
        >>> import tempfile
        >>> from lopsided.common.sources import SkimageSource
        >>> photographs = SkimageSource(split="test").items()[:1]
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     cache = PairCache.build(photographs, 4, folder)
        ...     lr, hr = cache.crop(np.random.default_rng(0), lr_patch=16, batch=2)
        >>> lr.shape, hr.shape
        ((2, 16, 16, 3), (2, 64, 64, 3))
    """

    def __init__(
        self, scale: int, task: Degradation, key: str, entries: Sequence[_Entry], files: Sequence[Path]
    ) -> None:
        self.scale = scale
        self.task = task
        self.identity = key
        self.names = [entry.name for entry in entries]
        self._entries = list(entries)
        pixels = [np.memmap(file, dtype=np.uint8, mode="r") for file in files]
        self._hr = [_view(pixels[0], entry, scale) for entry in entries]
        self._lr = [] if task.random else [_view(pixels[1], entry, 1) for entry in entries]
        self._smallest = min(entries, key=lambda entry: min(entry.lr_size))

    @classmethod
    def build(
        cls,
        items: Sequence[ImageItem],
        scale: int,
        folder: Path | str,
        *,
        task: Degradation | None = None,
        lr_patch: int | None = None,
        verify: bool = True,
    ) -> PairCache:
        """Open the cache of these images, and write it first if it is absent, incomplete or damaged.

        Files appear under their names only when they are complete, the index last; processes that build at the same
        time write equal files.

        Args:
            items: the images, at least one.
            scale: LR images have 1/scale of the side; HR images whose sides are not multiples of it are cut at the
                bottom and right.
            folder: folder of caches; this one gets a sub-folder named by its identity.
            task: how LR images are made; default: bicubic.
            lr_patch: side of the LR crops to come; if given, every image is checked to be large enough.
            verify: compare the files' SHA-256 with the index, about 1 s per GB; otherwise only their sizes.

        Raises:
            ImageError: an unreadable image, or one smaller than ``scale`` pixels.
            SuperResolutionError: no images, a scale below 1, or an image smaller than the crop.
        """
        if not items:
            raise SuperResolutionError("There are no training images.")
        if scale < 1:
            raise SuperResolutionError(f"Scale {scale} is below 1.")
        task = task or Bicubic()
        stored = None if task.random else DEGRADATION
        key = _key(items, scale, task)
        root = expanded(folder) / _folder_name(key)
        files = [root / "hr.u8"] if task.random else [root / "hr.u8", root / "lr.u8"]
        entries = _read_index(root / "index.json", key, files, verify=verify)
        if entries is None:
            entries = _write(items, scale, files)
            index = {
                "identity": key,
                "scale": scale,
                "degradation": stored,
                "bytes": [file.stat().st_size for file in files],
                "sha256": [sha256_file(file) for file in files],
                "images": [asdict(entry) for entry in entries],
            }
            write_json(root / "index.json", index)
        cache = cls(scale, task, key, entries, files)
        if lr_patch is not None:
            cache.validate(lr_patch)
        return cache

    @staticmethod
    def folder_name(items: Sequence[ImageItem], scale: int, task: Degradation) -> str:
        """Return the name of the sub-folder where :meth:`build` puts the cache of these images."""
        return _folder_name(_key(items, scale, task))

    def __len__(self) -> int:
        return len(self._entries)

    def validate(self, lr_patch: int) -> None:
        """Check that every image has room for a crop of ``lr_patch`` LR pixels per side.

        Raises:
            SuperResolutionError: an image is too small, or ``lr_patch`` is below 1.
        """
        if lr_patch < 1:
            raise SuperResolutionError(f"A crop of {lr_patch} LR pixels per side is empty.")
        largest = min(self._smallest.lr_size)
        if largest < lr_patch:
            entry, side = self._smallest, lr_patch * self.scale
            height, width = entry.original_size
            raise SuperResolutionError(
                f"Image '{entry.name}' has {width}×{height} pixels, too few for crops of {side}×{side}; "
                f"crop at most {largest * self.scale} pixels, or leave the image out."
            )

    def crop(
        self, rng: np.random.Generator, lr_patch: int, batch: int, *, augment: bool = True
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Draw a batch of random crops, the same for the same state of ``rng``; safe to call from several threads.

        Images are drawn uniformly with replacement, whatever their sizes (so pixels of a small image are seen more
        often), then a position uniformly on the LR grid, then one of the eight flips and quarter turns. All tasks see
        the same HR crops.

        A random task turns the image first, so that JPEG blocks are never turned. It then degrades a window that has
        ``task.context`` more pixels on each side, where the image has them, and that begins at a multiple of 16 LR
        pixels of the image; the crop is cut from the result. So the crop looks like a crop of a whole degraded image,
        and equals one if the task reaches no farther than its context.

        Args:
            rng: the only source of randomness; its state advances.
            lr_patch: side of the LR crops in pixels.
            batch: number of crops.
            augment: flip and turn.

        Returns:
            LR (batch, lr_patch, lr_patch, 3) and HR (batch, scale · lr_patch, scale · lr_patch, 3), uint8.

        Raises:
            SuperResolutionError: an image is smaller than the crop.
        """
        self.validate(lr_patch)
        places = [self._place(rng, lr_patch, augment=augment) for _ in range(batch)]
        if self.task.random:
            seeds = rng.integers(2**63, size=batch)
            crops = [
                self._degraded(place, lr_patch, np.random.default_rng(seed))
                for place, seed in zip(places, seeds, strict=True)
            ]
        else:
            crops = [self._stored(place, lr_patch) for place in places]
        low, high = zip(*crops, strict=True)
        return _stacked(low), _stacked(high)

    def _place(self, rng: np.random.Generator, lr_patch: int, *, augment: bool) -> _Place:
        image = int(rng.integers(len(self)))
        height, width = self._entries[image].lr_size
        top, left = int(rng.integers(height - lr_patch + 1)), int(rng.integers(width - lr_patch + 1))
        # Drawn even when unused, so that augmentation does not change which crops are seen.
        turn = int(rng.integers(8))
        return _Place(image, top, left, turn if augment else 0)

    def _stored(self, place: _Place, lr_patch: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Cut a crop from both stored images."""
        lr = _cut(self._lr[place.image], place.top, place.left, lr_patch)
        hr = _cut(self._hr[place.image], *(self.scale * side for side in (place.top, place.left, lr_patch)))
        return _turned(lr, place.turn), _turned(hr, place.turn)

    def _degraded(
        self, place: _Place, lr_patch: int, rng: np.random.Generator
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Degrade a window around a crop and cut the crop from the result."""
        image = _turned(self._hr[place.image], place.turn)  # a view: nothing is read yet
        top, left = _turned_corner(place, lr_patch, *self._entries[place.image].lr_size)
        margin = -(-self.task.context // self.scale)
        first = [max(0, (corner - margin) // _GRID * _GRID) for corner in (top, left)]
        rows, columns = (
            slice(self.scale * begin, self.scale * (corner + lr_patch + margin))
            for begin, corner in zip(first, (top, left), strict=True)
        )
        window = self.task.target(np.ascontiguousarray(image[rows, columns]))
        top, left = top - first[0], left - first[1]
        lr = _cut(self.task.degrade(window, self.scale, rng), top, left, lr_patch)
        return lr, _cut(window, *(self.scale * side for side in (top, left, lr_patch)))


def _key(items: Sequence[ImageItem], scale: int, task: Degradation) -> str:
    """Return the content identity of a cache."""
    images = [[item.name, item.sha256] for item in items]
    stored = None if task.random else DEGRADATION
    return identity({"images": images, "scale": scale, "degradation": stored, "layout": _LAYOUT})


def _folder_name(key: str) -> str:
    return f"pairs-{key}"


def _cut(image: NDArray[np.uint8], top: int, left: int, side: int) -> NDArray[np.uint8]:
    """Return a square of an image."""
    return image[top : top + side, left : left + side]


def _stacked(crops: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Copy crops into one array, pixel by pixel: numpy would copy turned views byte by byte."""
    pixels = [crop.view("V3")[..., 0] for crop in crops]
    return np.stack(pixels)[..., None].view(np.uint8)


def _turned_corner(place: _Place, side: int, height: int, width: int) -> tuple[int, int]:
    """Return the upper left corner that a crop has once the whole image is turned."""
    top, left = place.top, place.left
    for _ in range(place.turn % 4):
        top, left, height, width = width - left - side, top, width, height
    return top, width - left - side if place.turn >= 4 else left


def _turned(patch: NDArray[np.uint8], turn: int) -> NDArray[np.uint8]:
    """Return a view of one of the eight flips and quarter turns of an image; 0 is the image as it is."""
    turned = np.rot90(patch, turn % 4)
    return turned[:, ::-1] if turn >= 4 else turned


def _view(pixels: NDArray[np.uint8], entry: _Entry, scale: int) -> NDArray[np.uint8]:
    """Return one image of a raw file as (H, W, 3), without reading it."""
    height, width = (side * scale for side in entry.lr_size)
    start = 3 * entry.offset * scale**2
    return pixels[start : start + 3 * height * width].reshape(height, width, 3)


def _write(items: Sequence[ImageItem], scale: int, files: Sequence[Path]) -> list[_Entry]:
    """Decode all images into the first raw file, and shrink them into the second if there is one."""
    entries: list[_Entry] = []
    offset = 0
    with contextlib.ExitStack() as stack:
        paths = [stack.enter_context(atomic_path(file)) for file in files]
        raw = [stack.enter_context(path.open("wb")) for path in paths]
        for item, hr, original_size in _originals(items, scale):
            raw[0].write(hr.data)
            if len(raw) == 2:
                raw[1].write(bicubic_resize(hr, 1 / scale).data)
            size = (hr.shape[0] // scale, hr.shape[1] // scale)
            entries.append(_Entry(item.name, item.sha256, original_size, size, offset))
            offset += math.prod(size)
    return entries


def _read_index(path: Path, key: str, files: Sequence[Path], *, verify: bool) -> list[_Entry] | None:
    """Return the entries if index and files are complete and belong together; None means that they must be written."""
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
        entries = [
            _Entry(
                image["name"],
                image["sha256"],
                (int(image["original_size"][0]), int(image["original_size"][1])),
                (int(image["lr_size"][0]), int(image["lr_size"][1])),
                int(image["offset"]),
            )
            for image in index["images"]
        ]
        pixels = sum(math.prod(entry.lr_size) for entry in entries)
        expected = [3 * pixels * int(index["scale"]) ** 2, 3 * pixels][: len(files)]
        whole = (
            index["identity"] == key
            and index["bytes"] == expected == [file.stat().st_size for file in files]
            and (not verify or index["sha256"] == [sha256_file(file) for file in files])
        )
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return None
    return entries if whole else None
