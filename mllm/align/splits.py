"""What is trained on and what is kept for evaluation: no picture, near-duplicate or reference is in both."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ...common.identity import sha256_file
from ...common.images import read_rgb
from ..errors import MllmError
from ..item import Item

Finding = Literal["same file", "near-duplicate", "same reference"]
# Cosine similarity of thumbnails. Of 214 different photographs of BSDS500, BSD100, Set5 and Set14 no two were above
# 0.86; copies in JPEG of quality 10, or of a quarter of the size, were not below 0.95. Crops are not found.
NEAR = 0.95
SAME_BRIGHTNESS = 0.04  # of each channel's mean, in [0, 1]: pictures without much in them are alike otherwise
SIDE = 16
BLOCK = 4096  # thumbnails compared at a time


@dataclass(frozen=True)
class Refused:
    """An item that is not trained on.

    Attributes:
        item: its name, ``benchmark / dimension / id``.
        finding: why.
        of: the item for evaluation that it shares something with.
        similarity: of the thumbnails, for a near-duplicate.
    """

    item: str
    finding: Finding
    of: str
    similarity: float | None = None


@dataclass(frozen=True)
class Split:
    """What is trained on, what is kept, and what was refused.

    Attributes:
        train: items to train on.
        held_out: items kept for evaluation and calibration; no reference is in both.
        refused: items of neither.
    """

    train: tuple[Item, ...]
    held_out: tuple[Item, ...]
    refused: tuple[Refused, ...]

    def record(self) -> dict[str, Any]:
        """Return what was done, as JSON."""
        return {
            "train": [item_name(item) for item in self.train],
            "held_out": [item_name(item) for item in self.held_out],
            "refused": [vars(refused) for refused in self.refused],
            "counts": dict(Counter(refused.finding for refused in self.refused)),
        }


def item_name(item: Item) -> str:
    """Return an item's name in records."""
    return f"{item.benchmark} / {item.dimension} / {item.id}"


def split_items(
    items: Sequence[Item],
    *,
    held_out: float = 0.1,
    against: Iterable[Item] = (),
    near: float | None = NEAR,
    seed: int = 0,
) -> Split:
    """Split items by their references, and refuse those that are in an evaluation benchmark.

    Args:
        items: what could be trained on.
        held_out: share of the references to keep, in [0, 1). Which ones depends only on their names and the seed, so
            more items do not move a reference to the other side.
        against: items of the benchmarks for evaluation.
        near: similarity of thumbnails from which on two pictures are the same; None compares files only.
        seed: of the choice of references.

    Returns:
        The split. An item is refused if its file, a picture that is nearly the same, or the name of its reference is
        among the evaluation items; references are compared by name, whatever the benchmark, since many benchmarks
        distort the same photographs. Items to train on are compared with the held-out ones, too.

    Raises:
        MllmError: nothing is left to train on.
        ImageError: an image that cannot be read.

    Examples:
        >>> named = {"benchmark": "own", "dimension": "IQA", "task": "rate", "images": ()}
        >>> items = [Item(**named, id=f"{n}", reference=f"lamp{n // 2}") for n in range(8)]
        >>> split = split_items(items, held_out=0.25, against=[Item(**named, id="x", reference="lamp2")])
        >>> [item.id for item in split.held_out], [refused.item for refused in split.refused]
        (['2', '3'], ['own / IQA / 4', 'own / IQA / 5'])
    """
    if not 0 <= held_out < 1:
        raise MllmError(f"the held-out share must be in [0, 1), got {held_out}")
    looks = _Looks(near)
    allowed, refused = _without(items, list(against), looks)
    clusters = sorted({item.cluster for item in allowed}, key=lambda name: _rank(seed, name))
    kept = set(clusters[: math.ceil(held_out * len(clusters)) if held_out else 0])
    mine = tuple(item for item in allowed if item.cluster in kept)
    train, shared = _without([item for item in allowed if item.cluster not in kept], mine, looks)
    if not train:
        raise MllmError(
            f"nothing is left to train on: of {len(items)} items {len(refused) + len(shared)} were refused and "
            f"{len(mine)} are held out" + (f"; first: {refused[0].finding} as {refused[0].of}" if refused else "")
        )
    return Split(tuple(train), mine, (*refused, *shared))


