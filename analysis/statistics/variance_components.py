"""Does the choice of the measure or that of the setting matter more? Variance components with the noise subtracted.

The spread of mean gains is the spread of true gains plus noise of seeds and images, so it is above zero where all true
gains are the same. Here the noise is estimated from interactions and subtracted, and the interval says what is left.

The settings (and measures) are fixed: the SD is that of the true gains of *these* settings, not of a population.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from ..errors import AnalysisError
from .bootstrap import LEVEL
from .correlation import ROUNDING, Floats

SETTING_DOMINATES, MEASURE_DOMINATES = "setting dominates", "measure dominates"
N_DRAWS = 20_000


@dataclass(frozen=True)
class Component:
    """The SD of the true means of some groups.

    Attributes:
        groups: Number of groups.
        sd: SD of the true means (divisor groups − 1) in the unit of the values, noise subtracted, floored at 0.
        low: Lower end of its interval, ≥ 0.
        high: Upper end.
        noise: Variance of one group's mean, from seeds, images and draws of random weights.
        df: Degrees of freedom of that variance.
        ratio: F, the variance of the observed means in units of ``noise``; about 1 if the true means are equal.
        status: "ok", or what is missing. All numbers are then NaN.
    """

    groups: int
    sd: float
    low: float
    high: float
    noise: float
    df: float
    ratio: float
    status: str

    def sd_at(self, u: ArrayLike) -> Floats:
        """Return the SD under which a share ``u`` of studies would find a larger F than this one: 0 if none does.

        The 2.5 % and 97.5 % points are the ends of the 95 % interval; uniform ``u`` draw from what is known of the SD.

        Args:
            u: Any shape, in (0, 1).
        """
        if self.noise == 0:
            return np.full(np.shape(u), self.sd)
        return sd_at(u, self.ratio, self.groups - 1, self.df, self.noise)


@dataclass(frozen=True)
class VarianceComponents:
    """Spread over measures and over settings, and which one is larger.

    Attributes:
        measures: Spread over measures of their means over settings.
        settings: Spread over settings of their means over measures.
        ratio: SD over settings by SD over measures; infinite if only the second is 0, NaN if both are.
        ratio_low: Lower end of its interval.
        ratio_high: Upper end, may be infinite.
        p_settings_larger: Share of draws in which the ratio is above 1.
        verdict: "setting dominates" if the interval is above 1, "measure dominates" if it is below, else "undecided";
            or the status of the component that has none.
    """

    measures: Component
    settings: Component
    ratio: float
    ratio_low: float
    ratio_high: float
    p_settings_larger: float
    verdict: str


def split_variance(
    x: ArrayLike, level: float = LEVEL, seed: int = 0, draws: Sequence[Floats] = ()
) -> VarianceComponents:
    """Compare the spread of gains over measures with that over settings.

    The ratio's interval comes from draws of both SDs, each from its own noncentral F. A draw in which both are 0 counts
    for neither side.

    Args:
        x: ``(measures, settings, seeds, images)``, finite and complete: leave out a measure or a setting that lacks
            cells, and say so. Seeds and images are crossed with the cells.
        level: Confidence of all intervals.
        seed: Of the draws.
        draws: For each number of draws of random weights that a measure is the mean of,
            ``(draws, measures, settings)``: what each draw has above the mean; 0 for a measure without draws.

    Raises:
        AnalysisError: Another number of axes, or a value that is not finite.

    Examples:
        Three settings far apart, two measures alike:

        >>> noise = np.random.default_rng(0).normal(size=(2, 3, 3, 10))
        >>> found = split_variance(np.array([0.0, 5.0, 10.0])[:, None, None] + noise)
        >>> found.verdict, round(found.settings.sd, 1)
        ('setting dominates', 5.0)
    """
    values = np.asarray(x, dtype=np.float64)
    if values.ndim != 4:
        raise AnalysisError(f"variance components need (measures, settings, seeds, images), got shape {values.shape}.")
    if bad := int((~np.isfinite(values)).sum()):
        raise AnalysisError(
            f"{bad} of {values.size} values are not finite: leave out the measures or settings that lack cells."
        )
    measures = component(values.mean(axis=1), level, "measures", [of.mean(axis=2) for of in draws])
    settings = component(values.mean(axis=0), level, "settings", [of.mean(axis=1) for of in draws])
    for found in (measures, settings):
        if found.status != "ok":
            return VarianceComponents(measures, settings, *[math.nan] * 4, verdict=found.status)
    rng = np.random.default_rng(seed)
    over, under = (found.sd_at(rng.random(N_DRAWS)) for found in (settings, measures))
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = float(np.divide(settings.sd, measures.sd))
        ratios = over / under
    tails = (1 - level) / 2, (1 + level) / 2
    # Both 0 says nothing: it is put where it speaks against either verdict.
    low = float(np.quantile(np.nan_to_num(ratios, nan=0, posinf=np.inf), tails[0], method="inverted_cdf"))
    high = float(np.quantile(np.nan_to_num(ratios, nan=np.inf, posinf=np.inf), tails[1], method="inverted_cdf"))
    verdict = SETTING_DOMINATES if low > 1 else MEASURE_DOMINATES if high < 1 else "undecided"
    return VarianceComponents(measures, settings, ratio, low, high, float((ratios > 1).mean()), verdict)


def component(values: ArrayLike, level: float = LEVEL, name: str = "groups", draws: Sequence[Floats] = ()) -> Component:
    """Return the spread of group means, seeds and images being crossed with the groups.

    The variance of a group's mean is q_S/S + q_I/I − q_E/(S·I), from the interaction mean squares group × seed, group ×
    image and the rest, and at least each of the first two alone; its degrees of freedom are Satterthwaite's (An
    approximate distribution of estimates of variance components, Biometrics Bulletin 2, 1946). What all groups share at
    a seed or an image, such as the baseline's luck, cancels. Draws of random weights add the interaction group × draw,
    which contains noise of seeds and images once more, with draws − 1 degrees of freedom. F = variance of the means /
    that variance is noncentral, and the interval holds all SDs for which the F that was seen is not unusual. The upper
    end is never below that of F = 1: less variance than noise alone would give is luck, not certainty.

    Args:
        values: ``(groups, seeds, images)``, finite.
        level: Confidence of the interval.
        name: What the groups are, for the status.
        draws: For each number of draws, ``(draws, groups)``: what each draw has above its group's mean.

    Examples:
        >>> noise = np.random.default_rng(0).normal(size=(5, 3, 20))
        >>> found = component(noise)  # five groups with the same true mean
        >>> found.low, round(found.high, 2), found.high > found.sd
        (0.0, 0.32, True)
    """
    y = np.asarray(values, dtype=np.float64)
    groups, seeds, images = y.shape
    for n, what, why in (
        (groups, name, "no spread"),
        (seeds, "seeds", "their noise is unknown"),
        (images, "images", "their noise is unknown"),
    ):
        if n < 2:
            return Component(groups, *[math.nan] * 6, status=f"fewer than two {what}: {why}")
    by_seed, by_image = centred(y.mean(axis=2)), centred(y.mean(axis=1))
    rest = centred(y) - by_seed[:, :, None] - by_image[:, None, :]
    # Per mean of a group: the part of seeds, that of images, and what both contain.
    df = np.array([(groups - 1) * (seeds - 1), (groups - 1) * (images - 1), (groups - 1) * (seeds - 1) * (images - 1)])
    squares = np.array([(part**2).sum() for part in (by_seed, by_image, rest)])
    parts = squares / df / (seeds, images, seeds * images)
    candidates = parts[0] + parts[1] - parts[2], parts[0], parts[1]
    largest = int(np.argmax(candidates))
    used = slice(None) if largest == 0 else slice(largest - 1, largest)
    of_draws = [of.var(axis=1, ddof=1).sum() / (len(of) - 1) / len(of) for of in draws]
    terms, term_df = np.append(parts[used], of_draws), np.append(df[used], [len(of) - 1 for of in draws])
    noise = float(candidates[largest] + sum(of_draws))
    if noise <= ROUNDING * float((y**2).max()):
        sd = float(y.mean(axis=(1, 2)).std(ddof=1))
        return Component(groups, sd, sd, sd, 0.0, math.inf, math.inf if sd else math.nan, "ok")
    noise_df = float(noise**2 / (terms**2 / term_df).sum())
    variance = float(y.mean(axis=(1, 2)).var(ddof=1))
    ratio = variance / noise
    low, high = sd_at([(1 - level) / 2, (1 + level) / 2], ratio, groups - 1, noise_df, noise)
    if ratio < 1:
        high = sd_at((1 + level) / 2, 1.0, groups - 1, noise_df, noise)
    sd = math.sqrt(max(0.0, variance - noise))
    return Component(groups, sd, float(low), float(high), noise, noise_df, ratio, "ok")


def centred(table: Floats) -> Floats:
    """Return what is left of a table when the means of its first axis and of all others are taken out."""
    others = tuple(range(1, table.ndim))
    return table - table.mean(axis=0) - table.mean(axis=others, keepdims=True) + table.mean()


def sd_at(u: ArrayLike, ratio: float, df_groups: int, df_noise: float, noise: float) -> Floats:
    """Return the SD of true means under which P(F > ``ratio``) = ``u``: see :meth:`Component.sd_at`.

    F is noncentral with λ = df_groups · SD² / noise. Its survival function is tabulated over λ and read backwards.
    """
    if ratio > 1e4:  # the uncertainty of the means themselves is then nothing against that of the noise
        return np.sqrt(ratio * noise * special.chdtri(df_noise, 1 - np.asarray(u)) / df_noise)
    most = 1.0
    while special.ncfdtr(df_groups, df_noise, most, ratio) > 1e-6:
        most *= 2
    nc = most * np.linspace(0, 1, 200) ** 2
    above = 1 - special.ncfdtr(df_groups, df_noise, nc, ratio)
    return np.interp(np.asarray(u, dtype=np.float64), above, np.sqrt(nc * noise / df_groups))
