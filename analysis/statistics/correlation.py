"""Correlation of scores with labels: SRCC, KRCC (tau-b) and PLCC, exact under ties and under integer weights.

Weights are the number of times each observation occurs, so a weighted value *is* the plain value on the expanded
sample: this makes a bootstrap over thousands of resamples one matrix expression (``bootstrap.py``).

Sign: + always means that the scores agree with the labels; the two directions are given, never guessed.
PLCC is raw: no logistic is fitted, so it also rewards a measure for being linear in the labels.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import AnalysisError

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]

# A variance below this share of the squared range is rounding error, i.e. the values are constant.
ROUNDING = 1e-20


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

    def group_sums(self, values: NDArray) -> NDArray:
        """Sum ``(..., n)`` values, **in ascending order** of the variable, over each group: ``(..., groups)``."""
        untied = len(self.starts) == values.shape[-1]
        return values if untied else np.add.reduceat(values, self.starts, axis=-1)

    def midranks(self, counts: Counts) -> tuple[Counts, Floats]:
        """Return how often each group occurs and its mid-rank in the expanded sample, both ``(..., groups)``.

        Args:
            counts: ``(..., n)``, ≥ 0, **in ascending order** of the variable. Integers are added up several times
                faster than floats.

        Returns:
            The counts, and the mid-ranks minus the mean rank. Below 10⁵ observations these, their squares and all sums
            of those are multiples of ¼ below 2⁵³, so they are exact in any order of addition.
        """
        grouped = self.group_sums(counts)
        up_to = np.cumsum(grouped, axis=-1)
        return grouped, up_to - 0.5 * (grouped + up_to[..., -1:])


def weighted_midranks(values: Floats, counts: Counts) -> Floats:
    """Return the mid-ranks of ``values`` where each value occurs ``counts`` times.

    Args:
        values: ``(n,)``, finite.
        counts: ``(..., n)``, ≥ 0; leading axes are resamples.

    Returns:
        ``(..., n)``, the mean of the 1-based positions that each value's copies (and ties) hold in the expanded sample.
        An entry of weight zero gets the rank its value would be inserted at; it carries no weight in any later sum.
    """
    ranking = Ranking(values)
    _, centred = ranking.midranks(counts[..., ranking.order])
    return centred[..., ranking.group] + (counts.sum(axis=-1, keepdims=True) + 1) / 2


def weighted_pearson(x: Floats, y: Floats, weights: NDArray) -> Floats:
    """Return Pearson's correlation along the last axis; NaN where ``x`` or ``y`` is constant among positive weights.

    Args:
        x: ``(..., n)``.
        y: ``(..., n)``.
        weights: ``(..., n)``, counts ≥ 0.

    Returns:
        ``(...)``, in [−1, 1].
    """
    total = weights.sum(axis=-1, keepdims=True)

    def centred(values: Floats) -> tuple[Floats, Floats, NDArray]:
        values = values - values.mean(axis=-1, keepdims=True)  # first, so that a large offset costs no precision
        scale = (values**2).max(axis=-1)
        values = values - (weights * values).sum(axis=-1, keepdims=True) / total
        variance = (weights * values**2).sum(axis=-1) / total[..., 0]
        return values, variance, variance <= ROUNDING * scale

    x, x_variance, x_constant = centred(x)
    y, y_variance, y_constant = centred(y)
    covariance = (weights * x * y).sum(axis=-1) / total[..., 0]
    with np.errstate(divide="ignore", invalid="ignore"):
        r = covariance / np.sqrt(x_variance * y_variance)
    return np.where(x_constant | y_constant, np.nan, np.clip(r, -1.0, 1.0))


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
    once = np.ones(len(x), dtype=np.int64)
    r = weighted_pearson(weighted_midranks(x, once), weighted_midranks(y, once), once)
    return orientation(score_higher_is_better, label_higher_is_better) * float(r)


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
    # Any grouping gives the same total; groups of 100 keep the memory linear in the number of scores.
    cluster = np.arange(len(x)) // 100
    tau = PairCounts.of(x, y, cluster).tau_b(np.ones((1, cluster[-1] + 1)))[0]
    return orientation(score_higher_is_better, label_higher_is_better) * float(tau)


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
    r = weighted_pearson(x, y, np.ones_like(x))
    return orientation(score_higher_is_better, label_higher_is_better) * float(r)


def signs(a: NDArray, b: NDArray) -> NDArray[np.int8]:
    """Return sign(aᵢ − bⱼ), ``(len(a), len(b))``."""
    return (a[:, None] > b).view(np.int8) - (a[:, None] < b).view(np.int8)


class PairCounts:
    """Concordant-minus-discordant and untied pair counts between clusters: all that tau-b needs.

    With u the number of times each cluster is drawn, tau-b of the expanded sample is
    uᵀKu / √(uᵀXu · uᵀYu), where K sums sign(Δx)·sign(Δy) and X, Y count the pairs untied in x and in y.

    Attributes:
        concordance: K, ``(clusters, clusters)``.
        untied_x: X, same shape.
        untied_y: Y, same shape.
    """

    def __init__(self, concordance: Floats, untied_x: Floats, untied_y: Floats):
        self.concordance, self.untied_x, self.untied_y = concordance, untied_x, untied_y

    @classmethod
    def of(cls, x: Floats, y: Floats, cluster: NDArray) -> PairCounts:
        """Count over all pairs of ``n`` observations; ``cluster`` ``(n,)`` holds 0 … clusters−1."""
        n_clusters = int(cluster.max()) + 1
        order = np.argsort(cluster, kind="stable")
        starts = np.searchsorted(cluster[order], np.arange(n_clusters))
        # Ranks order as the values do, and small integers are compared many times faster.
        ranks_x, ranks_y = (Ranking(values).group[order].astype(np.int32) for values in (x, y))
        tables = [np.empty((n_clusters, n_clusters)) for _ in range(3)]
        for row, members in enumerate(np.split(np.arange(len(order)), starts[1:])):
            dx, dy = signs(ranks_x[members], ranks_x), signs(ranks_y[members], ranks_y)
            for table, pairs in zip(tables, (dx * dy, dx != 0, dy != 0), strict=True):
                table[row] = np.add.reduceat(pairs.sum(axis=0, dtype=np.int32).astype(np.int64), starts)
        return cls(*tables)

    def tau_b(self, counts: NDArray) -> Floats:
        """Return tau-b per resample, NaN where one side is constant; ``counts`` is ``(resamples, clusters)``."""
        u = np.asarray(counts, dtype=np.float64)
        k, x, y = (((u @ table) * u).sum(axis=1) for table in (self.concordance, self.untied_x, self.untied_y))
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where((x > 0) & (y > 0), k / np.sqrt(x * y), np.nan)
