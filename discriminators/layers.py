"""What the plain convolutional discriminators are built of: seeded convolutions, spectral and other normalisation."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

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
) -> nn.Conv2d | SpectralConv2d:
    """Return a convolution with seeded weights; kernels wider than 1 are padded by 1.

    Args:
        inputs: channels in.
        outputs: channels out.
        kernel: height and width of the kernel.
        stride: step in both directions.
        generator: where the weights are drawn from.
        bias: whether to add a bias, which starts at zero.
        std: standard deviation of the weights; by default He's for a leaky ReLU.
        spectral_norm: whether to make it a :class:`SpectralConv2d`.
    """
    layer = nn.Conv2d(inputs, outputs, kernel, stride, min(kernel - 1, 1), bias=bias)
    if std is None:
        nn.init.kaiming_normal_(layer.weight, a=SLOPE, generator=generator)
    else:
        nn.init.normal_(layer.weight, std=std, generator=generator)
    if bias:
        nn.init.zeros_(layer.get_parameter("bias"))
    return SpectralConv2d(layer, generator) if spectral_norm else layer


class SpectralConv2d(nn.Module):
    """A convolution whose weights are divided by their largest singular value (Miyato et al., 2018).

    The value is uᵀWv; a power iteration brings u and v closer to the singular vectors. Left alone, the layer does one
    in every forward pass in training mode, as published. The numbers then depend on how many passes a training step
    makes: a batch in several parts would give other numbers than in one part. So, once :meth:`begin_step` has been
    called, only that method moves u and v, once per step.

    In the state dict: ``weight_orig``, ``weight_u`` and ``weight_v``, the names of published discriminators.

    Args:
        layer: the convolution, whose parameters are taken over.
        generator: where the first u is drawn from.
    """

    weight_u: Tensor
    weight_v: Tensor

    def __init__(self, layer: nn.Conv2d, generator: torch.Generator) -> None:
        super().__init__()
        self.stride, self.padding, self.bias, self.weight_orig = layer.stride, layer.padding, layer.bias, layer.weight
        rows, columns = layer.weight.flatten(1).shape
        self.register_buffer("weight_u", F.normalize(torch.randn(rows, generator=generator), dim=0))
        self.register_buffer("weight_v", torch.zeros(columns))
        for _ in range(_ITERATIONS):
            self._iterate()
        self._by_step = False

    def begin_step(self) -> None:
        """Do the one power iteration of a training step."""
        self._by_step = True
        self._iterate()

    @torch.no_grad()
    def _iterate(self) -> None:
        with torch.autocast(self.weight_orig.device.type, enabled=False):
            matrix = self.weight_orig.flatten(1)
            self.weight_v.copy_(F.normalize(matrix.T @ self.weight_u, dim=0))
            self.weight_u.copy_(F.normalize(matrix @ self.weight_v, dim=0))

    @property
    def weight(self) -> Tensor:
        """The normalised weights, differentiable in ``weight_orig``."""
        # Copies: the next iteration must not change what a backward pass has yet to use.
        left, right = self.weight_u.clone(), self.weight_v.clone()
        with torch.autocast(self.weight_orig.device.type, enabled=False):
            return self.weight_orig / torch.dot(left, self.weight_orig.flatten(1) @ right)

    def forward(self, hidden: Tensor) -> Tensor:
        """Return the convolution of ``hidden`` with the normalised weights."""
        if self.training and not self._by_step:
            self._iterate()
        return F.conv2d(hidden, self.weight, self.bias, self.stride, self.padding)


def normalisation(norm: Norm, channels: int) -> nn.Module:
    """Return the normalisation layer called ``norm``; only ``batch`` has parameters."""
    if norm == "batch":
        return nn.BatchNorm2d(channels)
    return nn.InstanceNorm2d(channels) if norm == "instance" else nn.Identity()
