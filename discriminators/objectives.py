"""Adversarial objectives on logits: what the discriminator minimises, and what the generator minimises.

Patch maps are averaged over their places, so vanilla and patch discriminators share every objective.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from ..common.errors import LopsidedError


@dataclass(frozen=True)
class Objective:
    """An adversarial objective; both functions return scalars, lower is better for the player they belong to.

    Attributes:
        name: registry key.
        discriminator: loss of the discriminator, from the logits of real and of generated images.
        generator: loss of the generator, from the logits of generated images.
    """

    name: str
    discriminator: Callable[[Tensor, Tensor], Tensor]
    generator: Callable[[Tensor], Tensor]


_OBJECTIVES = {
    entry.name: entry
    for entry in (
        # Goodfellow et al., 2014, with the non-saturating generator loss of their section 3.
        Objective(
            "bce",
            lambda real, fake: F.softplus(-real).mean() + F.softplus(fake).mean(),
            lambda fake: F.softplus(-fake).mean(),
        ),
        # Mao et al., 2017, with targets 1 for real and 0 for generated images.
        Objective(
            "least_squares",
            lambda real, fake: (real - 1).square().mean() + fake.square().mean(),
            lambda fake: (fake - 1).square().mean(),
        ),
        # Lim and Ye, 2017.
        Objective(
            "hinge",
            lambda real, fake: F.relu(1 - real).mean() + F.relu(1 + fake).mean(),
            lambda fake: -fake.mean(),
        ),
    )
}


def list_objectives() -> list[str]:
    """Return every objective's name."""
    return list(_OBJECTIVES)


def objective(name: str) -> Objective:
    """Return the objective called ``name``.

    Raises:
        LopsidedError: no such objective; the message names the nearest one.
    """
    if name not in _OBJECTIVES:
        near = difflib.get_close_matches(name, _OBJECTIVES, 1)
        raise LopsidedError(
            f"unknown adversarial objective '{name}'; "
            + (f"did you mean '{near[0]}'?" if near else f"known: {', '.join(_OBJECTIVES)}")
        )
    return _OBJECTIVES[name]
