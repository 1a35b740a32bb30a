"""The ρ that noise hides: an interval of Spearman's ρ of the true values, and whether it differs between two settings.

Noise in either variable shuffles ranks and pulls ρ towards 0, so an interval of what another sample would show is not an
interval of the ρ of the true values: it holds ρ = ±1 never. Here each measure has a true value that was observed with
noise of known variance, and the interval speaks of the true values of *these* measures.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ..errors import AnalysisError
from .bootstrap import LEVEL
from .correlation import Floats
from .rank_correlation import checked, spearman

N_DRAWS = 2_000
# Of the model: SD of the true values in observed SDs, and their correlation.
SD_GRID = np.linspace(0.02, 2.5, 32)
R_GRID = np.linspace(-1, 1, 41)


def noise_free_interval(
    a: ArrayLike, v_a: float, o: ArrayLike, v_o: float, level: float = LEVEL, seed: int = 0
) -> tuple[float, float]:
    """Return an interval of the ρ of the true values.

    It is the union of three intervals, each the central ``level`` of ρ over draws of what the true values may be:

    - a bivariate normal model of the true values, whose SDs and correlation are drawn by their likelihood on a grid;
    - each side shrunk by itself, as if the sides had nothing to do with each other;
    - the observed values plus noise, for values that are far from normal (clusters, outliers).

    Draws are always less extreme than ±1, so the ends are opened: if the observed ρ is not unusually low for true
    values that agree in order, the upper end is +1, and likewise the lower one −1.

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
        Noise of half the SD of the values hides that the order may be the same:

        >>> a, o = [1, 2, 3, 4, 5, 6, 7, 8], [1, 3, 2, 4, 6, 5, 8, 7]
        >>> low, high = noise_free_interval(a, 1.5, o, 1.5)
        >>> low > 0.3, high
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
    (a, v_a), (o, v_o) = standardised(a, v_a), standardised(o, v_o)
    shape = (N_DRAWS, len(a))

    def noise(variance: float) -> Floats:
        return math.sqrt(variance) * rng.standard_normal(shape)

    true_a, true_o = model_draws(a, v_a, o, v_o, R_GRID, rng)
    apart_a, apart_o = model_draws(a, v_a, o, v_o, np.zeros(1), rng)
    draws = spearman(true_a, true_o), spearman(apart_a, apart_o), spearman(a + noise(v_a), o + noise(v_o))
    tails = (1 - level) / 2, (1 + level) / 2
    ends = np.array([np.quantile(rho, tails) for rho in draws])
    low, high = float(ends[:, 0].min()), float(ends[:, 1].max())

    seen_a, noise_o = true_a + noise(v_a), noise(v_o)
    place, ordered = np.argsort(np.argsort(true_a, axis=1), axis=1), np.sort(true_o, axis=1)
    agreeing, opposed = (
        spearman(seen_a, np.take_along_axis(values, place, axis=1) + noise_o) for values in (ordered, ordered[:, ::-1])
    )
    if observed >= np.quantile(agreeing, tails[0]):
        high = 1.0
    if observed <= np.quantile(opposed, tails[1]):
        low = -1.0
    return low, high


def standardised(values: Floats, variance: float) -> tuple[Floats, float]:
    """Return the values with mean 0 and SD 1, and the variance of their noise in that unit."""
    sd = values.std(ddof=1)
    return (values - values.mean()) / sd, variance / sd**2


def model_draws(
    a: Floats, v_a: float, o: Floats, v_o: float, correlations: Floats, rng: np.random.Generator
) -> tuple[Floats, Floats]:
    """Draw true values under a bivariate normal model of them, with a flat prior on the grid; ``(draws, n)`` each.

    With T the covariance of the true values, V = diag(v_a, v_o) and M = T + V, the observed values have covariance M,
    and the true ones given the observed y have mean T·M⁻¹·y and covariance V − V·M⁻¹·V.
    """
    sd_a, sd_o, r = np.meshgrid(SD_GRID, SD_GRID, correlations, indexing="ij")
    m_a, m_o, m_ao = sd_a**2 + v_a, sd_o**2 + v_o, r * sd_a * sd_o
    determinant = m_a * m_o - m_ao**2
    quadratic = (m_o * (a @ a) + m_a * (o @ o) - 2 * m_ao * (a @ o)) / determinant
    log_likelihood = -0.5 * ((len(a) - 1) * np.log(determinant) + quadratic)
    weight = np.cumsum(np.exp(log_likelihood - log_likelihood.max()))
    drawn = np.searchsorted(weight, weight[-1] * rng.random(N_DRAWS), side="right")

    m_a, m_o, m_ao, determinant = (each.ravel()[drawn, None] for each in (m_a, m_o, m_ao, determinant))
    # T·M⁻¹ = 1 − V·M⁻¹, and M⁻¹ is [[m_o, −m_ao], [−m_ao, m_a]] / determinant.
    mean_a = a - v_a * (m_o * a - m_ao * o) / determinant
    mean_o = o - v_o * (m_a * o - m_ao * a) / determinant
    c_a, c_o = v_a - v_a**2 * m_o / determinant, v_o - v_o**2 * m_a / determinant
    c_ao = v_a * v_o * m_ao / determinant
    z_a, z_o = rng.standard_normal((2, N_DRAWS, len(a)))
    along = np.divide(c_ao, np.sqrt(np.maximum(c_a, 0)), out=np.zeros_like(c_a), where=c_a > 0)
    return mean_a + np.sqrt(np.maximum(c_a, 0)) * z_a, mean_o + along * z_a + np.sqrt(
        np.maximum(c_o - along**2, 0)
    ) * z_o


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
    return RhoChange(first, second, each, "agree less" if less else "agree more" if more else "undecided")
