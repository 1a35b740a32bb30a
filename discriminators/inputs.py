"""How images in [0, 1] are brought to the range that a network expects."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from ..common.value_range import range_hint, symmetric
from .errors import DiscriminatorError

InputNormalisation = Literal["none", "symmetric", "imagenet", "backbone"]

# Mean and standard deviation of each colour, of images in [0, 1]. ImageNet's are torchvision's.
MOMENTS: dict[str, tuple[tuple[float, float, float], tuple[float, float, float]]] = {
    "symmetric": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}

# Passes whose values are checked: real images are among the first ones, and each check makes a GPU wait.
WATCHED = 8
BEYOND = 8  # how far a generator's output can be outside [0, 1]; a wrong scale is by hundreds


class Normalised(nn.Module):
    """Subtract the mean and divide by the standard deviation of each colour, ``(N, 3, H, W)`` to the same.

    Args:
        kind: ``symmetric`` for [-1, 1], ``imagenet`` for about [-2.1, 2.6].
    """

    mean: Tensor
    std: Tensor

    def __init__(self, kind: str) -> None:
        super().__init__()
        mean, std = MOMENTS[kind]
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Return ``images`` normalised."""
        return (images - self.mean) / self.std


def check_values(key: str, images: Tensor) -> None:
    """Raise DiscriminatorError if images cannot be meant for [0, 1].

    An untrained generator's output can have any values near [0, 1], so images in [-1, 1] are only refused if they are
    made of 8-bit values: photographs are, and no network's output is.

    Args:
        key: the discriminator.
        images: what it is given, brought from its input range to [0, 1].
    """
    low, high = torch.stack(torch.aminmax(images.detach())).tolist()
    beyond = low < -BEYOND or high > 1 + BEYOND
    if beyond or (symmetric(low, high) and _eight_bit(images.detach() * 127.5 + 127.5)):
        raise DiscriminatorError(
            f"discriminator '{key}': images must be in [0, 1] or in its input_range, seen [{low:.4g}, {high:.4g}]"
            + (range_hint(low, high) and f"{range_hint(low, high)}, or use the option input_range")
        )


def _eight_bit(levels: Tensor) -> bool:
    return bool(((levels - levels.round()).abs() < 1e-3).float().mean() > 0.99)
