"""Do the intervals of the spread over measures and settings cover, and does "setting dominates" stay rare if untrue?

    python benchmarks/null_variance_components.py [--studies 300] [--seed 0]

Noise of each cell, in SDs of the judge: .5 from images, .5 left over, and from seeds what the scenario says.
"""

from __future__ import annotations

import sys
from itertools import product

import numpy as np
from null_rates import Rate, main, rate_of
from numpy.typing import NDArray

from lopsided.analysis.statistics import VarianceComponents, split_variance

Floats = NDArray[np.float64]

LAYOUTS = ((2, 6), (3, 14), (5, 100))
SPREADS = ((0.0, 0.0), (0.3, 0.3), (0.5, 0.0), (0.0, 0.5))
UNLIKE = ("equal", "one cell × 10", "log-normal")


def with_sd(values: Floats, sd: float) -> Floats:
    """Return the values with mean 0 and that SD: what is true of these measures is then known exactly."""
    return sd * (values - values.mean()) / values.std(ddof=1)


def study(
    cells: tuple[int, int], layout: tuple[int, int], spread: tuple[float, float], seed_sd: float, unlike: str, rng
) -> VarianceComponents:
    """Simulate one study with the true SDs ``spread`` over measures and settings, and analyse it."""
    (measures, settings), (seeds, images) = cells, layout
    truth = with_sd(rng.standard_normal(measures), spread[0])[:, None]
    truth = truth + with_sd(rng.standard_normal(settings), spread[1])
    scale = np.ones(cells)
    if unlike == "one cell × 10":
        scale[0, 0] = np.sqrt(10)
    elif unlike == "log-normal":  # the SD of the logarithm of the variance is 1
        scale = np.exp(rng.standard_normal(cells) / 2)
    noise = (
        seed_sd * rng.standard_normal((*cells, seeds, 1))
        + 0.5 * rng.standard_normal((*cells, 1, images))
        + 0.5 * rng.standard_normal((*cells, seeds, images))
    )
    shared = seed_sd * rng.standard_normal((seeds, 1)) + rng.standard_normal(images)
    return split_variance(truth[:, :, None, None] + scale[:, :, None, None] * noise + shared)


def rates(n_studies: int, seed: int) -> list[Rate]:
    """Return all rates; 300 studies take about five minutes of one core."""
    found: list[Rate] = []
    for cells, layout, seed_sd, unlike, spread in product(((5, 3), (14, 3)), LAYOUTS, (0.1, 0.3, 1.0), UNLIKE, SPREADS):
        rng = np.random.default_rng(seed)
        held, claims = np.zeros(2, dtype=int), np.zeros(2, dtype=int)
        for _ in range(n_studies):
            result = study(cells, layout, spread, seed_sd, unlike, rng)
            parts = result.measures, result.settings
            held += [part.low <= sd + 1e-9 and sd - 1e-9 <= part.high for part, sd in zip(parts, spread, strict=True)]
            claims += [result.verdict == "measure dominates", result.verdict == "setting dominates"]
        scenario = (
            f"{cells[0]} × {cells[1]} cells, {layout[0]} seeds × {layout[1]} images, seed SD {seed_sd}, "
            f"noise {unlike}, true SD {spread[0]} of measures, {spread[1]} of settings"
        )
        for what, hits in zip(("measures", "settings"), held, strict=True):
            found.append(rate_of(f"interval of the SD over {what}", scenario, "coverage", int(hits), n_studies))
        larger = [spread[0] > spread[1], spread[1] > spread[0]]
        for what, hits, true in zip(("measure", "setting"), claims, larger, strict=True):
            kind = "power" if true else "false positives"
            found.append(rate_of(f'"{what} dominates"', scenario, kind, int(hits), n_studies))
    return found


if __name__ == "__main__":
    sys.exit(main(rates, __doc__))
