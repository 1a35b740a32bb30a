"""BAPPS: judgements of pairs of patches instead of ratings of images (Zhang et al., CVPR 2018)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np

from ...common.errors import ImageError, SourceError, one_line
from ...common.identity import identity
from ...common.images import upright_size
from ...common.paths import expanded, why_missing
from ...common.sources import hash_file
from .label_files import one_of
from .registry import DatasetInfo, register

VOTES = {"2afc/train": 2, "2afc/val": 5, "jnd/val": 3}
FOLDERS = {"2afc": ("ref", "p0", "p1", "judge"), "jnd": ("p0", "p1", "same")}

register(
    DatasetInfo(
        name="bapps",
        title="BAPPS",
        task="pairs",
        images=None,
        references=None,
        labels=None,
        votes="2 (2AFC train), 5 (2AFC val), 3 (JND)",
        split="train, validation",
        source="Zhang et al., CVPR 2018",
        layout="2afc/{train,val}/<subset>/{ref,p0,p1,judge}/, jnd/val/<subset>/{p0,p1,same}/",
        unconfirmed="exact counts (about 151,300 triplets of train, 36,300 of val, 9,600 pairs of JND) and licence",
    )
)


@dataclass(frozen=True)
class PairRow:
    """One judged pair.

    Attributes:
        name: path without folder of the patches and suffix, such as ``2afc/val/cnn/000000``.
        task: ``2afc``, which of two patches is closer to the reference; ``jnd``, whether two patches look the same.
        split: ``train`` or ``validation``.
        subset: what made the patches, such as ``traditional`` or ``cnn``.
        reference: the reference patch; None for jnd.
        first, second: the two patches, ``p0`` and ``p1``.
        judgement: in [0, 1]. 2afc: share of people who found the second closer; jnd: who found the two the same.
        votes: number of people asked.
    """

    name: str
    task: Literal["2afc", "jnd"]
    split: Literal["train", "validation"]
    subset: str
    reference: Path | None
    first: Path
    second: Path
    judgement: float
    votes: int

    @property
    def files(self) -> list[Path]:
        """The patches: the reference, if there is one, then the two."""
        return [path for path in (self.reference, self.first, self.second) if path]


class PairDataset:
    """Judged pairs of patches, checked as a whole.

    Args:
        folder: the folder that contains ``2afc`` or ``jnd`` or both, with any of their subsets.

    Attributes:
        name: what tables call the data set.
        rows: all pairs, ordered by name.

    Raises:
        SourceError: the folder does not have this layout; a patch is missing, unreadable or of another size than its
            partners; a judgement is missing, unreadable or outside [0, 1].
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = folder = expanded(folder)
        self.name = "bapps"
        rows = []
        for _, row in read_pairs(folder):
            if isinstance(row, SourceError):
                raise row
            _check_sizes(row)
            rows.append(row)
        self.rows: tuple[PairRow, ...] = tuple(rows)

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def identity(self) -> str:
        """Hash of names, judgements and patches; reading all patches takes a while."""
        return identity([[row.name, row.judgement, [hash_file(path) for path in row.files]] for row in self.rows])


def read_pairs(folder: Path) -> Iterator[tuple[str, PairRow | SourceError]]:
    """Yield each pair by name, or the first error in it.

    Raises:
        SourceError: the folder does not have this layout.
    """
    one_of(folder, ["2afc", "jnd"])
    found = False
    for part, votes in VOTES.items():
        task, split = part.split("/")
        for subset in sorted(path for path in (folder / part).glob("*") if path.is_dir()):
            kinds = FOLDERS[task]
            names = sorted({path.stem for kind in kinds for path in (subset / kind).glob("*") if path.is_file()})
            found = found or bool(names)
            for name in names:
                label = f"{part}/{subset.name}/{name}"
                try:
                    *patches, judged = (
                        _file(subset / kind, name, ".npy" if kind == kinds[-1] else ".png") for kind in kinds
                    )
                    row = PairRow(
                        name=label,
                        task="2afc" if task == "2afc" else "jnd",
                        split="train" if split == "train" else "validation",
                        subset=subset.name,
                        reference=patches[0] if task == "2afc" else None,
                        first=patches[-2],
                        second=patches[-1],
                        judgement=_judgement(judged),
                        votes=votes,
                    )
                    yield label, row
                except SourceError as error:
                    yield label, error
    if not found:
        raise SourceError(f"{folder}: no pairs in {', '.join(VOTES)}.")


def _file(folder: Path, name: str, suffix: str) -> Path:
    path = folder / f"{name}{suffix}"
    if not path.is_file():
        raise SourceError(f"{path}: no such file, but other files of this pair exist{why_missing(path)}.")
    return path


def _judgement(path: Path) -> float:
    """Read one number between 0 and 1 of a NumPy file."""
    try:
        values = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise SourceError(f"{path}: not a readable NumPy file ({one_line(error)}).") from None
    if values.size != 1 or not 0 <= (value := float(values.ravel()[0])) <= 1:
        raise SourceError(f"{path}: expected one judgement between 0 and 1, found {values.ravel()[:4].tolist()}.")
    return value


def _check_sizes(row: PairRow) -> None:
    """Compare the sizes of a pair's patches by their headers."""
    sizes = []
    for path in row.files:
        try:
            sizes.append(upright_size(path))
        except ImageError as error:
            raise SourceError(str(error)) from error
    if len(set(sizes)) > 1:
        raise SourceError(unequal(row, sizes))


def unequal(row: PairRow, sizes: list[tuple[int, int]]) -> str:
    """Say that the patches of a pair differ in size (width, height)."""
    seen = ", ".join(f"{width}×{height}" for width, height in sizes)
    return f"{row.name}: its patches have {seen} pixels."
