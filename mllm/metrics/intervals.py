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

    Resamples of a share that is 0 or 1 do not differ, and near it hardly. So no share is taken as better known than one
    of 0 or 1 is by Clopper's and Pearson's interval with the clusters as trials: with 60 references, the lower end is
    at most 0.94 and the upper one at least 0.06.

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

    low, high = bootstrap.interval(statistic(resamples.counts), len(sums[0]))
    if share and len(sums[0]) > 1:
        most = share_interval(0, len(sums[0]), bootstrap.level)[1]
        low, high = min(low, 1 - most), max(high, most)
    return Estimate(float(over.sum() / under.sum()), low, high)
