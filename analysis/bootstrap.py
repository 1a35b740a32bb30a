"""Cluster bootstrap by multinomial weights: exact, vectorised, and paired across everything given the same resamples.

Drawing clusters with replacement is the same as giving each cluster a multinomial count. Observations of one cluster
(the distorted versions of one reference) come and go together, which is what makes the interval honest: they are not
independent evidence.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .correlation import Floats, PairCounts, weighted_midranks, weighted_pearson
from .errors import AnalysisError

LEVEL = 0.95
# An interval is refused when more than this share of its resamples left the statistic undefined.
MAX_UNDEFINED = 0.05
# Work is done on this many (resample, observation) entries at a time: 8 MB an array.
BLOCK = 1 << 20


@dataclass(frozen=True)
class Resamples:
    """Which observations each resample holds.

    Attributes:
        cluster: ``(n,)``, the cluster (0 … clusters−1) of each observation.
        counts: ``(resamples, clusters)``, how often each resample drew each cluster.
    """

    cluster: NDArray[np.intp]
    counts: NDArray[np.int64]

    def replicates(self, statistic: Callable[[NDArray], Floats]) -> Floats:
        """Return ``statistic(weights)`` over all resamples, where ``weights`` is a block ``(some, n)`` of counts."""
        block = max(1, BLOCK // len(self.cluster))
        parts = [
            statistic(self.counts[start : start + block][:, self.cluster])
            for start in range(0, len(self.counts), block)
        ]
        return np.concatenate(parts)


def draw_counts(n_units: int, n_boot: int, rng: np.random.Generator) -> NDArray[np.int64]:
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
        rng: Seeded generator; the draw depends on it and on the number of clusters alone.
    """
    labels, cluster = np.unique(np.asarray(clusters), return_inverse=True)
    return Resamples(cluster, draw_counts(len(labels), n_boot, rng))


def srcc_replicates(x: Floats, y: Floats, resamples: Resamples) -> Floats:
    """Return Spearman's rho of each resample, ``(resamples,)``; NaN where a resample is constant in x or y."""
    return resamples.replicates(lambda w: weighted_pearson(weighted_midranks(x, w), weighted_midranks(y, w), w))


def plcc_replicates(x: Floats, y: Floats, resamples: Resamples) -> Floats:
    """Return Pearson's r of each resample, ``(resamples,)``; NaN where a resample is constant in x or y."""
    return resamples.replicates(lambda w: weighted_pearson(x, y, w))


def krcc_replicates(x: Floats, y: Floats, resamples: Resamples) -> Floats:
    """Return Kendall's tau-b of each resample, ``(resamples,)``; NaN where a resample is constant in x or y."""
    return PairCounts.of(x, y, resamples.cluster).tau_b(resamples.counts)


def percentile_interval(replicates: ArrayLike, level: float = LEVEL) -> tuple[float, float]:
    """Return the central ``level`` of the replicates.

    (NaN, NaN) if more than 5 % of them are undefined: an interval of the survivors would flatter.
    """
    values = np.asarray(replicates, dtype=np.float64)
    finite = values[np.isfinite(values)]
    if len(finite) < (1 - MAX_UNDEFINED) * len(values) or not len(finite):
        return float("nan"), float("nan")
    low, high = np.quantile(finite, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def share_above_zero(replicates: ArrayLike) -> float:
    """Return the share of defined replicates above zero, ties counted half; NaN if none is defined."""
    values = np.asarray(replicates, dtype=np.float64)
    values = values[np.isfinite(values)]
    return float(((values > 0) + 0.5 * (values == 0)).mean()) if len(values) else float("nan")
