"""SRCC of every measure within each kind of distortion: where a measure is strong and where it fails."""

from __future__ import annotations

import numpy as np
import pandas as pd

from .statistics.bootstrap import LEVEL, srcc_replicates
from .statistics.frames import Row, grouped
from .statistics.leaving_out import correlation_interval, leave_one_out
from .statistics.score_matrix import ScoreMatrix

COLUMNS = ["dataset", "distortion", "measure", "n", "n_references", "srcc", "srcc_low", "srcc_high", "status"]


def assess_distortions(fr_scores: pd.DataFrame, *, level: float = LEVEL) -> pd.DataFrame:
    """Correlate every measure with the labels of each distortion, with a jackknife over references.

    Args:
        fr_scores: The table of that name.
        level: Coverage of the intervals.

    Returns:
        One row per data set, distortion and measure; no interval below three references; ``status`` "ok" or why there
        is no SRCC. Data sets with one kind of distortion are left out: ``assess`` has them.

    Examples:
        >>> rows = [
        ...     (f"photo{p}", kind, level, level + p * (kind == "noise"))
        ...     for p in (1, 2) for kind in ("blur", "noise") for level in (1, 2, 3)
        ... ]
        >>> scores = pd.DataFrame(rows, columns=["reference", "distortion", "level", "score"]).assign(
        ...     measure="mine", dataset="ladder", image="", label=lambda row: row["level"], status="ok",
        ...     label_higher_is_better=False, higher_is_better=False,
        ... )
        >>> assess_distortions(scores)[["distortion", "n", "srcc"]].round(2)
          distortion  n  srcc
        0       blur  6  1.00
        1      noise  6  0.86
    """
    rows = []
    for dataset, of_dataset in grouped(fr_scores, "dataset"):
        if of_dataset["distortion"].nunique() < 2:
            continue
        whole = ScoreMatrix.of(of_dataset)
        for distortion in np.unique(whole.images["distortion"].dropna()):
            matrix = whole.only((whole.images["distortion"] == distortion).to_numpy())
            rows += [{"dataset": dataset, "distortion": distortion} | row for row in _correlate(matrix, level)]
    return pd.DataFrame(rows, columns=COLUMNS)


def _correlate(matrix: ScoreMatrix, level: float) -> list[Row]:
    """Return a row for every measure, with the SRCC over all images."""
    references, cluster = np.unique(matrix.images["reference"], return_inverse=True)
    n_references, statuses = len(references), matrix.statuses()
    usable = np.array([status == "ok" for status in statuses])
    values = np.full((len(statuses), 1 + n_references), np.nan)
    if usable.any():
        agreeing = matrix.signs[usable, None] * matrix.scores[usable]
        values[usable] = srcc_replicates(agreeing, matrix.label, leave_one_out(cluster, n_references))
    rows = []
    for measure, status, (value, *parts) in zip(matrix.measures["measure"], statuses, values, strict=True):
        low, high = correlation_interval(value, parts, level)
        row = {"measure": measure, "n": len(matrix.images), "n_references": n_references, "srcc": value}
        rows.append(row | {"srcc_low": low, "srcc_high": high, "status": status})
    return rows
