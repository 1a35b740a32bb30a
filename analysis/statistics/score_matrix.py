"""Scores of all measures of one data set as a matrix: one row per measure, one column per image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .correlation import Floats, orientation
from .rated import status_of

# What identifies an image.
ITEM = ["reference", "image", "distortion", "level"]


@dataclass(frozen=True)
class ScoreMatrix:
    """Measures' scores of the images of one data set.

    Attributes:
        images: One row per image, in the order of ``ITEM``, with the columns of the table.
        measures: One row per measure, in the order of their names, with the columns of the table.
        scores: ``(measures, images)``, NaN where there is none of status "ok".
        not_ok: ``(measures, images)``, whether there is a score of another status.
    """

    images: pd.DataFrame
    measures: pd.DataFrame
    scores: Floats
    not_ok: NDArray[np.bool_]

    @classmethod
    def of(cls, scores: pd.DataFrame) -> ScoreMatrix:
        """Arrange the rows of one data set in a table ``fr_scores``; a measure has one row per image at most."""
        image = scores.groupby(ITEM, sort=True, dropna=False).ngroup().to_numpy()
        measure, names = pd.factorize(scores["measure"], sort=True)
        images, measures = (scores.iloc[np.unique(number, return_index=True)[1]] for number in (image, measure))
        ok = (scores["status"] == "ok").to_numpy(dtype=bool)
        values, not_ok = np.full((len(names), len(images)), np.nan), np.zeros((len(names), len(images)), dtype=bool)
        values[measure[ok], image[ok]] = scores.loc[ok, "score"].to_numpy(dtype=float)
        not_ok[measure[~ok], image[~ok]] = True
        return cls(images, measures, values, not_ok)

    @property
    def label(self) -> Floats:
        """The label of each image, ``(images,)``."""
        return self.images["label"].to_numpy(dtype=float)

    @property
    def signs(self) -> NDArray[np.int64]:
        """1 for a measure whose scores point the way the labels do, −1 for others, ``(measures,)``."""
        up = bool(self.images["label_higher_is_better"].iloc[0])
        return np.array([orientation(higher, up) for higher in self.measures["higher_is_better"]])

    def only(self, images: NDArray[np.bool_]) -> ScoreMatrix:
        """Return the part that concerns some images."""
        return ScoreMatrix(self.images.loc[images], self.measures, self.scores[:, images], self.not_ok[:, images])

    def statuses(self) -> list[str]:
        """Say of each measure why its scores cannot be correlated with the labels, or "ok"."""
        label = self.label
        return [
            status_of(scores, label, int(not_ok.sum())) for scores, not_ok in zip(self.scores, self.not_ok, strict=True)
        ]
