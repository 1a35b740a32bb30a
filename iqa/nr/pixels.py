"""Decoded images for training, which uses each of them many times."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...common.images import read_rgb
from .errors import NRError

MEMORY = 2 << 30  # bytes of decoded images that are kept; further images are decoded each time


class Pixels:
    """Decoded images from which random crops are cut.

    Args:
        crop: side of the crops in pixels.
    """

    def __init__(self, crop: int) -> None:
        self.crop = crop
        self._held: dict[Path, NDArray[np.uint8]] = {}
        self._bytes = 0

    def read(self, path: Path) -> NDArray[np.uint8]:
        """Return an image ``(H, W, 3)``.

        Raises:
            ImageError: a file that cannot be read.
            NRError: an image smaller than the crop.
        """
        if path in self._held:
            return self._held[path]
        pixels = read_rgb(path)
        height, width = pixels.shape[:2]
        if min(height, width) < self.crop:
            raise NRError(f"{path}: {width}×{height} pixels, smaller than the training crop {self.crop}; lower it")
        if self._bytes + pixels.nbytes <= MEMORY:
            self._held[path] = pixels
            self._bytes += pixels.nbytes
        return pixels

    def cut(self, path: Path, rng: np.random.Generator) -> NDArray[np.uint8]:
        """Return a crop ``(crop, crop, 3)`` at a random position."""
        pixels = self.read(path)
        top, left = (int(rng.integers(length - self.crop + 1)) for length in pixels.shape[:2])
        return pixels[top : top + self.crop, left : left + self.crop]
