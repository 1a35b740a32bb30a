"""AlexNet (Krizhevsky, 2014, "One weird trick"), cut after each of its five convolutions, as LPIPS does.

| stage | relu1 | relu2 | relu3 | relu4 | relu5 |
|---|---|---|---|---|---|
| last layer (torchvision's ``features``) | 1 | 4 | 7 | 9 | 11 |
| channels | 64 | 192 | 384 | 256 | 256 |
| stride | 4 | 8 | 16 | 16 | 16 |

Pooling is not padded, so that maps are slightly smaller than side / stride: 15, 7 and 3 for 64 px.
"""

from __future__ import annotations

from torch import nn

from .registry import Architecture, Stage, register_backbone


def _build() -> nn.Module:
    from torchvision.models import alexnet  # here, because its import takes a second

    trunk = alexnet(weights=None)
    del trunk.classifier, trunk.avgpool
    return trunk


def _split(trunk: nn.Module) -> list[list[nn.Module]]:
    layers = list(trunk.get_submodule("features").children())
    return [layers[a:b] for a, b in ((0, 2), (2, 5), (5, 8), (8, 10), (10, 12))]


register_backbone(
    Architecture(
        name="alexnet",
        family="alexnet",
        stages=(
            Stage("relu1", 64, 4),
            Stage("relu2", 192, 8),
            Stage("relu3", 384, 16),
            Stage("relu4", 256, 16),
            Stage("relu5", 256, 16),
        ),
        build=_build,
        split=_split,
        min_size=31,
        official_url="https://download.pytorch.org/models/alexnet-owt-7be5be79.pth",
        bf16=True,
        official_sha256="7be5be79",
        dropped_keys=("classifier.",),
    )
)
