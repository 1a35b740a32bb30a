"""Discriminators for adversarial training, and the adversarial objectives.

>>> from lopsided.discriminators import build_discriminator, objective
>>> discriminator = build_discriminator("patch-vgg16-r", seed=0)
>>> logits = discriminator(images)  # vanilla: (N, 1, 1, 1); patch: (N, 1, H', W')
"""

from .discriminator import Discriminator, DiscriminatorError, DiscriminatorSpec, build_discriminator
from .objectives import Objective, list_objectives, objective

__all__ = [
    "Discriminator",
    "DiscriminatorError",
    "DiscriminatorSpec",
    "Objective",
    "build_discriminator",
    "list_objectives",
    "objective",
]
