"""What it would take: the seeds and images that find a difference of a given size, and what this sample can find."""

from __future__ import annotations

import numpy as np
from scipy import optimize, stats

from .statistics.contrast import Estimate
from .statistics.multiplicity import ALPHA

POWER = 0.8
MOST_SEEDS = 50
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
    high = 1.0
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
    for seeds in range(3, MOST_SEEDS + 1):
        of_seeds, of_images = RESERVE * found.seed_variance / seeds, RESERVE * found.image_variance / n_images
        df = (of_seeds + of_images) ** 2 / (
            of_seeds**2 / ((n_cells - 1) * (seeds - 1)) + of_images**2 / max(n_images - 1, 1)
        )
        if power_of(effect, float(np.sqrt(of_seeds + of_images)), df, n_tests) >= POWER:
            return seeds
    return None
