"""Discriminators for adversarial training, objectives, penalties on the slope, and differentiable augmentation.

Examples:
    >>> import torch
    >>> from lopsided.discriminators import build_discriminator, objective
    >>> discriminator = build_discriminator("patch-squeezenet1_1-r", seed=0)
    >>> real, fake = (discriminator(images) for images in torch.rand(2, 4, 3, 64, 64))
    >>> real.shape  # a map of logits per image; vanilla: (4, 1, 1, 1)
    torch.Size([4, 1, 7, 7])
    >>> objective("hinge").discriminator(real, fake).shape
    torch.Size([])
"""

from .augmentation import Augmentation, augment
from .discriminator import (
    NETWORKS,
    Discriminator,
    DiscriminatorError,
    DiscriminatorSpec,
    build_discriminator,
    list_discriminators,
)
from .inputs import InputNormalisation
from .objectives import Objective, list_objectives, objective
from .penalties import gradient_penalty, r1_penalty, r2_penalty

__all__ = [
    "NETWORKS",
    "Augmentation",
    "Discriminator",
    "DiscriminatorError",
    "DiscriminatorSpec",
    "InputNormalisation",
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
