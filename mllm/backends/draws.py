"""Draws of tokens that do not depend on the rest of a batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class Draws:
    """Makes argmax a draw from the softmax at a temperature, by Gumbel noise from one generator per prompt."""

    def __init__(self, temperature: float, seeds: Sequence[int]) -> None:
        self.temperature = temperature
        self.generators = [torch.Generator().manual_seed(seed) for seed in seeds]

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:  # noqa: ARG002 - the interface's
        """Return scores, ``(rows, vocabulary)``, whose largest is the draw."""
        # In float64: with 24 bits a zero is not rare enough, and its token would win whatever its probability.
        waits = [torch.empty(scores.shape[1], dtype=torch.float64).exponential_(generator=g) for g in self.generators]
        return scores / self.temperature - torch.stack(waits).log().to(scores)
