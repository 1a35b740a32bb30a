"""Differences between trained cells that hold for new seeds and images: estimate, standard error, degrees of freedom.

Two things make a mean score uncertain: the images it was measured on and the seeds of the trainings. For a cell that is
the mean over draws of random weights there is a third: how much draws differ. Few seeds are usual, so the variance of
seeds is not taken from the compared cells alone: the variances of all cells are *squeezed* towards their common value
(Smyth, Linear models and empirical Bayes methods for assessing differential expression in microarray experiments,
2004), and two floors keep a noisy cell or setting from borrowing a calm one's variance: the pooled variance of the
cells' own settings, and the variance of the very difference. Simulated error rates: ``benchmarks/null_studies.py``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, special, stats

from .correlation import Floats
from .multiplicity import one_sided_over_looks, over_looks

# Variances are taken to be at least this share of their median before their logarithm is: an exact tie is rounding.
SMALLEST_SHARE = 1e-5


@dataclass(frozen=True)
class Estimate:
    """A difference and what is known of its error.

    Attributes:
        value: The difference.
        se: Its standard error; NaN where there are too few seeds or images to know.
        df: Degrees of freedom of the error; NaN with ``se``.
        n_seeds: Seeds that all compared cells have.
        n_images: Images.
        seed_variance: Variance of one seed's difference.
        image_variance: Variance of one image's difference, in a test set of ``n_images``.
        looks: How often the data may be looked at, each time with more seeds, before one stops. p and intervals hold
            at whichever look that is: each look has the level α/``looks`` (Bonferroni).
        draw_variance: The part of SE² that neither seeds nor images lower: that of draws of random weights.
    """

    value: float
    se: float
    df: float
    n_seeds: int
    n_images: int
    seed_variance: float = np.nan
    image_variance: float = np.nan
    looks: int = 1
    draw_variance: float = 0.0

    def columns(self, prefix: str) -> dict[str, float]:
        """Return what is known of the error as columns of a table; ``Estimate.of`` reads them back."""
        names = ("se", "df", "seed_variance", "image_variance")
        return {f"{prefix}_{name}": float(getattr(self, name)) for name in names}

    @classmethod
    def of(cls, row: Mapping[str, Any], value: str, prefix: str, looks: int = 1) -> Estimate:
        """Return the estimate of a row with the columns ``value``, n_seeds, n_images and those of ``columns``."""
        se, df, of_seeds, of_images = (
            row[f"{prefix}_{name}"] for name in ("se", "df", "seed_variance", "image_variance")
        )
        sample = row["n_seeds"], row["n_images"]
        rest = max(0.0, se**2 - of_seeds / sample[0] - of_images / sample[1]) if np.isfinite(se) else 0.0
        return cls(row[value], se, df, *sample, of_seeds, of_images, looks, rest)

    @property
    def t(self) -> float:
        """The difference over its standard error; ±∞, or 0 for no difference, if there is no noise at all."""
        if self.se == 0:
            return float(np.sign(self.value) * np.inf) if self.value else 0.0
        return self.value / self.se

    @property
    def p_greater(self) -> float:
        """One-sided p of "the true difference is at most 0"."""
        return one_sided_over_looks(float(stats.t.sf(self.t, self.df)), self.looks)

    @property
    def p(self) -> float:
        """Two-sided p of "there is no difference"."""
        return over_looks(float(2 * stats.t.sf(abs(self.t), self.df)), self.looks)

    def interval(self, level: float) -> tuple[float, float]:
        """Return the bounds that hold the true difference in ``level`` of all studies."""
        half = self.se * float(stats.t.isf((1 - level) / self.looks / 2, self.df)) if self.se else self.se
        return self.value - half, self.value + half


@dataclass(frozen=True)
class Squeezed:
    """Variances drawn towards their common value.

    Attributes:
        variances: ``(n,)``, the squeezed variances.
        df: ``(n,)``, degrees of freedom of each, prior included; can be infinite.
    """

    variances: Floats
    df: Floats


def squeeze(variances: ArrayLike, df: ArrayLike) -> Squeezed:
    """Estimate a prior for variances from all of them and return the posterior means (Smyth 2004, section 6.2).

    Args:
        variances: ``(n,)``, ≥ 0; NaN for a variance that is not known: it becomes the prior's.
        df: ``(n,)``, degrees of freedom of each.

    Examples:
        Variances as alike as chance makes them become one:

        >>> squeeze([1.0, 1.1, 0.9], [4, 4, 4]).variances.round(2)
        array([1.31, 1.31, 1.31])
    """
    variances, df = np.asarray(variances, dtype=float), np.asarray(df, dtype=float)
    known = np.isfinite(variances) & (df > 0)
    if not known.any():
        return Squeezed(np.full(len(variances), np.nan), np.full(len(variances), np.nan))
    v, d = variances[known], df[known]
    if not v.any():
        return Squeezed(np.zeros(len(variances)), np.full(len(variances), d.sum()))
    positive = np.median(v[v > 0])
    v = np.maximum(v, SMALLEST_SHARE * positive)
    z = np.log(v) - special.digamma(d / 2) + np.log(d / 2)
    extra = (z.var(ddof=1) if len(z) > 1 else 0.0) - special.polygamma(1, d / 2).mean()
    if extra > 0:
        prior_df = 2 * inverse_trigamma(extra)
        prior = float(np.exp(z.mean() + special.digamma(prior_df / 2) - np.log(prior_df / 2)))
        squeezed = (prior_df * prior + d * v) / (prior_df + d)
    else:
        prior_df, prior = np.inf, float(np.exp(z.mean()))
        squeezed = np.full(len(v), prior)
    out, out_df = np.full(len(variances), prior), np.full(len(variances), prior_df)
    out[known], out_df[known] = squeezed, prior_df + d
    return Squeezed(out, out_df)


def inverse_trigamma(value: float) -> float:
    """Return x > 0 with ψ′(x) = ``value`` > 0."""
    # ψ′ lies between 1/x and 1/x + 1/x².
    low, high = 1 / value, (1 + np.sqrt(1 + 4 * value)) / (2 * value) + 1
    root = optimize.brentq(lambda x: float(special.polygamma(1, x)) - value, low * 0.999, high)
    return float(cast(float, root))


class SeedNoise:
    """How much seeds move the mean score of each cell of a grid.

    What all cells of a setting share at a seed, such as the pretrained network they start from, cancels in their
    differences, so it is taken out first.

    Args:
        means: ``(cells, seeds)``, mean score; NaN where a cell lacks a seed.
        setting: ``(cells,)``, the setting of each cell. A setting with one cell is joined with the largest one.

    Attributes:
        cells: Squeezed variance of a cell's mean from seed to seed, and its degrees of freedom.
        setting_variance: ``(cells,)``, pooled variance within the cell's setting.
        setting_df: ``(cells,)``, its degrees of freedom.
        group: ``(cells,)``, number of the setting, single cells joined.
        df: Degrees of freedom of the whole grid.
    """

    def __init__(self, means: Floats, setting: ArrayLike):
        _, group, size = np.unique(np.asarray(setting), return_inverse=True, return_counts=True)
        if (size == 1).any():
            group = np.where(size[group] == 1, size.argmax(), group)
        self.group = group
        n_cells = len(means)
        centred = means - _mean(means, axis=1)
        variance, freedom = np.full(n_cells, np.nan), np.zeros(n_cells)
        self.setting_variance, self.setting_df = np.full(n_cells, np.nan), np.zeros(n_cells)
        self.df = 0.0
        for number in np.unique(group):
            of = np.flatnonzero(group == number)
            present = np.isfinite(means[of])
            k, n_seeds = len(of), int(present.any(axis=0).sum())
            if k < 2 or n_seeds < 2:
                continue
            squares = np.nansum((centred[of] - _mean(centred[of], axis=0)) ** 2, axis=1)
            own = present.sum(axis=1) - 1.0
            with np.errstate(divide="ignore", invalid="ignore"):
                variance[of] = np.where(own > 0, k / (k - 1) * squares / own, np.nan)
            freedom[of] = own
            df = float(max(own.sum() - (n_seeds - 1), 1.0))
            self.setting_variance[of], self.setting_df[of] = squares.sum() / df, df
            self.df += df
        self.cells = squeeze(variance, freedom)


def _mean(values: Floats, axis: int) -> Floats:
    """Return the mean of the numbers that are there, kept as an axis; 0 where there is none."""
    present = np.isfinite(values)
    return np.where(present, values, 0).sum(axis=axis, keepdims=True) / np.maximum(
        present.sum(axis=axis, keepdims=True), 1
    )


class Grid:
    """Scores of all cells of a grid by one judge, or by the mean of a panel.

    Args:
        values: ``(cells, seeds, images)``, higher is better; all images of a (cell, seed) are NaN if it was lost.
        setting: ``(cells,)``, the setting of each cell.
        strata: ``(images,)``, the test set of each image; every test set has the same weight. One set if left out.
        looks: See ``Estimate``.
        draws: For each number of draws that a cell is the mean of, ``(draws, cells, seeds, images)``: what each draw
            has above that mean; 0 for a cell that is no mean of so many. Cells can have the same draws, in one order.

    Examples:
        Two seeds and three images; the second cell is better by about 1:

        >>> scores = np.array([[[1.0, 2.0, 3.0], [1.1, 2.2, 3.0]], [[2.0, 3.1, 4.1], [2.2, 3.1, 4.0]]])
        >>> found = Grid(scores, ["none", "none"]).contrast([-1, 1])
        >>> round(found.value, 2), [round(bound, 2) for bound in found.interval(0.95)]
        (1.03, [0.41, 1.65])
    """

    def __init__(
        self,
        values: Floats,
        setting: ArrayLike,
        strata: ArrayLike | None = None,
        looks: int = 1,
        draws: Sequence[Floats] = (),
    ):
        self.values = values
        self.looks = looks
        self.setting = np.asarray(setting)
        codes = np.zeros(values.shape[2], dtype=int) if strata is None else np.unique(strata, return_inverse=True)[1]
        self.sets: list[NDArray[np.intp]] = [np.flatnonzero(codes == code) for code in range(codes.max() + 1)]
        self.draws = [self._over_images(of) for of in draws]

    @cached_property
    def means(self) -> Floats:
        """``(cells, seeds)``, mean over images, every test set with the same weight."""
        return self._over_images(self.values)

    def _over_images(self, values: Floats) -> Floats:
        return np.mean([values[..., of].mean(axis=-1) for of in self.sets], axis=0)

    @cached_property
    def noise(self) -> SeedNoise:
        """What seeds do to the cells."""
        return SeedNoise(self.means, self.setting)

    def contrast_value(self, weights: ArrayLike) -> float:
        """Return the value of ``contrast``, without its error; NaN without a common seed."""
        weights = np.asarray(weights, dtype=float)
        used = np.flatnonzero(weights)
        means = self.means[used]
        means = means[:, np.isfinite(means).all(axis=0)]
        return float((weights[used] @ means).mean()) if means.size else np.nan

    def contrast(self, weights: ArrayLike) -> Estimate:
        """Estimate Σ weight × mean of the cells; weights that add up to 0 make it a difference.

        The standard error covers seeds and images: SE² = V_seeds/S + Σ over test sets of V_images/I, where V_seeds is
        the largest of the squeezed variances of the cells, the pooled ones of their settings and the variance of the
        difference itself. Of cells that are means over m draws of random weights, V_draws/m is added: the variance of
        the difference from draw to draw, which contains noise of seeds and images once more, with m − 1 degrees of
        freedom. Those of the sum follow Satterthwaite.

        Args:
            weights: ``(cells,)``. Only seeds that every cell with a weight has are used.
        """
        weights = np.asarray(weights, dtype=float)
        used = np.flatnonzero(weights)
        w = weights[used]
        seeds = np.isfinite(self.means[used]).all(axis=0)
        n_seeds, n_images, n_sets = int(seeds.sum()), self.values.shape[2], len(self.sets)
        if not n_seeds:
            return Estimate(np.nan, np.nan, np.nan, 0, n_images, looks=self.looks)
        of_seed = w @ self.means[used][:, seeds]
        value = float(of_seed.mean())
        if n_seeds < 2 or min(len(of) for of in self.sets) < 2:
            return Estimate(value, np.nan, np.nan, n_seeds, n_images, looks=self.looks)
        of_image = np.einsum("c,csi->i", w, self.values[used][:, seeds]) / n_seeds
        seed_variance, seed_df = self._seed_variance(used, w, float(of_seed.var(ddof=1)))
        of_draws = [w @ of[:, used][:, :, seeds].mean(axis=2).T for of in self.draws]
        variances = np.array(
            [
                seed_variance / n_seeds,
                *(of_image[of].var(ddof=1) / len(of) / n_sets**2 for of in self.sets),
                *(of.var(ddof=1) / len(of) for of in of_draws),
            ]
        )
        df = np.array([seed_df, *(len(of) - 1.0 for of in (*self.sets, *of_draws))])
        total = variances.sum()
        pooled_df = total**2 / (variances**2 / df).sum() if total > 0 else float(df.min())
        of_images = float(variances[1 : n_sets + 1].sum() * n_images)
        error = float(np.sqrt(total)), float(pooled_df)
        rest = float(variances[n_sets + 1 :].sum())
        return Estimate(value, *error, n_seeds, n_images, seed_variance, of_images, self.looks, rest)

    def _seed_variance(self, used: NDArray[np.intp], w: Floats, own: float) -> tuple[float, float]:
        """Return the variance that seeds give one seed's difference, and its degrees of freedom."""
        noise = self.noise
        squeezed = w**2 * noise.cells.variances[used]
        # One pooled variance serves all cells of a setting, so its error is shared.
        groups = np.unique(noise.group[used])
        share = np.array([(w[noise.group[used] == group] ** 2).sum() for group in groups])
        first = np.array([used[noise.group[used] == group][0] for group in groups])
        pooled = share * noise.setting_variance[first]
        candidates = np.nan_to_num([squeezed.sum(), pooled.sum(), own], nan=0.0)
        variance = float(candidates.max())
        df = min(satterthwaite(squeezed, noise.cells.df[used]), noise.df)
        if candidates.argmax() > 0:
            df = min(df, satterthwaite(pooled, noise.setting_df[first]))
        return variance, max(df, 1.0)


def satterthwaite(variances: Floats, df: Floats) -> float:
    """Return the degrees of freedom of a sum of variances; ∞ for a sum of zeros, 1 if one is not known."""
    if not np.isfinite(variances).all():
        return 1.0
    below = (variances**2 / df).sum()
    return float(variances.sum() ** 2 / below) if below > 0 else np.inf
