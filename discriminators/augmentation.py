"""Differentiable augmentation of what a discriminator sees (DiffAugment; Zhao et al., 2020).

Both real and generated images are augmented, when the discriminator learns and when the generator does; the gradient
reaches the generator through the augmentation. The paper's networks take images in [-1, 1]; its amounts are given here
for images in [0, 1].
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor

from ..common.errors import LopsidedError, did_you_mean

Augmentation = Literal["color", "translation", "cutout"]

GREY = 0.5  # what moves in from outside, and what a hole shows: the paper's 0
BRIGHTNESS = 0.25  # added, at most: the paper's 0.5
TRANSLATION = 0.125  # of the image's side, at most
CUTOUT = 0.5  # side of the hole, of the image's


def augment(images: Tensor, policy: Sequence[Augmentation], generator: torch.Generator) -> Tensor:
    """Return ``images`` under the augmentations of ``policy``, one after the other.

    - ``color``: brightness x + U[-¼, ¼), then saturation, which multiplies the distance of every pixel from its grey by
      U[0, 2), then contrast, which multiplies the distance from the image's mean by U[½, 1½).
    - ``translation``: by a whole number of pixels of up to ⅛ of the side either way; grey moves in.
    - ``cutout``: a grey hole of half the height and width, whose centre is anywhere in the image.

    Every image has its own draws, as in the paper, also a real image and the generated image that belongs to it. To
    treat such a pair alike, pass generators in equal states.

    Args:
        images: RGB in [0, 1], ``(N, 3, H, W)``, on any device.
        policy: names of augmentations, in their order; an empty list returns the images unchanged.
        generator: where all draws come from; equal states on one device give equal draws for images anywhere.

    Returns:
        ``(N, 3, H, W)``, differentiable in ``images``. ``color`` leaves [0, 1], by up to about two; discriminators do
        not check the range.

    Raises:
        LopsidedError: an unknown augmentation, or images that are not RGB.

    Examples:
        >>> import torch
        >>> from lopsided.discriminators import augment
        >>> draws = torch.Generator().manual_seed(0)
        >>> augment(torch.zeros(1, 3, 8, 8), ["cutout"], draws).sum() > 0  # black, with a grey hole
        tensor(True)
    """
    for name in policy:
        if name not in _AUGMENTATIONS:
            raise LopsidedError(f"unknown augmentation '{name}'; {did_you_mean(name, _AUGMENTATIONS)}")
    if images.ndim != 4 or images.shape[1] != 3 or not images.is_floating_point():
        raise LopsidedError(
            f"augmentation takes float RGB images (N, 3, H, W), got {images.dtype} of {tuple(images.shape)}"
        )
    for name in policy:
        images = _AUGMENTATIONS[name](images, generator)
    return images


def _color(images: Tensor, generator: torch.Generator) -> Tensor:
    brightness, saturation, contrast = (_uniform(images, generator) for _ in range(3))
    images = images + (2 * brightness - 1) * BRIGHTNESS
    grey = images.mean(1, keepdim=True)
    images = grey + (images - grey) * 2 * saturation
    mean = images.mean((1, 2, 3), keepdim=True)
    return mean + (images - mean) * (contrast + 0.5)


def _translation(images: Tensor, generator: torch.Generator) -> Tensor:
    for axis in (2, 3):
        size = images.shape[axis]
        reach = int(size * TRANSLATION + 0.5)
        source = torch.arange(size, device=images.device) - _integers(images, -reach, reach, generator)
        place = [len(images), 1, 1, 1]
        place[axis] = size
        source = source.view(place)
        moved = images.gather(axis, source.clamp(0, size - 1).expand_as(images))
        images = torch.where((source >= 0) & (source < size), moved, GREY)
    return images


def _cutout(images: Tensor, generator: torch.Generator) -> Tensor:
    hole = torch.ones((), dtype=torch.bool, device=images.device)
    for axis in (2, 3):
        size = images.shape[axis]
        side = int(size * CUTOUT + 0.5)
        # The centre of an even hole is between two pixels, which adds one possible place.
        start = _integers(images, 0, size - side % 2, generator) - side // 2
        place = [len(images), 1, 1, 1]
        place[axis] = size
        distance = torch.arange(size, device=images.device) - start
        hole = hole & ((distance >= 0) & (distance < side)).view(place)
    return torch.where(hole, GREY, images)


_AUGMENTATIONS: dict[str, Callable[[Tensor, torch.Generator], Tensor]] = {
    "color": _color,
    "translation": _translation,
    "cutout": _cutout,
}


def _uniform(images: Tensor, generator: torch.Generator) -> Tensor:
    """Return one draw of U[0, 1) per image, ``(N, 1, 1, 1)``."""
    return torch.rand(len(images), 1, 1, 1, generator=generator, device=generator.device).to(images)


def _integers(images: Tensor, low: int, high: int, generator: torch.Generator) -> Tensor:
    """Return one whole number per image from ``low`` to ``high``, both included, ``(N, 1)``."""
    drawn = torch.randint(low, high + 1, (len(images), 1), generator=generator, device=generator.device)
    return drawn.to(images.device)
