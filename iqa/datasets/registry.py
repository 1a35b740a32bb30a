"""Facts about each data set: layout, counts, labels, licence. No part of a data set is shipped.

Each entry is next to the reader of its layout, in ``full_reference``, ``pairs`` and ``no_reference``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ...common.errors import SourceError, did_you_mean
from ...common.registry import Registry
from ..manifest import Labels
from .label_files import Listed

TASKS = ("fr", "pairs", "nr")
UNSTATED = "not confirmed"
UT_AUSTIN = "free use with copyright notice and acknowledgement (UT Austin)"


@dataclass(frozen=True)
class DatasetInfo:
    """One data set.

    Attributes:
        name: what commands and experiments call it.
        title: what papers call it.
        task: ``fr`` (images with references), ``nr`` (images alone) or ``pairs`` (judged pairs of patches).
        images, references: how many the complete set has; None where the number is not certain, and for references
            of a set without any.
        labels: what labels mean; None for pairs, and where a manifest states it (no published layout is known).
        votes: votes behind each label, in words.
        split: the authors' own division, in words; empty where there is none.
        source: paper or page.
        layout: the files and folders that are read.
        unconfirmed: which of the above is not certain.
        read: reader of the layout, given the folder; None for pairs and where the set must be imported.
    """

    name: str
    title: str
    task: Literal["fr", "nr", "pairs"]
    images: int | None
    references: int | None
    labels: Labels | None
    votes: str
    split: str
    source: str
    layout: str
    unconfirmed: str = ""
    read: Callable[[Path], Listed] | None = None


DATASETS: Registry[DatasetInfo] = Registry("data set")


def register(info: DatasetInfo) -> DatasetInfo:
    """Add a data set; its name must not be taken.

    Raises:
        LopsidedError: the name is taken.
    """
    return DATASETS.register(info.name, info)


def list_datasets() -> list[str]:
    """Return the names of all data sets: with references, judged pairs, without references.

    Examples:
        >>> "kadid-10k" in list_datasets()
        True
    """
    return [name for task in TASKS for name, info in DATASETS.items() if info.task == task]


def dataset_info(name: str) -> DatasetInfo:
    """Return what is known of a data set.

    Raises:
        SourceError: unknown name; the message suggests the nearest.

    Examples:
        >>> dataset_info("kadid-10k").images
        10125
    """
    if name not in DATASETS:
        raise SourceError(f"No data set called {name!r}; {did_you_mean(name.lower(), list_datasets())}")
    return DATASETS[name]
