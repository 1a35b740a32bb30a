"""Real-ESRGAN's discriminator: a U-Net with spectral normalisation and one logit for each pixel."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .layers import SLOPE, Norm, convolution, normalisation

MIN_SIZE = 16  # leaves 2×2 places after three halvings, so that normalisation has more than one value to look at

# Channels in and out, in widths, kernel and stride of the convolutions between the first and the last.
_SHAPES = (
    *((1, 2, 4, 2), (2, 4, 4, 2), (4, 8, 4, 2)),
    *((8, 4, 3, 1), (4, 2, 3, 1), (2, 1, 3, 1)),
    *((1, 1, 3, 1), (1, 1, 3, 1)),
)


class UNet(nn.Module):
    """Three halvings, three bilinear doublings with the finer map added, two more convolutions (Wang et al., 2021).

    Section 3.4. The layers are called ``conv0`` to ``conv9`` as in the authors' published files, which
    load strictly at the default options. The first and the last convolution have a bias and are not normalised.

    Takes normalised images, ``(N, 3, H, W)``, in the paper left in [0, 1]; returns logits ``(N, 1, H, W)``. Where a
    side is not a multiple of 8, maps are enlarged to the size of the finer map instead of doubled.

    Args:
        norm: normalisation layer after the convolutions 1 to 8; the paper's is ``none``.
        spectral_norm: whether the convolutions 1 to 8 are under spectral normalisation, as in the paper.
        width: channels of the first convolution.
        seed: seed of the He-normal initialisation.
    """

    def __init__(self, norm: Norm, spectral_norm: bool, width: int, seed: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.conv0 = convolution(3, width, 3, generator=generator)
        self.norms = nn.ModuleList()
        for index, (inputs, outputs, kernel, stride) in enumerate(_SHAPES, start=1):
            layer = convolution(
                inputs * width,
                outputs * width,
                kernel,
                stride,
                generator=generator,
                bias=False,
                spectral_norm=spectral_norm,
            )
            self.add_module(f"conv{index}", layer)
            self.norms.append(normalisation(norm, outputs * width))
        self.conv9 = convolution(width, 1, 3, generator=generator)

    def forward(self, images: Tensor) -> Tensor:
        """Return the map of logits of ``images``; positive means real."""
        hidden = F.leaky_relu(self.conv0(images), SLOPE)
        skips = []
        for index in (1, 2, 3):
            skips.append(hidden)
            hidden = self._block(index, hidden)
        for index in (4, 5, 6):
            skip = skips.pop()
            hidden = F.interpolate(hidden, skip.shape[-2:], mode="bilinear", align_corners=False)
            hidden = self._block(index, hidden) + skip
        for index in (7, 8):
            hidden = self._block(index, hidden)
        return self.conv9(hidden)

    def _block(self, index: int, hidden: Tensor) -> Tensor:
        hidden = self.norms[index - 1](self.get_submodule(f"conv{index}")(hidden))
        return F.leaky_relu(hidden, SLOPE)
