"""Cells that lost seeds: the share with its interval, and a comparison that losing the worst seeds does not flatter.

A cell whose worst seeds diverged looks better by its survivors alone. Balanced trimming takes as many of the worst from
the other cell too, and knows that the best of some are better than an average one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from ..errors import AnalysisError
from .bootstrap import LEVEL
from .correlation import ROUNDING, Floats

N_SIMULATED = 20_000


def share_interval(k: int, n: int, level: float = LEVEL) -> tuple[float, float]:
    """Return the exact interval of the chance behind ``k`` of ``n``, e.g. diverged seeds.

    Source: Clopper & Pearson, The use of confidence or fiducial limits illustrated in the case of the binomial,
    Biometrika 26 (1934).

    Raises:
        AnalysisError: ``n`` below 1, or ``k`` outside 0 to ``n``.

    Examples:
        >>> [round(end, 3) for end in share_interval(1, 5)]
        [0.005, 0.716]
        >>> share_interval(0, 3)[0], round(share_interval(0, 3)[1], 3)
        (0.0, 0.708)
    """
    if not (n >= 1 and 0 <= k <= n):
        raise AnalysisError(f"a share needs k of n with n of 1 or more and k from 0 to n, got {k} of {n}.")
    tail = (1 - level) / 2
    low = special.betaincinv(k, n - k + 1, tail) if k > 0 else 0.0
    high = special.betaincinv(k + 1, n - k, 1 - tail) if k < n else 1.0
    return float(low), float(high)


@dataclass(frozen=True)
class Trimmed:
    """Comparison of the best seeds of two cells.

    Attributes:
        difference: Mean of the best ``kept`` seeds of the first cell minus that of the second, in the values' unit.
        kept: Number of seeds of each cell that were compared.
        p: Two-sided p; NaN without a verdict.
        status: "ok", or what is missing.
    """

    difference: float
    kept: int
    p: float
    status: str


def balanced_trimming(a: ArrayLike, b: ArrayLike, seed: int = 0) -> Trimmed:
    """Compare the best S − h seeds of both cells, where h is the larger number of seeds that a cell lost.

    A lost seed counts as one of the worst, and the cell that lost fewer is trimmed to match (Permutt & Li, Trimmed
    means for symptom trials with dropouts, Pharmaceutical Statistics 16, 2017). The best of S are above the mean, and
    the more so the more seeds spread: a reference of simulated normal seeds, trimmed in the same way and scaled to each
    cell's own spread, takes that out (a generalised p: Tsui & Weerahandi, Generalized p-values in significance testing
    of hypotheses in the presence of nuisance parameters, JASA 84, 1989).

    Two kept seeds decide next to nothing. What both cells share at a seed is not used, which errs on the safe side. If
    losses strike good seeds and bad ones alike, a cell that lost seeds is judged too strictly.

    Args:
        a: ``(S, images)``, values of the first cell, higher is better; a row of NaN is a lost seed.
        b: The same for the second cell, same images.
        seed: Of the simulation.

    Raises:
        AnalysisError: Shapes that differ, or a seed with some of its values missing.

    Examples:
        The first cell lost its worst seed, and the best two of three are compared:

        >>> a, b = [[0.8, 1.0], [1.1, 1.1], [np.nan, np.nan]], [[0.7, 0.9], [1.1, 1.3], [1.0, 1.0]]
        >>> found = balanced_trimming(a, b)
        >>> round(found.difference, 2), found.kept, found.p > 0.05
        (-0.1, 2, True)
    """
    cells = [np.asarray(cell, dtype=np.float64) for cell in (a, b)]
    if cells[0].ndim != 2 or cells[0].shape != cells[1].shape:
        raise AnalysisError(f"two cells need (seeds, images) of one shape, got {cells[0].shape} and {cells[1].shape}.")
    found = [np.isfinite(cell) for cell in cells]
    if bad := sum(int((~each.all(axis=1) & each.any(axis=1)).sum()) for each in found):
        raise AnalysisError(f"{bad} seeds lack some of their images: give all values of a seed, or none.")
    seeds, images = cells[0].shape
    kept = int(min(each.all(axis=1).sum() for each in found))
    best = [best_of(cell[each.all(axis=1)], kept) for cell, each in zip(cells, found, strict=True)]
    by_seed = np.array([cell.mean(axis=1) for cell in best])
    difference = float(by_seed[0].mean() - by_seed[1].mean()) if kept else math.nan
    if kept < 2 or images < 2:
        few = f"{kept} of {seeds} seeds are left" if kept < 2 else "one image"
        return Trimmed(difference, kept, math.nan, f"{few}: noise is unknown")
    seed_sd = by_seed.std(axis=1, ddof=1)
    image_variance = float((best[0].mean(axis=0) - best[1].mean(axis=0)).var(ddof=1)) / images
    if (seed_sd**2).sum() + image_variance <= ROUNDING * max(float((cell**2).max()) for cell in best):
        return Trimmed(
            difference, kept, math.nan, "all seeds and images give the same: there is no noise to compare with"
        )

    # What the difference would be if both cells were equal: the best of normal seeds, and Student's t for images.
    rng = np.random.default_rng(seed)
    drawn = np.sort(rng.standard_normal((2, N_SIMULATED, seeds)), axis=2)[:, :, seeds - kept :]
    above = seed_sd[:, None] * drawn.mean(axis=2) / drawn.std(axis=2, ddof=1)
    null = above[0] - above[1] + math.sqrt(image_variance) * rng.standard_t(images - 1, N_SIMULATED)
    beyond = min((null >= difference).sum(), (null <= difference).sum())
    return Trimmed(difference, kept, min(1.0, float(2 * (1 + beyond) / (1 + N_SIMULATED))), "ok")


def best_of(cell: Floats, kept: int) -> Floats:
    """Return the ``kept`` seeds with the highest means."""
    return cell[np.argsort(-cell.mean(axis=1), kind="stable")[:kept]]
