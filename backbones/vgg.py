"""VGG-16 (Simonyan and Zisserman, 2015), cut after the last convolution before each pooling layer."""

from __future__ import annotations

from torch import nn

from .registry import Architecture, Stage, register


class VGG16Trunk(nn.Module):
    """The convolutional part of torchvision's VGG-16, with torchvision's keys (``features.N.weight``)."""

    def __init__(self) -> None:
        super().__init__()
        from torchvision.models import vgg  # a second to import, which naming a backbone need not cost

        # Without the classifier: building that costs a second and 120 M parameters that no feature needs.
        self.features = vgg.make_layers(vgg.cfgs["D"])[:30]


def _split(trunk: VGG16Trunk) -> list[list[nn.Module]]:
    layers = list(trunk.features)
    return [layers[a:b] for a, b in ((0, 4), (4, 9), (9, 16), (16, 23), (23, 30))]


register(
    Architecture(
        name="vgg16",
        stages=(
            Stage("relu1_2", 64, 1),
            Stage("relu2_2", 128, 2),
            Stage("relu3_3", 256, 4),
            Stage("relu4_3", 512, 8),
            Stage("relu5_3", 512, 16),
        ),
        build=VGG16Trunk,
        split=_split,
        min_size=16,
        official_url="https://download.pytorch.org/models/vgg16-397923af.pth",
        official_sha256="397923af",
        dropped_keys=("classifier.",),
    )
)
