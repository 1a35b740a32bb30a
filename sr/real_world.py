"""Blind degradation of Real-ESRGAN: blur, resizing, noise and JPEG, twice, with everything drawn at random.

Wang et al., "Real-ESRGAN: Training Real-World Blind Super-Resolution with Pure Synthetic Data", 2021, sections 3.1 to
3.3; the numbers are those of the authors' ``train_realesrgan_x4plus.yml`` (the ×2 file has the same).

Here JPEG is a real codec on 8-bit images (theirs is a differentiable imitation on a GPU), its quality is a whole
number, and resizing is to a whole number of pixels.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import AfterValidator, Field, model_validator
from torch import Tensor

from ..common.fields import Settings
from ..common.images import to_tensor, to_uint8
from .corruption import Interpolation, filter_image, gaussian_noise, jpeg, poisson_noise, resize, unsharp_mask
from .kernels import Kernel, gaussian_kernel, plateau_kernel, sinc_kernel
from .spec import NonNegative, Positive
from .tasks import Degradation, Pixels, Quality, Share, Span, draw, draw_integer


def _odd(side: int) -> int:
    if side % 2 == 0:
        raise ValueError(f"the side of a kernel is odd, got {side}")
    return side


KernelSide = Annotated[int, Field(ge=3, le=51), AfterValidator(_odd)]
Cutoff = Annotated[float, Field(gt=0, le=1)]

_INTERPOLATIONS: tuple[Interpolation, ...] = ("area", "bilinear", "bicubic")
_LARGE = 13  # kernels of this side and larger can have the lower cut-off


class _Shares(Settings):
    """How often each of several things is chosen; only the ratios matter."""

    @model_validator(mode="after")
    def _some(self) -> _Shares:
        if not sum(self.model_dump().values()) > 0:
            raise ValueError("at least one share must be above 0")
        return self

    def draw(self, rng: np.random.Generator) -> str:
        """Draw the name of one."""
        shares = self.model_dump()
        weights = np.array(list(shares.values()))
        return list(shares)[int(rng.choice(len(shares), p=weights / weights.sum()))]


class KernelShares(_Shares):
    """Kinds of Gaussian-like blur kernels."""

    isotropic: NonNegative = Field(default=0.45, description="Share of isotropic Gaussians.")
    anisotropic: NonNegative = Field(default=0.25, description="Share of Gaussians with two widths.")
    generalised_isotropic: NonNegative = Field(default=0.12, description="Share of isotropic generalised Gaussians.")
    generalised_anisotropic: NonNegative = Field(
        default=0.03, description="Share of generalised Gaussians with two widths."
    )
    plateau_isotropic: NonNegative = Field(default=0.12, description="Share of isotropic plateau kernels.")
    plateau_anisotropic: NonNegative = Field(default=0.03, description="Share of plateau kernels with two widths.")


class ResizeShares(_Shares):
    """Directions of the random resizing."""

    up: NonNegative = Field(default=0.2, description="Share of enlarging.")
    down: NonNegative = Field(default=0.7, description="Share of shrinking.")
    keep: NonNegative = Field(default=0.1, description="Share of keeping the size.")


class SecondResizeShares(ResizeShares):
    """Directions of the random resizing in the second pass."""

    up: NonNegative = Field(default=0.3, description="Share of enlarging.")
    down: NonNegative = Field(default=0.4, description="Share of shrinking.")
    keep: NonNegative = Field(default=0.3, description="Share of keeping the size.")


class Pass(Settings):
    """One pass of blur, resizing, noise and JPEG; the defaults are those of the first."""

    blur: Share = Field(default=1.0, description="Probability of any blur.")
    sinc: Share = Field(default=0.1, description="Probability that the blur is a sinc filter.")
    kernels: KernelShares = Field(default=KernelShares(), description="Shares of the other kernels.")
    kernel_size: Span[KernelSide] = Field(default=(7, 21), description="Sides of kernels; odd ones are drawn.")
    sigma: Span[Positive] = Field(default=(0.2, 3.0), description="Standard deviations of kernels in pixels.")
    generalised_shape: Span[Positive] = Field(
        default=(0.5, 4.0), description="Exponent of generalised Gaussians; half of the draws are below 1."
    )
    plateau_shape: Span[Positive] = Field(
        default=(1.0, 2.0),
        description="Exponent of plateau kernels, drawn likewise; by default half of the draws are 1.",
    )
    sinc_cutoff: Cutoff = Field(default=1 / 3, description="Lowest cut-off of sinc filters, in π radians per pixel.")
    sinc_cutoff_large: Cutoff = Field(default=1 / 5, description="The same for kernels of 13 pixels and more.")
    resize: ResizeShares = Field(default=ResizeShares(), description="Shares of enlarging, shrinking and neither.")
    resize_factor: Span[Positive] = Field(
        default=(0.15, 1.5), description="Smallest factor of shrinking, largest of enlarging."
    )
    gaussian: Share = Field(default=0.5, description="Probability that the noise is Gaussian; otherwise Poisson.")
    noise_sigma: Span[NonNegative] = Field(default=(1.0, 30.0), description="Sigma of Gaussian noise, of 255.")
    poisson_scale: Span[NonNegative] = Field(default=(0.05, 3.0), description="Factor of Poisson noise.")
    grey: Share = Field(default=0.4, description="Probability that the noise is the same in the three channels.")
    jpeg_quality: Span[Quality] = Field(default=(30, 95), description="Quality of the JPEG file.")

    @model_validator(mode="after")
    def _around_one(self) -> Pass:
        for name in ("resize_factor", "generalised_shape", "plateau_shape"):
            low, high = getattr(self, name)
            if not low <= 1 <= high:
                raise ValueError(
                    f"{name} must include 1, because values below and above it are drawn separately; got {[low, high]}"
                )
        return self

    def kernel(self, rng: np.random.Generator) -> Kernel:
        """Draw a blur kernel."""
        size = _draw_odd(self.kernel_size, rng)
        if rng.random() < self.sinc:
            lowest = self.sinc_cutoff if size < _LARGE else self.sinc_cutoff_large
            return sinc_kernel(size, math.pi * draw((lowest, 1.0), rng))
        kind = self.kernels.draw(rng)
        sigma_x, sigma_y, angle = draw(self.sigma, rng), None, 0.0
        if kind.endswith("anisotropic"):
            sigma_y, angle = draw(self.sigma, rng), draw((-math.pi, math.pi), rng)
        if kind.startswith("plateau"):
            return plateau_kernel(size, sigma_x, sigma_y, angle, _draw_shape(self.plateau_shape, rng))
        shape = _draw_shape(self.generalised_shape, rng) if kind.startswith("generalised") else 1.0
        return gaussian_kernel(size, sigma_x, sigma_y, angle, shape)

    def blurred(self, image: Tensor, rng: np.random.Generator) -> Tensor:
        """Blur with a kernel drawn at random, or not at all."""
        return filter_image(image, self.kernel(rng)) if rng.random() < self.blur else image

    def factor(self, rng: np.random.Generator) -> float:
        """Draw the factor of the random resizing."""
        low, high = self.resize_factor
        direction = self.resize.draw(rng)
        return {"up": draw((1.0, high), rng), "down": draw((low, 1.0), rng), "keep": 1.0}[direction]

    def noisy(self, image: Tensor, rng: np.random.Generator) -> Tensor:
        """Add noise drawn at random and clamp to [0, 1]."""
        gaussian, grey = rng.random() < self.gaussian, bool(rng.random() < self.grey)
        if gaussian:
            noise = gaussian_noise(image, draw(self.noise_sigma, rng), rng, grey=grey)
        else:
            noise = poisson_noise(image, draw(self.poisson_scale, rng), rng, grey=grey)
        return (image + noise).clamp(0, 1)

    def compressed(self, image: Tensor, rng: np.random.Generator) -> Tensor:
        """Compress with a quality drawn at random."""
        return jpeg(image, draw_integer(self.jpeg_quality, rng))


class SecondPass(Pass):
    """The second pass: weaker than the first, and resizing is relative to the size of the LR image."""

    blur: Share = Field(default=0.8, description="Probability of any blur.")
    sigma: Span[Positive] = Field(default=(0.2, 1.5), description="Standard deviations of kernels in pixels.")
    resize: SecondResizeShares = Field(  # pyright: ignore[reportIncompatibleVariableOverride] -- models are frozen
        default=SecondResizeShares(), description="Shares of enlarging, shrinking and neither."
    )
    resize_factor: Span[Positive] = Field(
        default=(0.3, 1.2), description="Smallest factor of shrinking, largest of enlarging."
    )
    noise_sigma: Span[NonNegative] = Field(default=(1.0, 25.0), description="Sigma of Gaussian noise, of 255.")
    poisson_scale: Span[NonNegative] = Field(default=(0.05, 2.5), description="Factor of Poisson noise.")


class RealWorld(Degradation):
    """Real-ESRGAN's degradation of second order, or the classical one of first order.

    Order 1 is the paper's equation 1: blur, resizing to the LR size, noise, JPEG, with the numbers of ``first``.

    Examples:
        >>> task = RealWorld(first=Pass(noise_sigma=(1, 10)))
        >>> task.degrade(np.full((64, 48, 3), 128, np.uint8), 4, np.random.default_rng(0)).shape
        (16, 12, 3)
    """

    scales: ClassVar[tuple[int, ...]] = (2, 3, 4)
    context: ClassVar[int] = 72  # Real-ESRGAN degrades 400 px and keeps 256

    degradation: Literal["real"] = "real"
    order: Literal[1, 2] = Field(default=2, description="Passes; 1 is the classical blur, shrinking, noise and JPEG.")
    first: Pass = Field(default=Pass(), description="The first pass.")
    second: SecondPass = Field(default=SecondPass(), description="The second pass; used with order 2 only.")
    final_sinc: Share = Field(default=0.8, description="Probability of a last sinc filter; used with order 2 only.")
    final_kernel_size: Span[KernelSide] = Field(default=(7, 21), description="Sides of the last filter.")
    final_cutoff: Cutoff = Field(default=1 / 3, description="Its lowest cut-off, in π radians per pixel.")
    sharpen_target: bool = Field(
        default=False,
        description="Train towards unsharp-masked photographs, as Real-ESRGAN does. Off, because judges compare with "
        "photographs as they are, and sharpening would look like an effect of the loss.",
    )

    def definition(self) -> dict[str, Any]:
        """Return the version and the settings that the order uses."""
        unused = {"second", "final_sinc", "final_kernel_size", "final_cutoff"} if self.order == 1 else set()
        return {"version": self.version, **self.model_dump(mode="json", exclude=unused)}

    def target(self, hr: Pixels) -> Pixels:
        """Return the photograph, sharpened if ``sharpen_target`` says so."""
        return to_uint8(unsharp_mask(to_tensor(hr)[0])) if self.sharpen_target else hr

    def degrade(self, hr: Pixels, scale: int, rng: np.random.Generator) -> Pixels:
        """Draw every setting and apply the passes."""
        height, width = hr.shape[0] // scale, hr.shape[1] // scale
        image = self.first.blurred(to_tensor(hr)[0], rng)
        if self.order == 1:
            image = self.first.noisy(resize(image, (height, width), _interpolation(rng)), rng)
            return to_uint8(self.first.compressed(image, rng))
        image = _rescaled(image, (hr.shape[0], hr.shape[1]), self.first.factor(rng), rng)
        image = self.first.compressed(self.first.noisy(image, rng), rng)
        image = self.second.blurred(image, rng)
        image = _rescaled(image, (height, width), self.second.factor(rng), rng)
        image = self.second.noisy(image, rng)
        # The last resizing and filter go together, before or after the last JPEG: other orders leave twisted lines.
        jpeg_last = rng.random() < 0.5
        if not jpeg_last:
            image = self.second.compressed(image, rng)
        image = resize(image, (height, width), _interpolation(rng))
        if rng.random() < self.final_sinc:
            size = _draw_odd(self.final_kernel_size, rng)
            image = filter_image(image, sinc_kernel(size, math.pi * draw((self.final_cutoff, 1.0), rng)))
        return to_uint8(self.second.compressed(image, rng) if jpeg_last else image)


def _draw_odd(span: tuple[int, int], rng: np.random.Generator) -> int:
    """Draw uniformly from the odd numbers of a range with odd ends."""
    return 2 * draw_integer((span[0] // 2, span[1] // 2), rng) + 1


def _draw_shape(span: tuple[float, float], rng: np.random.Generator) -> float:
    """Draw an exponent: below or above 1 with equal chance."""
    low, high = span
    return draw((low, 1.0), rng) if rng.random() < 0.5 else draw((1.0, high), rng)


def _interpolation(rng: np.random.Generator) -> Interpolation:
    return _INTERPOLATIONS[int(rng.integers(len(_INTERPOLATIONS)))]


def _rescaled(image: Tensor, size: tuple[int, int], factor: float, rng: np.random.Generator) -> Tensor:
    """Resize to ``factor`` times ``size``, rounded down as in Real-ESRGAN, by an interpolation drawn at random."""
    height, width = (max(1, int(side * factor)) for side in size)
    return resize(image, (height, width), _interpolation(rng))
