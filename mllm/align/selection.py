"""Drawing several images per prompt, and keeping the one that a reward likes best."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import comb
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from ..errors import MllmError

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class BestOf:
    """What was drawn.

    Attributes:
        images: the best image of each prompt.
        chosen: its number among the draws.
        rewards: of all draws, ``(prompts, N)``.
        draws: all images, per prompt.
    """

    images: tuple[Image.Image, ...]
    chosen: tuple[int, ...]
    rewards: Floats
    draws: tuple[tuple[Image.Image, ...], ...]


def best_of(
    generate: Callable[[str, int], Image.Image],
    reward: Callable[[list[Image.Image], list[str]], tuple[Sequence[float], Any]],
    prompts: Sequence[str],
    number: int,
    *,
    seed: int = 0,
) -> BestOf:
    """Draw ``number`` images per prompt, and keep the one with the highest reward.

    Args:
        generate: makes an image of a prompt and a seed. Of a diffusers pipeline:
            ``lambda prompt, seed: pipe(prompt, generator=torch.Generator().manual_seed(seed)).images[0]``.
        reward: such as :class:`~lopsided.mllm.align.RewardModel`.
        prompts: what is drawn.
        number: draws per prompt, 1 or more.
        seed: of the first draw; the n-th draw has ``seed + n`` for every prompt.

    Raises:
        MllmError: no draws, or a reward that is not one finite number per image.
    """
    if number < 1:
        raise MllmError(f"draw at least one image per prompt, got {number}")
    draws = tuple(tuple(generate(prompt, seed + n) for n in range(number)) for prompt in prompts)
    rewards = [list(reward(list(images), [prompt] * number)[0]) for prompt, images in zip(prompts, draws, strict=True)]
    for prompt, given in zip(prompts, rewards, strict=True):
        if len(given) != number:
            raise MllmError(f"the reward gave {len(given)} numbers for {number} images of {prompt!r}")
    scores = np.asarray(rewards, np.float64).reshape(len(prompts), number)
    if not np.isfinite(scores).all():
        raise MllmError("a reward is not a finite number")
    chosen = tuple(int(n) for n in scores.argmax(1)) if len(prompts) else ()
    return BestOf(tuple(images[n] for images, n in zip(draws, chosen, strict=True)), chosen, scores, draws)


def expected_best(rewards: ArrayLike, judged: ArrayLike, number: int) -> float:
    """Return the expected score, by a judge, of the best of ``number`` draws by the reward.

    All subsets of the draws count alike, and of equal rewards each is the best as often as the others, so the curve
    over ``number`` has no noise of its own; one draw is the random control. The curve rises with the reward as judge;
    whether it does with a judge of another family is the question.

    Args:
        rewards: ``(prompts, N)``.
        judged: of the same draws.
        number: 1 … N.

    Raises:
        MllmError: unlike shapes, nothing drawn, a value that is not finite, or a number out of range.

    Examples:
        >>> [round(expected_best([[1, 2, 3]], [[10, 30, 20]], number), 2) for number in (1, 2, 3)]
        [20.0, 23.33, 20.0]
    """
    scores, others = np.asarray(rewards, np.float64), np.asarray(judged, np.float64)
    if scores.ndim != 2 or not scores.size or scores.shape != others.shape or not 1 <= number <= scores.shape[1]:
        raise MllmError(f"give (prompts, N) twice and 1 to N draws, got {scores.shape}, {others.shape} and {number}")
    if not (np.isfinite(scores).all() and np.isfinite(others).all()):
        raise MllmError("a reward or a judgement is not a finite number")
    draws = scores.shape[1]
    chances = np.array([comb(rank, number - 1) for rank in range(draws)]) / comb(draws, number)
    found = []
    for own, judged_of in zip(scores, others, strict=True):
        _, group, sizes = np.unique(own, return_inverse=True, return_counts=True)
        shares = np.add.reduceat(chances, np.cumsum(sizes) - sizes) / sizes  # equal rewards share their chances
        found.append(float(shares[group] @ judged_of))
    return float(np.mean(found))
