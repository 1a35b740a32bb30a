"""ConvNeXt-Tiny (Liu et al., CVPR 2022), cut after each of its four stages of blocks.

| stage | stage1 | stage2 | stage3 | stage4 |
|---|---|---|---|---|
| last layer (torchvision's ``features``) | 1 | 3 | 5 | 7 |
| channels | 96 | 192 | 384 | 768 |
| stride | 4 | 8 | 16 | 32 |

The network cuts images into patches and drops what does not fill one. Images are therefore padded at the bottom and on
the right to a multiple of 32 px, by repeating their last row and column. Stochastic depth is off: a discriminator's
logits are a function of the image.
"""

from __future__ import annotations

from torch import nn

from .registry import Architecture, Stage, register_backbone


def _build() -> nn.Module:
    from torchvision.models import convnext_tiny  # here, because its import takes a second

    trunk = convnext_tiny(weights=None, stochastic_depth_prob=0.0)
    del trunk.classifier, trunk.avgpool
    return trunk


def _split(trunk: nn.Module) -> list[list[nn.Module]]:
    layers = list(trunk.get_submodule("features").children())
    return [layers[a : a + 2] for a in (0, 2, 4, 6)]


register_backbone(
    Architecture(
        name="convnext_tiny",
        family="convnext",
        stages=(Stage("stage1", 96, 4), Stage("stage2", 192, 8), Stage("stage3", 384, 16), Stage("stage4", 768, 32)),
        build=_build,
        split=_split,
        min_size=32,
        multiple=32,
        official_url="https://download.pytorch.org/models/convnext_tiny-983f1562.pth",
        official_sha256="983f1562",
        dropped_keys=("classifier.",),
    )
)
