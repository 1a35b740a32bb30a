"""Training and test parts of rated images: split by reference, so that no content is on both sides."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from ...common.fields import COUNT, Settings
from ...common.identity import identity
from ...common.sources import hash_file
from ..manifest import FRDataset, FRRow, NRDataset, RatedImage
from .errors import NRError

Dataset = NRDataset | FRDataset


@dataclass(frozen=True)
class Split:
    """One division of a data set.

    Attributes:
        name: ``official``, or the number of a random split, from ``0``.
        train: indices of the rows to learn from, ascending.
        test: indices of the rows to score, ascending; no group is in both.
    """

    name: str
    train: tuple[int, ...]
    test: tuple[int, ...]


class Splits(Settings):
    """How a data set is divided.

    Images of one reference are a group, and so is an image without reference; groups that share a byte-identical image
    count as one. There is no validation part: no setting of a model is chosen by looking at images outside its training
    part. The ``validation`` part of an official division is not used.

    Attributes:
        kind: ``random``, or ``official``: the authors' own division, one split.
        count: number of random splits, all different.
        test: share of the groups that are tested; at least one group is.
        seed: seed of the random splits.

    Examples:
        >>> Splits(count=3).names
        ('0', '1', '2')
    """

    kind: Literal["random", "official"] = Field(default="random", description="random, or the authors' own division.")
    count: int = Field(default=10, ge=1, le=COUNT, description="Number of random splits.")
    test: float = Field(default=0.2, gt=0, lt=1, description="Share of the references that are tested.")
    seed: int = Field(default=0, ge=0, lt=2**31, description="Seed of the random splits.")

    def definition(self) -> dict[str, Any]:
        """Return what determines the splits, besides the data set."""
        random = {"count": self.count, "test": self.test, "seed": self.seed} if self.kind == "random" else {}
        return {"kind": self.kind, "version": 1, **random}

    @property
    def identity(self) -> str:
        """Short content hash of the definition."""
        return identity(self.definition())

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the splits, known without the data set."""
        return ("official",) if self.kind == "official" else tuple(str(index) for index in range(self.count))

    def draw(self, dataset: Dataset) -> tuple[Split, ...]:
        """Divide a data set.

        Random splits depend on the files' contents and the seed alone; a larger count adds splits to the same first
        ones.

        Raises:
            NRError: too few groups for that many different splits; an official division with a group on both sides.
            SourceError: ``official`` is asked for, and no image is in split train or test.
        """
        groups = group(dataset)
        if self.kind == "official":
            return (_official(dataset, groups),)
        n_groups = max(groups) + 1
        size = max(1, round(self.test * n_groups))
        possible = math.comb(n_groups, size) if size < n_groups else 0
        if possible < self.count:
            raise NRError(
                f"{dataset.name}: {n_groups} group(s) of images, {size} of them tested, can be split in {possible} "
                f"way(s), not {self.count}; lower count or change the share of test groups"
            )
        rng, chosen = np.random.default_rng(self.seed), list[frozenset[int]]()
        while len(chosen) < self.count:
            tested = frozenset(rng.permutation(n_groups)[:size].tolist())
            if tested not in chosen:
                chosen.append(tested)
        return tuple(_split(str(index), groups, tested) for index, tested in enumerate(chosen))


def group(dataset: Dataset) -> tuple[int, ...]:
    """Return the number of each row's group, 0 … groups-1, numbered in the order of the files' hashes."""
    parent: dict[str, str] = {}

    def root(content: str) -> str:
        while parent.setdefault(content, content) != content:
            content = parent[content]
        return content

    for row in dataset.rows:
        one, other = sorted((root(hash_file(row.image_path)), root(hash_file(_owner(row)))))
        parent[other] = one
    roots = [root(hash_file(row.image_path)) for row in dataset.rows]
    numbers = {content: index for index, content in enumerate(sorted(set(roots)))}
    return tuple(numbers[content] for content in roots)


def reference_name(row: RatedImage) -> str:
    """Return what tables call a row's reference: the image itself, where it has none."""
    return row.reference if isinstance(row, FRRow) else row.image


def _owner(row: RatedImage) -> Path:
    return row.reference_path if isinstance(row, FRRow) else row.image_path


def _split(name: str, groups: tuple[int, ...], tested: frozenset[int]) -> Split:
    sides = [tuple(i for i, g in enumerate(groups) if (g in tested) == test) for test in (False, True)]
    return Split(name, *sides)


def _official(dataset: Dataset, groups: tuple[int, ...]) -> Split:
    index = {row.image: i for i, row in enumerate(dataset.rows)}
    train, test = (tuple(index[row.image] for row in dataset.split(part)) for part in ("train", "test"))
    tested = {groups[i]: i for i in test}
    leaks = [(i, tested[groups[i]]) for i in train if groups[i] in tested]
    if leaks:
        one, other = (dataset.rows[i].image for i in leaks[0])
        raise NRError(
            f"{dataset.name}: the official split trains on {one!r} and tests {other!r}, which share a reference or "
            "their bytes; use random splits"
        )
    return Split("official", train, test)
