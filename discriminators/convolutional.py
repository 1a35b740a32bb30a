"""A small plain convolutional trunk, for discriminators without a classification backbone."""

from __future__ import annotations

import torch
from torch import Tensor, nn

CHANNELS = (32, 64, 128, 128)
STRIDES = (1, 2, 4, 8)
MIN_SIZE = 16


class ConvolutionalTrunk(nn.Module):
    """Four 3×3/4×4 convolutions with leaky ReLU; each after the first halves the resolution.

    No normalisation layer: with batches as small as super-resolution's, batch statistics would make one image's
    logit depend on its neighbours.

    Takes normalised images, ``(N, 3, H, W)``; returns one feature map per stage (channels :data:`CHANNELS`,
    strides :data:`STRIDES`).

    Args:
        seed: seed of the He-normal initialisation.
    """

    def __init__(self, seed: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.stages = nn.ModuleList()
        previous = 3
        for channels, stride in zip(CHANNELS, STRIDES, strict=True):
            kernel, step = (3, 1) if stride == 1 else (4, 2)
            convolution = nn.Conv2d(previous, channels, kernel, step, 1)
            nn.init.kaiming_normal_(convolution.weight, a=0.2, generator=generator)
            nn.init.zeros_(convolution.get_parameter("bias"))
            self.stages.append(nn.Sequential(convolution, nn.LeakyReLU(0.2)))
            previous = channels

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the feature maps of ``images``."""
        hidden, maps = images, []
        for stage in self.stages:
            hidden = stage(hidden)
            maps.append(hidden)
        return maps
