"""Penalties on a discriminator's slope with respect to its images, to be added to the discriminator's loss.

The slope of an image is the gradient of its logit, for a patch map of the mean of its logits, over all its values.
Every penalty is a scalar ≥ 0, lower is better (a smoother discriminator), without its weight, and can be
differentiated with respect to the discriminator's parameters. The images are taken as constants. Under batch
normalisation in training mode a logit depends on the whole batch, and the slope is no longer the image's own.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from ..common.errors import LopsidedError

Network = Callable[[Tensor], Tensor]


def gradient_penalty(discriminator: Network, real: Tensor, fake: Tensor, generator: torch.Generator) -> Tensor:
    """Hold the discriminator's slope to 1 between real and generated images: mean of (‖∇D(x̂)‖₂ - 1)².

    x̂ = ε·real + (1 - ε)·fake with one ε ~ U[0, 1) per image (Gulrajani et al., 2017, algorithm 1, with weight 10).

    Args:
        discriminator: images ``(N, 3, H, W)`` in [0, 1] to logits.
        real: real images ``(N, 3, H, W)`` in [0, 1].
        fake: as many generated images of the same size.
        generator: where ε is drawn from; equal states give equal penalties on every device.

    Raises:
        LopsidedError: ``real`` and ``fake`` have different shapes.

    Examples:
        >>> import torch
        >>> from lopsided.discriminators import gradient_penalty
        >>> real, fake = torch.rand(2, 4, 3, 8, 8)
        >>> gradient_penalty(lambda images: 0 * images, real, fake, torch.Generator())  # no slope at all
        tensor(1.)
    """
    if real.shape != fake.shape:
        raise LopsidedError(
            f"the gradient penalty mixes real and generated images of one shape, got {tuple(real.shape)} and "
            f"{tuple(fake.shape)}; crop both to one size"
        )
    share = torch.rand(len(real), generator=generator, device=generator.device).to(real).view(-1, 1, 1, 1)
    slopes = _slopes(discriminator, share * real + (1 - share) * fake)
    return (torch.linalg.vector_norm(slopes, dim=1) - 1).square().mean()


def r1_penalty(discriminator: Network, real: Tensor) -> Tensor:
    """Flatten the discriminator at real images: ½ · mean of ‖∇D(real)‖² (Mescheder et al., 2018, equation 9).

    Args:
        discriminator: images ``(N, 3, H, W)`` in [0, 1] to logits.
        real: real images ``(N, 3, H, W)`` in [0, 1].
    """
    return _slopes(discriminator, real).square().sum(1).mean() / 2


def r2_penalty(discriminator: Network, fake: Tensor) -> Tensor:
    """Flatten the discriminator at generated images: ½ · mean of ‖∇D(fake)‖² (Mescheder et al., 2018, equation 10).

    Args:
        discriminator: images ``(N, 3, H, W)`` in [0, 1] to logits.
        fake: generated images ``(N, 3, H, W)`` in [0, 1].
    """
    return r1_penalty(discriminator, fake)


def _slopes(discriminator: Network, images: Tensor) -> Tensor:
    """Return the gradient of each image's mean logit with respect to the image, ``(N, 3·H·W)``."""
    images = images.detach().requires_grad_()
    with sdpa_kernel(SDPBackend.MATH):  # fused attention has no second derivative
        logits = discriminator(images).reshape(len(images), -1).mean(1)
    # The sum over images: no logit depends on another image, so each image gets its own gradient.
    (slopes,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    return slopes.flatten(1)
