"""BVLC's GoogLeNet (Szegedy et al., CVPR 2015, in Caffe): Inception v1 without batch normalisation.

| stage | conv1 | conv2 | inception_3b | inception_4e | inception_5b |
|---|---|---|---|---|---|
| channels | 64 | 192 | 480 | 832 | 1024 |
| stride | 2 | 4 | 8 | 16 | 32 |

Local response normalisation follows the first pooling and the second convolution, and belongs to the stage after it.
Pooling rounds up. Preprocessing is Caffe's: BGR, bytes, minus a mean colour. State dicts have Caffe's layer names, e.g.
``inception_3a/5x5_reduce.weight``, without the classifier.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .registry import Architecture, Stage, register_backbone

# Channels of an inception module: 1×1; 3×3 reduced and full; 5×5 reduced and full; after pooling.
_INCEPTION = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}


class _Inception(nn.Module):
    """One inception module: four branches side by side. Its layers are the trunk's, which keeps their names."""

    def __init__(self, trunk: nn.ModuleDict, name: str) -> None:
        super().__init__()
        self.layers = nn.ModuleDict({key: trunk[f"inception_{name}/{key}"] for key in _branches(0, *_INCEPTION[name])})
        self.pool = nn.MaxPool2d(3, stride=1, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        def layer(name: str, inputs: Tensor) -> Tensor:
            return self.layers[name](inputs).relu()

        branches = (
            layer("1x1", features),
            layer("3x3", layer("3x3_reduce", features)),
            layer("5x5", layer("5x5_reduce", features)),
            layer("pool_proj", self.pool(features)),
        )
        return torch.cat(branches, 1)


def _branches(inputs: int, one: int, reduce3: int, three: int, reduce5: int, five: int, pool: int) -> dict[str, tuple]:
    """Return (input channels, output channels, kernel) of each layer of an inception module."""
    return {
        "1x1": (inputs, one, 1),
        "3x3_reduce": (inputs, reduce3, 1),
        "3x3": (reduce3, three, 3),
        "5x5_reduce": (inputs, reduce5, 1),
        "5x5": (reduce5, five, 5),
        "pool_proj": (inputs, pool, 1),
    }


def _build() -> nn.ModuleDict:
    trunk = nn.ModuleDict(
        {
            "conv1/7x7_s2": nn.Conv2d(3, 64, 7, stride=2, padding=3),
            "conv2/3x3_reduce": nn.Conv2d(64, 64, 1),
            "conv2/3x3": nn.Conv2d(64, 192, 3, padding=1),
        }
    )
    channels = 192
    for name, widths in _INCEPTION.items():
        for key, (inputs, outputs, kernel) in _branches(channels, *widths).items():
            trunk[f"inception_{name}/{key}"] = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2)
        one, _, three, _, five, pool = widths
        channels = one + three + five + pool
    return trunk


def _split(trunk: nn.ModuleDict) -> list[list[nn.Module]]:
    def pool() -> nn.Module:
        return nn.MaxPool2d(3, stride=2, ceil_mode=True)

    def norm() -> nn.Module:
        return nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75)

    def inceptions(names: str, level: int) -> list[nn.Module]:
        return [_Inception(trunk, f"{level}{name}") for name in names]

    return [
        [trunk["conv1/7x7_s2"], nn.ReLU()],
        [pool(), norm(), trunk["conv2/3x3_reduce"], nn.ReLU(), trunk["conv2/3x3"], nn.ReLU()],
        [norm(), pool(), *inceptions("ab", 3)],
        [pool(), *inceptions("abcde", 4)],
        [pool(), *inceptions("ab", 5)],
    ]


register_backbone(
    Architecture(
        name="googlenet_bvlc",
        family="inception",  # GoogLeNet is the first Inception network
        stages=(
            Stage("conv1", 64, 2),
            Stage("conv2", 192, 4),
            Stage("inception_3b", 480, 8),
            Stage("inception_4e", 832, 16),
            Stage("inception_5b", 1024, 32),
        ),
        build=_build,
        split=_split,
        min_size=32,
        official_name="googlenet_bvlc.safetensors",
        official_sha256="d1334db09d1518a87545f5d2b5318e1681784e7df82ab509bdf77abee2bd1ff0",
        dropped_keys=("loss3/",),
        mean=(104.0, 117.0, 123.0),
        std=(1.0, 1.0, 1.0),
        scale=255.0,
        channel_order="bgr",
        fan="fan_in",
        licence="unrestricted use (BVLC)",
    )
)
