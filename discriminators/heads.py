"""What turns a feature map into real/fake logits: one for the image (vanilla) or one for each place (patch)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def _linear(inputs: int, outputs: int, seed: int) -> nn.Conv2d:
    # A 1×1 convolution serves both heads; small weights start the logits near zero, i.e. undecided.
    layer = nn.Conv2d(inputs, outputs, 1)
    nn.init.normal_(layer.weight, std=0.02, generator=torch.Generator().manual_seed(seed))
    nn.init.zeros_(layer.get_parameter("bias"))
    return layer


class VanillaHead(nn.Module):
    """One decision per image: global average pooling, then a linear layer. ``(N, C, H, W)`` to ``(N, 1, 1, 1)``."""

    def __init__(self, channels: int, seed: int) -> None:
        super().__init__()
        self.linear = _linear(channels, 1, seed)

    def forward(self, features: Tensor) -> Tensor:
        """Return the logits of ``features``; positive means real."""
        return self.linear(features.mean((2, 3), keepdim=True))


class PatchHead(nn.Module):
    """One decision per place of the map: a linear layer on each. ``(N, C, H, W)`` to ``(N, 1, H, W)``."""

    def __init__(self, channels: int, seed: int) -> None:
        super().__init__()
        self.linear = _linear(channels, 1, seed)

    def forward(self, features: Tensor) -> Tensor:
        """Return the logits of ``features``; positive means real."""
        return self.linear(features)
