"""Is a cell that lost its worst seeds falsely called better? Balanced trimming beside the survivors alone.

    python benchmarks/null_divergence.py [--studies 300] [--seed 0]

Noise in SDs of the judge: .5 from images, .5 left over; the SD of seeds is given for both. Two-sided tests at .05.
"""

from __future__ import annotations

import sys

import numpy as np
from null_rates import Rate, main, rate_of
from numpy.typing import NDArray
from scipy import stats

from lopsided.analysis.statistics import balanced_trimming

Floats = NDArray[np.float64]

LAYOUTS = ((3, 0), (3, 1), (5, 0), (5, 2), (8, 0), (8, 3))  # seeds, and how many of its worst the first cell loses
SPREADS = ((0.3, 0.3), (1.0, 1.0), (0.9, 0.3), (0.3, 0.9))


def cells(seeds: int, lost: int, images: int, spread: tuple[float, float], effect: float, rng) -> list[Floats]:
    """Draw two cells; the first is better by ``effect`` and then loses its worst seeds."""
    drawn = [
        sd * rng.standard_normal((seeds, 1))
        + 0.5 * rng.standard_normal(images)
        + 0.5 * rng.standard_normal((seeds, images))
        for sd in spread
    ]
    drawn[0] += effect
    drawn[0][np.argsort(drawn[0].mean(axis=1))[:lost]] = np.nan
    return drawn


def rates(n_studies: int, seed: int) -> list[Rate]:
    """Return all rates; 300 studies take about five minutes of one core."""
    found: list[Rate] = []
    for seeds, lost in LAYOUTS:
        for images, spread, effect in (
            *((images, spread, 0.0) for images in (6, 14, 100) for spread in SPREADS),
            (14, (0.3, 0.3), 1.0),
            (100, (0.1, 0.1), 0.5),
        ):
            rng, trimmed, survivors = np.random.default_rng(seed), 0, 0
            for study in range(n_studies):
                a, b = cells(seeds, lost, images, spread, effect, rng)
                trimmed += balanced_trimming(a, b, seed=study).p < 0.05
                means = [cell[np.isfinite(cell[:, 0])].mean(axis=1) for cell in (a, b)]
                survivors += np.asarray(stats.ttest_ind(*means))[1] < 0.05
            scenario = f"{lost} of {seeds} seeds lost, {images} images, seed SD {spread}, effect {effect}"
            kind = "power" if effect else "false positives"
            found.append(rate_of("balanced trimming", scenario, kind, trimmed, n_studies))
            found.append(rate_of("survivors, t test of seeds", scenario, "for comparison", survivors, n_studies))
    return found


if __name__ == "__main__":
    sys.exit(main(rates, __doc__))
