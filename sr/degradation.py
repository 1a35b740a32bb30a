"""Bicubic resizing as MATLAB's ``imresize`` does it: the usual way to make super-resolution data.

Each axis is resized by a matrix of cubic weights (Keys, "Cubic convolution interpolation for digital image
processing", 1981, with a = -1/2), stretched by the factor when shrinking, so that it also filters out what the small
image cannot hold. Rows come first. An 8-bit image is also rounded, halves upwards, *between* the two axes: MATLAB does
this to 8-bit images, and without it 10 to 15 % of the pixels of published LR images are off by one grey level.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, Literal, overload

import numpy as np
import torch
from numpy.typing import NDArray

from ..common.errors import ImageError

DEGRADATION = "matlab-bicubic-1"  # part of every identity that depends on LR images: change it with the arithmetic

Border = Literal["mirror", "replicate"]


@overload
def bicubic_resize(image: torch.Tensor, scale: float, border: Border = ...) -> torch.Tensor: ...
@overload
def bicubic_resize(image: NDArray[Any], scale: float, border: Border = ...) -> NDArray[Any]: ...
def bicubic_resize(
    image: torch.Tensor | NDArray[Any], scale: float, border: Border = "mirror"
) -> torch.Tensor | NDArray[Any]:
    """Resize with antialiased bicubic interpolation.

    Args:
        image: an array (H, W) or (H, W, C), uint8 or floating point; or a floating-point tensor (…, H, W).
        scale: size of the result over that of ``image``: 1/4 shrinks, 4 enlarges. Sides of the result have
            ceil(scale · side) pixels.
        border: what is beyond the edge. ``mirror`` is what basicsr and current MATLAB do; ``replicate`` reproduces
            the commonly used LR images of Set5 and Set14 to the last pixel.

    Returns:
        An array for an array, a tensor for a tensor. uint8: rounded after each axis and clamped to 0..255. Floating
        point: computed in float64, not clamped (bicubic overshoots at edges), returned in the dtype of ``image``;
        tensors keep their device and their gradient.

    Raises:
        ImageError: another dtype or number of axes, an empty image, or a scale that is not positive and finite.

    Examples:
        >>> bicubic_resize(np.full((8, 12, 3), 100, np.uint8), 1 / 4).shape
        (2, 3, 3)
        >>> bicubic_resize(torch.ones(1, 1, 2, 2), 2.0).mean()
        tensor(1.)
    """
    if not (math.isfinite(scale) and scale > 0):
        raise ImageError(f"Cannot resize by a factor of {scale}; it must be positive.")
    if isinstance(image, torch.Tensor):
        if not image.is_floating_point() or image.ndim < 2 or image.numel() == 0:
            raise ImageError(f"Cannot resize a tensor {image.dtype} {tuple(image.shape)}; it must be float (…, H, W).")
        rows = torch.from_numpy(_weights(image.shape[-2], scale, border)).to(image.device)
        columns = torch.from_numpy(_weights(image.shape[-1], scale, border)).to(image.device)
        return (rows @ image.double() @ columns.T).to(image.dtype)
    if image.ndim not in (2, 3) or image.size == 0 or not (image.dtype == np.uint8 or image.dtype.kind == "f"):
        raise ImageError(f"Cannot resize an array {image.dtype} {image.shape}; it must be uint8 or float, (H, W[, C]).")
    result = np.asarray(image, dtype=np.float64)
    for axis in (0, 1):
        weights = _weights(image.shape[axis], scale, border)
        result = np.moveaxis(np.tensordot(weights, result, axes=(1, axis)), 0, axis)
        if image.dtype == np.uint8:
            result = np.clip(np.floor(result + 0.5), 0, 255)
    return np.ascontiguousarray(result, dtype=image.dtype)


def mod_crop(array: NDArray[np.uint8], scale: int) -> NDArray[np.uint8]:
    """Cut rows at the bottom and columns at the right until ``scale`` divides both sides.

    Every HR image, for training or testing, is cut in this way; a side that ``scale`` divides is left alone.

    Args:
        array: (H, W) or (H, W, C).
        scale: at least 1.

    Returns:
        A view (H - H mod scale, W - W mod scale, …).

    Raises:
        ImageError: nothing would be left.

    Examples:
        >>> mod_crop(np.zeros((10, 7, 3), np.uint8), 4).shape
        (8, 4, 3)
    """
    height, width = (side - side % scale for side in array.shape[:2])
    if not (height and width):
        raise ImageError(f"An image of {array.shape[1]}×{array.shape[0]} pixels is too small for ×{scale}.")
    return array[:height, :width]


@lru_cache(maxsize=64)
def _weights(length: int, scale: float, border: Border) -> NDArray[np.float64]:
    """Return the (ceil(scale · length), length) matrix that resizes one axis; its rows sum to 1."""
    # Numbers such as 1/3 are inexact: 3 · (1/3) must not become 2 pixels by rounding up 1.0000000000000002.
    size = math.ceil(round(length * scale, 9))
    shrink = min(scale, 1.0)
    centre = (np.arange(size) + 0.5) / scale - 0.5  # of each result pixel, on the axis of the source
    reach = 2 / shrink
    taps = np.floor(centre - reach).astype(int)[:, None] + np.arange(math.ceil(2 * reach) + 2)
    values = _cubic((centre[:, None] - taps) * shrink)
    values /= values.sum(axis=1, keepdims=True)
    if border == "mirror":
        taps = taps % (2 * length)
        taps = np.where(taps < length, taps, 2 * length - 1 - taps)
    else:
        taps = taps.clip(0, length - 1)
    weights = np.zeros((size, length))
    np.add.at(weights, (np.arange(size)[:, None], taps), values)
    return weights


def _cubic(x: NDArray[Any]) -> NDArray[Any]:
    """Evaluate Keys' cubic kernel with a = -1/2; it is 0 from a distance of 2."""
    x = np.abs(x)
    near = 1.5 * x**3 - 2.5 * x**2 + 1
    far = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return np.where(x <= 1, near, np.where(x < 2, far, 0.0))
