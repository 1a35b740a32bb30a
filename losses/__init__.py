"""Fidelity measures: each is one thing with two uses, a full-reference quality metric and a training loss.

>>> from lopsided.losses import DISTS, create_measure
>>> loss = DISTS("vgg16-r")(prediction, reference)  # scalar, lower is better
>>> score = create_measure("ssim").score(image, reference)  # (N,), in the measure's own direction
"""

from .dists import DISTS, DistsSpec, dists
from .gradient_matching import gradient_matching_weight
from .handcrafted import Handcrafted, HandcraftedSpec
from .lpips import Lpips, LpipsSpec
from .measure import Measure, MeasureError, MeasureSpec
from .pixel import Pixel, PixelSpec
from .registry import create_measure, list_measures, parse_measure

__all__ = [
    "DISTS",
    "DistsSpec",
    "Handcrafted",
    "HandcraftedSpec",
    "Lpips",
    "LpipsSpec",
    "Measure",
    "MeasureError",
    "MeasureSpec",
    "Pixel",
    "PixelSpec",
    "create_measure",
    "dists",
    "gradient_matching_weight",
    "list_measures",
    "parse_measure",
]
