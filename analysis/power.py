"""What it would take: the sample that finds a difference of a given size, and what this sample can find."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import replace

import numpy as np
from scipy import optimize, special, stats

from .statistics.contrast import Estimate
from .statistics.multiplicity import ALPHA
from .statistics.variance_components import Component, VarianceComponents

POWER = 0.8
MOST_SEEDS, MOST_REFERENCES = 50, 2000
# Repeats of a sample that are tried, and draws for the interval of a ratio of SDs.
FAR = 1e4
REPEATS, N_DRAWS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64), 2000
# The floors of the default rule cost some power beyond what the variances say.
RESERVE = 1.2


def power_of(effect: float, se: float, df: float, n_tests: int = 1) -> float:
    """Return the probability that a two-sided t test at .05/``n_tests`` finds a true difference of this size.

    Examples:
        >>> round(power_of(0.5, 0.18, 200), 2)
        0.79
    """
    critical = stats.t.isf(ALPHA / n_tests / 2, df)
    # Finding it with the wrong sign is left out: it adds nothing where there is power, and is NaN far out.
    return float(stats.nct.sf(critical, df, abs(effect) / se))


def detectable(found: Estimate, n_tests: int = 1) -> float:
    """Return the smallest true difference that this sample finds with a probability of 80 %; NaN without an error."""
    if not np.isfinite(found.se) or found.se == 0:
        return found.se
    high, n_tests = 1.0, n_tests * found.looks
    while power_of(high * found.se, found.se, found.df, n_tests) < POWER and high < 1e6:
        high *= 2
    shares = optimize.brentq(lambda k: power_of(k * found.se, found.se, found.df, n_tests) - POWER, 1e-6, high)
    return float(shares) * found.se  # pyright: ignore[reportArgumentType]


def needed_seeds(found: Estimate, effect: float, n_images: int, n_tests: int = 1, n_cells: int = 2) -> int | None:
    """Return the fewest seeds, three or more, that find a true difference with a probability of 80 %.

    Args:
        found: A contrast of the kind in question, for its variances.
        effect: The true difference.
        n_images: Number of test images.
        n_tests: How many tests the correction is for.
        n_cells: Number of cells from which the variance of seeds is estimated.

    Returns:
        The number of seeds, or None if 50 do not do, whatever the reason: then more images are needed first.

    Examples:
        >>> sample = Estimate(0.4, 0.3, 10, n_seeds=2, n_images=6, seed_variance=0.02, image_variance=0.5)
        >>> needed_seeds(sample, effect=0.4, n_images=100)
        3
    """
    if not effect or not np.isfinite([found.seed_variance, found.image_variance]).all():
        return None

    def enough(seeds: int) -> bool:
        of_seeds, of_images = RESERVE * found.seed_variance / seeds, RESERVE * found.image_variance / n_images
        se = float(np.sqrt(of_seeds + of_images + found.draw_variance))
        df = (of_seeds + of_images) ** 2 / (
            of_seeds**2 / ((n_cells - 1) * (seeds - 1)) + of_images**2 / max(n_images - 1, 1)
        )
        return power_of(effect, se, df, n_tests * found.looks) >= POWER

    if not enough(MOST_SEEDS):
        return None
    seeds = range(3, MOST_SEEDS + 1)  # more seeds never have less power
    return seeds[bisect_left(seeds, True, key=enough)]


def needed_references(found: Estimate, effect: float, n_tests: int = 1) -> int | None:
    """Return the fewest references that find a true difference in SRCC with a probability of 80 %.

    Args:
        found: A difference in SRCC with the error of a jackknife over its ``n_images`` references.
        effect: The true difference.
        n_tests: How many tests the correction is for.

    Returns:
        The number, or None if 2000 do not do.

    Examples:
        >>> needed_references(Estimate(0.05, 0.04, 9, n_seeds=10, n_images=10), effect=0.05)
        53
    """
    if not effect or not np.isfinite(found.se):
        return None
    for n in np.unique(np.geomspace(3, MOST_REFERENCES, 200).round().astype(int)):
        if found.se == 0 or power_of(effect, found.se * (found.n_images / n) ** 0.5, n - 1.0, n_tests) >= POWER:
            return int(n)
    return None


def needed_repeats(found: VarianceComponents, level: float = 1 - ALPHA) -> int | None:
    """Return by how much seeds and images must both grow for a verdict, if the true SDs are as estimated.

    The larger SD is taken to be seen at the lower quartile of its F and the smaller one at the upper quartile: a ratio
    at least as clear comes about in some 80 % of studies.

    Returns:
        A factor for the number of seeds and for that of images, or None if 64 does not do.
    """
    large, small = sorted((found.settings, found.measures), key=lambda component: -component.sd)
    if not large.sd > small.sd:
        return None
    u = (np.arange(N_DRAWS) + 0.5) / N_DRAWS
    shuffled = np.random.default_rng(0).permutation(u)
    for times in REPEATS:
        over, under = _seen(large, times, 0.25).sd_at(u), _seen(small, times, 0.75).sd_at(shuffled)
        if np.quantile(over - under, (1 - level) / 2) > 0:
            return times
    return None


def _seen(component: Component, times: int, quantile: float) -> Component:
    """Return the component as a sample so many times as large sees it, at a quantile of its F."""
    if component.noise == 0:
        return component
    groups, noise, df = component.groups - 1, component.noise / times, component.df * times
    signal = component.sd**2 / noise
    if signal > FAR:  # the noncentral distribution fails far out, where only the error of the noise matters
        ratio = signal * df / special.chdtri(df, quantile)
    else:
        ratio = special.ncfdtri(groups, df, groups * signal, quantile)
    return replace(component, noise=noise, df=df, ratio=float(ratio))
