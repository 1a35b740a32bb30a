"""Losses that teach a multimodal LLM to rate: torch twins of what ``lopsided.mllm.scoring.targets`` has in numpy.

All of them take the logits of the whole vocabulary and sum over what they are given; the caller divides, because only
the caller knows how many tokens or images the whole step has when it is computed in parts (gradient accumulation).
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from ..errors import MllmError
from ..scoring.targets import deqa_soft_labels

Spread = Literal["triangular", "uniform"]
IGNORED = -100  # the label of tokens that are not trained, as everywhere in transformers


def digit_targets(
    digits: Tensor, *, eta: float = 0.15, spread: Spread = "triangular", power: Tensor | None = None
) -> Tensor:
    """Return CogIP-Bench's soft labels of digits: (1 − η) · one-hot + η · ψ, see ``targets.digit_soft_labels``.

    Args:
        digits: the right digits, whole numbers 0 … 9, ``(N,)``.
        eta: share of ψ.
        spread: form of ψ.
        power: factor of the distances per digit, ``(N,)``, as in the original, which means to weight the decimal
            places. ψ is normalised afterwards, so the factor changes nothing; it is here to show that.

    Returns:
        ``(N, 10)``, rows sum to 1.

    Raises:
        MllmError: not a digit, or η outside [0, 1].

    Examples:
        >>> [round(q, 3) for q in digit_targets(torch.tensor([5]))[0, 3:7].tolist()]
        [0.018, 0.024, 0.88, 0.024]
    """
    if not 0 <= eta <= 1 or (digits.numel() and not (int(digits.min()) >= 0 and int(digits.max()) <= 9)):
        raise MllmError(f"digits 0 … 9 and eta in [0, 1] are needed, got {digits.tolist()} and {eta}")
    distance = (torch.arange(10, device=digits.device) - digits[:, None]).abs().float()
    if power is not None:
        distance = distance * power[:, None]
    weights = distance.amax(1, keepdim=True) - distance if spread == "triangular" else torch.ones_like(distance)
    return (1 - eta) * (distance == 0).float() + eta * weights / weights.sum(1, keepdim=True)


def digit_ranks(labels: Tensor, digit_ids: Tensor, point_ids: Tensor) -> Tensor:
    """Return which digit of its number each label is: 0 for the first one, −1 for what is no digit.

    A decimal point does not end a number, so in ``5.577`` the ranks are 0, 1, 2, 3.

    Args:
        labels: token ids, ``(B, T)``.
        digit_ids: ids of the digits 0 … 9, ``(10,)``.
        point_ids: ids of decimal points, ``(P,)``.
    """
    is_digit, is_point = torch.isin(labels, digit_ids), torch.isin(labels, point_ids)
    ranks, reached = torch.full_like(labels, -1), torch.zeros_like(labels[:, 0])
    for t in range(labels.shape[1]):
        ranks[:, t] = torch.where(is_digit[:, t], reached, -1)
        reached = torch.where(is_digit[:, t], reached + 1, torch.where(is_point[:, t], reached, 0))
    return ranks


def soft_digit_loss(
    logits: Tensor,
    labels: Tensor,
    digit_ids: Tensor,
    point_ids: Tensor,
    *,
    weight: float = 2.0,
    eta: float = 0.15,
    spread: Spread = "triangular",
    place_weight: float = 1.0,
    cancelling: bool = False,
) -> Tensor:
    """Return CogIP-Bench's loss, summed: Σ cross-entropy of ordinary tokens + λ · Σ − q · log p of digits.

    log p is that of the softmax over the whole vocabulary. The original divides the sum by the number of trained
    tokens, ordinary ones and digits alike. In 2511.22805 λ is 2, and η is 0.15 for Qwen and Gemma, 0.08 for Llama.

    Args:
        logits: ``(B, T, V)``, where position t predicts label t (already shifted).
        labels: ``(B, T)``; −100 is not trained.
        digit_ids: ids of the ten digits.
        point_ids: ids of decimal points.
        weight: λ.
        eta: see ``digit_targets``.
        spread: see ``digit_targets``.
        place_weight: r in (0, 1]: the k-th digit of a number counts r^k, so with r < 1 a wrong first digit costs more
            than a wrong last one. 1 weights all alike, which is what the original does in effect.
        cancelling: put the factor 10^−k where the original has it, into ψ before it is normalised: no effect.

    Raises:
        MllmError: a weight out of range.
    """
    if not 0 < place_weight <= 1 or not weight >= 0:
        raise MllmError(f"weight ≥ 0 and place_weight in (0, 1] are needed, got {weight} and {place_weight}")
    ranks = digit_ranks(labels, digit_ids, point_ids)
    ordinary = (labels != IGNORED) & (ranks < 0)
    total = F.cross_entropy(logits[ordinary].float(), labels[ordinary], reduction="sum")
    numbers = ranks >= 0
    digits = (labels[numbers][:, None] == digit_ids).int().argmax(1)
    power = 10.0 ** -ranks[numbers].float() if cancelling else None
    soft = digit_targets(digits, eta=eta, spread=spread, power=power)
    logs = logits[numbers].float().log_softmax(-1)[:, digit_ids]
    places = place_weight ** ranks[numbers].float()
    return total - weight * (places * (soft * logs).sum(1)).sum()


def level_loss(logits: Tensor, targets: Tensor, level_ids: Tensor) -> Tensor:
    """Return KL(target ‖ softmax) at the level's token, over the whole vocabulary, summed over images.

    With one-hot targets this is Q-Align's cross-entropy of the level word.

    Args:
        logits: where the level word is predicted, ``(N, V)``.
        targets: probabilities of the levels, ``(N, L)``.
        level_ids: token ids of the levels, ``(L,)``.

    Examples:
        >>> logits = torch.zeros(1, 8)
        >>> round(float(level_loss(logits, torch.tensor([[1.0, 0.0]]), torch.tensor([3, 4]))), 4)  # ln 8
        2.0794
    """
    logs = logits.float().log_softmax(-1)[:, level_ids]
    return (torch.xlogy(targets, targets) - targets * logs).sum()


def level_expectation(logits: Tensor, level_ids: Tensor, values: Tensor) -> Tensor:
    """Return the expected value over the levels, the softmax being over the levels only: ``(N,)``."""
    return logits[:, level_ids].float().softmax(-1) @ values


def fidelity_loss(scores: Tensor, means: Tensor, stds: Tensor | None = None) -> Tensor:
    """Return DeQA-Score's 1 − √(p g) − √((1 − p)(1 − g)), averaged over all pairs of a batch; 0 for one image.

    p = Φ((s_A − s_B) / √2) is what the model predicts, g = Φ((m_A − m_B) / √(σ_A² + σ_B²)) what people said.

    Args:
        scores: expected values, on the scale 1 … 5, ``(N,)``.
        means: mean opinion scores on that scale.
        stds: their deviations; None for 1, which gives g the form of p.
    """
    first, second = torch.triu_indices(len(scores), len(scores), 1, device=scores.device)
    if not len(first):
        return scores.sum() * 0
    variance = torch.full_like(means, 2.0)[first] if stds is None else stds[first] ** 2 + stds[second] ** 2
    p = torch.special.ndtr((scores[first] - scores[second]) / 2**0.5)
    g = torch.special.ndtr((means[first] - means[second]) / variance.clamp_min(1e-8).sqrt())
    # √x has no finite slope at 0.
    p, g = p.clamp(1e-6, 1 - 1e-6), g.clamp(0, 1)
    return (1 - (p * g).sqrt() - ((1 - p) * (1 - g)).sqrt()).mean()


def level_targets(
    means: Tensor,
    values: Tensor,
    *,
    kind: Literal["hard", "two-level", "deqa"] = "hard",
    stds: Tensor | None = None,
    deqa: Literal["density", "mass"] = "density",
) -> Tensor:
    """Return target probabilities of levels.

    Args:
        means: labels on the scale of the levels' values, ``(N,)``.
        values: of the levels, in any order, evenly spaced, ``(L,)``.
        kind: ``hard``, the level whose equal part of the range holds the label (Q-Align); ``two-level``, the two levels
            beside the label share it linearly; ``deqa``, DeQA-Score's normal distribution, for the values 5 … 1.
        stds: deviations of the labels, for ``deqa``; without them it is ``two-level``, as in the original.
        deqa: see ``targets.deqa_raw``.

    Returns:
        ``(N, L)``. DeQA-Score's may sum to a little above 1, as in the original.

    Raises:
        MllmError: a label outside the range, or ``deqa`` for other levels.

    Examples:
        >>> level_targets(torch.tensor([4.25]), torch.tensor([5.0, 4.0, 3.0, 2.0, 1.0]), kind="two-level").tolist()
        [[0.25, 0.75, 0.0, 0.0, 0.0]]
    """
    low, high = values.min(), values.max()
    if bool(((means < low) | (means > high)).any()):
        raise MllmError(f"labels must be on the levels' scale {float(low):g} … {float(high):g}, got {means.tolist()}")
    count = len(values)
    if kind == "hard":
        part = ((means - low) / (high - low) * count).mul(1e6).round().div(1e6).floor().clamp(max=count - 1)
        return (values.argsort().argsort() == part[:, None]).to(means.dtype)
    if kind == "deqa" and stds is not None:
        if values.tolist() != [5.0, 4.0, 3.0, 2.0, 1.0]:
            raise MllmError(f"DeQA-Score's targets are for the levels 5 … 1, not {values.tolist()}")
        rows = [deqa_soft_labels(mean, std, kind=deqa) for mean, std in zip(means.tolist(), stds.tolist(), strict=True)]
        return torch.stack([torch.from_numpy(row) for row in rows]).to(means)
    step = (high - low) / (count - 1)
    return (1 - (values - means[:, None]).abs() / step).clamp_min(0)
