"""Rewards and training targets of published multimodal scorers: numpy in, numpy out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr

from ..errors import MllmError

Floats = NDArray[np.float64]

# CogIP-Bench: scale of the closeness reward and of the scores.
CLOSENESS_SCALES = {"aesthetics": 10.0, "funniness": 10.0, "memorability": 1.0, "emotional_valence": 6.0}


# ------------------------------------------------------------------------------------------- rewards for one reply
def adaptive_gaussian_reward(
    prediction: ArrayLike, target: ArrayLike, *, sigma: float = 8.0, alpha: float = 0.25
) -> Floats:
    """Adaptive Gaussian Soft Reward, in (0, 1]: higher is better.

    r = exp(−e² / (2 σ'²)) with e = |prediction − target| and σ' = σ · (1 + α · e / 100).

    Args:
        prediction: on the scale 0 … 100, any shape.
        target: likewise; broadcast against the predictions.
        sigma: width at e = 0.
        alpha: how fast the width grows with the error.

    Source:
        UniPercept, arXiv 2512.21675. The paper gives no α, and its σ = 0.8 is not on this scale; σ = 8 and α = 0.25 are
        the only values on a grid of 0.01 that fit the rewards its figure prints (0.827, 0.475, 0.059, 0.000 at errors
        of 5, 10, 20, 50).

    Raises:
        MllmError: a width that is not positive, or a negative α.

    Examples:
        >>> adaptive_gaussian_reward([50, 55, 60], 50).round(3).tolist()
        [1.0, 0.827, 0.475]
    """
    if not sigma > 0 or not alpha >= 0:
        raise MllmError(f"the reward needs sigma > 0 and alpha >= 0, got {sigma} and {alpha}")
    error = np.abs(np.asarray(prediction, np.float64) - np.asarray(target, np.float64))
    return np.exp(-0.5 * (error / (sigma * (1 + alpha * error / 100))) ** 2)


def threshold_reward(prediction: ArrayLike, target: ArrayLike, *, window: float) -> Floats:
    """1 where |prediction − target| < window, else 0.

    Q-Insight rates on 1 … 5 with a window of 0.35; UniPercept's ablation does not give its window.

    Raises:
        MllmError: a window that is not positive.
    """
    if not window > 0:
        raise MllmError(f"the window must be positive, got {window}")
    return (np.abs(np.asarray(prediction, np.float64) - np.asarray(target, np.float64)) < window).astype(np.float64)


def closeness_reward(prediction: ArrayLike, target: ArrayLike, *, scale: float) -> Floats:
    """1 − |prediction − target| / scale, clipped to [−1, 1]; a NaN prediction (no number) gets −0.5.

    Args:
        prediction: NaN where the reply had no number.
        target: broadcast against the predictions.
        scale: of the dimension, see ``CLOSENESS_SCALES``. CogIP-Bench's GRPO script intends these, but uses 10
            for all of them, because the dimension never reaches the reward.

    Raises:
        MllmError: a scale that is not positive.
    """
    if not scale > 0:
        raise MllmError(f"the scale must be positive, got {scale}")
    values = np.asarray(prediction, np.float64)
    reward = np.clip(1 - np.abs(values - np.asarray(target, np.float64)) / scale, -1, 1)
    return np.where(np.isnan(values), -0.5, reward)


def degradation_reward(class_is_right: ArrayLike, severity_is_right: ArrayLike) -> Floats:
    """0.25 for the right class of degradation plus 0.75 for its severity, as in Q-Insight."""
    return 0.25 * np.asarray(class_is_right, np.float64) + 0.75 * np.asarray(severity_is_right, np.float64)


# ------------------------------------------------------------------------------------------------ rewards for pairs
def preference(target: float, other: float) -> float:
    """1 where the target is higher, 0 where it is lower, ½ where they are equal."""
    return float(0.5 * (np.sign(target - other) + 1))


def thurstone_probability(scores: ArrayLike, others: ArrayLike, *, epsilon: float = 1e-6) -> Floats:
    """Probability that each score is above the others' mean: Φ((s − mean) / √(var + var_others + ε)).

    Args:
        scores: of one image's replies, ``(K,)`` with K ≥ 2.
        others: of another image's replies, ``(K',)`` with K' ≥ 2.
        epsilon: keeps equal replies finite.

    Returns:
        ``(K,)``, with unbiased variances, as VisualQuality-R1 computes them.

    Raises:
        MllmError: fewer than two replies for an image, or a reply without a number.
    """
    first, second = np.asarray(scores, np.float64), np.asarray(others, np.float64)
    if first.ndim != 1 or second.ndim != 1 or min(len(first), len(second)) < 2:
        raise MllmError(f"two or more replies per image are needed, got shapes {first.shape} and {second.shape}")
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise MllmError("a reply has no number: leave it out, and reward only its format")
    return ndtr((first - second.mean()) / np.sqrt(first.var(ddof=1) + second.var(ddof=1) + epsilon))


def fidelity(probability: ArrayLike, truth: ArrayLike, *, epsilon: float = 0.0) -> Floats:
    """Fidelity of a predicted preference: √(p g + ε) + √((1 − p)(1 − g) + ε), 1 where p = g.

    As a reward (VisualQuality-R1, there with a small ε), or as the loss 1 − fidelity (DeQA-Score).

    Args:
        probability: p in [0, 1].
        truth: g in [0, 1]: 1, ½ or 0 by the order of the labels, or Φ((s_A − s_B) / √2).
        epsilon: keeps the gradient finite at p = 0 and p = 1; the maximum is then a little above 1.

    Raises:
        MllmError: a probability outside [0, 1].
    """
    p, g = np.asarray(probability, np.float64), np.asarray(truth, np.float64)
    if not (((p >= 0) & (p <= 1)).all() and ((g >= 0) & (g <= 1)).all()):
        raise MllmError("probabilities must be in [0, 1]")
    return np.sqrt(p * g + epsilon) + np.sqrt((1 - p) * (1 - g) + epsilon)


def fidelity_rewards(replies: Sequence[ArrayLike], targets: ArrayLike, *, epsilon: float = 1e-6) -> list[Floats]:
    """Return VisualQuality-R1's reward of every reply in a batch: the mean fidelity against every other image.

    Args:
        replies: one array of scores ``(K,)`` per image.
        targets: mean opinion scores, ``(images,)``.
        epsilon: as in ``thurstone_probability`` and ``fidelity``.

    Returns:
        One array ``(K,)`` per image.

    Raises:
        MllmError: fewer than two images, or what ``thurstone_probability`` refuses.
    """
    labels = np.asarray(targets, np.float64)
    if len(replies) < 2 or labels.shape != (len(replies),):
        raise MllmError(f"two or more images with a label each are needed, got {len(replies)} and {labels.shape}")
    return [
        np.mean(
            [
                fidelity(
                    thurstone_probability(own, other, epsilon=epsilon),
                    preference(labels[i], labels[j]),
                    epsilon=epsilon,
                )
                for j, other in enumerate(replies)
                if j != i
            ],
            axis=0,
        )
        for i, own in enumerate(replies)
    ]


# ------------------------------------------------------------------------------------------------------ soft labels
LEVELS = np.array([5.0, 4.0, 3.0, 2.0, 1.0])


def to_five(mean: float, std: float, low: float, high: float) -> tuple[float, float]:
    """Return a mean opinion score and its deviation on the scale 1 … 5.

    Raises:
        MllmError: a score outside [low, high], or a negative deviation.

    Examples:
        >>> to_five(75, 10, 0, 100)
        (4.0, 0.4)
    """
    if not low <= mean <= high or low == high or std < 0:
        raise MllmError(f"a score of {mean} ± {std} does not fit the range [{low}, {high}]")
    return 4 * (mean - low) / (high - low) + 1, 4 * std / (high - low)


def deqa_raw(mean: float, std: float, *, kind: Literal["density", "mass"] = "density") -> Floats:
    """Return the normal distribution at the levels 5 … 1: its density, or its mass within ±½ of each.

    DeQA-Score takes the density for KonIQ and KADID, the mass for SPAQ.
    """
    z = (LEVELS - mean) / std
    if kind == "density":
        return np.exp(-0.5 * z**2) / (std * np.sqrt(2 * np.pi))
    return ndtr(z + 0.5 / std) - ndtr(z - 0.5 / std)


def deqa_soft_labels(mean: float, std: float, *, kind: Literal["density", "mass"] = "density") -> Floats:
    """Return DeQA-Score's target distribution over the levels 5 … 1.

    The raw probabilities p become p' = α p + β with α = (s − 3) / (B − 3 A), β = (1 − α A) / 5, A = Σ p, B = Σ l p, so
    that Σ p' = 1 and Σ l p' = s; negative values are clipped to 0. At s = 3, α is 0/0 and its limit is taken
    (the original adds 10⁻⁹). If the deviation is below 0.2, or the mean recovered after clipping is wrong by more than
    0.1, the two levels next to the mean share the probability linearly.

    Args:
        mean: s on the scale 1 … 5, see ``to_five``.
        std: deviation on that scale; 0 if unknown.
        kind: see ``deqa_raw``.

    Returns:
        ``(5,)``, non-negative. As in the original, clipping can leave the sum above 1, by 0.076 at most for deviations
        up to 1.

    Raises:
        MllmError: a mean outside 1 … 5, or a negative deviation.

    Examples:
        >>> deqa_soft_labels(4.25, 0.1).tolist()  # a small deviation: the two levels next to the mean
        [0.25, 0.75, 0.0, 0.0, 0.0]
    """
    if not 1 <= mean <= 5 or not std >= 0:
        raise MllmError(f"a score of {mean} ± {std} is not on the scale 1 … 5: normalise it first")
    two_levels = np.clip(1 - np.abs(LEVELS - mean), 0, None)
    if std < 0.2:
        return two_levels
    raw = deqa_raw(mean, std, kind=kind)
    beside = mean if abs(mean - 3) > 1e-6 else 3 + 1e-6
    alpha = (beside - 3) / ((LEVELS - 3) @ deqa_raw(beside, std, kind=kind))
    labels = np.clip(alpha * raw + (1 - alpha * raw.sum()) / 5, 0, None)
    return labels if abs(LEVELS @ labels - mean) <= 0.1 else two_levels


def digit_soft_labels(
    digit: int, *, eta: float = 0.15, kind: Literal["triangular", "uniform"] = "triangular"
) -> Floats:
    """Return CogIP-Bench's target over the digits 0 … 9: (1 − η) · one-hot + η · ψ.

    ψ_k ∝ d − |k − c| with d = max(c, 9 − c), so the farthest digit gets 0; or ψ uniform.

    The original multiplies the distances by a power of ten for the decimal place *before* it normalises ψ. The factor
    cancels, so units, tenths and hundredths have the same weight. To weight places, scale each token's loss, as
    ``digit_cross_entropy`` does with ``weight``.

    Args:
        digit: the right one, c.
        eta: 0.15 for Qwen and Gemma, 0.08 for Llama.
        kind: of ψ.

    Raises:
        MllmError: not a digit, or η outside [0, 1].
    """
    if digit not in range(10) or not 0 <= eta <= 1:
        raise MllmError(f"a digit 0 … 9 and eta in [0, 1] are needed, got {digit} and {eta}")
    distance = np.abs(np.arange(10) - digit)
    spread = distance.max() - distance if kind == "triangular" else np.ones(10)
    return (1 - eta) * (distance == 0) + eta * spread / spread.sum()


def digit_cross_entropy(log_probabilities: ArrayLike, digit: int, *, eta: float = 0.15, weight: float = 1.0) -> float:
    """Return − weight · Σ q_k log p_k over the digits, with q the soft label.

    Args:
        log_probabilities: of the digits 0 … 9 under the softmax over the *whole* vocabulary, ``(10,)``.
        digit: the right one.
        eta: see ``digit_soft_labels``.
        weight: of the decimal place.

    Raises:
        MllmError: not ten log-probabilities, or what ``digit_soft_labels`` refuses.
    """
    logs = np.asarray(log_probabilities, np.float64)
    if logs.shape != (10,):
        raise MllmError(f"ten log-probabilities are needed, got shape {logs.shape}")
    return float(-weight * (digit_soft_labels(digit, eta=eta) @ logs))
