"""VQEG's logistic mappings of scores to labels: PLCC and RMSE as most of the literature reports them.

A measure need not be linear in the labels to be good; the mapping removes its curvature before PLCC is computed. It is
fitted by least squares to the very data it is judged on, so the values are never below the raw ones, except by
rounding.

Four parameters, monotonic (VQEG, Final report on the validation of objective models of video quality assessment, phase
II, 2003; also the form of ITU-T Tutorial on objective perceptual assessment of video quality, 2004):

    f(x) = β2 + (β1 − β2) / (1 + exp(−(x − β3) / |β4|))

Five parameters, not always monotonic (Sheikh, Sabir, Bovik, A statistical evaluation of recent full reference image
quality assessment algorithms, IEEE TIP 15(11), 2006):

    f(x) = β1 (½ − 1 / (1 + exp(β2 (x − β3)))) + β4 x + β5

Given centre and width of the sigmoid the other parameters are a linear regression, so only two are searched (variable
projection: Golub, Pereyra, SIAM J. Numer. Anal. 10(2), 1973). The search starts from a grid and guesses no amplitudes,
so that it finds the best fit and not just the nearest one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy import ndimage, optimize
from scipy.special import expit

from ..errors import AnalysisError
from .correlation import Floats, checked_pair, orientation, plcc

CONVERGED, AT_LIMIT, NOT_CONVERGED = "converged", "at a limit", "not converged"
# The centre can be this many widths beyond the scores: there the sigmoid is an exponential to 6 parts in a million.
BEYOND = 12.0
# The width can be this many times the range of the scores (a straight line), or this share of their spread (a step).
WIDEST, NARROWEST = 10.0, 0.1
# Grid of starts, and how many of its dips are followed; more found nothing better on the tables of four data sets.
START_CENTRES, START_WIDTHS, FOLLOWED = 7, 7, 4
# A search has converged if the share of variance left changes by less than this per unit of φ and of log width, or if
# another search from where it ended lowers that share by less than ``NO_GAIN``; so many are tried.
STATIONARY, NO_GAIN, SEARCHES = 1e-6, 1e-9, 6
# A sigmoid of which only this share is beyond offset and slope adds nothing to them.
NOTHING = 1e-13


@dataclass(frozen=True)
class LogisticFit:
    """A fitted mapping.

    Attributes:
        parameters: β1 … β4 or β1 … β5 of the module's formulae, in the units of the data; NaN where there is no fit.
        status: "converged"; "at a limit" where the best mapping is a straight line, an exponential or a step, which no
            finite parameters give (the values are those of the nearest mapping that the search allows); "not
            converged", or why there is no fit. ", not monotonic" is added where the mapping turns.
        plcc: Pearson's correlation of mapped scores and labels; + means the scores agree with the labels, i.e. the
            mapping rises or falls as the two directions say. NaN without a fit.
        rmse: Root of the mean squared error of the mapped scores, in units of the labels; NaN without a fit.
    """

    parameters: tuple[float, ...]
    status: str
    plcc: float
    rmse: float

    def __call__(self, score: ArrayLike) -> Floats:
        """Map scores to the labels' scale."""
        x, beta = np.asarray(score, dtype=np.float64), self.parameters
        if len(beta) == 4:
            return beta[1] + (beta[0] - beta[1]) * expit((x - beta[2]) / abs(beta[3]))
        return beta[0] * (expit(beta[1] * (x - beta[2])) - 0.5) + beta[3] * x + beta[4]


