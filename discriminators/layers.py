"""What the plain convolutional discriminators are built of: seeded convolutions and normalisation layers."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import nn

Norm = Literal["none", "instance", "batch"]

SLOPE = 0.2  # of every leaky ReLU
_ITERATIONS = 15  # power iterations at the start, so that the largest singular value is right before any training


def convolution(
    inputs: int,
    outputs: int,
    kernel: int,
    stride: int = 1,
    *,
    generator: torch.Generator,
    bias: bool = True,
    std: float | None = None,
    spectral_norm: bool = False,
) -> nn.Conv2d:
    """Return a convolution with seeded weights; kernels wider than 1 are padded by 1.

    Args:
        inputs: channels in.
        outputs: channels out.
        kernel: height and width of the kernel.
        stride: step in both directions.
        generator: where the weights are drawn from.
        bias: whether to add a bias, which starts at zero.
        std: standard deviation of the weights; by default He's for a leaky ReLU.
        spectral_norm: divide the weights by their largest singular value (Miyato et al., 2018). In the state dict:
            ``weight_orig``, ``weight_u`` and ``weight_v``, the names of published discriminators.
    """
    layer = nn.Conv2d(inputs, outputs, kernel, stride, min(kernel - 1, 1), bias=bias)
    if std is None:
        nn.init.kaiming_normal_(layer.weight, a=SLOPE, generator=generator)
    else:
        nn.init.normal_(layer.weight, std=std, generator=generator)
    if bias:
        nn.init.zeros_(layer.get_parameter("bias"))
    return normalise_spectrum(layer, generator) if spectral_norm else layer


def normalise_spectrum(layer: nn.Conv2d, generator: torch.Generator) -> nn.Conv2d:
    """Put ``layer`` under spectral normalisation; the first singular vectors are drawn from ``generator``."""
    with torch.random.fork_rng(devices=[]):  # torch draws the vectors from the global generator
        layer = nn.utils.spectral_norm(layer)
    weight = layer.get_parameter("weight_orig").detach().flatten(1)
    left, right = layer.get_buffer("weight_u"), layer.get_buffer("weight_v")
    left.copy_(F.normalize(torch.randn(left.shape, generator=generator), dim=0))
    for _ in range(_ITERATIONS):
        right.copy_(F.normalize(weight.T @ left, dim=0))
        left.copy_(F.normalize(weight @ right, dim=0))
    return layer


def normalisation(norm: Norm, channels: int) -> nn.Module:
    """Return the normalisation layer called ``norm``; only ``batch`` has parameters."""
    if norm == "batch":
        return nn.BatchNorm2d(channels)
    return nn.InstanceNorm2d(channels) if norm == "instance" else nn.Identity()
