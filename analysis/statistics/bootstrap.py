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
from .correlation import ROUNDING, Counts, Floats, PairCounts
from .resampled_ranks import RankSums

LEVEL = 0.95
# There is no interval when more than this share of its resamples left the statistic undefined.
MAX_UNDEFINED = 0.05
# Work is done on this many (resample, observation) entries at a time: arrays of ½ or 1 MB stay in a core's cache.
BLOCK = 1 << 17
# Kendall's tables of pairs of clusters, and what is computed from them, hold this many entries at a time.
TABLES = 1 << 22


@dataclass(frozen=True)
class Resamples:
    """Which observations each resample contains.

    Attributes:
        cluster: ``(n,)``, the cluster (0 … clusters−1) of each observation.
        counts: ``(resamples, clusters)``, how often each resample drew each cluster.
    """

    cluster: NDArray[np.intp]
    counts: Counts

    def replicates(self, statistic: Callable[[Counts], Floats], width: int) -> Floats:
        """Return ``statistic(counts)``, ``(variables, some)``, over all resamples, so many at a time as suit the cache.

        Args:
            statistic: Takes a block ``(some, clusters)`` of the counts.
            width: Numbers per resample that it holds.
        """
        block = max(1, BLOCK // width)
        return np.concatenate(
            [statistic(self.counts[start : start + block]) for start in range(0, len(self.counts), block)], axis=1
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
    """Return Spearman's rho of each resample; NaN where a resample is constant in x or y.

    What concerns only y is done once for all x.

    Args:
        x: ``(n,)``, or ``(variables, n)``.
        y: ``(n,)``.
        resamples: The resamples.

    Returns:
        ``(resamples,)``, or ``(variables, resamples)``.

    Examples:
        >>> rng = np.random.default_rng(0)
        >>> quality, noise = rng.normal(size=(2, 40))
        >>> resamples = draw_resamples(np.repeat(np.arange(10), 4), 1000, rng)  # ten references with four images each
        >>> replicates = srcc_replicates(quality + noise, quality, resamples)
        >>> [round(bound, 2) for bound in percentile_interval(replicates, n_clusters=10)]
        [-0.11, 0.76]
    """
    sums = RankSums(np.atleast_2d(x), y, resamples.cluster, resamples.counts.shape[1])

    def rho(counts: Counts) -> Floats:
        xy, xx, yy = sums(counts)
        # A constant side has a sum of exactly zero, and 0 / 0 gives the NaN it should be.
        with np.errstate(invalid="ignore"):
            return xy / np.sqrt(xx * yy)

    return resamples.replicates(rho, len(y)).reshape(*np.shape(x)[:-1], -1)


def plcc_replicates(x: Floats, y: Floats, resamples: Resamples) -> Floats:
    """Return Pearson's r of each resample, shaped as by ``srcc_replicates``; NaN where one is constant in x or y.

    A sum of squares is that within the clusters plus that of their means, so a resample costs sums over clusters.
    """
    n_clusters = resamples.counts.shape[1]
    size = np.bincount(resamples.cluster, minlength=n_clusters)

    def sums(values: Floats) -> Floats:
        return np.bincount(resamples.cluster, weights=values, minlength=n_clusters).astype(np.float64, copy=False)

    def split(values: Floats) -> tuple[Floats, Floats, float]:
        """Return the mean of each cluster, differences from them, and the largest square."""
        values = values - values.mean()  # first, so that a large offset costs no precision
        means = sums(values) / np.maximum(size, 1)
        return means, values - means[resamples.cluster], float((values**2).max())

    y_means, y_rest, y_scale = split(y)
    yy_within = sums(y_rest**2)
    within = [(means, sums(rest**2), sums(rest * y_rest), scale) for means, rest, scale in map(split, np.atleast_2d(x))]

    def r(counts: Counts) -> Floats:
        weights = counts * size
        total = weights.sum(axis=1)

        def centred(means: Floats) -> Floats:
            return means - (weights @ means / total)[:, None]

        def mean(part: Floats, a: Floats, b: Floats) -> Floats:
            return (counts @ part + (weights * a * b).sum(axis=1)) / total

        dy = centred(y_means)
        yy = mean(yy_within, dy, dy)
        found = []
        for means, xx_within, xy_within, scale in within:
            dx = centred(means)
            xx, xy = mean(xx_within, dx, dx), mean(xy_within, dx, dy)
            constant = (xx <= ROUNDING * scale) | (yy <= ROUNDING * y_scale)
            found.append(np.where(constant, np.nan, np.clip(xy / np.sqrt(xx * yy), -1.0, 1.0)))
        return np.stack(found)

    # An empty resample has no mean, and a constant one no correlation: both give NaN.
    with np.errstate(divide="ignore", invalid="ignore"):
        return resamples.replicates(r, n_clusters).reshape(*np.shape(x)[:-1], -1)


def krcc_replicates(x: Floats, y: Floats, resamples: Resamples) -> Floats:
    """Return tau-b of each resample, shaped as by ``srcc_replicates``; NaN where one is constant in x or y."""
    xs, n_clusters = np.atleast_2d(x), resamples.counts.shape[1]
    at_once = max(1, TABLES // (n_clusters * max(resamples.counts.shape)))
    found = [
        PairCounts.of(xs[start : start + at_once], y, resamples.cluster).tau_b(resamples.counts)
        for start in range(0, len(xs), at_once)
    ]
    return np.concatenate(found).reshape(*np.shape(x)[:-1], -1)


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
