"""Discriminators for adversarial training, objectives, penalties on the slope, and differentiable augmentation.

>>> from lopsided.discriminators import build_discriminator, objective
>>> discriminator = build_discriminator("patch-vgg16-r", seed=0)
>>> logits = discriminator(images)  # vanilla: (N, 1, 1, 1); patch: (N, 1, H', W')
"""

from .augmentation import Augmentation, augment
from .discriminator import (
    Discriminator,
    DiscriminatorError,
    DiscriminatorSpec,
    build_discriminator,
    list_discriminators,
)
from .objectives import Objective, list_objectives, objective
from .penalties import gradient_penalty, r1_penalty, r2_penalty

__all__ = [
    "Augmentation",
    "Discriminator",
    "DiscriminatorError",
    "DiscriminatorSpec",
    "Objective",
    "augment",
    "build_discriminator",
    "gradient_penalty",
    "list_discriminators",
    "list_objectives",
    "objective",
    "r1_penalty",
    "r2_penalty",
]
