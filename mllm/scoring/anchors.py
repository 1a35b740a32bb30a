"""Scores from comparisons: maximum a posteriori scores of Thurstone's model, against anchor images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image
from scipy.special import expit, log_expit, log_ndtr

from ..errors import MllmError
from .outcomes import Rating
from .scorer import Scorer

Floats = NDArray[np.float64]


def _logistic(difference: Floats) -> tuple[Floats, Floats]:
    """Return first and second derivative of log σ."""
    return expit(-difference), -expit(difference) * expit(-difference)


def _normal(difference: Floats) -> tuple[Floats, Floats]:
    """Return first and second derivative of log Φ."""
    first = np.exp(-0.5 * difference**2 - log_ndtr(difference)) / np.sqrt(2 * np.pi)
    return first, -first * (first + difference)


_LINKS: dict[str, tuple[Callable[[Floats], Floats], Callable[[Floats], tuple[Floats, Floats]]]] = {
    "logistic": (log_expit, _logistic),
    "normal": (log_ndtr, _normal),
}


def thurstone_scores(wins: ArrayLike, *, link: Literal["logistic", "normal"] = "logistic") -> Floats:
    """Return the scores q that maximise Σ_ij C_ij log F(q_i − q_j) − Σ_i q_i² / 2.

    The objective is strictly concave, so its maximum is unique; Newton's method finds it to rounding. (Compare2Score's
    code takes 100 steps of Adam from random scores instead.)

    Args:
        wins: C ``(n, n)``: how often, or with what probability, i is better than j; 0 both ways for pairs never
            compared.
        link: F: ``logistic`` as in Compare2Score's code, ``normal`` as in its paper and in Thurstone's case V.

    Returns:
        ``(n,)``, higher is better. They sum to 0 by the symmetry of the model.

    Raises:
        MllmError: not a square matrix of finite numbers ≥ 0 with two rows or more.

    Examples:
        >>> thurstone_scores([[0, 9], [1, 0]]).round(3).tolist()  # the first won nine of ten comparisons
        [0.769, -0.769]
    """
    counts = np.asarray(wins, np.float64)
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1] or len(counts) < 2:
        raise MllmError(f"wins must be a square matrix of two or more, got shape {counts.shape}")
    if not (np.isfinite(counts).all() and (counts >= 0).all()):
        raise MllmError("wins must be finite and not negative: leave out images whose comparisons failed")
    counts = counts - np.diag(np.diag(counts))
    log_f, derivatives = _LINKS[link]

    def objective(scores: Floats) -> float:
        return float(np.sum(counts * log_f(scores[:, None] - scores)) - scores @ scores / 2)

    scores = np.zeros(len(counts))
    height = objective(scores)
    for _ in range(100):
        first, second = derivatives(scores[:, None] - scores)
        pull, curve = counts * first, counts * second
        gradient = pull.sum(1) - pull.sum(0) - scores
        curve = curve + curve.T
        step = -np.linalg.solve(np.diag(curve.sum(1) - 1) - curve, gradient)
        while objective(scores + step) < height and np.abs(step).max() > 1e-12:
            step = step / 2
        scores = scores + step
        height = objective(scores)
        if np.abs(step).max() < 1e-12:
            break
    return scores


def rate_against_anchors(
    scorer: Scorer, images: Sequence[Image.Image], anchors: Sequence[Image.Image], *, wins: ArrayLike | None = None
) -> list[Rating]:
    """Rate images by comparing each with every anchor image, the anchor shown first.

    Args:
        scorer: one whose preset compares, such as ``compare2score``.
        images: the images to rate.
        anchors: two or more, best from very poor to excellent: scores are relative to them.
        wins: probability ``(anchors, anchors)`` that one anchor is better than another; by default the scorer compares
            them, in both orders.

    Returns:
        One rating per image: its ``thurstone_scores`` among the anchors, scaled to 0 … 100 by the lowest and highest
        score among anchors and image, as Compare2Score does. ``failed`` where a comparison failed.

    Raises:
        MllmError: fewer than two anchors, a matrix of another size, or anchors that cannot be compared.
    """
    count = len(anchors)
    if count < 2:
        raise MllmError(f"two or more anchors are needed, got {count}")
    if wins is None:
        places = [(i, j) for i in range(count) for j in range(count) if i != j]
        among = np.zeros((count, count))
        for (i, j), result in zip(places, scorer.compare([(anchors[i], anchors[j]) for i, j in places]), strict=True):
            if result.first_is_better is None:
                raise MllmError(f"anchors {i + 1} and {j + 1} cannot be compared: {result.raw}")
            among[i, j] += result.first_is_better / 2
            among[j, i] += (1 - result.first_is_better) / 2
    else:
        among = np.asarray(wins, np.float64)
        if among.shape != (count, count):
            raise MllmError(f"{count} anchors need a matrix ({count}, {count}) of wins, got {among.shape}")
    compared = scorer.compare([(anchor, image) for image in images for anchor in anchors])
    ratings = []
    for index in range(len(images)):
        row = compared[index * count : (index + 1) * count]
        lost = next((result for result in row if result.first_is_better is None), None)
        if lost:
            ratings.append(Rating(None, None, None, lost.status, lost.raw))
            continue
        anchor_wins = np.array([result.first_is_better for result in row], dtype=np.float64)
        scores = thurstone_scores(np.block([[among, anchor_wins[:, None]], [1 - anchor_wins, np.zeros(1)]]))
        span = float(np.ptp(scores))
        if span == 0:
            ratings.append(Rating(None, None, None, "ambiguous", "all comparisons are ties: anchors and image"))
            continue
        ratings.append(Rating(float(100 * (scores[-1] - scores.min()) / span), None, None, "ok", ""))
    return ratings
