"""Correlation of scores with labels: SRCC, KRCC (tau-b) and PLCC, exact under ties and under integer weights.

Weights are the number of times each observation occurs, so a weighted value *is* the plain value on the expanded
sample: this makes a bootstrap over thousands of resamples one matrix expression (``bootstrap.py``).

Sign: + always means that the scores agree with the labels; the two directions are given, never guessed.
PLCC is raw: no logistic is fitted, so it also rewards a measure for being linear in the labels.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from ..errors import AnalysisError

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]

# A variance below this share of the squared range is rounding error, i.e. the values are constant.
ROUNDING = 1e-20
# A sum of so many signs fits into a byte.
MOST_ROWS = 127
# So many signs are held at a time: they stay in a core's cache.
PAIRS = 1 << 18


class Ranking:
    """One variable in ascending order, sorted once: all that is needed for its mid-ranks under any weights.

    Attributes:
        order: ``(n,)``, the observations in ascending order.
        starts: ``(groups,)``, where each group of equal values starts in that order.
        group: ``(n,)``, the group of each observation.
    """

    def __init__(self, values: Floats):
        self.order = np.argsort(values, kind="stable")
        ordered = values[self.order]
        self.starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
        self.group = np.empty(len(values), dtype=np.intp)
        self.group[self.order] = np.repeat(np.arange(len(self.starts)), np.diff(np.r_[self.starts, len(values)]))

    @property
    def tied(self) -> bool:
        """Whether any two values are equal."""
        return len(self.starts) < len(self.order)

    def midranks(self, counts: NDArray[np.integer]) -> Floats:
        """Return the mid-rank of each group in the expanded sample minus the mean rank, ``(..., groups)``.

        Args:
            counts: ``(..., n)``, ≥ 0, **in ascending order** of the variable.
        """
        grouped = np.add.reduceat(counts, self.starts, axis=-1) if self.tied else counts
        up_to = np.cumsum(grouped, axis=-1)
        return up_to - 0.5 * (grouped + up_to[..., -1:])


def pearson(x: Floats, y: Floats) -> float:
    """Return Pearson's correlation, in [−1, 1]; neither side may be constant."""

    def centred(values: Floats) -> Floats:
        values = values - values.mean()  # twice, so that a large offset costs no precision
        return values - values.mean()

    x, y = centred(x), centred(y)
    return float(np.clip((x * y).mean() / np.sqrt((x**2).mean() * (y**2).mean()), -1.0, 1.0))


def orientation(score_higher_is_better: bool, label_higher_is_better: bool) -> int:
    """Return +1 if scores and labels point the same way, else −1."""
    return 1 if bool(score_higher_is_better) == bool(label_higher_is_better) else -1


def checked_pair(score: ArrayLike, label: ArrayLike) -> tuple[Floats, Floats]:
    """Return both as float arrays of one shape ``(n,)``.

    Raises:
        AnalysisError: Lengths differ, fewer than two pairs, a value that is not finite, or a constant side.
    """
    x, y = np.asarray(score, dtype=np.float64), np.asarray(label, dtype=np.float64)
    if x.ndim != 1 or x.shape != y.shape:
        raise AnalysisError(f"scores and labels must be two lists of one length, got shapes {x.shape} and {y.shape}.")
    if len(x) < 2:
        raise AnalysisError(f"a correlation needs at least two pairs, got {len(x)}.")
    for name, values in (("scores", x), ("labels", y)):
        if bad := int((~np.isfinite(values)).sum()):
            raise AnalysisError(
                f"{bad} of {len(values)} {name} are not finite: give them a status and count them instead."
            )
        if np.ptp(values) == 0:
            raise AnalysisError(
                f"all {len(values)} {name} equal {values[0]:g}: a correlation with a constant is undefined."
            )
    return x, y


def srcc(
    score: ArrayLike, label: ArrayLike, *, score_higher_is_better: bool = True, label_higher_is_better: bool = True
) -> float:
    """Spearman's rank correlation, in [−1, 1]; + means the scores agree with the labels. Ties get mid-ranks.

    Raises:
        AnalysisError: See ``checked_pair``; a constant input is an error, never a zero.

    Examples:
        >>> srcc([1, 2, 3, 4], [10, 20, 40, 30])
        0.8
        >>> srcc([4, 3, 2, 1], [10, 20, 40, 30], score_higher_is_better=False)  # a distance
        0.8
    """
    x, y = checked_pair(score, label)
    r = pearson(stats.rankdata(x), stats.rankdata(y))
    return orientation(score_higher_is_better, label_higher_is_better) * r


