"""Correlations of scores with labels, ready for a table: why there are none, intervals, readings of failed replies."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ..errors import AnalysisError
from .bootstrap import LEVEL, krcc_replicates, plcc_replicates, srcc_replicates
from .correlation import Floats, krcc, orientation, plcc, srcc
from .frames import Row, incomplete
from .leaving_out import SAME, correlation_interval, jackknife, leave_one_out

# Name → the statistic and its replicates over resamples.
STATISTICS = {"srcc": (srcc, srcc_replicates), "krcc": (krcc, krcc_replicates), "plcc": (plcc, plcc_replicates)}
# Readings of failed replies: leave them out, or give them the mean of the scorer's own values.
VALID, AS_MEAN = "valid only", "failures as mean"
# With more references, groups of them are left out together; KRCC, which then costs too much, has no interval.
MOST_CLUSTERS = 1_000


def status_of(score: Floats, label: Floats, n_not_ok: int) -> str:
    """Say why these scores cannot be correlated with these labels, or "ok"; a missing score is NaN.

    Examples:
        >>> status_of(np.array([1.0, np.nan, 3.0]), np.array([1.0, 2.0, 3.0]), n_not_ok=0)
        '1 missing of 3 scores'
    """
    if status := incomplete(n_not_ok, int(np.isnan(score).sum()) - n_not_ok, len(score)):
        return status
    if len(score) < 3:
        return f"only {len(score)} images"
    for name, values in (("scores", score), ("labels", label)):
        if np.ptp(values) == 0:
            return f"all {name} equal {values[0]:g}"
    return "ok"


def correlations(raters: Sequence[pd.DataFrame], level: float = LEVEL) -> list[Row]:
    """Return the correlations of each rater's values with the targets, with intervals.

    What concerns only the targets is done once for all raters with the same targets and references in the same order.

    Examples:
        >>> rated = pd.DataFrame({"value": [1, 2, 3, 4], "target": [10, 20, 40, 30], "reference": ["a", "a", "b", "b"]})
        >>> rated = rated.assign(higher_is_better=True, target_higher_is_better=True)
        >>> upside_down = rated.assign(value=-rated["value"])
        >>> found = correlations([rated, upside_down])
        >>> [(row["status"], round(row["srcc"], 2)) for row in found]
        [('ok', 0.8), ('ok', -0.8)]
    """
    rows: list[Row] = []
    alike: dict[tuple, list[tuple[Row, pd.DataFrame]]] = {}
    for rated in raters:
        target = np.asarray(rated["target"], dtype=np.float64)
        row: Row = {name + end: float("nan") for name in STATISTICS for end in ("", "_low", "_high")}
        row["status"] = status_of(np.asarray(rated["value"], dtype=np.float64), target, 0)
        rows.append(row)
        if row["status"] == "ok":
            alike.setdefault((target.tobytes(), *rated["reference"]), []).append((row, rated))
    for together in alike.values():
        _correlate(together, level)
    return rows


def _correlate(together: list[tuple[Row, pd.DataFrame]], level: float) -> None:
    """Add the correlations of raters of the same items to their rows."""
    first = together[0][1]
    target = np.asarray(first["target"], dtype=np.float64)
    values = np.stack([np.asarray(rated["value"], dtype=np.float64) for _, rated in together])
    references, names = pd.factorize(first["reference"], sort=True, use_na_sentinel=False)
    cluster = references % MOST_CLUSTERS
    left_out = leave_one_out(cluster, int(cluster.max()) + 1)
    for name, (statistic, replicates) in STATISTICS.items():
        has_interval = name != "krcc" or len(names) <= MOST_CLUSTERS
        parts = replicates(values, target, left_out) if has_interval else [None] * len(values)
        for (row, rated), own, of in zip(together, values, parts, strict=True):
            directions = {
                "score_higher_is_better": bool(rated["higher_is_better"].iloc[0]),
                "label_higher_is_better": bool(rated["target_higher_is_better"].iloc[0]),
            }
            row[name] = value = statistic(own, target, **directions)
            if of is not None:
                ends = correlation_interval(value, orientation(*directions.values()) * of[1:], level)
                row[f"{name}_low"], row[f"{name}_high"] = ends


def srcc_change(first: pd.DataFrame, second: pd.DataFrame, level: float = LEVEL) -> tuple[float, float, float]:
    """Return the SRCC of the second ratings minus that of the first, of the same items, with its interval.

    Args:
        first: ``value``, ``target``, ``reference`` and the directions of both, one row per item, as in
            :func:`correlations`.
        second: the same items in the same order, with other values.
        level: coverage of the interval: Student's t on the jackknife of the difference over references.

    Returns:
        The change and the ends of its interval; all NaN where one of the two has no SRCC. No interval with fewer than
        three references, or if none of them changes anything, left out.

    Examples:
        >>> rated = pd.DataFrame({"value": [2, 1, 4, 3, 6, 5, 7, 8], "target": range(8), "reference": list("aabbccdd")})
        >>> rated = rated.assign(higher_is_better=True, target_higher_is_better=True)
        >>> [round(number, 2) for number in srcc_change(rated, rated.assign(value=rated["target"]))]
        [0.07, -0.06, 0.21]
    """
    targets = [np.asarray(rated["target"], dtype=np.float64) for rated in (first, second)]
    if len(first) != len(second) or (targets[0] != targets[1]).any():
        raise AnalysisError("a change is of the same items in the same order: the targets differ")
    references, names = pd.factorize(first["reference"], sort=True, use_na_sentinel=False)
    cluster = references % MOST_CLUSTERS
    left_out, found = leave_one_out(cluster, min(len(names), MOST_CLUSTERS)), []
    for rated, target in zip((first, second), targets, strict=True):
        value = np.asarray(rated["value"], dtype=np.float64)
        if status_of(value, target, 0) != "ok":
            return float("nan"), float("nan"), float("nan")
        sign = orientation(bool(rated["higher_is_better"].iloc[0]), bool(rated["target_higher_is_better"].iloc[0]))
        found.append(sign * srcc_replicates(value, target, left_out))
    change, *parts = found[1] - found[0]
    varies = np.isfinite(parts).all() and np.ptp(parts) > SAME
    return float(change), *jackknife(float(change), np.array(parts if varies else [])).interval(level)
