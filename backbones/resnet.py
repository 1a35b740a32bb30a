"""ResNet-18 and ResNet-50 (He et al., 2016), cut after the stem and after each of the four groups of blocks.

| stage | stem | layer1 | layer2 | layer3 | layer4 |
|---|---|---|---|---|---|
| channels, ResNet-18 | 64 | 64 | 128 | 256 | 512 |
| channels, ResNet-50 | 64 | 256 | 512 | 1024 | 2048 |
| stride | 2 | 4 | 8 | 16 | 32 |

Sides that a stride does not divide are rounded up, by the convolutions' zero padding.
"""

from __future__ import annotations

from functools import partial

from torch import nn

from .registry import Architecture, Stage, register_backbone


def _build(name: str) -> nn.Module:
    from torchvision.models import get_model  # here, because its import takes a second

    trunk = get_model(name, weights=None)
    del trunk.fc, trunk.avgpool
    return trunk


def _split(trunk: nn.Module) -> list[list[nn.Module]]:
    get = trunk.get_submodule
    return [
        [get("conv1"), get("bn1"), get("relu")],
        [get("maxpool"), get("layer1")],
        [get("layer2")],
        [get("layer3")],
        [get("layer4")],
    ]


for _name, _sha256, _channels in (("resnet18", "f37072fd", 64), ("resnet50", "0676ba61", 256)):
    register_backbone(
        Architecture(
            name=_name,
            family="resnet",
            stages=(
                Stage("stem", 64, 2),
                Stage("layer1", _channels, 4),
                Stage("layer2", _channels * 2, 8),
                Stage("layer3", _channels * 4, 16),
                Stage("layer4", _channels * 8, 32),
            ),
            build=partial(_build, _name),
            split=_split,
            min_size=32,
            official_url=f"https://download.pytorch.org/models/{_name}-{_sha256}.pth",
            official_sha256=_sha256,
            dropped_keys=("fc.",),
        )
    )