def _rank(seed: int, name: str) -> str:
    return hashlib.sha256(f"{seed} {name}".encode()).hexdigest()


class _Looks:
    """Hashes and thumbnails of files, computed once."""

    def __init__(self, near: float | None) -> None:
        self.near = near
        self._hashes: dict[Path, str] = {}
        self._thumbnails: dict[Path, NDArray[np.float32]] = {}

    def hash(self, path: Path) -> str:
        if path not in self._hashes:
            self._hashes[path] = sha256_file(path)
        return self._hashes[path]

    def thumbnails(self, paths: Sequence[Path]) -> NDArray[np.float32]:
        """Return thumbnails, ``(paths, 3 · SIDE²)``, in [0, 1]."""
        for path in paths:
            if path not in self._thumbnails:
                small = Image.fromarray(read_rgb(path)).resize((SIDE, SIDE), Image.Resampling.BOX)
                self._thumbnails[path] = (np.asarray(small).reshape(-1) / 255).astype(np.float32)
        return np.array([self._thumbnails[path] for path in paths]).reshape(-1, 3 * SIDE * SIDE)

    def nearest(self, mine: Sequence[Path], theirs: Sequence[Path]) -> dict[Path, tuple[Path, float]]:
        """Return those of mine that look like one of theirs, with it and the similarity."""
        if self.near is None or not mine or not theirs:
            return {}
        ours, others = self.thumbnails(mine), self.thumbnails(theirs)
        means = _means(ours), _means(others)
        ours, others = _standardised(ours), _standardised(others)
        found = {}
        for begin in range(0, len(mine), BLOCK):
            rows = slice(begin, begin + BLOCK)
            unlike = np.abs(means[0][rows, None] - means[1][None]).max(2) > SAME_BRIGHTNESS
            likeness = np.where(unlike, -1, ours[rows] @ others.T)
            best = likeness.argmax(1)
            for row in np.flatnonzero(likeness.max(1) >= self.near):
                found[mine[begin + row]] = theirs[best[row]], float(likeness[row, best[row]])
        return found


def _means(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    return pixels.reshape(len(pixels), -1, 3).mean(1)


def _standardised(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return vectors of mean 0 and length 1; an even picture gets a constant one, so that it is like another one."""
    centred = pixels - pixels.mean(1, keepdims=True)
    lengths = np.linalg.norm(centred, axis=1, keepdims=True)
    even = np.full_like(centred, pixels.shape[1] ** -0.5)
    return np.where(lengths < 1e-3, even, centred / np.maximum(lengths, 1e-9)).astype(np.float32)


def _without(items: Sequence[Item], evaluated: Sequence[Item], looks: _Looks) -> tuple[list[Item], list[Refused]]:
    """Return the items that share nothing with the evaluated ones, and the others with the reason."""
    if not evaluated:
        return list(items), []
    references = {item.reference: item for item in evaluated if item.reference}
    owners: Mapping[Path, Item] = {path: item for item in evaluated for path in item.images}
    files = {looks.hash(path): item for path, item in owners.items()}
    near = looks.nearest(list({path for item in items for path in item.images}), list(owners))
    allowed, refused = [], []
    for item in items:
        if twin := next((files[looks.hash(path)] for path in item.images if looks.hash(path) in files), None):
            refused.append(Refused(item_name(item), "same file", item_name(twin)))
        elif item.reference in references:
            refused.append(Refused(item_name(item), "same reference", item_name(references[item.reference])))
        elif pair := next((near[path] for path in item.images if path in near), None):
            refused.append(Refused(item_name(item), "near-duplicate", item_name(owners[pair[0]]), round(pair[1], 4)))
        else:
            allowed.append(item)
    return allowed, refused
