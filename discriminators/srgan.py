"""SRGAN's discriminator: a VGG-style network with one logit for the image."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .layers import SLOPE, Norm, convolution, normalisation

MIN_SIZE = 32  # leaves 2×2 places after four halvings, so that normalisation has more than one value to look at
_STEPS = (1, 2, 1, 2, 1, 2, 1, 2)
_DENSE = 16  # hidden units of the decision, in widths: 1024 in the paper


class SrganDiscriminator(nn.Module):
    """Eight 3×3 convolutions, every other of stride 2, and two dense layers (Ledig et al., 2017, figure 4).

    The original flattens the last 512 maps, so that its dense layers fix the image's size (96 px; 128 px in ESRGAN).
    Here the maps are averaged over their places first: any size from :data:`MIN_SIZE` px up, fewer parameters, and
    the decision no longer knows where in the image something was.

    Takes normalised images, ``(N, 3, H, W)``, in the paper in [-1, 1]; returns logits ``(N, 1, 1, 1)``.

    Args:
        norm: normalisation layer after every convolution but the first; the paper's is ``batch``.
        spectral_norm: whether every convolution and dense layer is under spectral normalisation.
        width: channels of the first convolution.
        seed: seed of the He-normal initialisation (the paper names none).
    """

    def __init__(self, norm: Norm, spectral_norm: bool, width: int, seed: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        layers: list[nn.Module] = []
        previous = 3
        for index, step in enumerate(_STEPS):
            channels = width * 2 ** (index // 2)
            normalised = index > 0 and norm != "none"
            layers.append(
                convolution(
                    previous,
                    channels,
                    3,
                    step,
                    generator=generator,
                    bias=not normalised,  # which the normalisation would take away again
                    spectral_norm=spectral_norm,
                )
            )
            if normalised:
                layers.append(normalisation(norm, channels))
            layers.append(nn.LeakyReLU(SLOPE))
            previous = channels
        self.layers = nn.Sequential(*layers)
        self.decision = nn.Sequential(
            convolution(previous, _DENSE * width, 1, generator=generator, spectral_norm=spectral_norm),
            nn.LeakyReLU(SLOPE),
            convolution(_DENSE * width, 1, 1, generator=generator, spectral_norm=spectral_norm),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits of ``images``; positive means real."""
        return self.decision(self.layers(images).mean((2, 3), keepdim=True))
