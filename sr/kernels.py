"""Blur kernels: the Gaussian family of blind super-resolution, sinc low-pass filters and straight motion.

Every kernel is a float64 array (size, size) with an odd side. It sums to 1 and does not change when turned by 180°, so
that convolving and correlating with it are the same. Angles are in radians, from the x axis towards the y axis
(downwards).
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray

Kernel = NDArray[np.float64]


def gaussian_kernel(
    size: int, sigma_x: float, sigma_y: float | None = None, angle: float = 0.0, shape: float = 1.0
) -> Kernel:
    """Return exp(-d^(2 shape) / 2), with d the distance from the centre in standard deviations.

    The generalised Gaussian of Pascal et al., "Parameter estimation for multivariate generalized Gaussian
    distributions", 2013; shape 1 is the normal distribution, a smaller one has heavier tails, a larger one a flatter
    top.

    Args:
        size: odd side in pixels.
        sigma_x: standard deviation along the first axis, in pixels.
        sigma_y: standard deviation along the second axis; default: the same (isotropic).
        angle: of the first axis.
        shape: exponent beta.

    Examples:
        >>> kernel = gaussian_kernel(5, 1.0)
        >>> kernel.shape, float(kernel.sum().round(12)), bool((kernel == kernel[::-1, ::-1]).all())
        ((5, 5), 1.0, True)
    """
    return _normalised(np.exp(-0.5 * _squared_distance(size, sigma_x, sigma_y, angle) ** shape))


def plateau_kernel(
    size: int, sigma_x: float, sigma_y: float | None = None, angle: float = 0.0, shape: float = 1.0
) -> Kernel:
    """Return 1 / (1 + d^(2 shape)), arguments as in :func:`gaussian_kernel` (Wang et al., Real-ESRGAN, 2021)."""
    return _normalised(1 / (1 + _squared_distance(size, sigma_x, sigma_y, angle) ** shape))


def sinc_kernel(size: int, cutoff: float) -> Kernel:
    """Return the ideal circular low-pass filter, truncated to ``size`` pixels: it rings, as sharpened pictures do.

    With r the distance from the centre and J1 the Bessel function, cutoff · J1(cutoff · r) / (2π r)
    (Wang et al., Real-ESRGAN, 2021, equation 6).

    Args:
        size: odd side in pixels.
        cutoff: angular frequency in radians per pixel; π is the highest that an image holds.
    """
    x, y = _grid(size)
    distance = np.hypot(x, y)
    centre = distance == 0
    distance[centre] = 1
    bessel = torch.special.bessel_j1(torch.from_numpy(cutoff * distance)).numpy()
    kernel = cutoff * bessel / (2 * math.pi * distance)
    kernel[centre] = cutoff**2 / (4 * math.pi)
    return _normalised(kernel)


def motion_kernel(length: float, angle: float) -> Kernel:
    """Return the blur of a camera that moves along a straight line at constant speed while the shutter is open.

    A pixel's weight is 1 minus its distance from the path, and 0 from a distance of one pixel on.

    Args:
        length: of the path in pixels, at least 1; 1 is no blur.
        angle: of the path.
    """
    half = (length - 1) / 2
    x, y = _grid(2 * math.ceil(half) + 1)
    along, across = _turned(x, y, angle)
    beyond = np.maximum(np.abs(along) - half, 0)
    return _normalised(np.maximum(1 - np.hypot(beyond, across), 0))


def _squared_distance(size: int, sigma_x: float, sigma_y: float | None, angle: float) -> Kernel:
    u, v = _turned(*_grid(size), angle)
    return (u / sigma_x) ** 2 + (v / (sigma_x if sigma_y is None else sigma_y)) ** 2


def _grid(size: int) -> tuple[Kernel, Kernel]:
    """Return x and y of every pixel, counted from the centre."""
    line = np.arange(size, dtype=np.float64) - (size - 1) / 2
    x, y = np.meshgrid(line, line)
    return x, y


def _turned(x: Kernel, y: Kernel, angle: float) -> tuple[Kernel, Kernel]:
    """Return the coordinates with respect to axes turned by ``angle``."""
    cos, sin = math.cos(angle), math.sin(angle)
    return x * cos + y * sin, y * cos - x * sin


def _normalised(kernel: Kernel) -> Kernel:
    return kernel / kernel.sum()
