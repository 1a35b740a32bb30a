"""How often does the interval of the noise-free ρ hold the truth, and a change of ρ get declared where there is none?

    python benchmarks/null_rank_correlation.py [--studies 300] [--seed 0]

Noise is given in SDs of the true values of all measures, outlier included.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np
from null_rates import Rate, main, rate_of
from numpy.typing import NDArray

from lopsided.analysis.claims.rankings import repeats_for_change
from lopsided.analysis.statistics import noise_free_interval, rho_change, spearman
from lopsided.analysis.statistics.frames import Row
from lopsided.analysis.statistics.noise_free_rho import RhoChange

Floats = NDArray[np.float64]
Truth = Callable[[int, np.random.Generator], tuple[Floats, Floats]]

SIZES = (5, 8, 14)
NOISE = (0.3, 0.7)


def normal(r: float) -> Truth:
    """Bivariate normal true values; 1 and −1 stand for the same and the opposite order, not for equal values."""

    def draw(n: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
        a, o = rng.standard_normal((2, n))
        if abs(r) == 1:
            return a, np.sort(o)[:: int(r)][np.argsort(np.argsort(a))]
        return a, r * a + np.sqrt(1 - r * r) * o

    return draw


def outlier(r: float, a_shift: float, o_shift: float) -> Truth:
    """The same, with one measure moved far away."""

    def draw(n: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
        a, o = normal(r)(n, rng)
        a[0], o[0] = a[0] + a_shift, o[0] + o_shift
        return a, o

    return draw


def clusters(r: float, a_shift: float, o_shift: float) -> Truth:
    """The same, with every other measure moved: two clusters."""

    def draw(n: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
        a, o = normal(r)(n, rng)
        second = np.arange(n) % 2
        return a + a_shift * second, o + o_shift * second

    return draw


TRUTHS = {
    "ρ = 1": normal(1),
    "ρ = −1": normal(-1),
    "normal, r = −.7": normal(-0.7),
    "normal, r = 0": normal(0),
    "two clusters, opposed, r = 0 within": clusters(0, 4, -4),
    "two clusters, agreeing, r = −.7 within": clusters(-0.7, 4, 4),
    "two clusters 5 SD apart, agreeing, ρ = −1 within": clusters(-1, 5, 5),
    "two clusters 3 SD apart, agreeing, ρ = −1 within": clusters(-1, 3, 3),
    "outlier (5 SD, both sides), r = 0 without it": outlier(0, 5, 5),
    "outlier (5 SD, both sides), r = −.7 without it": outlier(-0.7, 5, 5),
    "outlier (5 SD, both sides), ρ = −1 without it": outlier(-1, 5, 5),
    "outlier (5 SD, one side), r = −.7 without it": outlier(-0.7, 5, 0),
}


def unit(values: Floats) -> Floats:
    return values / values.std(ddof=1)


def coverage(name: str, n: int, noise: float, n_studies: int, seed: int) -> Rate:
    rng, hits = np.random.default_rng(seed), 0
    for study in range(n_studies):
        a, o = map(unit, TRUTHS[name](n, rng))
        seen = (side + noise * rng.standard_normal(n) for side in (a, o))
        low, high = noise_free_interval(next(seen), noise**2, next(seen), noise**2, seed=study)
        hits += bool(low - 1e-9 <= spearman(a, o) <= high + 1e-9)
    return rate_of("interval of the noise-free ρ", f"{name}; n = {n}, noise {noise}", "coverage", hits, n_studies)


def changes(
    name: str, n: int, before: tuple[float, float], after: tuple[float, float], n_studies: int, seed: int
) -> Rate:
    """How often is a change declared? ``before`` and ``after``: factor of the true gains, noise of the gains.

    The factor −1 turns the order round: power. Otherwise nothing has changed.
    """
    rng, hits, noise = np.random.default_rng(seed), 0, 0.2
    for study in range(n_studies):
        a, o = map(unit, TRUTHS[name](n, rng))
        sides = [(factor * o + sd * rng.standard_normal(n), sd**2) for factor, sd in (before, after)]
        found = rho_change(a + noise * rng.standard_normal(n), noise**2, *sides[0], *sides[1], seed=study)
        hits += found.verdict != "undecided"
    kind = "power" if after[0] < 0 else "false positives"
    scenario = f"{name}; n = {n}, true gains × {before[0]} and {after[0]}, their noise {before[1]} and {after[1]}"
    return rate_of("change of ρ declared", scenario, kind, hits, n_studies)


def repeated(n: int, noise: float, times: int | None, n_studies: int, seed: int) -> Rate:
    """How often is a reversed order found by a sample, and by one as many times as large as the first one asks for?

    Args:
        n: Number of measures.
        noise: Of the first sample, on all sides.
        times: So many times the first sample; None for what ``repeats_for_change`` says of it.
        n_studies: Number of pairs of samples.
        seed: Of the noise.
    """
    rng, hits, asked = np.random.default_rng(seed), 0, []

    def sample(a: Floats, o: Floats, sd: float, draws: int) -> tuple[RhoChange, Row]:
        x, before, after = (side + sd * rng.standard_normal(n) for side in (a, o, -o))
        found = rho_change(x, sd**2, before, sd**2, after, sd**2, seed=draws)
        row: Row = {"rho_without": spearman(x, before), "rho_with": spearman(x, after)}
        for name, (low, high) in (("rho_without", found.before), ("rho_with", found.after)):
            row |= {f"{name}_low": low, f"{name}_high": high}
        return found, row

    for study in range(n_studies):
        a, o = map(unit, TRUTHS["ρ = 1"](n, rng))
        wanted = times or repeats_for_change(sample(a, o, noise, study)[1])
        if wanted is not None:
            asked.append(wanted)
            hits += sample(a, o, noise / wanted**0.5, study)[0].verdict != "undecided"
    scenario = f"ρ from 1 to −1; n = {n}, noise {noise}, {np.median(asked):g} × the sample (median)"
    return rate_of("change of ρ declared", scenario, "power", hits, n_studies)


def rates(n_studies: int, seed: int) -> list[Rate]:
    """Return all rates; 300 studies take about seven minutes of one core."""
    found = [coverage(name, n, noise, n_studies, seed) for name in TRUTHS for n in SIZES for noise in NOISE]
    for n in SIZES:
        found += [
            changes("ρ = 1", n, (1, 0.1), (1, 1.0), n_studies, seed),
            changes("normal, r = −.7", n, (1, 1.0), (1, 0.1), n_studies, seed),
            changes("ρ = 1", n, (1, 0.2), (0.4, 0.2), n_studies, seed),
            changes("ρ = 1", n, (1, 0.2), (-1, 0.2), n_studies, seed),
            *(repeated(n, noise, times, n_studies, seed) for noise in (0.5, 0.8) for times in (1, None)),
        ]
    return found


if __name__ == "__main__":
    sys.exit(main(rates, __doc__))
