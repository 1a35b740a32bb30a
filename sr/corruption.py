"""The single steps of a degradation: filtering, resizing, noise, JPEG, and the unsharp mask.

Images are float32 tensors (3, H, W), RGB, nominally in [0, 1]; only :func:`jpeg` clamps and rounds. Random numbers come
from a numpy generator.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ..common.images import recompressed, to_tensor, to_uint8
from .kernels import gaussian_kernel

Interpolation = Literal["area", "bilinear", "bicubic"]
Subsampling = Literal[444, 422, 420]  # of chroma; not "4:2:0", which YAML reads as a number to base 60

_PILLOW: dict[Subsampling, int] = {444: 0, 422: 1, 420: 2}
_LUMA = (0.2989, 0.587, 0.114)  # ITU-R BT.601, as torchvision rounds it


def filter_image(image: Tensor, kernel: NDArray[np.float64]) -> Tensor:
    """Convolve each channel with a kernel (k, k) of odd side; beyond the border the image is mirrored.

    The border pixel itself is not repeated (``reflect``), as in Real-ESRGAN.
    """
    radius = kernel.shape[0] // 2
    if radius == 0:
        return image
    height, width = image.shape[-2:]
    # Unlike torch's padding, numpy's mirrors again where the image is smaller than the kernel.
    rows, columns = (torch.from_numpy(np.pad(np.arange(n), radius, mode="reflect")) for n in (height, width))
    padded = image.index_select(-2, rows).index_select(-1, columns)
    # By FFT: any size costs about as much as a 7×7 convolution. Even sides, because some primes are slow.
    size = [side + side % 2 for side in padded.shape[-2:]]
    spectrum = torch.fft.rfft2(padded, s=size) * torch.fft.rfft2(torch.from_numpy(kernel).float(), s=size)
    whole = torch.fft.irfft2(spectrum, s=size)
    return whole[..., 2 * radius : 2 * radius + height, 2 * radius : 2 * radius + width].contiguous()


def resize(image: Tensor, size: tuple[int, int], mode: Interpolation) -> Tensor:
    """Resize to (height, width) without antialiasing, with torch's ``interpolate``, as Real-ESRGAN does."""
    if tuple(image.shape[-2:]) == size:
        return image
    return F.interpolate(image[None], size=size, mode=mode)[0]


def gaussian_noise(image: Tensor, sigma: float, rng: np.random.Generator, *, grey: bool = False) -> Tensor:
    """Return white Gaussian noise for an image.

    Args:
        image: gives the shape.
        sigma: standard deviation on the scale 0..255.
        rng: source of the noise.
        grey: one value for the three channels of a pixel.

    Returns:
        The noise to add, (3, H, W) or (1, H, W).
    """
    shape = (1 if grey else image.shape[0], *image.shape[-2:])
    return torch.from_numpy(rng.standard_normal(shape, dtype=np.float32)).mul_(sigma / 255)


def poisson_noise(image: Tensor, scale: float, rng: np.random.Generator, *, grey: bool = False) -> Tensor:
    """Return shot noise for an image: the noise of counting x · n photons, times ``scale``.

    n is the number of grey levels that occur, rounded up to a power of two (256 for most photographs), as in
    scikit-image and Real-ESRGAN. So the noise has mean 0 and variance scale² x / n, where x is the image rounded to
    8 bits.

    Args:
        image: clamped and rounded to 8 bits first.
        scale: factor of the noise.
        rng: source of the noise.
        grey: noise of the luma, the same for the three channels of a pixel.

    Returns:
        The noise to add, (3, H, W) or (1, H, W).
    """
    if grey:
        image = torch.einsum("c,chw->hw", torch.tensor(_LUMA), image)[None]
    levels = image.clamp(0, 1).mul(255).round().numpy().astype(np.uint8)
    occurring = np.count_nonzero(np.bincount(levels.ravel(), minlength=256))
    photons = 2.0 ** math.ceil(math.log2(occurring))
    exact = levels / 255
    return torch.from_numpy((scale * (rng.poisson(exact * photons) / photons - exact)).astype(np.float32))


def jpeg(image: Tensor, quality: int, subsampling: Subsampling = 420) -> Tensor:
    """Return the image after writing it to a JPEG file and reading it back, by Pillow (libjpeg).

    Args:
        image: clamped to [0, 1] and rounded to 8 bits first.
        quality: 1 (worst) to 100, which scales the standard's quantisation tables.
        subsampling: of the two colour channels: 420 (4:2:0) stores a quarter of their pixels, 422 half of them.
    """
    coded = recompressed(to_uint8(image), "JPEG", quality=quality, subsampling=_PILLOW[subsampling])
    return to_tensor(coded)[0]


def unsharp_mask(image: Tensor) -> Tensor:
    """Sharpen edges as Real-ESRGAN sharpens its training targets.

    Half of the difference to a Gaussian blur (51 × 51, standard deviation 8) is added where that difference exceeds
    10 of 255 grey levels; the same blur softens the border of that area.
    """
    blur = gaussian_kernel(51, 8.0)
    detail = image - filter_image(image, blur)
    mask = filter_image((detail.abs() * 255 > 10).float(), blur)
    return image + mask * ((image + 0.5 * detail).clamp(0, 1) - image)
