"""Super-resolve whole images with a trained generator."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .generators import WINDOW


@torch.inference_mode()
def super_resolve(generator: nn.Module, images: Tensor, scale: int) -> Tensor:
    """Return the super-resolved images, clamped to [0, 1].

    Sides that are no multiple of the attention window are reflected at the lower and right border, and the surplus
    is cut off again.

    Args:
        generator: LR to HR; used in evaluation mode, and left in the mode it was in.
        images: LR RGB in [0, 1], ``(N, 3, h, w)``.
        scale: the generator's scale.

    Returns:
        ``(N, 3, scale·h, scale·w)`` in [0, 1].
    """
    height, width = images.shape[-2:]
    pad_h, pad_w = -height % WINDOW, -width % WINDOW
    # Reflection needs more pixels than it adds; images smaller than that repeat their border.
    mode = "reflect" if pad_h < height and pad_w < width else "replicate"
    was_training = generator.training
    generator.eval()
    restored = generator(F.pad(images, (0, pad_w, 0, pad_h), mode=mode))
    generator.train(was_training)
    return restored[..., : height * scale, : width * scale].clamp(0, 1)
