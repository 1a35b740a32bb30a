"""Labelled data sets as experiments name them: a ladder made here, a manifest, or a published set in its own layout."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Annotated

from pydantic import Field, Tag, field_validator

from ...common.errors import LopsidedError, SourceError
from ...common.fields import Settings, by_own_key
from ...common.sources import hash_file
from ...iqa.contamination import Pictures, canonical, pictures_of_dataset, pictures_of_items
from ...iqa.datasets import PairDataset, dataset_info, list_datasets, open_dataset
from ...iqa.ladder import LadderSpec, build_ladder
from ...iqa.manifest import FRDataset, NRDataset, Split

RATED_TASKS = ("fr", "nr")


class LabelledSet(Settings, ABC):
    """Distorted images with labels."""

    @abstractmethod
    def open(self, cache: Path) -> FRDataset | NRDataset:
        """Read and check the set.

        Args:
            cache: folder for images that have to be made first.

        Raises:
            SourceError: what is wrong with it.
        """

    def caches(self) -> tuple[str, ...]:
        """Return the names of the folders that :meth:`open` makes in the cache."""
        return ()

    @abstractmethod
    def identity(self) -> str:
        """Return the content identity of images and labels.

        Raises:
            SourceError: what is wrong with the set.
        """

    @abstractmethod
    def originals(self) -> dict[Path, str]:
        """Return the SHA-256 of every file that the set is made of."""

    @abstractmethod
    def pictures(self) -> Pictures:
        """Return the pictures of the set, to compare them with training images."""

    def origin(self, name: str) -> str | None:
        """Return the key of the published set that this is, judged by its name in the experiment; None if unknown."""
        return canonical(name) if canonical(name) in list_datasets() else None


class FullReferenceSet(LabelledSet, ABC):
    """Distorted images with labels and references."""

    @abstractmethod
    def open(self, cache: Path) -> FRDataset:
        """Read and check the set, see :meth:`LabelledSet.open`."""


class LadderSet(FullReferenceSet):
    """An FR set made here by distorting photographs in graded steps; its labels are severity grades."""

    ladder: LadderSpec = Field(description="What is distorted, and how.")

    def open(self, cache: Path) -> FRDataset:
        """Make the ladder in ``cache``, unless it is there, and read it."""
        return FRDataset(build_ladder(self.ladder, cache))

    def caches(self) -> tuple[str, ...]:
        """Return the name of the ladder's folder."""
        return (self.ladder.folder_name,)

    def identity(self) -> str:
        """Return the identity of photographs, recipe and codecs."""
        return self.ladder.identity

    def originals(self) -> dict[Path, str]:
        """Return the SHA-256 of the photographs."""
        return {item.path: item.sha256 for item in self.ladder.source.items()}

    def pictures(self) -> Pictures:
        """Return the photographs; the references are crops of them."""
        return pictures_of_items(self.ladder.source.items())

    def origin(self, name: str) -> str:  # noqa: ARG002
        """Return ``ladder``: its labels are made here, so nothing published has learnt from them."""
        return "ladder"


class _ListedSet(LabelledSet, ABC):
    """A set whose images exist already, so reading it needs no cache."""

    @abstractmethod
    def _read(self) -> FRDataset | NRDataset:
        """Read and check the set."""

    def open(self, cache: Path) -> FRDataset | NRDataset:  # noqa: ARG002
        """Read and check the set."""
        return self._read()

    def identity(self) -> str:
        """Return the content identity of images and labels."""
        return self._read().identity

    def originals(self) -> dict[Path, str]:
        """Return the SHA-256 of every image."""
        return {path: hash_file(path) for row in self._read().rows for path in row.files}

    def pictures(self) -> Pictures:
        """Return the images."""
        return pictures_of_dataset(self._read())


class _FRListed(_ListedSet, FullReferenceSet, ABC):
    @abstractmethod
    def _read(self) -> FRDataset:
        """Read and check the set."""

    def open(self, cache: Path) -> FRDataset:  # noqa: ARG002
        """Read and check the set."""
        return self._read()


class FRManifest(_FRListed):
    """An FR set listed in a CSV: image, reference, distortion, label, label_kind, label_higher_is_better."""

    manifest: Path = Field(description="The CSV; docs/datasets.md.")
    split: Split | None = Field(default=None, description="Use only this part of the manifest's own split.")

    def _read(self) -> FRDataset:
        return FRDataset(self.manifest, split=self.split)


class FRPublished(_FRListed):
    """A human-rated FR set in the folder that its authors publish, see docs/datasets.md."""

    published: str = Field(
        description="Name of the set.",
        json_schema_extra={"enum": [name for name in list_datasets() if dataset_info(name).task == "fr"]},
    )
    path: Path = Field(description="Folder of the set.")
    split: Split | None = Field(default=None, description="Use only this part of the authors' own split.")

    @field_validator("published")
    @classmethod
    def _has_references(cls, value: str) -> str:
        if _task(value) != "fr":
            raise ValueError(f"'{value}' has no references, which full-reference measures compare with")
        return value

    def _read(self) -> FRDataset:
        dataset = open_dataset(self.published, self.path, split=self.split)
        if not isinstance(dataset, FRDataset):
            raise SourceError(f"'{self.path}' lists no references; add a column `reference` to its manifest")
        return dataset

    def origin(self, name: str) -> str:  # noqa: ARG002
        """Return the set's own name."""
        return self.published


class RatedManifest(_ListedSet):
    """Rated images listed in a CSV, with or without references; see docs/datasets.md."""

    manifest: Path = Field(description="The CSV; docs/datasets.md.")

    def _read(self) -> FRDataset | NRDataset:
        return _rated("manifest", self.manifest)


class RatedPublished(_ListedSet):
    """Rated images in the folder that their authors publish, with or without references; see docs/datasets.md."""

    published: str = Field(
        description="Name of the set.",
        json_schema_extra={"enum": [name for name in list_datasets() if dataset_info(name).task in RATED_TASKS]},
    )
    path: Path = Field(description="Folder of the set.")

    @field_validator("published")
    @classmethod
    def _is_rated(cls, value: str) -> str:
        if _task(value) not in RATED_TASKS:
            raise ValueError(f"'{value}' holds judged pairs; no-reference models need images with a rating each")
        return value

    def _read(self) -> FRDataset | NRDataset:
        return _rated(self.published, self.path)

    def origin(self, name: str) -> str:  # noqa: ARG002
        """Return the set's own name."""
        return self.published


def _task(name: str) -> str:
    try:
        return dataset_info(name).task
    except LopsidedError as error:
        raise ValueError(str(error)) from None


def _rated(name: str, path: Path) -> FRDataset | NRDataset:
    dataset = open_dataset(name, path)
    if isinstance(dataset, PairDataset):
        raise SourceError(f"{path}: judged pairs, not rated images.")
    return dataset


_KINDS = ("ladder", "manifest", "published")
_BY_KIND = "is given by exactly one of `ladder: …`, `manifest: …` and `published: …`"

FRSet = Annotated[
    Annotated[LadderSet, Tag("ladder")]
    | Annotated[FRManifest, Tag("manifest")]
    | Annotated[FRPublished, Tag("published")],
    by_own_key(*_KINDS, error="fr_set", message=f"an FR set {_BY_KIND}"),
]

RatedSet = Annotated[
    Annotated[LadderSet, Tag("ladder")]
    | Annotated[RatedManifest, Tag("manifest")]
    | Annotated[RatedPublished, Tag("published")],
    by_own_key(*_KINDS, error="fr_set", message=f"a rated set {_BY_KIND}"),
]
