"""Bringing a model's ratings onto people's scale: fitted on some held-out items, judged on others."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from ..errors import MllmError
from ..scoring.scale import ScoreScale

Floats = NDArray[np.float64]
FEWEST = 10


@dataclass(frozen=True)
class Calibration:
    """A monotone map of ratings, piecewise linear between knots and constant outside them.

    Attributes:
        kind: how it was fitted.
        ratings: knots.
        labels: what they are mapped to.
        temperature: of the softmax over levels, which is applied before; 1 changes nothing.
    """

    kind: Literal["none", "temperature", "isotonic"]
    ratings: tuple[float, ...] = ()
    labels: tuple[float, ...] = ()
    temperature: float = 1.0

    def __call__(self, ratings: ArrayLike) -> Floats:
        """Return calibrated ratings; those of a temperature come from ``at_temperature``."""
        values = np.asarray(ratings, np.float64)
        return np.interp(values, self.ratings, self.labels) if self.kind == "isotonic" else values


def fit_isotonic(ratings: ArrayLike, labels: ArrayLike) -> Calibration:
    """Fit the non-decreasing map with the least squared error.

    Args:
        ratings: of the model, ``(N,)``.
        labels: of people, higher for better as the ratings are.

    Raises:
        MllmError: fewer than 10 items, or a value that is not finite.

    Examples:
        >>> rated = np.linspace(0, 1, 50)
        >>> calibration = fit_isotonic(rated, 3 * rated**2)
        >>> calibration([0.5, 2.0]).round(2).tolist()
        [0.75, 3.0]
    """
    from scipy.optimize import isotonic_regression

    x, y = _checked(ratings, labels)
    distinct, place = np.unique(x, return_inverse=True)
    counts = np.bincount(place)
    means = np.bincount(place, y) / counts
    fitted = isotonic_regression(means, weights=counts).x
    return Calibration("isotonic", tuple(distinct.tolist()), tuple(fitted.tolist()))


def at_temperature(log_probabilities: ArrayLike, scale: ScoreScale, temperature: float) -> Floats:
    """Return the expectation over levels with the softmax at another temperature, ``(N,)``.

    Args:
        log_probabilities: of the levels, up to a constant per item, ``(N, levels)``.
        scale: whose values are averaged.
        temperature: above 0; 1 is the model's own.
    """
    logs = np.asarray(log_probabilities, np.float64) / temperature
    weights = np.exp(logs - logs.max(1, keepdims=True))
    return weights @ np.asarray(scale.values) / weights.sum(1)


def fit_temperature(log_probabilities: ArrayLike, labels: ArrayLike, scale: ScoreScale) -> Calibration:
    """Fit the temperature of the softmax over levels with the least squared error.

    Args:
        log_probabilities: as for ``at_temperature``; logarithms of ``Rating.distribution``.
        labels: on the scale of the levels.
        scale: the levels.

    Raises:
        MllmError: fewer than 10 items, or a value that is not finite.
    """
    from scipy.optimize import minimize_scalar

    logs = np.asarray(log_probabilities, np.float64)
    _, y = _checked(logs.max(1), labels)

    def error(log_temperature: float) -> float:
        return float(np.mean((at_temperature(logs, scale, np.exp(log_temperature)) - y) ** 2))

    grid = np.linspace(-4, 4, 33)  # the error can have several minima
    best = float(grid[np.argmin([error(at) for at in grid])])
    found = minimize_scalar(error, bounds=(best - 0.25, best + 0.25), method="bounded")
    return Calibration("temperature", temperature=float(np.exp(found.x)))  # pyright: ignore[reportAttributeAccessIssue]


def report(rows: Sequence[tuple[str, ArrayLike]], labels: ArrayLike) -> pd.DataFrame:
    """Compare ratings without and with calibration, on items that nothing was fitted on.

    Args:
        rows: name and ratings of each, such as ``("none", ratings)`` and ``("isotonic", calibration(ratings))``.
        labels: of people.

    Returns:
        One row each: ``calibration``, ``n``, ``rmse``, ``mae``, ``plcc``, ``srcc``. A monotone map leaves the order
        as it is, except for ties.
    """
    from scipy.stats import pearsonr, spearmanr

    lines = []
    for name, ratings in rows:
        x, y = _checked(ratings, labels, 3)
        error = x - y
        still = np.ptp(x) == 0 or np.ptp(y) == 0
        plcc = math.nan if still else float(cast(Any, pearsonr(x, y)).statistic)
        srcc = math.nan if still else float(cast(Any, spearmanr(x, y)).statistic)
        rmse, mae = float(np.sqrt(np.mean(error**2))), float(np.abs(error).mean())
        lines.append({"calibration": name, "n": len(x), "rmse": rmse, "mae": mae, "plcc": plcc, "srcc": srcc})
    return pd.DataFrame(lines)


def _checked(ratings: ArrayLike, labels: ArrayLike, fewest: int = FEWEST) -> tuple[Floats, Floats]:
    x, y = np.asarray(ratings, np.float64), np.asarray(labels, np.float64)
    if x.ndim != 1 or x.shape != y.shape or len(x) < fewest:
        raise MllmError(f"calibration needs {fewest} or more ratings with a label each, got {x.shape} and {y.shape}")
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise MllmError("a rating or a label is not a finite number: leave failed replies out, and say how many")
    return x, y
