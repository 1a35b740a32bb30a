"""Tests that allow for how many were made, and the test of "better as a metric and worse as an objective"."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from .correlation import Floats

ALPHA = 0.05


def holm(p: ArrayLike) -> Floats:
    """Return Holm's step-down adjusted p-values (Holm, 1979), in the given order, each in [0, 1]; NaN stays NaN.

    Examples:
        >>> holm([0.01, 0.04, 0.03])
        array([0.03, 0.06, 0.06])
    """
    p = np.asarray(p, dtype=np.float64)
    adjusted = np.full(len(p), np.nan)
    known = np.flatnonzero(np.isfinite(p))
    order = known[np.argsort(p[known], kind="stable")]
    adjusted[order] = np.minimum(1, np.maximum.accumulate(p[order] * np.arange(len(order), 0, -1)))
    return adjusted


def over_looks(p: float, looks: int) -> float:
    """Return the p-value of a test that is made at up to ``looks`` looks and stops at whichever look one likes.

    ``looks`` times the p-value at the last look (Bonferroni): valid for every rule that says when to stop, or how many
    seeds the next look has, as long as the number of looks is fixed beforehand.

    Examples:
        >>> over_looks(0.01, looks=4), over_looks(0.5, looks=4)
        (0.04, 1.0)
    """
    return min(1.0, looks * p) if looks > 1 else p


def one_sided_over_looks(p: float, looks: int) -> float:
    """Return the same for a one-sided p-value; the p-value of the other side is 1 minus it, as ever.

    Examples:
        >>> one_sided_over_looks(0.01, looks=4), one_sided_over_looks(0.99, looks=4)
        (0.04, 0.96)
    """
    if looks == 1:
        return p
    return min(0.5, looks * p) if p <= 0.5 else 1 - min(0.5, looks * (1 - p))


def opposed(a_greater: ArrayLike, o_greater: ArrayLike) -> Floats:
    """Return p of "not (one is better as a metric and worse as an objective)": the intersection-union test.

    It rejects only if both sides do, each one-sided and in opposite directions; the smaller of the two directions needs
    no doubling (Berger, Technometrics 24, 1982; Gail and Simon, Biometrics 41, 1985).

    Args:
        a_greater: One-sided p of "the first is not the better metric".
        o_greater: One-sided p of "the first is not the better objective".

    Examples:
        >>> opposed([0.01, 0.01], [0.98, 0.02]).round(3)
        array([0.02, 0.98])
    """
    a, o = np.asarray(a_greater, dtype=float), np.asarray(o_greater, dtype=float)
    return np.minimum(np.maximum(a, 1 - o), np.maximum(1 - a, o))


def cross_screened(a_greater: ArrayLike, o_greater: ArrayLike, pair: ArrayLike) -> Floats:
    """Return adjusted p of opposed pairs, each side corrected only for what the other side selects.

    Both sides must be independent data (Bogomolov and Heller, Biometrika 105, 2018). At level α a hypothesis is
    rejected if p_O ≤ α/(2·n_O) and p_A ≤ α/(2·n_A) in opposite directions, where n_O counts the hypotheses with
    p_A ≤ α/2 and n_A the distinct pairs with p_O ≤ α/2. The adjusted p is the smallest level of a fine grid from which
    on the hypothesis stays rejected, so p ≤ α always means rejection at α.

    Args:
        a_greater: ``(n,)``, one-sided p of "the first is not the better metric"; equal for hypotheses on one pair.
        o_greater: ``(n,)``, one-sided p of "the first is not the better objective".
        pair: ``(n,)``, which assessment each hypothesis rests on.

    Examples:
        >>> cross_screened([0.001, 0.5], [0.999, 0.5], [0, 1]).round(3)
        array([0.002, 1.   ])
    """
    a, o = np.asarray(a_greater, dtype=float), np.asarray(o_greater, dtype=float)
    first = a <= 0.5
    p_a = np.where(first, a, 1 - a)
    p_o = np.where(first, 1 - o, o)
    pair = np.unique(np.asarray(pair), return_inverse=True)[1]
    adjusted, open_ = np.where(np.isfinite(p_a) & np.isfinite(p_o), 1.0, np.nan), np.isfinite(p_a) & np.isfinite(p_o)
    for alpha in np.geomspace(1.0, 1e-6, 700):
        selected_o, selected_a = p_a <= alpha / 2, np.minimum(o, 1 - o) <= alpha / 2
        n_o, n_a = max(int(selected_o.sum()), 1), max(len(np.unique(pair[selected_a])), 1)
        open_ = open_ & (p_o <= alpha / (2 * n_o)) & (p_a <= alpha / (2 * n_a))
        adjusted[open_] = alpha
    return adjusted
