"""Swin-T (Liu et al., ICCV 2021), cut after each of its four stages of blocks.

| stage | stage1 | stage2 | stage3 | stage4 |
|---|---|---|---|---|
| last layer (torchvision's ``features``) | 1 | 3 | 5 | 7 |
| channels | 96 | 192 | 384 | 768 |
| stride | 4 | 8 | 16 | 32 |

Feature maps are returned as ``(N, C, H, W)``, without the norm in front of the classifier. Images are padded at the
bottom and on the right to a multiple of 32 px, by repeating their last row and column; windows that a map does not
fill are padded with zeros, as torchvision does. Stochastic depth is off: a discriminator's logits are a function of the
image.
"""

from __future__ import annotations

from torch import Tensor, nn

from .registry import Architecture, Stage, register_backbone


def _build() -> nn.Module:
    from torchvision.models import swin_t  # here, because its import takes a second
    from torchvision.ops import StochasticDepth

    trunk = swin_t(weights=None)
    del trunk.norm, trunk.permute, trunk.avgpool, trunk.flatten, trunk.head
    for module in trunk.modules():
        if isinstance(module, StochasticDepth):
            module.p = 0.0
    return trunk


def _split(trunk: nn.Module) -> list[list[nn.Module]]:
    layers = list(trunk.get_submodule("features").children())
    return [layers[a : a + 2] for a in (0, 2, 4, 6)]


def _channels_first(hidden: Tensor, height: int, width: int) -> Tensor:  # noqa: ARG001
    return hidden.permute(0, 3, 1, 2)


register_backbone(
    Architecture(
        name="swin_t",
        family="swin",
        stages=(Stage("stage1", 96, 4), Stage("stage2", 192, 8), Stage("stage3", 384, 16), Stage("stage4", 768, 32)),
        build=_build,
        split=_split,
        min_size=32,
        multiple=32,
        readout=_channels_first,
        official_url="https://download.pytorch.org/models/swin_t-704ceda3.pth",
        official_sha256="704ceda3",
        dropped_keys=("norm.", "head."),
    )
)