def fit_logistic(
    score: ArrayLike,
    label: ArrayLike,
    n_parameters: Literal[4, 5],
    *,
    score_higher_is_better: bool = True,
    label_higher_is_better: bool = True,
) -> LogisticFit:
    """Fit one of the mappings by least squares.

    Args:
        score: ``(n,)``, finite, not constant.
        label: ``(n,)``, finite, not constant.
        n_parameters: 4 or 5.
        score_higher_is_better: Direction of the scores.
        label_higher_is_better: Direction of the labels.

    Raises:
        AnalysisError: Another number of parameters, and see ``correlation.checked_pair``.

    Examples:
        >>> score = np.linspace(-3, 3, 20)
        >>> fit = fit_logistic(score, np.tanh(score), 4)
        >>> fit.status, round(fit.plcc, 3)
        ('converged', 1.0)
        >>> np.round(fit([-1.0, 1.0]), 2)
        array([-0.76,  0.76])
    """
    if n_parameters not in (4, 5):
        raise AnalysisError(f"a logistic mapping has 4 or 5 parameters, got {n_parameters}")
    x, y = checked_pair(score, label)
    if len(np.unique(x)) < n_parameters:
        return LogisticFit((np.nan,) * n_parameters, f"fewer than {n_parameters} different scores", np.nan, np.nan)
    middle, scale = float(np.median(x)), float(x.std())
    problem = _Projected((x - middle) / scale, y, linear=n_parameters == 5)
    # The mapping with five parameters contains that with four, and must not end above it.
    contained = _Projected(problem.x, y, linear=False).minima()[:1] if problem.linear else []
    minima = problem.minima(contained)
    if not minima:
        return LogisticFit((np.nan,) * n_parameters, NOT_CONVERGED, np.nan, np.nan)
    theta = minima[0]
    centre, width = problem.sigmoid_at(theta)
    offset, slope, amplitude = problem.coefficients(theta)
    beta3, beta4 = middle + scale * centre, scale * width
    if n_parameters == 4:
        parameters = (offset + amplitude, offset, beta3, beta4)
    else:
        parameters = (amplitude, 1 / beta4, beta3, slope / scale, offset + amplitude / 2 - slope * middle / scale)
    fit = LogisticFit(tuple(map(float, parameters)), "", np.nan, np.nan)
    mapped = fit(x)
    if np.ptp(mapped) == 0:
        return LogisticFit(fit.parameters, "the best mapping is constant", np.nan, float(np.std(y)))
    status = AT_LIMIT if problem.at_limit(theta) else CONVERGED
    if not problem.monotonic(theta):
        status += ", not monotonic"
    sign = orientation(score_higher_is_better, label_higher_is_better) * np.sign(plcc(mapped, x))
    rmse = float(np.sqrt(np.mean((mapped - y) ** 2)))
    return LogisticFit(fit.parameters, status, float(sign * plcc(mapped, y)), rmse)


