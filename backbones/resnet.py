"""ResNet-50 (He et al., 2016), cut after the stem and after each of its four groups of blocks."""

from __future__ import annotations

from torch import nn

from .registry import Architecture, Stage, register


def _build() -> nn.Module:
    from torchvision.models import resnet50  # a second to import, which naming a backbone need not cost

    trunk = resnet50(weights=None)
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


register(
    Architecture(
        name="resnet50",
        stages=(
            Stage("stem", 64, 2),
            Stage("layer1", 256, 4),
            Stage("layer2", 512, 8),
            Stage("layer3", 1024, 16),
            Stage("layer4", 2048, 32),
        ),
        build=_build,
        split=_split,
        min_size=32,
        official_url="https://download.pytorch.org/models/resnet50-0676ba61.pth",
        official_sha256="0676ba61",
        dropped_keys=("fc.",),
    )
)