def krcc(
    score: ArrayLike, label: ArrayLike, *, score_higher_is_better: bool = True, label_higher_is_better: bool = True
) -> float:
    """Kendall's tau-b, in [−1, 1]; + means the scores agree with the labels.

    Raises:
        AnalysisError: See ``checked_pair``.

    Examples:
        >>> round(krcc([1, 2, 3, 4], [10, 20, 40, 30]), 3)  # five of six pairs are in the same order
        0.667
    """
    x, y = checked_pair(score, label)
    # The method is that of its p; scipy does not declare what it returns.
    found: Any = stats.kendalltau(x, y, method="asymptotic")
    return orientation(score_higher_is_better, label_higher_is_better) * float(found.statistic)


def plcc(
    score: ArrayLike, label: ArrayLike, *, score_higher_is_better: bool = True, label_higher_is_better: bool = True
) -> float:
    """Pearson's correlation of the raw values, in [−1, 1]; + means the scores agree with the labels.

    Raises:
        AnalysisError: See ``checked_pair``.

    Examples:
        >>> round(plcc([1, 2, 3, 4], [10, 20, 40, 30]), 3)
        0.8
    """
    x, y = checked_pair(score, label)
    return orientation(score_higher_is_better, label_higher_is_better) * pearson(x, y)


def signs(a: NDArray, b: NDArray) -> NDArray[np.int8]:
    """Return sign(aᵢ − bⱼ), ``(len(a), len(b))``."""
    return (a[:, None] > b).view(np.int8) - (a[:, None] < b).view(np.int8)


class PairCounts:
    """Concordant-minus-discordant and untied pair counts between clusters: all that tau-b needs.

    With u the number of times each cluster is drawn, tau-b of the expanded sample is
    uᵀKu / √(uᵀXu · uᵀYu), where K sums sign(Δx)·sign(Δy) and X, Y count the pairs untied in x and in y.

    Attributes:
        concordance: K, ``(variables, clusters, clusters)``.
        untied_x: X, same shape.
        untied_y: Y, ``(clusters, clusters)``.
    """

    def __init__(self, concordance: Floats, untied_x: Floats, untied_y: Floats):
        self.concordance, self.untied_x, self.untied_y = concordance, untied_x, untied_y

    @classmethod
    def of(cls, x: Floats, y: Floats, cluster: NDArray) -> PairCounts:
        """Count over all pairs of ``n`` observations.

        Args:
            x: ``(variables, n)``.
            y: ``(n,)``.
            cluster: ``(n,)``, 0 … clusters−1.
        """
        n_clusters = int(cluster.max()) + 1
        order = np.argsort(cluster, kind="stable")
        starts = np.searchsorted(cluster[order], np.arange(n_clusters + 1))
        of_x = [Ranking(values) for values in x]
        # Ranks order as the values do, and small integers are compared many times faster.
        small = np.int16 if len(order) < 1 << 15 else np.int32
        rank_y, *ranks = (ranking.group[order].astype(small) for ranking in (Ranking(y), *of_x))
        concordance, untied_x = np.zeros((2, len(x), n_clusters, n_clusters))
        untied_y = np.zeros((n_clusters, n_clusters))
        at_once = max(1, min(MOST_ROWS, PAIRS // len(order)))
        for c, (start, end) in enumerate(pairwise(starts)):
            # Clusters before this one have met it already.
            columns, bounds = slice(start, None), starts[c:-1] - start

            def by_cluster(pairs: NDArray[np.int8]) -> NDArray[np.int64]:
                return np.add.reduceat(pairs.sum(axis=0, dtype=np.int8), bounds, dtype=np.int64)  # noqa: B023

            for first in range(start, end, at_once):
                rows = slice(first, min(first + at_once, end))
                dy = signs(rank_y[rows], rank_y[columns])
                sum_y = by_cluster(dy)
                untied_y[c, c:] += by_cluster(dy & 1)
                for k, rank in enumerate(ranks):
                    if of_x[k].tied:
                        dx = signs(rank[rows], rank[columns])
                        concordance[k, c, c:] += by_cluster(dx * dy)
                        untied_x[k, c, c:] += by_cluster(dx & 1)
                    else:  # sign(Δx) is 2·[Δx > 0] − 1, except for an observation and itself, where Δy is 0
                        above = (rank[rows, None] > rank[columns]).view(np.int8)
                        concordance[k, c, c:] += 2 * by_cluster(above * dy) - sum_y
        sizes = np.diff(starts)
        untied_x[[not ranking.tied for ranking in of_x]] = np.outer(sizes, sizes) - np.diag(sizes)
        return cls(*(np.triu(half) + np.triu(half, 1).swapaxes(-1, -2) for half in (concordance, untied_x, untied_y)))

    def tau_b(self, counts: NDArray) -> Floats:
        """Return tau-b, ``(variables, resamples)``, for ``(resamples, clusters)``; NaN where a side is constant."""
        u = np.asarray(counts, dtype=np.float64)
        k, x, y = (((u @ table) * u).sum(axis=-1) for table in (self.concordance, self.untied_x, self.untied_y))
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where((x > 0) & (y > 0), k / np.sqrt(x * y), np.nan)
