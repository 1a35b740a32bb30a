"""The ρ that noise hides: an interval of Spearman's ρ of the true values, and whether two settings differ in it.

Noise in either variable shuffles ranks and pulls ρ towards 0. An interval of what another sample would show is
therefore not one of the ρ of the true values; it never holds ρ = ±1. Here each measure has a true value that was
observed with noise of known variance, and the interval speaks of the true values of *these* measures.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import AnalysisError
from .bootstrap import LEVEL
from .correlation import Floats
from .rank_correlation import checked, spearman

Parts = NDArray[np.intp]
AGREE_LESS, AGREE_MORE, UNDECIDED = "agree less", "agree more", "undecided"
N_DRAWS = 2_000
# Of the model: SD of the true values in observed SDs, and their correlation.
SD_GRID = np.linspace(0.02, 2.5, 24)
R_GRID = np.linspace(-1, 1, 31)
# Two clusters are clear if at most this share of the squares is within them: they are some three SDs apart.
WITHIN = 0.3
# Noise below this share of the observed variance has no effect on ranks, but would make the model singular at r = ±1.
LEAST = 1e-9


def noise_free_interval(
    a: ArrayLike, v_a: float, o: ArrayLike, v_o: float, level: float = LEVEL, seed: int = 0
) -> tuple[float, float]:
    """Return an interval of the ρ of the true values.

    It is the union of up to five intervals, each the central ``level`` of ρ over draws of what the true values may be:

    - a bivariate normal model of the true values, whose SDs and correlation are drawn by their likelihood on a grid;
    - the same model of all but the measure that lies furthest away, which keeps its observed value plus noise: one
      outlier would otherwise decide on the correlation and the spread of all others;
    - the same model within two clusters, where the measures clearly form two: the order of the clusters would otherwise
      hide that of the measures within them;
    - each side shrunk by itself, as if the sides had nothing to do with each other;
    - the observed values plus noise, for values that are far from normal (clusters, outliers).

    Draws are always less extreme than ±1, so the ends are opened: if the observed ρ is not unusually low for true
    values that agree in order (those in the model), the upper end is the ρ of these, e.g. +1; and likewise the lower
    one.

    Args:
        a: ``(n,)``, finite: one observed value per measure, e.g. its SRCC.
        v_a: ≥ 0, mean sampling variance of one value of ``a``, in its unit squared.
        o: ``(n,)``, finite: the other value per measure, e.g. its gain.
        v_o: The same for ``o``.
        level: Confidence.
        seed: Of the draws.

    Returns:
        Both ends. (−1, 1), which says nothing, with fewer than three measures or a constant side; the observed ρ twice
        if neither side has noise.

    Raises:
        AnalysisError: Shapes that differ, a value that is not finite, or a variance below 0.

    Examples:
        The observed ρ is .93, and with this noise the true order may well be the same on both sides:

        >>> a, o = [1, 2, 3, 4, 5, 6, 7, 8], [1, 3, 2, 4, 6, 5, 8, 7]
        >>> low, high = noise_free_interval(a, 0.5, o, 0.5)
        >>> low > 0.5, high
        (True, 1.0)
    """
    a, o = checked(a, o)
    for name, variance in (("v_a", v_a), ("v_o", v_o)):
        if not 0 <= variance < math.inf:
            raise AnalysisError(f"{name} must be a variance, finite and 0 or more, got {variance}.")
    if len(a) < 3 or np.ptp(a) == 0 or np.ptp(o) == 0:
        return -1.0, 1.0
    observed = float(spearman(a, o))
    if v_a == 0 and v_o == 0:
        return observed, observed
    rng = np.random.default_rng(seed)
    noise_a, noise_o = (math.sqrt(v) * rng.standard_normal((N_DRAWS, len(a))) for v in (v_a, v_o))
    tails = np.array([(1 - level) / 2, (1 + level) / 2])
    every = np.zeros(len(a), dtype=int)
    models = [every, *(part for part in (typical(a, o), clusters(a, o)) if part.any())]
    ends = [
        np.quantile(spearman(a + noise_a, o + noise_o), tails),
        np.quantile(spearman(*model_draws(a, v_a, o, v_o, every, np.zeros(1), rng)), tails),
    ]
    for part in models:
        true_a, true_o = model_draws(a, v_a, o, v_o, part, R_GRID, rng)
        ends.append(np.quantile(spearman(true_a, true_o), tails))
        for direction, (this, other) in ((1, tails), (-1, tails[::-1])):
            ordered = put_in_order(true_a, true_o, part, direction)
            expected = np.quantile(spearman(true_a + noise_a, ordered + noise_o), this)
            if direction * observed >= direction * expected:
                ends.append(np.full(2, np.quantile(spearman(true_a, ordered), other)))
    return float(np.min(ends)), float(np.max(ends))


def put_in_order(a: Floats, o: Floats, part: Parts, direction: int) -> Floats:
    """Return ``o`` with the values of each part rearranged into the order of ``a`` (1) or against it (−1)."""
    ordered = o.copy()
    for number in range(part.max() + 1):
        which = part == number
        place = np.argsort(np.argsort(a[:, which], axis=1), axis=1)
        ordered[:, which] = np.take_along_axis(np.sort(o[:, which], axis=1)[:, ::direction], place, axis=1)
    return ordered


def typical(a: Floats, o: Floats) -> Parts:
    """Return −1 for the measure that lies furthest from the others, in their SDs on either side, and 0 for these.

    All are 0 if there are fewer than five, or if the others are constant on a side.
    """
    n = len(a)
    part = np.zeros(n, dtype=int)
    if n < 5:
        return part
    others = ~np.eye(n, dtype=bool)
    away = np.zeros(n)
    for side in (a, o):
        rest = np.broadcast_to(side, (n, n))[others].reshape(n, n - 1)
        sd = rest.std(axis=1, ddof=1)
        if (sd == 0).any():
            return part
        away = np.maximum(away, np.abs(side - rest.mean(axis=1)) / sd)
    part[np.argmax(away)] = -1
    return part


def clusters(a: Floats, o: Floats) -> Parts:
    """Return the cluster of each measure, 0 or 1, or 0 for all if the measures do not clearly form two.

    Tried are all cuts along either side, their sum and their difference; of what lies between measures, the best cut
    leaves at most a share ``WITHIN`` inside the clusters, on both sides together. A cluster has at least three.
    """
    n = len(a)
    x, y = ((side - side.mean()) / side.std() for side in (a, o))
    best, part = WITHIN, np.zeros(n, dtype=int)
    cut = np.arange(3, n - 2)
    for along in (x, y, x + y, x - y) if len(cut) else ():
        order = np.argsort(along)
        # Both sides have mean 0 and together the sum of squares 2n; the share between clusters of c and n − c measures
        # is |sum of one|² / (2·c·(n − c)).
        sums = np.cumsum(np.stack([x, y])[:, order], axis=1)[:, cut - 1]
        within = 1 - (sums**2).sum(axis=0) / (2 * cut * (n - cut))
        if within.min() < best:
            best, part = within.min(), np.isin(np.arange(n), order[cut[within.argmin()] :]).astype(int)
    spread = [max(np.ptp(side[part == number]) for number in (0, 1)) for side in (x, y)] if part.any() else []
    return part if all(spread) else np.zeros(n, dtype=int)


def model_draws(
    a: Floats, v_a: float, o: Floats, v_o: float, part: Parts, correlations: Floats, rng: np.random.Generator
) -> tuple[Floats, Floats]:
    """Draw true values under a bivariate normal model of them, with a flat prior on the grid.

    With T the covariance of the true values, V = diag(v_a, v_o) and M = T + V, the observed values have covariance M,
    and the true ones given the observed y have mean T·M⁻¹·y and covariance V − V·M⁻¹·V. The model is one of the
    differences from the mean of a part; parts keep their observed means, plus noise. Measures of the part −1 are not in
    the model: their true values are the observed ones plus noise.

    Returns:
        Both sides, ``(draws, n)``, in the given units.
    """
    (a, v_a, unit_a, mean_of_a), (o, v_o, unit_o, mean_of_o) = (
        standardised(*side, part) for side in ((a, v_a), (o, v_o))
    )
    fitted, n_parts = part >= 0, part.max() + 1
    n, aa, oo, ao = fitted.sum(), *(float((x * y)[fitted].sum()) for x, y in ((a, a), (o, o), (a, o)))
    sd_a, sd_o, r = np.meshgrid(SD_GRID, SD_GRID, correlations, indexing="ij")
    least_a, least_o = max(v_a, LEAST), max(v_o, LEAST)
    m_a, m_o, m_ao = sd_a**2 + least_a, sd_o**2 + least_o, r * sd_a * sd_o
    determinant = (1 - r**2) * (sd_a * sd_o) ** 2 + sd_a**2 * least_o + least_a * m_o
    log_likelihood = -0.5 * ((n - n_parts) * np.log(determinant) + (m_o * aa + m_a * oo - 2 * m_ao * ao) / determinant)
    weight = np.cumsum(np.exp(log_likelihood - log_likelihood.max()))
    drawn = np.searchsorted(weight, weight[-1] * rng.random(N_DRAWS), side="right")

    # M⁻¹ is [[m_o, −m_ao], [−m_ao, m_a]] / determinant, and T·M⁻¹ = 1 − V·M⁻¹; zeros for what is not fitted.
    i_a, i_o, i_ao = (
        (each.ravel()[drawn, None] * fitted) for each in (m_o / determinant, m_a / determinant, -m_ao / determinant)
    )
    mean_a, mean_o = a - v_a * (i_a * a + i_ao * o), o - v_o * (i_ao * a + i_o * o)
    c_a, c_o, c_ao = v_a - v_a**2 * i_a, v_o - v_o**2 * i_o, -v_a * v_o * i_ao
    z_a, z_o = rng.standard_normal((2, N_DRAWS, len(a)))
    sd = np.sqrt(np.maximum(c_a, 0))
    along = np.divide(c_ao, sd, out=np.zeros_like(sd), where=sd > 0)
    true_a, true_o = mean_a + sd * z_a, mean_o + along * z_a + np.sqrt(np.maximum(c_o - along**2, 0)) * z_o
    if n_parts > 1:
        size = np.bincount(part)
        for true, v in ((true_a, v_a), (true_o, v_o)):
            true += (np.sqrt(v / size) * rng.standard_normal((N_DRAWS, n_parts)))[:, part]
    return mean_of_a + unit_a * true_a, mean_of_o + unit_o * true_o


def standardised(values: Floats, variance: float, part: Parts) -> tuple[Floats, float, float, Floats]:
    """Return differences from the means of parts in their SD, the variance of noise in that unit, the SD and the means.

    What is in no part is compared with the first.
    """
    mean = np.array([values[part == number].mean() for number in range(part.max() + 1)])[np.maximum(part, 0)]
    sd = float(np.sqrt(((values - mean)[part >= 0] ** 2).sum() / ((part >= 0).sum() - part.max() - 1)))
    return (values - mean) / sd, variance / sd**2, sd, mean


@dataclass(frozen=True)
class RhoChange:
    """Whether two settings agree unlike with the same measures' assessment.

    Attributes:
        before: Interval of the noise-free ρ of the first setting.
        after: The same of the second.
        level: Confidence of each interval, after the correction for how many settings are looked at.
        verdict: "agree less" or "agree more" (the second compared with the first) if the intervals do not overlap,
            else "undecided".
    """

    before: tuple[float, float]
    after: tuple[float, float]
    level: float
    verdict: str


def rho_change(
    a: ArrayLike,
    v_a: float,
    before: ArrayLike,
    v_before: float,
    after: ArrayLike,
    v_after: float,
    *,
    settings: int = 1,
    level: float = LEVEL,
    seed: int = 0,
) -> RhoChange:
    """Compare the noise-free ρ of ``a`` with ``before`` and with ``after``, e.g. gains without and with an adversary.

    Two values of ρ differ when noise differs, even if the true values are the same; intervals of the noise-free ρ that
    do not overlap cannot be explained that way. With few measures this has little power: a trend contrast has more.

    Args:
        a: ``(n,)``, finite: one value per measure, e.g. its SRCC.
        v_a: ≥ 0, mean sampling variance of one value of ``a``, in its unit squared.
        before: ``(n,)``, the values of the same measures in the first setting.
        v_before: Their mean sampling variance.
        after: ``(n,)``, the values in the second setting.
        v_after: Their mean sampling variance.
        settings: In how many settings such a change is looked for: each interval has the level 1 − (1 − ``level``) / k.
        level: Confidence of the whole.
        seed: Of the draws.

    Raises:
        AnalysisError: See :func:`noise_free_interval`.

    Examples:
        >>> a = [1, 2, 3, 4, 5, 6, 7, 8]
        >>> rho_change(a, 0.01, a, 0.01, a[::-1], 0.01).verdict
        'agree less'
        >>> rho_change(a, 9, a, 9, a[::-1], 9).verdict
        'undecided'
    """
    each = 1 - (1 - level) / settings
    first = noise_free_interval(a, v_a, before, v_before, each, seed)
    second = noise_free_interval(a, v_a, after, v_after, each, seed)
    less, more = first[0] > second[1], second[0] > first[1]
    return RhoChange(first, second, each, AGREE_LESS if less else AGREE_MORE if more else UNDECIDED)
