"""Adversarial objectives on logits: what the discriminator minimises, and what the generator minimises.

Patch maps are averaged over the places of each image, then over images. The maps of one batch are equally large, so
that this is the plain mean of all logits, and vanilla and patch discriminators share every objective.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch.nn.functional as F
from torch import Tensor

from ..common.errors import LopsidedError, did_you_mean
from ..common.registry import Registry


class GeneratorLoss(Protocol):
    """Loss of the generator, from the logits of generated and, where the objective asks for them, real images."""

    def __call__(self, fake: Tensor, real: Tensor | None = None, /) -> Tensor:
        """Return the loss, a scalar."""
        ...


@dataclass(frozen=True)
class Objective:
    """An adversarial objective; both functions return scalars, lower is better for the player they belong to.

    Attributes:
        name: registry key.
        discriminator: loss of the discriminator, from the logits of real and of generated images.
        generator: loss of the generator, from the logits of generated images.
        needs_real: whether ``generator`` needs the logits of real images as well: ``generator(fake, real)``.
        threshold: logit above which an image counts as real; None where only differences of logits mean something.
        labelled: whether it gives images labels, which can be smoothed.

    Examples:
        >>> import torch
        >>> from lopsided.discriminators import objective
        >>> hinge = objective("hinge")
        >>> real, fake = torch.tensor([2.0, 0.5]), torch.tensor([-1.0, 0.0])
        >>> hinge.discriminator(real, fake), hinge.generator(fake)
        (tensor(0.7500), tensor(0.5000))
    """

    name: str
    discriminator: Callable[[Tensor, Tensor], Tensor]
    generator: GeneratorLoss
    needs_real: bool = False
    threshold: float | None = 0.0
    labelled: bool = False


def _cross_entropy(logits: Tensor, smoothing: float) -> Tensor:
    """Cross-entropy of logits with the label 1 - smoothing: -(1 - s) ln σ(x) - s ln σ(-x) = ln(1 + e^-x) + s·x."""
    return (F.softplus(-logits) + smoothing * logits).mean()


def _bce(smoothing: float) -> Objective:
    # Goodfellow et al., 2014, with the non-saturating generator loss of their section 3.
    return Objective(
        "bce",
        lambda real, fake: _cross_entropy(real, smoothing) + F.softplus(fake).mean(),
        lambda fake, _=None: F.softplus(-fake).mean(),
        threshold=math.log((1 - smoothing) / (1 + smoothing)),
        labelled=True,
    )


def _least_squares(smoothing: float) -> Objective:
    # Mao et al., 2017, with targets 1 for real and 0 for generated images.
    return Objective(
        "least_squares",
        lambda real, fake: (real - (1 - smoothing)).square().mean() + fake.square().mean(),
        lambda fake, _=None: (fake - 1).square().mean(),
        threshold=(1 - smoothing) / 2,
        labelled=True,
    )


def _relativistic(smoothing: float) -> Objective:
    # Jolicoeur-Martineau, 2019, relativistic average GAN; the form of ESRGAN (Wang et al., 2018, equations 1 and 2):
    # how much more real than the average of the other kind. Sums, as in both papers; ESRGAN's code halves them.
    def discriminator(real: Tensor, fake: Tensor) -> Tensor:
        return _cross_entropy(real - fake.mean(), smoothing) + F.softplus(fake - real.mean()).mean()

    def generator(fake: Tensor, real: Tensor | None = None) -> Tensor:
        if real is None:
            raise LopsidedError(
                "objective 'relativistic' compares generated with real images: call generator(fake, real) with the "
                "logits of both"
            )
        return F.softplus(real - fake.mean()).mean() + F.softplus(real.mean() - fake).mean()

    return Objective("relativistic", discriminator, generator, needs_real=True, threshold=None, labelled=True)


def _hinge(_smoothing: float) -> Objective:
    # Lim and Ye, 2017.
    return Objective(
        "hinge",
        lambda real, fake: F.relu(1 - real).mean() + F.relu(1 + fake).mean(),
        lambda fake, _=None: -fake.mean(),
    )


def _wasserstein(_smoothing: float) -> Objective:
    # Arjovsky et al., 2017; the discriminator must be held to slope 1 by `gradient_penalty`.
    return Objective(
        "wasserstein",
        lambda real, fake: fake.mean() - real.mean(),
        lambda fake, _=None: -fake.mean(),
        threshold=None,
    )


OBJECTIVES = Registry[Callable[[float], Objective]]("adversarial objective")  # made from the label smoothing
for _make in (_bce, _least_squares, _hinge, _wasserstein, _relativistic):
    OBJECTIVES.register(_make(0.0).name, _make)


def list_objectives() -> list[str]:
    """Return every objective's name."""
    return list(OBJECTIVES)


def objective(name: str, *, label_smoothing: float = 0.0) -> Objective:
    """Return the objective called ``name``.

    Args:
        name: ``bce``, ``least_squares``, ``hinge``, ``wasserstein`` or ``relativistic``.
        label_smoothing: the discriminator's label of real images is 1 - this, that of generated images stays 0
            (one-sided; Salimans et al., 2016, section 3.4), in [0, 0.5). Only for objectives that have labels.

    Raises:
        LopsidedError: no such objective (the message names the nearest one), or a smoothing it cannot take.

    Examples:
        >>> import torch
        >>> from lopsided.discriminators import objective
        >>> undecided = torch.zeros(4)
        >>> objective("bce").generator(undecided)  # ln 2
        tensor(0.6931)
        >>> objective("hing")
        Traceback (most recent call last):
        lopsided.common.errors.LopsidedError: unknown adversarial objective 'hing'; did you mean 'hinge'?
    """
    if name not in OBJECTIVES:
        raise LopsidedError(f"unknown adversarial objective '{name}'; {did_you_mean(name, OBJECTIVES)}")
    if not 0 <= label_smoothing < 0.5:
        raise LopsidedError(f"label smoothing {label_smoothing} of '{name}' is outside [0, 0.5); 0.1 is customary")
    made = OBJECTIVES[name](label_smoothing)
    if label_smoothing and not made.labelled:
        labelled = [name for name, make in OBJECTIVES.items() if make(0.0).labelled]
        raise LopsidedError(f"objective '{name}' has no labels to smooth; only {', '.join(labelled)} have")
    return made
