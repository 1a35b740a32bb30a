"""VGG-16 and a truncated VGG-19 (Simonyan and Zisserman, 2015), cut after the last convolution before each pooling.

| stage, ``vgg16`` | relu1_2 | relu2_2 | relu3_3 | relu4_3 | relu5_3 |
|---|---|---|---|---|---|
| stage, ``vgg19_blocks3`` | relu1_2 | relu2_2 | relu3_4 | – | – |
| channels | 64 | 128 | 256 | 512 | 512 |
| stride | 1 | 2 | 4 | 8 | 16 |

``vgg19_blocks3`` is the first three blocks with the authors' own weights and Caffe's preprocessing: BGR, bytes, minus a
mean colour. Pooling drops an odd row or column (L2 pooling keeps it).
"""

from __future__ import annotations

from functools import partial

from torch import nn

from .registry import Architecture, Stage, register_backbone


class VGGTrunk(nn.Module):
    """The convolutional part of torchvision's VGG, with torchvision's keys (``features.N.weight``).

    Args:
        configuration: torchvision's letter, ``D`` for VGG-16 and ``E`` for VGG-19.
        depth: how many layers of ``features`` to keep.
    """

    def __init__(self, configuration: str, depth: int) -> None:
        super().__init__()
        from torchvision.models import vgg  # here, because its import takes a second

        # Without the classifier: building that costs a second and 120 M parameters that no feature needs.
        self.features = vgg.make_layers(vgg.cfgs[configuration])[:depth]


def _split(ends: tuple[int, ...], trunk: VGGTrunk) -> list[list[nn.Module]]:
    layers = list(trunk.features)
    return [layers[a:b] for a, b in zip((0, *ends), ends, strict=False)]


register_backbone(
    Architecture(
        name="vgg16",
        family="vgg",
        stages=(
            Stage("relu1_2", 64, 1),
            Stage("relu2_2", 128, 2),
            Stage("relu3_3", 256, 4),
            Stage("relu4_3", 512, 8),
            Stage("relu5_3", 512, 16),
        ),
        build=partial(VGGTrunk, "D", 30),
        split=partial(_split, (4, 9, 16, 23, 30)),
        min_size=16,
        bf16=True,
        official_url="https://download.pytorch.org/models/vgg16-397923af.pth",
        official_sha256="397923af",
        dropped_keys=("classifier.",),
    )
)

register_backbone(
    Architecture(
        name="vgg19_blocks3",
        family="vgg",
        stages=(Stage("relu1_2", 64, 1), Stage("relu2_2", 128, 2), Stage("relu3_4", 256, 4)),
        build=partial(VGGTrunk, "E", 18),
        split=partial(_split, (4, 9, 18)),
        min_size=16,
        bf16=True,
        official_name="vgg19_blocks1-3.safetensors",
        official_sha256="65873e89d3cfeeec239a47eaa973af6712ecf932dd74f58c0710693152cd11a4",
        mean=(103.939, 116.779, 123.68),
        std=(1.0, 1.0, 1.0),
        scale=255.0,
        channel_order="bgr",
        licence="CC BY 4.0 (Visual Geometry Group, Oxford)",
    )
)
