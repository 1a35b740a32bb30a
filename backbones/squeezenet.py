"""SqueezeNet 1.1 (Iandola et al., 2016), cut into the seven slices of LPIPS (Zhang et al., CVPR 2018).

| stage | relu1 | fire2 | fire4 | fire6 | fire7 | fire8 | fire9 |
|---|---|---|---|---|---|---|---|
| last layer (torchvision's ``features``) | 1 | 4 | 7 | 9 | 10 | 11 | 12 |
| channels | 64 | 128 | 256 | 384 | 384 | 512 | 512 |
| stride | 2 | 4 | 8 | 16 | 16 | 16 | 16 |

The first convolution is not padded, so that maps are slightly smaller than side / stride: 31, 15, 7 and 3 for 64 px.
"""

from __future__ import annotations

from torch import nn

from .registry import Architecture, Stage, register_backbone


def _build() -> nn.Module:
    from torchvision.models import squeezenet1_1  # here, because its import takes a second

    trunk = squeezenet1_1(weights=None)
    del trunk.classifier
    return trunk


def _split(trunk: nn.Module) -> list[list[nn.Module]]:
    layers = list(trunk.get_submodule("features").children())
    return [layers[a:b] for a, b in ((0, 2), (2, 5), (5, 8), (8, 10), (10, 11), (11, 12), (12, 13))]


register_backbone(
    Architecture(
        name="squeezenet1_1",
        family="squeezenet",
        stages=(
            Stage("relu1", 64, 2),
            Stage("fire2", 128, 4),
            Stage("fire4", 256, 8),
            Stage("fire6", 384, 16),
            Stage("fire7", 384, 16),
            Stage("fire8", 512, 16),
            Stage("fire9", 512, 16),
        ),
        build=_build,
        split=_split,
        min_size=17,
        official_url="https://download.pytorch.org/models/squeezenet1_1-b8a52dc0.pth",
        official_sha256="b8a52dc0",
        dropped_keys=("classifier.",),
        # The official weights with the convolutions rounded to half precision.
        known_files=(
            ("squeezenet1_1.safetensors", "c9a30271338d600c2fae99e12f30e594275ace2afb03f2d38d29e795c89d8264"),
        ),
    )
)
