"""The PatchGAN: a fully convolutional discriminator whose logits each see one patch of the image."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from .layers import SLOPE, Norm, convolution, normalisation

ReceptiveField = Literal[16, 34, 70, 142, 286]

# Convolutions of stride 2; two of stride 1 follow. One more of them doubles the receptive field and adds 2 px.
STRIDED: dict[int, int] = {16: 1, 34: 2, 70: 3, 142: 4, 286: 5}


def min_size(receptive_field: int) -> int:
    """Return the smallest image side that leaves one logit: the convolutions of stride 1 each take off one place."""
    return 3 * 2 ** STRIDED[receptive_field]


class PatchGan(nn.Module):
    """4×4 convolutions and leaky ReLU (Isola et al., 2017, appendix 6.1.2), without the condition image.

    C64-C128-C256-C512 and a convolution to one logit for the 70 px patch; never more than 8 · ``width`` channels. The
    first and the last convolution are not normalised.

    Takes normalised images, ``(N, 3, H, W)``, in the paper in [-1, 1]; returns logits
    ``(N, 1, H / s - 2, W / s - 2)`` with s = 2, 4, 8, 16, 32. Instance normalisation, and batch normalisation in
    training mode, also let statistics of the whole image into every logit.

    Args:
        receptive_field: side of the patch that a logit sees, in pixels.
        norm: normalisation layer; the paper's is ``batch``.
        spectral_norm: whether every convolution is under spectral normalisation.
        width: channels of the first convolution.
        seed: seed of the normal initialisation (standard deviation 0.02, appendix 6.2).
    """

    def __init__(self, receptive_field: int, norm: Norm, spectral_norm: bool, width: int, seed: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        strided = STRIDED[receptive_field]
        layers: list[nn.Module] = []
        previous = 3
        for index in range(strided + 1):
            channels = width * min(2**index, 8)
            normalised = index > 0 and norm != "none"
            layers.append(
                convolution(
                    previous,
                    channels,
                    4,
                    2 if index < strided else 1,
                    generator=generator,
                    bias=not normalised,  # which the normalisation would take away again
                    std=0.02,
                    spectral_norm=spectral_norm,
                )
            )
            if normalised:
                layers.append(normalisation(norm, channels))
            layers.append(nn.LeakyReLU(SLOPE))
            previous = channels
        layers.append(convolution(previous, 1, 4, generator=generator, std=0.02, spectral_norm=spectral_norm))
        self.layers = nn.Sequential(*layers)

    def forward(self, images: Tensor) -> Tensor:
        """Return the map of logits of ``images``; positive means real."""
        return self.layers(images)
