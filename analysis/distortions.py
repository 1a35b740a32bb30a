"""SRCC of every measure within each kind of distortion: where a measure is strong and where it fails."""

from __future__ import annotations

import numpy as np
import pandas as pd

from .statistics.assessment import ITEM, jackknife
from .statistics.bootstrap import LEVEL, Resamples, srcc_replicates
from .statistics.correlation import orientation, srcc
from .statistics.frames import grouped
from .statistics.rated import status_of

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
    for (dataset, distortion, measure), scores in grouped(fr_scores, "dataset", "distortion", "measure"):
        of_set = fr_scores.loc[fr_scores["dataset"] == dataset, "distortion"]
        if of_set.nunique() < 2:
            continue
        scores = scores.sort_values(ITEM)
        ok = (scores["status"] == "ok").to_numpy(dtype=bool)
        score, label = (scores[name].to_numpy(dtype=float) for name in ("score", "label"))
        references, cluster = np.unique(scores["reference"].astype(str), return_inverse=True)
        row = {"dataset": dataset, "distortion": distortion, "measure": measure, "n": len(scores)}
        row |= {"n_references": len(references)} | dict.fromkeys(("srcc", "srcc_low", "srcc_high"), np.nan)
        row["status"] = status_of(np.where(ok, score, np.nan), label, int((~ok).sum()))
        if row["status"] == "ok":
            first = scores.iloc[0]
            directions = bool(first["higher_is_better"]), bool(first["label_higher_is_better"])
            resamples = Resamples(cluster, 1 - np.eye(len(references), dtype=np.int64))
            parts = orientation(*directions) * srcc_replicates(score, label, resamples)
            value = srcc(score, label, score_higher_is_better=directions[0], label_higher_is_better=directions[1])
            low, high = jackknife(value, parts).interval(level)
            row |= {"srcc": value, "srcc_low": max(low, -1.0), "srcc_high": min(high, 1.0)}
        rows.append(row)
    return pd.DataFrame(rows, columns=COLUMNS)
