""""""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    Discriminator,
    Field,
    Tag,
    field_validator,
)

from ...common.errors import LopsidedError, SourceError
from ...common.fields import _Model
from ...iqa.datasets import PairDataset, dataset_info, list_datasets, open_dataset
from ...iqa.ladder import LadderSpec
from ...iqa.manifest import FRDataset, NRDataset, Split
from .datasets import RatedManifest, RatedPublished
from .errors import ExperimentError
from .no_reference import _Settings


class LadderSet(_Model):
    """An FR set made here by distorting photographs in graded steps; its labels are severity grades."""

    ladder: LadderSpec


class ManifestSet(_Model):
    """An FR set listed in a CSV: image, reference, distortion, label, label_kind, label_higher_is_better."""

    manifest: Path
    split: Split | None = Field(default=None, description="Only this part of the manifest's own division.")

    def open(self) -> FRDataset:
        """Read and check the set.

        Raises:
            SourceError: what is wrong with it.
        """
        return FRDataset(self.manifest, split=self.split)


class PublishedSet(_Model):
    """A human-rated FR set in the folder that its authors publish, see docs/datasets.md."""

    published: str = Field(
        description="Name of the set.",
        json_schema_extra={"enum": [name for name in list_datasets() if dataset_info(name).task == "fr"]},
    )
    path: Path = Field(description="Folder of the set.")
    split: Split | None = Field(default=None, description="Only this part of the authors' own division.")

    @field_validator("published")
    @classmethod
    def _has_references(cls, value: str) -> str:
        try:
            task = dataset_info(value).task
        except LopsidedError as error:
            raise ValueError(str(error)) from None
        if task != "fr":
            raise ValueError(f"'{value}' has no references, which full-reference measures compare with")
        return value

    def open(self) -> FRDataset:
        """Read and check the set.

        Raises:
            SourceError: what is wrong with it.
        """
        dataset = open_dataset(self.published, self.path, split=self.split)
        if not isinstance(dataset, FRDataset):
            raise ExperimentError(f"'{self.path}' lists no references; add a column `reference` to its manifest")
        return dataset


def _kind(value: Any) -> str | None:
    """Tell which kind of FR set is meant by the one key that is its own."""
    keys = value if isinstance(value, dict) else getattr(type(value), "model_fields", {})
    kinds = [key for key in ("ladder", "manifest", "published") if key in keys]
    return kinds[0] if len(kinds) == 1 else None


FRSet = Annotated[
    Annotated[LadderSet, Tag("ladder")]
    | Annotated[ManifestSet, Tag("manifest")]
    | Annotated[PublishedSet, Tag("published")],
    Discriminator(
        _kind,
        custom_error_type="fr_set",
        custom_error_message="an FR set is given by exactly one of `ladder: …`, `manifest: …` and `published: …`",
    ),
]

RatedSet = Annotated[
    Annotated[LadderSet, Tag("ladder")]
    | Annotated[RatedManifest, Tag("manifest")]
    | Annotated[RatedPublished, Tag("published")],
    Discriminator(
        _kind,
        custom_error_type="fr_set",
        custom_error_message="a rated set is given by exactly one of `ladder: …`, `manifest: …` and `published: …`",
    ),
]


_TASKS = ("fr", "nr")


class RatedManifest(_Settings):
    """Rated images listed in a CSV, with or without references; see docs/datasets.md."""

    manifest: Path

    def open(self) -> FRDataset | NRDataset:
        """Read and check the set.

        Raises:
            SourceError: what is wrong with it.
        """
        return _rated("manifest", self.manifest)


class RatedPublished(_Settings):
    """Rated images in the folder that their authors publish, with or without references; see docs/datasets.md."""

    published: str = Field(
        description="Name of the set.",
        json_schema_extra={"enum": [name for name in list_datasets() if dataset_info(name).task in _TASKS]},
    )
    path: Path = Field(description="Folder of the set.")

    @field_validator("published")
    @classmethod
    def _is_rated(cls, value: str) -> str:
        try:
            task = dataset_info(value).task
        except LopsidedError as error:
            raise ValueError(str(error)) from None
        if task not in _TASKS:
            raise ValueError(f"'{value}' holds judged pairs; no-reference models need images with a rating each")
        return value

    def open(self) -> FRDataset | NRDataset:
        """Read and check the set.

        Raises:
            SourceError: what is wrong with it.
        """
        return _rated(self.published, self.path)


def _rated(name: str, path: Path) -> FRDataset | NRDataset:
    dataset = open_dataset(name, path)
    if isinstance(dataset, PairDataset):
        raise SourceError(f"{path}: judged pairs, not rated images.")
    return dataset
