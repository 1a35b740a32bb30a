"""A small rated set of noisy photographs, and the passes of its images through backbones."""

import csv
from pathlib import Path

import numpy as np
import pytest
import skimage.data

from lopsided.backbones import FeatureExtractor
from lopsided.common.images import write_png

SIZES = {"a": (64, 80), "b": (64, 80), "c": (72, 64)}
HEADER = ["image", "reference", "distortion", "label", "split", "label_kind", "label_higher_is_better"]


def noisy_set(folder: Path) -> Path:
    """Three photographs of two sizes with five noisy copies each, not in the order of their references."""
    rng = np.random.default_rng(0)
    rows = []
    for name, (height, width) in SIZES.items():
        reference = skimage.data.astronaut()[100 : 100 + height, 100 : 100 + width].copy()
        write_png(folder / f"{name}.png", reference)
        for level in range(5):
            noisy = reference + rng.normal(0, 4 * level + 2, reference.shape)
            write_png(folder / f"{name}{level}.png", np.clip(noisy, 0, 255).round().astype(np.uint8))
            split = {"c": "test", "b": ""}.get(name, "train")
            rows.append([f"{name}{level}.png", f"{name}.png", "noise", 5 - level, split, "mos", "true"])
    with (folder / "set.csv").open("w", newline="") as file:
        csv.writer(file).writerows([HEADER, *(rows[i] for i in rng.permutation(len(rows)))])
    return folder


def count_passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of images of every pass through a backbone; self-tests on building do not count."""
    sizes, forward = [], FeatureExtractor.forward

    def counted(self, images):
        if any(abs(images.shape[-2] - height) <= 4 for height, _ in SIZES.values()):  # judges crop 2 px
            sizes.append(len(images))
        return forward(self, images)

    monkeypatch.setattr(FeatureExtractor, "forward", counted)
    return sizes
