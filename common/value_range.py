"""The range that pixel values are given in: [0, 1] unless a user says otherwise, and hints at what a wrong one is."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field
from torch import Tensor

from .fields import NUMBER

UNIT = (0.0, 1.0)
BEYOND = 0.2  # how far images that are meant for [-1, 1] can be outside it: a network's overshoot

_End = Annotated[float, Field(ge=-NUMBER, le=NUMBER, allow_inf_nan=False)]


def _ordered(ends: tuple[float, float]) -> tuple[float, float]:
    if not ends[0] < ends[1]:
        raise ValueError(f"the values of black and white, such as [-1, 1]; got [{ends[0]:g}, {ends[1]:g}]")
    return ends


InputRange = Annotated[tuple[_End, _End], AfterValidator(_ordered)]
"""Field type of the values of black and white in the images that are given."""


def to_unit(images: Tensor, given: tuple[float, float]) -> Tensor:
    """Bring images of a range to [0, 1], linearly; those that are in it are returned as they are.

    Examples:
        >>> import torch
        >>> to_unit(torch.tensor([-1.0, 0.0, 1.0]), (-1, 1))
        tensor([0.0000, 0.5000, 1.0000])
    """
    low, high = given
    return images if given == UNIT else (images - low) / (high - low)


def symmetric(low: float, high: float) -> bool:
    """Tell whether values look like those of images in [-1, 1], whose negative half is no mere overshoot of [0, 1]."""
    return -1 - BEYOND <= low < -0.05 and high <= 1 + BEYOND


def range_hint(low: float, high: float) -> str:
    """Say what to do about images whose values were seen to span ``low`` to ``high``, not 0 to 1.

    Examples:
        >>> range_hint(0, 255)
        '; divide images in [0, 255] by 255'
        >>> range_hint(-400, 900)
        ''
    """
    if symmetric(low, high):
        return "; bring images in [-1, 1] to [0, 1] by (x + 1) / 2"
    return "; divide images in [0, 255] by 255" if 2 <= high <= 256 and low > -1 else ""
