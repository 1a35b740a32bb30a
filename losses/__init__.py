"""Fidelity measures: each is one thing with two uses, a full-reference quality metric and a training loss.

>>> from lopsided.losses import DISTS, MeasureGroup, create_measure
>>> loss = DISTS("vgg16-r")(prediction, reference)  # scalar, lower is better
>>> score = create_measure("ssim").score(image, reference)  # (N,), in the measure's own direction
>>> losses = MeasureGroup(["l1", "dists-vgg16-r", "style-vgg16-r"])(prediction, reference)  # a loss per key
"""

from .contextual import Contextual, ContextualSpec
from .dists import DISTS, DistsSpec, dists
from .gmsd import Gmsd, GmsdSpec
from .gradient_matching import gradient_matching_weight
from .group import MeasureGroup
from .lpips import LPIPS, LpipsSpec
from .measure import Measure, MeasureError, MeasureSpec, Reference
from .nlpd import Nlpd, NlpdSpec
from .perceptual import Perceptual, PerceptualSpec
from .pixel import Pixel, PixelSpec
from .registry import create_measure, list_measures, parse_measure
from .ssim import Ssim, SsimSpec
from .style import Style, StyleSpec
from .through_pyiqa import Handcrafted, HandcraftedSpec, Pyiqa, PyiqaSpec

__all__ = [
    "DISTS",
    "LPIPS",
    "Contextual",
    "ContextualSpec",
    "DistsSpec",
    "Gmsd",
    "GmsdSpec",
    "Handcrafted",
    "HandcraftedSpec",
    "LpipsSpec",
    "Measure",
    "MeasureError",
    "MeasureGroup",
    "MeasureSpec",
    "Nlpd",
    "NlpdSpec",
    "Perceptual",
    "PerceptualSpec",
    "Pixel",
    "PixelSpec",
    "Pyiqa",
    "PyiqaSpec",
    "Reference",
    "Ssim",
    "SsimSpec",
    "Style",
    "StyleSpec",
    "create_measure",
    "dists",
    "gradient_matching_weight",
    "list_measures",
    "parse_measure",
]
