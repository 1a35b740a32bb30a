"""Multimodal LLMs as measures: how well their ratings agree with people's, and how much depends on failed replies.

A scorer that does not answer hard items looks better than it is, so every agreement has two readings: ``valid only``
leaves failed replies out, as published numbers do; ``failures as mean`` gives them the mean of the scorer's own values,
i.e. no opinion. Without failures the two are the same.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
import pandas as pd

from .result_tables import StudyTables
from .statistics.bootstrap import LEVEL
from .statistics.frames import grouped, require_finite_where_ok, require_one, require_unique, where
from .statistics.rated import AS_MEAN, STATISTICS, VALID, correlations

GROUP = ["benchmark", "dimension", "scorer"]
COLUMNS = [
    *(*GROUP, "scorer_id", "reading", "n", "n_valid", "n_by_judge", "n_references", "failures"),
    *(name + end for name in STATISTICS for end in ("", "_low", "_high")),
    "status",
]


def derive(tables: StudyTables, **_: int) -> dict[str, pd.DataFrame]:
    """Return the table that the study and its report take from here; nothing is resampled."""
    return {"mllm_assessment": assess_scorers(tables.mllm_scores)}


def assess_scorers(mllm_scores: pd.DataFrame, *, level: float = LEVEL) -> pd.DataFrame:
    """Correlate the ratings of every scorer with people's, per benchmark and dimension.

    Args:
        mllm_scores: The table of that name; rows without a number for a target (restored images) are left out.
            Optional columns: ``task``, of which only ``rate`` counts; ``target_higher_is_better``, true by default.
        level: Coverage of the intervals, in (0, 1); items of one reference are left out together.

    Returns:
        One row per (benchmark, dimension, scorer) and reading: ``n`` items with a target, ``n_valid`` ratings,
        ``n_by_judge`` of them found by a judge of replies (optional column ``parsed_by``), ``n_references``,
        ``failures`` by status in words; SRCC, KRCC (τ-b) and raw PLCC (+ agrees with people) with
        ``_low`` and ``_high``; ``status`` "ok" or why they are NaN.

    Raises:
        AnalysisError: Repeated rows; a scorer with two ids or directions; an "ok" value that is not finite.

    Examples:
        >>> scores = pd.DataFrame({"item": list("abcd"), "target": [1, 2, 3, 4], "value": [2.0, 1.0, 4.0, None]})
        >>> scores = scores.assign(
        ...     scorer="mine", scorer_id="1", benchmark="photos", dimension="quality", reference=scores["item"],
        ...     higher_is_better=True, status=["ok", "ok", "ok", "refused"],
        ... )
        >>> assess_scorers(scores)[["reading", "n", "n_valid", "failures", "srcc"]].round(3)
                    reading  n  n_valid   failures  srcc
        0        valid only  4        3  1 refused   0.5
        1  failures as mean  4        3  1 refused   0.6
    """
    rated = mllm_scores if "task" not in mllm_scores else where(mllm_scores, task="rate")
    rated = rated.assign(target=np.asarray(pd.to_numeric(rated["target"], errors="coerce"), dtype=np.float64))
    rated = rated.loc[rated["target"].notna()]
    require_unique(rated, [*GROUP, "item"], "mllm_scores")
    require_finite_where_ok(rated, "value", "mllm_scores")
    if "target_higher_is_better" not in rated:
        rated = rated.assign(target_higher_is_better=True)
    for of in ("scorer_id", "higher_is_better", "target_higher_is_better"):
        require_one(rated, GROUP, of, "mllm_scores")
    scorers, readings = [], []
    for key, scores in grouped(rated, *GROUP):
        ordered = scores.sort_values("item")
        valid = np.asarray(ordered["status"] == "ok", dtype=bool)
        failures = Counter(ordered.loc[~valid, "status"])
        row = {
            **dict(zip(GROUP, key, strict=True)),
            "scorer_id": ordered["scorer_id"].iloc[0],
            "n": len(ordered),
            "n_valid": int(valid.sum()),
            "n_by_judge": int((valid & (ordered["parsed_by"] == "judge")).sum()) if "parsed_by" in ordered else 0,
            "n_references": ordered["reference"].nunique(),
            "failures": ", ".join(f"{n} {status}" for status, n in failures.most_common()),
        }
        scorers.append(row)
        readings.append(ordered.loc[valid])
        if row["failures"]:
            values = np.array(ordered["value"], dtype=np.float64)
            values[~valid] = values[valid].mean() if valid.any() else np.nan
            readings.append(ordered.assign(value=values))
    rows, found = [], iter(correlations(readings, level))  # all together: targets are ranked once
    for row in scorers:
        valid_only = next(found)
        rows.append({**row, "reading": VALID, **valid_only})
        rows.append({**row, "reading": AS_MEAN, **(next(found) if row["failures"] else valid_only)})
    return pd.DataFrame(rows, columns=COLUMNS)
