"""Ratios with bootstrap intervals: items that are not independent of each other are drawn together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ...analysis.statistics import LEVEL, Counts, Floats, draw_resamples, percentile_interval, share_interval

N_BOOT = 2000


@dataclass(frozen=True)
class Bootstrap:
    """How intervals are made: whole clusters (a reference image, a dish) are drawn with replacement.

    Attributes:
        n_boot: number of resamples.
        seed: of the draw; the same clusters are drawn for whatever is computed from the same items.
        level: coverage of the intervals, in (0, 1).
    """

    n_boot: int = N_BOOT
    seed: int = 0
    level: float = LEVEL

    def rng(self) -> np.random.Generator:
        """Return the generator of the draw."""
        return np.random.default_rng([self.seed, 0])

    def interval(self, replicates: ArrayLike, n_clusters: int) -> tuple[float, float]:
        """Return the interval; (NaN, NaN) for a single cluster, which shows no variation."""
        if n_clusters < 2:
            return float("nan"), float("nan")
        return percentile_interval(replicates, self.level, n_clusters=n_clusters)


@dataclass(frozen=True)
class Estimate:
    """A value with its interval; NaN where it is not defined."""

    value: float
    low: float
    high: float

    def row(self, name: str) -> dict[str, float]:
        """Return it as the columns ``name``, ``name_low`` and ``name_high``."""
        return {name: self.value, f"{name}_low": self.low, f"{name}_high": self.high}


def ratio(
    numerator: ArrayLike, denominator: ArrayLike, clusters: ArrayLike, bootstrap: Bootstrap, *, share: bool = True
) -> Estimate:
    """Return Σ numerator / Σ denominator, e.g. right over asked, with an interval by clusters.

    Of a share that is 0 or 1, where no resample differs, the interval is that of Clopper and Pearson, with the clusters
    as trials: with 60 references that are all right, [0.94, 1].

    Args:
        numerator: ``(n,)``.
        denominator: ``(n,)``: 1 for items that count and 0 for others, or weights.
        clusters: ``(n,)``; items of the same cluster are not independent.
        bootstrap: how the interval is made.
        share: every item counts from nothing to whole; False for errors and other means.

    Examples:
        >>> share = ratio([1, 0, 1, 1], [1, 1, 1, 1], clusters=["a", "a", "b", "c"], bootstrap=Bootstrap(n_boot=200))
        >>> share.value, share.low < share.value < share.high
        (0.75, True)
    """
    over, under = np.asarray(numerator, dtype=np.float64), np.asarray(denominator, dtype=np.float64)
    if not len(over) or not under.sum():
        return Estimate(float("nan"), float("nan"), float("nan"))
    resamples = draw_resamples(clusters, bootstrap.n_boot, bootstrap.rng())
    # Sums by cluster first: a resample is then one small product.
    sums = [np.bincount(resamples.cluster, weights=values) for values in (over, under)]

    def statistic(counts: Counts) -> Floats:
        with np.errstate(invalid="ignore", divide="ignore"):
            return (counts @ sums[0]) / (counts @ sums[1])

    interval = bootstrap.interval(statistic(resamples.counts), len(sums[0]))
    right = over.sum() / under.sum()
    if share and right in (0, 1) and len(sums[0]) > 1:
        # All right or all wrong: nothing varies, so resamples are sure of it. Clusters are taken as single trials.
        interval = share_interval(int(right) * len(sums[0]), len(sums[0]), bootstrap.level)
    return Estimate(float(over.sum() / under.sum()), *interval)
