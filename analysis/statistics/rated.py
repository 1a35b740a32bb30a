"""Correlations of scores with labels, ready for a table: why there are none, intervals, readings of failed replies."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from .bootstrap import draw_resamples, krcc_replicates, percentile_interval, plcc_replicates, srcc_replicates
from .correlation import Floats, krcc, orientation, plcc, srcc
from .frames import Row, incomplete

# Name → the statistic and its replicates over resamples.
STATISTICS = {"srcc": (srcc, srcc_replicates), "krcc": (krcc, krcc_replicates), "plcc": (plcc, plcc_replicates)}
# Readings of failed replies: leave them out, or give them the mean of the scorer's own values.
VALID, AS_MEAN = "valid only", "failures as mean"
# With more references, groups of them are drawn together; KRCC, which then costs too much, has no interval.
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


def correlations(raters: Sequence[pd.DataFrame], n_boot: int, seed: int, level: float) -> list[Row]:
    """Return the correlations of each rater's values with the targets, with intervals.

    What concerns only the targets is done once for all raters with the same targets and references in the same order.

    Examples:
        >>> rated = pd.DataFrame({"value": [1, 2, 3, 4], "target": [10, 20, 40, 30], "reference": ["a", "a", "b", "b"]})
        >>> rated = rated.assign(higher_is_better=True, target_higher_is_better=True)
        >>> upside_down = rated.assign(value=-rated["value"])
        >>> found = correlations([rated, upside_down], n_boot=100, seed=0, level=0.95)
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
        _correlate(together, n_boot, seed, level)
    return rows


def _correlate(together: list[tuple[Row, pd.DataFrame]], n_boot: int, seed: int, level: float) -> None:
    """Add the correlations of raters of the same items to their rows."""
    first = together[0][1]
    target = np.asarray(first["target"], dtype=np.float64)
    values = np.stack([np.asarray(rated["value"], dtype=np.float64) for _, rated in together])
    references, names = pd.factorize(first["reference"], sort=True, use_na_sentinel=False)
    resamples = draw_resamples(references % MOST_CLUSTERS, n_boot, np.random.default_rng([seed, 0]))
    n_clusters = resamples.counts.shape[1]
    for name, (statistic, replicates) in STATISTICS.items():
        has_interval = n_clusters > 1 and (name != "krcc" or len(names) <= MOST_CLUSTERS)
        again = replicates(values, target, resamples) if has_interval else [None] * len(values)
        for (row, rated), own, drawn in zip(together, values, again, strict=True):
            directions = {
                "score_higher_is_better": bool(rated["higher_is_better"].iloc[0]),
                "label_higher_is_better": bool(rated["target_higher_is_better"].iloc[0]),
            }
            row[name] = statistic(own, target, **directions)
            if drawn is not None:
                agreeing = orientation(*directions.values()) * drawn
                row[f"{name}_low"], row[f"{name}_high"] = percentile_interval(agreeing, level, n_clusters=n_clusters)
