"""A graded ladder of distortions: a full-reference IQA set that anyone can make from a few photographs.

Ten kinds of distortion at five levels. The label of an image is its *severity grade*, 1 (slight) to 5 (severe), lower
is better: it is the setting that the image was made with, not an opinion. Settings were chosen by looking at contact
sheets, so that equal grades look about equally bad across kinds.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import Image, features
from pydantic import Field, field_validator

from ..common.errors import SourceError, did_you_mean
from ..common.fields import SIDE, Settings
from ..common.files import atomic_path, temporary_name, write_json
from ..common.identity import identity
from ..common.images import read_rgb, recompressed, write_png
from ..common.paths import expanded
from ..common.sources import ImageItem, ImageSource, hash_file
from .manifest import FRDataset

RECIPE = 1  # part of the ladder's identity: change it with any setting or arithmetic in this file
LEVELS = (1, 2, 3, 4, 5)

Pixels = NDArray[np.uint8]
_COLUMNS: tuple[str, ...] = (
    "image",
    "reference",
    "distortion",
    "level",
    "label",
    "label_kind",
    "label_higher_is_better",
    "sha256",
    "reference_sha256",
)


def _eight_bit(values: NDArray[Any]) -> Pixels:
    """Round to whole grey levels and clamp to 0..255."""
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def _jpeg(image: Pixels, quality: float, _: np.random.Generator) -> Pixels:
    return recompressed(image, "JPEG", quality=int(quality), subsampling="4:2:0")


def _jpeg2000(image: Pixels, ratio: float, _: np.random.Generator) -> Pixels:
    return recompressed(image, "JPEG2000", quality_mode="rates", quality_layers=[ratio], irreversible=True)


def _gaussian_blur(image: Pixels, sigma: float, _: np.random.Generator) -> Pixels:
    from scipy import ndimage  # here, because its import takes half a second

    return _eight_bit(ndimage.gaussian_filter(image.astype(np.float64), (sigma, sigma, 0), mode="reflect"))


def _downsampling(image: Pixels, factor: float, _: np.random.Generator) -> Pixels:
    height, width = image.shape[:2]
    small = (max(1, round(width / factor)), max(1, round(height / factor)))
    shrunk = Image.fromarray(image).resize(small, Image.Resampling.BICUBIC)
    return np.array(shrunk.resize((width, height), Image.Resampling.BICUBIC))


def _gaussian_noise(image: Pixels, sigma: float, rng: np.random.Generator) -> Pixels:
    return _eight_bit(image + rng.normal(0, sigma, image.shape))


def _impulse_noise(image: Pixels, share: float, rng: np.random.Generator) -> Pixels:
    chance = rng.random(image.shape[:2])
    noisy = image.copy()
    noisy[chance < share / 2] = 0
    noisy[chance >= 1 - share / 2] = 255
    return noisy


def _low_contrast(image: Pixels, factor: float, _: np.random.Generator) -> Pixels:
    mean = image.mean()
    return _eight_bit(mean + factor * (image - mean))


def _brightness(image: Pixels, shift: float, _: np.random.Generator) -> Pixels:
    # Away from the nearer end of the range; otherwise clipping would undo the shift of bright or dark images.
    return _eight_bit(image.astype(np.float64) + (shift if image.mean() < 127.5 else -shift))


def _colour_cast(image: Pixels, shift: float, _: np.random.Generator) -> Pixels:
    # Cr up and Cb down at constant luma (BT.601), which also marks images without colour of their own.
    return _eight_bit(image + shift * np.array([1.402, 0.344 - 0.714, -1.772]))


def _quantisation(image: Pixels, steps: float, _: np.random.Generator) -> Pixels:
    return _eight_bit(np.rint(image / 255 * (steps - 1)) * 255 / (steps - 1))


_KINDS: dict[str, tuple[tuple[float, ...], Callable[[Pixels, float, np.random.Generator], Pixels]]] = {
    "jpeg": ((32, 20, 13, 9, 6), _jpeg),  # quality
    "jpeg2000": ((24, 45, 75, 115, 165), _jpeg2000),  # compression ratio
    "gaussian_blur": ((0.8, 1.3, 1.9, 2.7, 3.8), _gaussian_blur),  # standard deviation in pixels
    "downsampling": ((1.8, 2.7, 3.8, 5.2, 7), _downsampling),  # factor, bicubic down and up
    "gaussian_noise": ((6, 12, 21, 32, 46), _gaussian_noise),  # standard deviation in grey levels, each channel
    "impulse_noise": ((0.003, 0.01, 0.03, 0.07, 0.14), _impulse_noise),  # share of black and white pixels
    "low_contrast": ((0.8, 0.64, 0.49, 0.36, 0.24), _low_contrast),  # factor about the mean
    "brightness": ((20, 36, 54, 72, 92), _brightness),  # shift in grey levels
    "colour_cast": ((6, 12, 20, 30, 42), _colour_cast),  # shift of Cr and Cb in grey levels
    "quantisation": ((16, 11, 8, 6, 5), _quantisation),  # steps a channel
}
DISTORTIONS = tuple(_KINDS)


class LadderSpec(Settings):
    """Settings of a ladder: which photographs are distorted, and how.

    Attributes:
        source: the reference photographs.
        size: side in pixels of the square cut from the centre of each; None: the whole photograph.
        types: kinds of distortion, from ``DISTORTIONS``.
        levels: severity grades, from 1 to 5.

    Examples:
        >>> from lopsided.common.sources import SkimageSource
        >>> spec = LadderSpec(source=SkimageSource(split="test"), types=("jpeg", "gaussian_blur"))
        >>> spec.size, spec.levels
        (192, (1, 2, 3, 4, 5))
    """

    source: ImageSource
    size: int | None = Field(default=192, ge=32, le=SIDE)
    types: tuple[str, ...] = Field(default=DISTORTIONS, min_length=1)
    levels: tuple[int, ...] = Field(default=LEVELS, min_length=1)

    @field_validator("types")
    @classmethod
    def _known_types(cls, types: tuple[str, ...]) -> tuple[str, ...]:
        for kind in types:
            if kind not in _KINDS:
                raise ValueError(f"unknown distortion {kind!r}; {did_you_mean(kind, _KINDS)}")
        return _distinct(types)

    @field_validator("levels")
    @classmethod
    def _known_levels(cls, levels: tuple[int, ...]) -> tuple[int, ...]:
        for level in levels:
            if level not in LEVELS:
                raise ValueError(f"unknown level {level}; levels are 1 (slight) to 5 (severe)")
        return _distinct(levels)

    def definition(self) -> dict[str, Any]:
        """Return what determines the pixels: recipe, content of the references, settings and versions of the codecs.

        Raises:
            SourceError: the references cannot be listed.
        """
        return {
            "recipe": RECIPE,
            "references": [[item.name, item.sha256] for item in self.source.items()],
            "size": self.size,
            "types": self.types,
            "levels": self.levels,
            "numpy": np.__version__,
            "pillow": PIL.__version__,
            "codecs": {codec: features.version_codec(codec) for codec in ("jpg", "jpg_2000", "zlib")},
        }

    @property
    def identity(self) -> str:
        """Short content hash of the definition.

        Raises:
            SourceError: the references cannot be listed.
        """
        return identity(self.definition())

    @property
    def folder_name(self) -> str:
        """Name of the folder that :func:`build_ladder` makes."""
        return f"ladder-{self.identity}"


def distort(image: Pixels, kind: str, level: int, rng: np.random.Generator) -> Pixels:
    """Distort one image.

    Args:
        image: (H, W, 3), uint8.
        kind: one of ``DISTORTIONS``.
        level: severity grade, 1 (slight) to 5 (severe).
        rng: source of the noise; kinds without noise do not use it.

    Returns:
        (H, W, 3), uint8.

    Raises:
        SourceError: this Pillow lacks the codec.

    Examples:
        >>> image = np.full((16, 16, 3), 100, np.uint8)
        >>> int(distort(image, "brightness", 1, np.random.default_rng(0))[0, 0, 0])
        120
    """
    settings, function = _KINDS[kind]
    if kind == "jpeg2000" and not features.check_codec("jpg_2000"):
        raise SourceError("This Pillow has no JPEG 2000; leave 'jpeg2000' out of the ladder's types.")
    return function(image, settings[level - 1], rng)


def build_ladder(spec: LadderSpec, folder: Path | str) -> Path:
    """Make the ladder's images and manifest, or reuse those that exist.

    The ladder is written to a sub-folder named by its identity and appears there only when complete. An existing one is
    reused if every file has the SHA-256 that its manifest gives and the manifest is the one that was written (checked
    on every call: 0.04 s for six references of 192 pixels); otherwise it is made again.

    Args:
        spec: the ladder.
        folder: folder of ladders.

    Returns:
        Path of ``manifest.csv``, which :class:`~lopsided.iqa.FRDataset` reads.

    Raises:
        SourceError: the references cannot be listed, or one is smaller than ``spec.size``.
        ImageError: a reference cannot be read.

    Examples:
        >>> import tempfile
        >>> from lopsided.common.sources import SkimageSource
        >>> spec = LadderSpec(source=SkimageSource(split="test"), size=32, types=("jpeg",), levels=(1,))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     manifest = build_ladder(spec, folder)
        ...     len(FRDataset(manifest)), build_ladder(spec, folder) == manifest
        (6, True)
    """
    folder, key = expanded(folder), spec.identity
    root = folder / spec.folder_name
    if _whole(root):
        return root / "manifest.csv"
    temporary = temporary_name(root)
    try:
        rows = [row for item in spec.source.items() for row in _write_reference(spec, item, temporary)]
        with atomic_path(temporary / "manifest.csv") as path, path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, _COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
        manifest = FRDataset(temporary / "manifest.csv", verify=False)
        write_json(temporary / "ladder.json", {"ladder": key, "manifest": manifest.identity})
        _replace(temporary, root)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return root / "manifest.csv"


def _distinct(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """Refuse repeated values."""
    repeated = [value for value in values if values.count(value) > 1]
    if repeated:
        raise ValueError(f"{repeated[0]!r} is listed more than once")
    return values


def _write_reference(spec: LadderSpec, item: ImageItem, folder: Path) -> list[dict[str, Any]]:
    """Write one reference with all its distorted versions and return their rows."""
    image = read_rgb(item.path)
    if spec.size is not None:
        image = _centre(item, image, spec.size)
    reference = f"references/{item.name}.png"
    write_png(folder / reference, image)
    rows = []
    for kind in spec.types:
        for level in spec.levels:
            name = f"images/{item.name}_{kind}_{level}.png"
            seed = hashlib.sha256(f"{item.sha256}/{kind}/{level}".encode()).digest()
            write_png(folder / name, distort(image, kind, level, np.random.default_rng(int.from_bytes(seed, "big"))))
            values = (name, reference, kind, level, level, "severity_grade", "false")
            hashes = (hash_file(folder / name), hash_file(folder / reference))
            rows.append(dict(zip(_COLUMNS, (*values, *hashes), strict=True)))
    return rows


def _centre(item: ImageItem, image: Pixels, size: int) -> Pixels:
    """Cut a square from the centre."""
    height, width = image.shape[:2]
    if min(height, width) < size:
        raise SourceError(
            f"{item.path}: {width}×{height} pixels, smaller than the ladder's size {size}; use a smaller size or null."
        )
    top, left = (height - size) // 2, (width - size) // 2
    return image[top : top + size, left : left + size]


def _whole(root: Path) -> bool:
    """Tell whether a ladder is complete and unchanged."""
    try:
        stated = json.loads((root / "ladder.json").read_text(encoding="utf-8"))["manifest"]
        return FRDataset(root / "manifest.csv", verify=True).identity == stated
    except (OSError, ValueError, KeyError, TypeError, SourceError):
        return False


def _replace(temporary: Path, root: Path) -> None:
    """Put a finished ladder in its place, unless another process has already done so."""
    if root.exists() and not _whole(root):
        # A folder cannot be renamed onto another: the damaged one is moved away first.
        aside = temporary.with_suffix(".old")
        with contextlib.suppress(FileNotFoundError):  # another process moved it first
            root.rename(aside)
        shutil.rmtree(aside, ignore_errors=True)
    try:
        temporary.rename(root)
    except OSError:
        if not _whole(root):
            raise
