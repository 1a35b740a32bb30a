"""Cheap diagnostics of a measure as an objective: no training and no human data, a few crops of photographs only.

Every function takes a batch of N crops and returns readings: one number per crop, under a name, with its unit. A number
that is undefined is NaN; nothing is left out.
"""

from .curvature import curvature
from .differentiation import Extreme, differentiate
from .gradients import alignment, frequency
from .invariance import MARGIN, invariance
from .readings import Reading, psnr
from .recovery import Recovery, colour_drift, recover
from .shares import shares

__all__ = [
    "MARGIN",
    "Extreme",
    "Reading",
    "Recovery",
    "alignment",
    "colour_drift",
    "curvature",
    "differentiate",
    "frequency",
    "invariance",
    "psnr",
    "recover",
    "shares",
]