class _Projected:
    """Least squares over only the centre and width of the sigmoid, on standardised scores; the rest is projected out.

    θ is (φ, log width), where φ in [0, 1] moves the centre from ``BEYOND`` widths below the scores to as many above.
    """

    def __init__(self, x: Floats, y: Floats, *, linear: bool):
        self.x, self.y, self.linear = x, y, linear
        self.low, self.range = float(x.min()), float(np.ptp(x))
        quartiles = float(np.subtract(*np.quantile(x, [0.75, 0.25])))
        self.narrowest = NARROWEST * (min(quartiles, 1.0) or 1.0)
        columns = [np.ones_like(x), x] if linear else [np.ones_like(x)]
        self.basis = np.linalg.qr(np.stack(columns, axis=1))[0]
        self.rest = self._away(y)

    def sigmoid_at(self, theta: Floats) -> tuple[float, float]:
        """Return centre and width."""
        width = float(np.exp(theta[1]))
        return self.low - BEYOND * width + theta[0] * (self.range + 2 * BEYOND * width), width

    def at_limit(self, theta: Floats) -> bool:
        """Return whether the mapping is practically an exponential, a straight line or a step."""
        centre, width = self.sigmoid_at(theta)
        outside = max(self.low - centre, centre - self.low - self.range)
        return outside > BEYOND / 2 * width or width > WIDEST / 2 * self.range or self.is_step(theta)

    def is_step(self, theta: Floats) -> bool:
        """Return whether the sigmoid is as narrow as the search allows."""
        return self.sigmoid_at(theta)[1] < 1.01 * self.narrowest

    def loss(self, theta: Floats) -> tuple[float, Floats]:
        """Return the share of the variance that the best fit leaves, and its derivative by θ, ``(2,)``."""
        centre, width = self.sigmoid_at(theta)
        sigmoid, unit, length = self._sigmoid(theta)
        explained = unit @ self.rest
        left = self.rest - unit * explained
        total = self.rest @ self.rest
        if length == 0:
            return float(left @ left / total), np.zeros(2)
        # What is left is orthogonal to the fit, so only the sigmoid's own derivative counts, not that of its amplitude.
        by_centre = 2 * left * sigmoid * (1 - sigmoid) * explained / (length * width * total)
        by_phi = by_centre.sum() * (self.range + 2 * BEYOND * width)
        by_width = by_centre @ (self.x - centre) + by_centre.sum() * BEYOND * width * (2 * theta[0] - 1)
        return float(left @ left / total), np.array([by_phi, by_width])

    def losses(self, centres: Floats, width: float) -> Floats:
        """Return the share of the variance that the best fit leaves for each of several centres."""
        sigmoid = expit((self.x - centres[:, None]) / width)
        beyond = sigmoid - (sigmoid @ self.basis) @ self.basis.T
        squares = np.einsum("ci,ci->c", beyond, beyond)
        there = squares > NOTHING**2 * np.einsum("ci,ci->c", sigmoid, sigmoid)
        explained = np.divide((beyond @ self.rest) ** 2, squares, out=np.zeros_like(squares), where=there)
        return 1 - explained / (self.rest @ self.rest)

    def minima(self, starts: Sequence[Floats] = ()) -> list[Floats]:
        """Return the ends of the searches that converge, best first, from ``starts`` and the deepest dips of a grid.

        Steps come last: with five parameters, a step can just dent the line for a few points, which is not a mapping.
        """
        spread = np.quantile(self.x, np.linspace(0.01, 0.99, START_CENTRES))
        centres = np.unique([*spread, *np.linspace(self.low, self.low + self.range, START_CENTRES)])
        widths = np.geomspace(1.5 * self.narrowest, 2 * self.range, START_WIDTHS)
        share = (centres[:, None] - self.low + BEYOND * widths) / (self.range + 2 * BEYOND * widths)
        grid = np.stack([share, np.broadcast_to(np.log(widths), share.shape)], axis=-1)
        loss = np.stack([self.losses(centres, width) for width in widths], axis=1)
        dip = loss <= ndimage.minimum_filter(loss, size=3, mode="nearest")
        dips = grid[dip][np.argsort(loss[dip])][:FOLLOWED]
        found = [(end, False) for start in starts if (end := self._search(start)) is not None]
        found += [(end, self.is_step(end[0])) for start in dips if (end := self._search(start)) is not None]
        return [theta for (theta, _), _ in sorted(found, key=lambda each: (each[1], each[0][1]))]

    def _search(self, start: Floats) -> tuple[Floats, float] | None:
        """Return the end of a search and the share of variance left there, or None if it does not converge."""
        low, high = np.array([[0.0, np.log(self.narrowest)], [1.0, np.log(WIDEST * self.range)]])
        before = np.inf
        for _ in range(SEARCHES):
            end = optimize.minimize(
                self.loss,
                start,
                jac=True,
                bounds=optimize.Bounds(low, high),
                method="L-BFGS-B",
                options={"ftol": 1e-13, "gtol": 1e-9},
            )
            # The optimiser's own verdict is not used: it calls rounding errors at the bottom of a flat valley a
            # failure, and a short step a success.
            downhill = np.clip(end.x - end.jac, low, high) - end.x
            if np.abs(downhill).max() < STATIONARY or before - end.fun < NO_GAIN:
                return end.x, float(end.fun)
            start, before = end.x, end.fun
        return None

    def monotonic(self, theta: Floats) -> bool:
        """Return whether the best mapping for this sigmoid never turns within the scores, apart from rounding."""
        offset, slope, amplitude = self.coefficients(theta)
        centre, width = self.sigmoid_at(theta)
        x = np.sort(self.x)
        mapped = offset + slope * x + amplitude * expit((x - centre) / width)
        steps, rounding = np.diff(mapped), 1e-9 * np.ptp(mapped)
        return not steps.min() < -rounding < rounding < steps.max()

    def coefficients(self, theta: Floats) -> tuple[float, float, float]:
        """Return offset, slope and amplitude of the best fit for this sigmoid."""
        sigmoid, unit, length = self._sigmoid(theta)
        amplitude = float(unit @ self.rest) / length if length else 0.0
        left = self.y - amplitude * sigmoid
        slope = float(np.cov(self.x, left, ddof=0)[0, 1] / self.x.var()) if self.linear else 0.0
        return float(left.mean() - slope * self.x.mean()), slope, amplitude

    def _away(self, values: Floats) -> Floats:
        return values - self.basis @ (self.basis.T @ values)

    def _sigmoid(self, theta: Floats) -> tuple[Floats, Floats, float]:
        """Return the sigmoid, its unit part beyond offset and slope, and the length of that part (0: there is none)."""
        centre, width = self.sigmoid_at(theta)
        sigmoid = expit((self.x - centre) / width)
        beyond = self._away(sigmoid)
        length = float(np.linalg.norm(beyond))
        if length <= NOTHING * np.linalg.norm(sigmoid):
            return sigmoid, np.zeros_like(sigmoid), 0.0
        return sigmoid, beyond / length, length
