"""Hold the adversarial term's share of the gradient on the image while the discriminator's slopes grow."""

from __future__ import annotations

import math

import torch
from torch import Tensor

DECAY = 0.8  # of the running mean of the logarithm of the weight: about the last five steps
CAP = 1.5  # times the wanted ratio, which no single step exceeds


class AdversarialShare:
    """Weights the adversarial term so that its gradient keeps a share of all gradients on the image.

    A fixed weight does not hold a share: a discriminator that learns has ever steeper slopes (6 to 18 times as steep
    after 250 steps in a pilot of this project). The weight of a step is a running mean over the steps before it, so
    that a discriminator with little to say in one step pulls little in that step; in no step does the ratio to the
    other terms exceed :data:`CAP` times the wanted one.

    Args:
        share: norm of the adversarial term's gradient over the sum of the norms of all terms' gradients, in [0, 1).

    Attributes:
        log_weight: running mean; None before the first step, whose own gradients are matched.

    Examples:
        >>> share = AdversarialShare(0.2)
        >>> round(float(share.weight(others=torch.tensor(4.0), adversarial=torch.tensor(2.0))), 6)
        0.5
    """

    def __init__(self, share: float) -> None:
        self.ratio = share / (1 - share)
        self.log_weight: float | None = None

    def weight(self, *, others: Tensor, adversarial: Tensor) -> Tensor:
        """Return the weight of the adversarial term in this (micro-)batch.

        Args:
            others: sum of the norms of the other terms' gradients on the image.
            adversarial: norm of the adversarial term's gradient at weight 1.
        """
        exact = self.ratio * others / adversarial
        if self.log_weight is None:
            return exact
        return torch.clamp(CAP * exact, max=math.exp(self.log_weight))

    def update(self, *, others: float, adversarial: float, weight: float) -> None:
        """Take in a step's norms; ``adversarial`` is that of the weighted gradient, ``weight`` what it had.

        A step whose discriminator has no slope says nothing and is left out.
        """
        wanted = self.ratio * others * weight
        if wanted <= 0 or adversarial <= 0:
            return
        now = math.log(wanted / adversarial)
        self.log_weight = now if self.log_weight is None else DECAY * self.log_weight + (1 - DECAY) * now
