"""What turns a feature map into real/fake logits: one for the image (vanilla) or one for each place (patch)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .layers import SpectralConv2d


def _linear(channels: int, seed: int, spectral_norm: bool) -> nn.Conv2d | SpectralConv2d:
    # A 1×1 convolution serves both heads; small weights start the logits near zero, i.e. undecided.
    layer = nn.Conv2d(channels, 1, 1)
    nn.init.normal_(layer.weight, std=0.02, generator=torch.Generator().manual_seed(seed))
    nn.init.zeros_(layer.get_parameter("bias"))
    return SpectralConv2d(layer, torch.Generator().manual_seed(seed + 1)) if spectral_norm else layer


class VanillaHead(nn.Module):
    """One decision per image: global average pooling, then a linear layer. ``(N, C, H, W)`` to ``(N, 1, 1, 1)``."""

    def __init__(self, channels: int, seed: int, spectral_norm: bool) -> None:
        super().__init__()
        self.linear = _linear(channels, seed, spectral_norm)

    def forward(self, features: Tensor) -> Tensor:
        """Return the logits of ``features``; positive means real."""
        return self.linear(features.mean((2, 3), keepdim=True))


class PatchHead(nn.Module):
    """One decision per place of the map: a linear layer on each. ``(N, C, H, W)`` to ``(N, 1, H, W)``."""

    def __init__(self, channels: int, seed: int, spectral_norm: bool) -> None:
        super().__init__()
        self.linear = _linear(channels, seed, spectral_norm)

    def forward(self, features: Tensor) -> Tensor:
        """Return the logits of ``features``; positive means real."""
        return self.linear(features)
