"""HR/LR image pairs: training images decoded once into memory-mapped files and cropped at random; test images whole."""

from __future__ import annotations

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
from ..common.sources import ImageItem
from .degradation import DEGRADATION, bicubic_resize, mod_crop
from .errors import SuperResolutionError

_LAYOUT = 1  # version of the files below


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
    """One image of a cache: where its pixels begin is ``offset`` LR pixels into the LR file."""

    name: str
    sha256: str
    original_size: tuple[int, int]
    lr_size: tuple[int, int]
    offset: int


def pairs(items: Sequence[ImageItem], scale: int, *, crop: int | None = None) -> Iterator[Pair]:
    """Yield each image whole, with its bicubic LR version; one is in memory at a time.

    Args:
        items: the images.
        scale: LR images have 1/scale of the side. HR images it does not divide are cut (``mod_crop``).
        crop: first cut HR images to this many pixels a side around their centre.

    Raises:
        ImageError: an unreadable image, or one smaller than ``scale`` or ``crop`` pixels.
    """
    for item in items:
        image = read_rgb(item.path)
        try:
            hr = np.ascontiguousarray(mod_crop(image if crop is None else _centre(image, crop), scale))
        except ImageError as error:
            raise ImageError(f"{item.path}: {error}") from error
        yield Pair(item.name, bicubic_resize(hr, 1 / scale), hr, (image.shape[0], image.shape[1]))


