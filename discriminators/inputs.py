"""How images in [0, 1] are brought to the range that a network expects."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

InputNormalisation = Literal["none", "symmetric", "imagenet", "backbone"]

# Mean and standard deviation of each colour, of images in [0, 1]. ImageNet's are torchvision's.
MOMENTS: dict[str, tuple[tuple[float, float, float], tuple[float, float, float]]] = {
    "symmetric": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}


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
