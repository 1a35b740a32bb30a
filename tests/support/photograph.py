"""A photograph, damaged on purpose, and measures to tell it from itself."""

import functools

import numpy as np
import skimage.data
import torch

from lopsided.common.images import to_tensor
from lopsided.losses import create_measure

PHOTOGRAPH = to_tensor(np.ascontiguousarray(skimage.data.astronaut()))

build = functools.cache(create_measure)  # shared by tests: what they change about a measure, they undo


def crop(size, dtype=torch.float32):
    """A square of the photograph."""
    top, left = (60, 180) if size < 300 else (0, 0)
    return PHOTOGRAPH[..., top : top + size, left : left + size].to(dtype)


def degrade(image, seed=0):
    """Less contrast, and noise."""
    noise = torch.randn(image.shape, generator=torch.Generator().manual_seed(seed), dtype=image.dtype)
    return (0.1 + 0.8 * image + 0.05 * noise).clamp(0.02, 0.98)


def score_and_gradient(measure, image, reference):
    image = image.clone().requires_grad_()
    score = measure.score(image, reference)
    (gradient,) = torch.autograd.grad(score.sum(), image)
    return score.detach(), gradient
