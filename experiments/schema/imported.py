"""Imported assessment: scores of rated images that somebody else published, where the images are not at hand."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from pydantic import Field, field_validator, model_validator

from ...common.errors import SourceError, one_line
from ...common.fields import NUMBER, Settings
from ...common.identity import identity
from ...common.paths import expanded
from ...iqa.contamination import canonical
from ...iqa.datasets import list_datasets
from ...losses import MeasureSpec
from .measures import defined_measure


class PublishedScores(Settings):
    """The table of one measure, and how its scores become the measure's own: ``times`` × published + ``plus``."""

    path: Path = Field(description="CSV with a header, one row per image; `.gz` is read too.")
    times: float = Field(default=1.0, ge=-NUMBER, le=NUMBER, description="Factor of the published score; not 0.")
    plus: float = Field(default=0.0, ge=-NUMBER, le=NUMBER, description="What is added after that.")

    @field_validator("times")
    @classmethod
    def _keeps_order(cls, value: float) -> float:
        if value == 0:
            raise ValueError("must not be 0: all scores would be equal")
        return value


class Columns(Settings):
    """Names of the columns in the tables."""

    image: str = Field(default="image", description="The distorted image; once per table.")
    reference: str = Field(default="reference", description="Its reference; capital letters do not count.")
    label: str = Field(default="label", description="What people said.")
    score: str = Field(default="score", description="What the measure said.")

    @model_validator(mode="after")
    def _four_columns(self) -> Columns:
        if len({self.image, self.reference, self.label, self.score}) < 4:
            raise ValueError("names one column twice; image, reference, label and score are four columns")
        return self


class ImportedSet(Settings):
    """Published scores and human labels. Import a measure only if yours gives such scores on images that you have."""

    origin: str = Field(min_length=1, description="Who published the scores, and which version. Part of the identity.")
    label_kind: Literal["mos", "dmos"] = Field(description="What the labels are.")
    label_higher_is_better: bool = Field(description="Their direction in the tables.")
    columns: Columns = Columns()
    scores: dict[str, PublishedScores] = Field(min_length=1, description="Tables by the key of the measure.")

    @field_validator("scores")
    @classmethod
    def _of_measures(cls, value: dict[str, PublishedScores]) -> dict[str, PublishedScores]:
        for key in value:
            defined_measure(key)
        return value

    @cached_property
    def measures(self) -> dict[str, MeasureSpec]:
        """The measures by the key in ``scores``."""
        return {key: defined_measure(key) for key in self.scores}

    def identity(self) -> str:
        """Return the identity of origin, images and labels, which all tables must share.

        Raises:
            SourceError: a table cannot be read or used, or differs from the others in images or labels.
        """
        tables = {key: self.read(key).drop(columns="score") for key in self.scores}
        first = next(iter(tables))
        for key, table in tables.items():
            if not table.equals(tables[first]):
                raise SourceError(
                    f"'{self.scores[key].path}' has other images, references or labels than "
                    f"'{self.scores[first].path}'; one set needs the same in every table"
                )
        meaning = {"origin": self.origin, "label": [self.label_kind, self.label_higher_is_better]}
        return identity({"imported": meaning, "rows": tables[first].values.tolist()})

    def known_as(self, name: str) -> str | None:
        """Return the key of the data set that the labels belong to, judged by its name here; None if unknown."""
        return canonical(name) if canonical(name) in list_datasets() else None

    def read(self, key: str) -> pd.DataFrame:
        """Return ``image``, ``reference``, ``label`` and ``score`` of a measure, sorted by image.

        Raises:
            SourceError: the table cannot be read, lacks a column, repeats an image, or has a value that is no number.
        """
        path = expanded(self.scores[key].path)
        try:
            found = pd.read_csv(path)
        except (OSError, ValueError) as error:
            raise SourceError(f"'{path}' cannot be read as a CSV: {one_line(error)}") from None
        names = {column: str(wanted) for column, wanted in self.columns}
        if missing := [wanted for wanted in names.values() if wanted not in found]:
            raise SourceError(f"'{path}' has no column '{missing[0]}', only {', '.join(found)}; name it in `columns`")
        table = pd.DataFrame({column: found[wanted] for column, wanted in names.items()})
        for column in ("label", "score"):
            values = np.array(pd.to_numeric(table[column], errors="coerce"), dtype=float)
            if bad := int((~np.isfinite(values)).sum()):
                raise SourceError(f"'{path}': {bad} of {len(table)} values in '{column}' are no finite numbers")
            table[column] = values
        table["reference"] = table["reference"].astype(str).str.casefold()
        if twice := table.loc[table["image"].duplicated(), "image"].tolist():
            raise SourceError(f"'{path}' has the image '{twice[0]}' more than once")
        table["score"] = self.scores[key].times * table["score"] + self.scores[key].plus
        return table.sort_values("image", ignore_index=True)
