"""What a rated data set shares with training: known training sets of learnt measures, equal files and pictures."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..common.images import read_rgb, upright_size
from ..common.sources import ImageItem, hash_file
from .datasets import dataset_info, list_datasets
from .manifest import FRDataset, FRRow, NRDataset

Finding = Literal[
    "trained on it", "other references of it", "shares references", "shares files", "none known", "unknown"
]

# Other names of data sets in papers and packages, without punctuation and capitals.
_ALIASES = {
    "kadid": "kadid-10k",
    "koniq": "koniq-10k",
    "tid": "tid2013",
    "live2": "live",
    "liverelease2": "live",
    "livec": "live-challenge",
    "livechallenge": "live-challenge",
    "clive": "live-challenge",
    "paq2piq": "flive",
    "agiqa": "agiqa-3k",
    "agi": "agiqa-3k",
}
# Published sets that distort the same photographs (the Kodak suite), in whole or in part.
_SAME_PHOTOGRAPHS = (frozenset({"live", "tid2008", "tid2013"}),)


@dataclass(frozen=True)
class Overlap:
    """What is known of one subject and one data set.

    Attributes:
        finding: the most serious overlap that is known. ``trained on it``: the subject's weights were learnt from its
            labels; ``other references of it``: from the labels of other references of the same set; ``shares
            references`` and ``shares files``: pictures are in both; ``none known``; ``unknown``: it is not known what
            the subject learnt from.
        n_shared: how many pictures are shared, where they could be counted.
        n: how many pictures of the data set were compared.
        detail: explanation in words; empty where the finding needs none.
    """

    finding: Finding
    n_shared: int | None = None
    n: int | None = None
    detail: str = ""


@dataclass(frozen=True)
class Pictures:
    """The content of a set of images.

    Attributes:
        files: SHA-256 of every file.
        undistorted: those files that are undistorted photographs. They are compared by pixels, so the same picture is
            found in another file format too; a crop of it is not.
    """

    files: frozenset[str]
    undistorted: tuple[Path, ...]


def canonical(name: str) -> str:
    """Return the registry's name of a data set, however papers write it; an unknown name in plain small letters.

    Examples:
        >>> canonical("KADID 10K"), canonical("CLIVE"), canonical("My Set!")
        ('kadid-10k', 'live-challenge', 'myset')
    """
    plain = re.sub(r"[^a-z0-9]", "", name.lower())
    known = {re.sub(r"[^a-z0-9]", "", spelling.lower()): key for key in list_datasets() for spelling in _names(key)}
    return known.get(plain) or _ALIASES.get(plain) or plain


def _names(key: str) -> tuple[str, str]:
    return key, dataset_info(key).title


def overlap_by_name(trained_on: Sequence[str] | None, dataset: str | None) -> Overlap:
    """Compare a subject's known training sets with a data set.

    Args:
        trained_on: names of the data sets whose human labels its weights were learnt from; None if that is not known.
        dataset: name of the rated data set; None for one of unknown origin.

    Examples:
        >>> overlap_by_name(["KonIQ-10k"], "koniq-10k").finding
        'trained on it'
        >>> overlap_by_name([], "koniq-10k").finding
        'none known'
    """
    if trained_on is None:
        return Overlap("unknown", detail="it is not known what its weights were learnt from")
    learnt = {canonical(name): name for name in trained_on}
    if not learnt:
        return Overlap("none known")
    if dataset is None:
        return Overlap("unknown", detail=f"learnt from {', '.join(learnt.values())}; the data set is of unknown origin")
    rated = canonical(dataset)
    if rated in learnt:
        return Overlap("trained on it")
    for group in _SAME_PHOTOGRAPHS:
        if rated in group and (others := group & learnt.keys()):
            return Overlap("shares references", detail=f"{', '.join(sorted(others))} distorts some of its photographs")
    return Overlap("none known", detail=f"learnt from {', '.join(learnt.values())}")


def overlap_by_content(training: Pictures, rated: Pictures) -> Overlap:
    """Compare two sets of pictures: photographs of equal pixels, and equal files.

    Raises:
        ImageError: a file that cannot be read.
    """
    # Only pictures whose size occurs in both sets are decoded.
    sizes = _sizes(training.undistorted) & _sizes(rated.undistorted)
    ours, theirs = (_pixels(pictures.undistorted, sizes) for pictures in (training, rated))
    if shared := len(ours & theirs):
        return Overlap("shares references", shared, len(rated.undistorted))
    shared = len(training.files & rated.files)
    return Overlap("shares files" if shared else "none known", shared, len(rated.files))


def pictures_of_items(items: Iterable[ImageItem]) -> Pictures:
    """Return the content of a set of photographs."""
    items = list(items)
    return Pictures(frozenset(item.sha256 for item in items), tuple(item.path for item in items))


def pictures_of_dataset(dataset: FRDataset | NRDataset) -> Pictures:
    """Return the content of a rated data set; without references, none of its images counts as undistorted."""
    references = sorted({row.reference_path for row in dataset.rows if isinstance(row, FRRow)})
    files = {hash_file(path) for path in (*references, *(row.image_path for row in dataset.rows))}
    return Pictures(frozenset(files), tuple(references))


def _sizes(paths: Iterable[Path]) -> set[tuple[int, int]]:
    return {upright_size(path) for path in paths}


def _pixels(paths: Iterable[Path], sizes: set[tuple[int, int]]) -> set[str]:
    def digest(path: Path) -> str:
        image = read_rgb(path)
        return hashlib.sha256(repr(image.shape).encode() + image.tobytes()).hexdigest()

    return {digest(path) for path in paths if upright_size(path) in sizes}
