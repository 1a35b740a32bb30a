"""Tasks: the degradation that a network learns to reverse, as settings that YAML can hold.

Bicubic shrinking is a fixed function, and its results are stored. The other tasks draw noise or settings anew for every
training crop; every random number comes from the generator that is passed, so equal generators give equal images.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Annotated, Any, ClassVar, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, BeforeValidator, Field, GetJsonSchemaHandler

from ..common.fields import Settings
from ..common.identity import identity
from ..common.images import to_tensor, to_uint8
from .corruption import Subsampling, filter_image, gaussian_noise, jpeg
from .degradation import DEGRADATION, bicubic_resize
from .kernels import gaussian_kernel, motion_kernel
from .spec import NonNegative, Positive

Pixels = NDArray[np.uint8]


class _OneOrTwo(BeforeValidator):
    """Annotation of a range that can be given as a single value, which is then both of its ends."""

    def __init__(self) -> None:
        super().__init__(lambda value: value if isinstance(value, list | tuple) else (value, value))

    def __get_pydantic_json_schema__(self, schema: Any, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        ends = handler(schema)
        return {"anyOf": [ends["prefixItems"][0], ends]}


def _ascending(ends: tuple[float, float]) -> tuple[float, float]:
    if ends[0] > ends[1]:
        raise ValueError(f"the lower end comes first, got {list(ends)}")
    return ends


_End = TypeVar("_End")
Span = Annotated[tuple[_End, _End], AfterValidator(_ascending), _OneOrTwo()]
Share = Annotated[float, Field(ge=0, le=1)]
Quality = Annotated[int, Field(ge=1, le=100)]


def draw(span: tuple[float, float], rng: np.random.Generator) -> float:
    """Draw uniformly from a range."""
    return float(rng.uniform(*span))


def draw_integer(span: tuple[int, int], rng: np.random.Generator) -> int:
    """Draw uniformly from the integers of a range, both ends included."""
    return int(rng.integers(span[0], span[1], endpoint=True))


class Degradation(Settings, ABC):
    """Turns a high-resolution photograph into the image that a network is given.

    Attributes:
        scales: magnifications that the task exists for; 1 where it keeps the size.
        context: width in HR pixels of the surroundings that affect a training crop's LR image.
        version: raised whenever the same settings would give other images.
        random: whether LR images depend on more than the HR image, so that they cannot be stored.
    """

    scales: ClassVar[tuple[int, ...]] = (1,)
    context: ClassVar[int] = 0
    version: ClassVar[int] = 1
    random: ClassVar[bool] = True

    @classmethod
    def name(cls) -> str:
        """Return what YAML calls the task: the value of its field ``degradation``."""
        return str(cls.model_fields["degradation"].default)

    @abstractmethod
    def degrade(self, hr: Pixels, scale: int, rng: np.random.Generator) -> Pixels:
        """Return the degraded image.

        Args:
            hr: (H, W, 3), uint8; ``scale`` divides both sides.
            scale: one of ``scales``.
            rng: the only source of randomness.

        Returns:
            (H / scale, W / scale, 3), uint8.
        """

    def target(self, hr: Pixels) -> Pixels:
        """Return what a network is trained to restore: the photograph itself, unless a task says otherwise."""
        return hr

    def definition(self) -> dict[str, Any]:
        """Return what determines the images: the settings, and the version of their arithmetic."""
        return {"version": self.version, **self.model_dump(mode="json")}

    @property
    def identity(self) -> str:
        """Short content hash of the definition."""
        return identity(self.definition())

    @property
    def baseline(self) -> Literal["bicubic", "input"]:
        """The restoration without training: bicubic enlargement or, where the size stays, the degraded input itself."""
        return "input" if self.scales == (1,) else "bicubic"


class Bicubic(Degradation):
    """Antialiased bicubic shrinking, as MATLAB does it.

    Examples:
        >>> hr = np.full((8, 12, 3), 200, np.uint8)
        >>> Bicubic().degrade(hr, 4, np.random.default_rng(0)).shape
        (2, 3, 3)
    """

    scales: ClassVar[tuple[int, ...]] = (2, 3, 4)
    random: ClassVar[bool] = False

    degradation: Literal["bicubic"] = "bicubic"

    def degrade(self, hr: Pixels, scale: int, rng: np.random.Generator) -> Pixels:  # noqa: ARG002
        """See :func:`~lopsided.sr.degradation.bicubic_resize`."""
        return bicubic_resize(hr, 1 / scale)

    def definition(self) -> dict[str, Any]:
        """Return the name of the arithmetic, on which stored LR images depend too."""
        return {"degradation": DEGRADATION}


class Denoising(Degradation):
    """White Gaussian noise of known or unknown strength.

    The noisy image is clamped and rounded to 8 bits, as a file is; papers that add unclamped floating-point noise
    report another PSNR of the input (20.2 dB at sigma 25).

    Examples:
        >>> task = Denoising.model_validate({"sigma": [0, 50]})  # a range to draw from; a number is both ends
        >>> hr = np.full((8, 12, 3), 128, np.uint8)
        >>> task.degrade(hr, 1, np.random.default_rng(0)).shape
        (8, 12, 3)
    """

    degradation: Literal["denoising"] = "denoising"
    sigma: Span[NonNegative] = Field(
        default=(25.0, 25.0),
        description="Standard deviation on the scale 0..255: one number, or a range to draw from. Papers: 15, 25, 50.",
    )

    def degrade(self, hr: Pixels, scale: int, rng: np.random.Generator) -> Pixels:  # noqa: ARG002
        """Add the noise."""
        image = to_tensor(hr)[0]
        return to_uint8(image + gaussian_noise(image, draw(self.sigma, rng), rng))


class Jpeg(Degradation):
    """JPEG compression by a real encoder."""

    # A block of 4:2:0 is 16 px wide, and the decoder's smooth chroma upsampling looks at one pixel of the next.
    context: ClassVar[int] = 16

    degradation: Literal["jpeg"] = "jpeg"
    quality: Span[Quality] = Field(
        default=(10, 10), description="1 (worst) to 100: one number, or a range to draw from. Papers: 10, 20, 30, 40."
    )
    subsampling: Subsampling = Field(
        default=420, description="Subsampling of the colour channels: 420 (4:2:0), 422 or 444."
    )

    def degrade(self, hr: Pixels, scale: int, rng: np.random.Generator) -> Pixels:  # noqa: ARG002
        """Write and read a JPEG file."""
        return to_uint8(jpeg(to_tensor(hr)[0], draw_integer(self.quality, rng), self.subsampling))


class Deblurring(Degradation):
    """Blur by a Gaussian or by straight motion, then noise."""

    context: ClassVar[int] = 32  # blurs that reach farther see the image mirrored there

    degradation: Literal["deblurring"] = "deblurring"
    blur: Literal["gaussian", "motion"] = Field(default="gaussian", description="Kind of the blur.")
    sigma: Span[Positive] = Field(
        default=(1.6, 1.6),
        description="For blur gaussian: standard deviation in pixels, isotropic; one number or a range.",
    )
    length: Span[Annotated[float, Field(ge=1, le=65)]] = Field(
        default=(5.0, 21.0),
        description="For blur motion: length of the path in pixels, one number or a range; its direction is random.",
    )
    noise: Span[NonNegative] = Field(
        default=(0.0, 0.0), description="Standard deviation of Gaussian noise after the blur, on the scale 0..255."
    )

    def definition(self) -> dict[str, Any]:
        """Return the version and the settings that the kind of blur uses."""
        unused = "length" if self.blur == "gaussian" else "sigma"
        return {"version": self.version, **self.model_dump(mode="json", exclude={unused})}

    def degrade(self, hr: Pixels, scale: int, rng: np.random.Generator) -> Pixels:  # noqa: ARG002
        """Blur, then add the noise."""
        if self.blur == "gaussian":
            sigma = draw(self.sigma, rng)
            kernel = gaussian_kernel(2 * math.ceil(4 * sigma) + 1, sigma)
        else:
            kernel = motion_kernel(draw(self.length, rng), float(rng.uniform(0, math.pi)))
        image = filter_image(to_tensor(hr)[0], kernel)
        return to_uint8(image + gaussian_noise(image, draw(self.noise, rng), rng))
