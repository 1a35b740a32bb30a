"""Cluster bootstrap by multinomial weights: exact, vectorised, and paired across everything given the same resamples.

Drawing clusters with replacement is the same as giving each cluster a multinomial count. Observations of one cluster
(the distorted versions of one reference) are drawn together, because they are not independent evidence: an interval
that treated them as independent would be too narrow.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from ..errors import AnalysisError
from .correlation import Counts, Floats, PairCounts, Ranking, weighted_pearson

LEVEL = 0.95
# There is no interval when more than this share of its resamples left the statistic undefined.
MAX_UNDEFINED = 0.05
# Work is done on this many (resample, observation) entries at a time: arrays of ⅛ MB stay in a core's cache.
BLOCK = 1 << 14


@dataclass(frozen=True)
class Resamples:
    """Which observations each resample contains.

    Attributes:
        cluster: ``(n,)``, the cluster (0 … clusters−1) of each observation.
        counts: ``(resamples, clusters)``, how often each resample drew each cluster.
    """

    cluster: NDArray[np.intp]
    counts: Counts

    def replicates(self, statistic: Callable[[Counts], Floats]) -> Floats:
        """Return ``statistic(counts)`` over all resamples, where ``counts`` is a block ``(some, clusters)`` of them."""
        block = max(1, BLOCK // len(self.cluster))
        return np.concatenate(
            [statistic(self.counts[start : start + block]) for start in range(0, len(self.counts), block)]
        )


def draw_counts(n_units: int, n_boot: int, rng: np.random.Generator) -> Counts:
    """Return ``(n_boot, n_units)`` counts, each row a draw of ``n_units`` out of ``n_units`` with replacement.

    Raises:
        AnalysisError: Either number is below one.
    """
    if n_units < 1 or n_boot < 1:
        raise AnalysisError(f"a bootstrap needs at least one unit and one resample, got {n_units} and {n_boot}.")
    return rng.multinomial(n_units, np.full(n_units, 1 / n_units), size=n_boot)


def draw_resamples(clusters: ArrayLike, n_boot: int, rng: np.random.Generator) -> Resamples:
    """Draw whole clusters with replacement.

    Args:
        clusters: ``(n,)`` labels, e.g. the reference of each image; all different for an ordinary bootstrap.
        n_boot: Number of resamples.
        rng: Seeded generator; the draw depends only on it and on the number of clusters.

    Examples:
        >>> resamples = draw_resamples(["a", "a", "b", "b"], 3, np.random.default_rng(0))
        >>> resamples.counts  # how often each of the two clusters is drawn
        array([[1, 1],
               [1, 1],
               [0, 2]])
    """
    labels, cluster = np.unique(np.asarray(clusters), return_inverse=True)
    return Resamples(cluster, draw_counts(len(labels), n_boot, rng))


def srcc_replicates(x: Floats, y: Floats, resamples: Resamples) -> Floats:
    """Return Spearman's rho of each resample, ``(resamples,)``; NaN where a resample is constant in x or y.

    Both variables are sorted once; a resample then costs two cumulative sums and no sorting.

    Examples:
        >>> rng = np.random.default_rng(0)
        >>> quality, noise = rng.normal(size=(2, 40))
        >>> resamples = draw_resamples(np.repeat(np.arange(10), 4), 1000, rng)  # ten references with four images each
        >>> replicates = srcc_replicates(quality + noise, quality, resamples)
        >>> [round(bound, 2) for bound in percentile_interval(replicates, n_clusters=10)]
        [-0.11, 0.76]
    """
    by_x, by_y = Ranking(x), Ranking(y)
    cluster_x, cluster_y = resamples.cluster[by_x.order], resamples.cluster[by_y.order]
    y_group = by_y.group[by_x.order]

    def rho(counts: Counts) -> Floats:
        drawn = np.take(counts, cluster_x, axis=1)
        x_counts, x_rank = by_x.midranks(drawn)
        y_counts, y_rank = by_y.midranks(np.take(counts, cluster_y, axis=1))
        xy = np.einsum("bi,bi->b", by_x.group_sums(drawn * np.take(y_rank, y_group, axis=1)), x_rank)
        xx = np.einsum("bi,bi->b", x_counts * x_rank, x_rank)
        yy = np.einsum("bi,bi->b", y_counts * y_rank, y_rank)
        # A constant side has sums of exactly zero, and 0 / 0 gives the NaN it should be.
        with np.errstate(invalid="ignore"):
            return xy / np.sqrt(xx * yy)

    return resamples.replicates(rho)


def plcc_replicates(x: Floats, y: Floats, resamples: Resamples) -> Floats:
    """Return Pearson's r of each resample, ``(resamples,)``; NaN where a resample is constant in x or y."""
    return resamples.replicates(lambda counts: weighted_pearson(x, y, counts[:, resamples.cluster]))


def krcc_replicates(x: Floats, y: Floats, resamples: Resamples) -> Floats:
    """Return Kendall's tau-b of each resample, ``(resamples,)``; NaN where a resample is constant in x or y."""
    return PairCounts.of(x, y, resamples.cluster).tau_b(resamples.counts)


def percentile_interval(
    replicates: ArrayLike, level: float = LEVEL, *, n_clusters: int | None = None
) -> tuple[float, float]:
    """Return the central ``level`` of the replicates, widened for few clusters if their number is given.

    The variance of a bootstrap of n clusters is too small by (n − 1)/n, and it ignores Student's t, so its percentiles
    cover too little. The widened interval takes the percentiles of level 2Φ(√(n/(n − 1))·t) − 1 instead, with t the
    quantile of n − 1 degrees of freedom: Hesterberg's expanded percentile interval (What Teachers Should Know About the
    Bootstrap, The American Statistician 69, 2015). For 25 clusters that is 96.5 % instead of 95 %.

    (NaN, NaN) if more than 5 % of the replicates are undefined: an interval of the rest would look better than it is.

    Examples:
        >>> percentile_interval(np.arange(101), level=0.5)
        (25.0, 75.0)
    """
    values = np.asarray(replicates, dtype=np.float64)
    finite = values[np.isfinite(values)]
    if len(finite) < (1 - MAX_UNDEFINED) * len(values) or not len(finite):
        return float("nan"), float("nan")
    if n_clusters is not None and n_clusters > 1:
        t = special.stdtrit(n_clusters - 1, (1 + level) / 2)
        level = 2 * special.ndtr(np.sqrt(n_clusters / (n_clusters - 1)) * t) - 1
    low, high = np.quantile(finite, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def share_above_zero(replicates: ArrayLike) -> float:
    """Return the share of defined replicates above zero, ties counted half; NaN if none is defined.

    Examples:
        >>> share_above_zero([-1, 0, 1, 2])
        0.625
    """
    values = np.asarray(replicates, dtype=np.float64)
    values = values[np.isfinite(values)]
    return float(((values > 0) + 0.5 * (values == 0)).mean()) if len(values) else float("nan")