def _centre(image: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Cut the central square of ``side`` pixels."""
    height, width = image.shape[:2]
    if min(height, width) < side:
        raise ImageError(f"has {width}×{height} pixels, too few for a centre crop of {side}; lower `crop`.")
    top, left = (height - side) // 2, (width - side) // 2
    return image[top : top + side, left : left + side]


class PairCache:
    """Training images, decoded and degraded once, then read through the page cache by any number of processes.

    Made by :meth:`build`. A cache is a folder of three files: all HR pixels, all LR pixels, and a JSON index.

    Attributes:
        scale: HR side over LR side.
        identity: content identity of the images, the scale and the degradation.
        names: the images, in order.
    """

    def __init__(self, scale: int, key: str, entries: Sequence[_Entry], files: tuple[Path, Path]) -> None:
        self.scale = scale
        self.identity = key
        self.names = [entry.name for entry in entries]
        self._entries = list(entries)
        hr, lr = (np.memmap(file, dtype=np.uint8, mode="r") for file in files)
        self._hr = [_view(hr, entry, scale) for entry in entries]
        self._lr = [_view(lr, entry, 1) for entry in entries]
        self._smallest = min(entries, key=lambda entry: min(entry.lr_size))

    @classmethod
    def build(
        cls,
        items: Sequence[ImageItem],
        scale: int,
        folder: Path,
        *,
        lr_patch: int | None = None,
        verify: bool = True,
    ) -> PairCache:
        """Open the cache of these images, writing it first if it is absent, incomplete or damaged.

        Files appear under their names only when whole, the index last; processes that build at the same time write
        equal files.

        Args:
            items: the images, at least one.
            scale: LR images have 1/scale of the side; HR images it does not divide are cut at the bottom and right.
            folder: where caches lie; this one gets a sub-folder named by its identity.
            lr_patch: side of the LR crops to come; checks at once that every image is large enough.
            verify: compare the files' SHA-256 with the index, about 1 s for each GB; otherwise only their sizes.

        Raises:
            ImageError: an unreadable image, or one smaller than ``scale`` pixels.
            SuperResolutionError: no images, a scale below 1, or an image smaller than the crop.
        """
        if not items:
            raise SuperResolutionError("There are no training images.")
        if scale < 1:
            raise SuperResolutionError(f"Scale {scale} is below 1.")
        images = [[item.name, item.sha256] for item in items]
        key = identity({"images": images, "scale": scale, "degradation": DEGRADATION, "layout": _LAYOUT})
        root = folder / f"pairs-{key}"
        files = (root / "hr.u8", root / "lr.u8")
        entries = _read_index(root / "index.json", key, files, verify=verify)
        if entries is None:
            entries = _write(items, scale, files)
            index = {
                "identity": key,
                "scale": scale,
                "degradation": DEGRADATION,
                "bytes": [file.stat().st_size for file in files],
                "sha256": [sha256_file(file) for file in files],
                "images": [asdict(entry) for entry in entries],
            }
            write_json(root / "index.json", index)
        cache = cls(scale, key, entries, files)
        if lr_patch is not None:
            cache.validate(lr_patch)
        return cache

    def __len__(self) -> int:
        return len(self._entries)

    def validate(self, lr_patch: int) -> None:
        """Check that every image has room for a crop of ``lr_patch`` LR pixels a side.

        Raises:
            SuperResolutionError: one has not, or ``lr_patch`` is below 1.
        """
        if lr_patch < 1:
            raise SuperResolutionError(f"A crop of {lr_patch} LR pixels a side is empty.")
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
        """Draw a batch of random crops, the same for the same state of ``rng``.

        Images are drawn uniformly with replacement, whatever their sizes (so a pixel of a small image is seen more
        often), then a position uniformly on the LR grid, then one of the eight flips and quarter turns.

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
        lr = np.empty((batch, lr_patch, lr_patch, 3), dtype=np.uint8)
        hr = np.empty((batch, lr_patch * self.scale, lr_patch * self.scale, 3), dtype=np.uint8)
        for index in range(batch):
            image = int(rng.integers(len(self)))
            height, width = self._entries[image].lr_size
            top, left = int(rng.integers(height - lr_patch + 1)), int(rng.integers(width - lr_patch + 1))
            # Drawn even when unused, so that augmentation does not change which crops are seen.
            turn = int(rng.integers(8))
            for source, target, scale in ((self._lr[image], lr, 1), (self._hr[image], hr, self.scale)):
                side = lr_patch * scale
                patch = source[top * scale : top * scale + side, left * scale : left * scale + side]
                target[index] = _turned(patch, turn) if augment else patch
        return lr, hr


def _turned(patch: NDArray[np.uint8], turn: int) -> NDArray[np.uint8]:
    """Return one of the eight flips and quarter turns of a square; 0 is the square as it is."""
    turned = np.rot90(patch, turn % 4)
    return turned[:, ::-1] if turn >= 4 else turned


def _view(pixels: NDArray[np.uint8], entry: _Entry, scale: int) -> NDArray[np.uint8]:
    """Return one image of a raw file as (H, W, 3), without reading it."""
    height, width = (side * scale for side in entry.lr_size)
    start = 3 * entry.offset * scale**2
    return pixels[start : start + 3 * height * width].reshape(height, width, 3)


def _write(items: Sequence[ImageItem], scale: int, files: tuple[Path, Path]) -> list[_Entry]:
    """Decode and degrade all images into the two raw files."""
    entries: list[_Entry] = []
    offset = 0
    with (
        atomic_path(files[0]) as hr_path,
        atomic_path(files[1]) as lr_path,
        hr_path.open("wb") as hr_file,
        lr_path.open("wb") as lr_file,
    ):
        for item, pair in zip(items, pairs(items, scale), strict=True):
            hr_file.write(pair.hr.data)
            lr_file.write(pair.lr.data)
            size = (pair.lr.shape[0], pair.lr.shape[1])
            entries.append(_Entry(item.name, item.sha256, pair.original_size, size, offset))
            offset += math.prod(size)
    return entries


def _read_index(path: Path, key: str, files: tuple[Path, Path], *, verify: bool) -> list[_Entry] | None:
    """Return the index's entries if index and files are whole and belong together; None means: write it anew."""
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
        expected = [3 * pixels * int(index["scale"]) ** 2, 3 * pixels]
        whole = (
            index["identity"] == key
            and index["bytes"] == expected == [file.stat().st_size for file in files]
            and (not verify or index["sha256"] == [sha256_file(file) for file in files])
        )
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return None
    return entries if whole else None
