"""Fidelity measures: each is one thing with two uses, a full-reference quality metric and a training loss.

Examples:
    >>> import torch
    >>> from lopsided.losses import DISTS, MeasureGroup, create_measure
    >>> _ = torch.manual_seed(0)
    >>> image, reference = torch.rand(2, 2, 3, 32, 32)
    >>> DISTS("squeezenet1_1-r")(image, reference).shape  # a loss: one number, lower is better
    torch.Size([])
    >>> create_measure("ssim").score(image, reference).shape  # a metric: one score per image, in its own direction
    torch.Size([2])
    >>> sorted(MeasureGroup(["l1", "style-squeezenet1_1-r"])(image, reference))  # a loss per key, one shared backbone
    ['l1', 'style-squeezenet1_1-r']
"""

from .artefact import Artefact, ArtefactSpec
from .contextual import Contextual, ContextualSpec
from .dists import DISTS, VARIANTS, DistsSpec, dists
from .features import FeatureMeasure, FeatureSpec
from .gmsd import GMSD, GmsdSpec
from .gradient_matching import gradient_matching_weight
from .group import MeasureGroup
from .layerwise import LayerwiseMeasure, LayerwiseSpec
from .learn_weights import LearningError, LearningSpec, MosRecipe, PairwiseRecipe, learnable
from .lpips import LPIPS, LpipsSpec
from .measure import Measure, MeasureError, MeasureSpec, Reduction, Reference
from .nlpd import NLPD, NlpdSpec
from .perceptual import Perceptual, PerceptualSpec
from .pixel import Pixel, PixelSpec
from .precise import PreciseMeasure
from .registry import SPECS, create_measure, list_measures, parse_measure, register_measure
from .ssim import SSIM, SsimSpec
from .style import Style, StyleSpec
from .through_pyiqa import Handcrafted, HandcraftedSpec, Pyiqa, PyiqaSpec, pyiqa_network, pyiqa_version

__all__ = [
    "DISTS",
    "GMSD",
    "LPIPS",
    "NLPD",
    "SPECS",
    "SSIM",
    "VARIANTS",
    "Artefact",
    "ArtefactSpec",
    "Contextual",
    "ContextualSpec",
    "DistsSpec",
    "FeatureMeasure",
    "FeatureSpec",
    "GmsdSpec",
    "Handcrafted",
    "HandcraftedSpec",
    "LayerwiseMeasure",
    "LayerwiseSpec",
    "LearningError",
    "LearningSpec",
    "LpipsSpec",
    "Measure",
    "MeasureError",
    "MeasureGroup",
    "MeasureSpec",
    "MosRecipe",
    "NlpdSpec",
    "PairwiseRecipe",
    "Perceptual",
    "PerceptualSpec",
    "Pixel",
    "PixelSpec",
    "PreciseMeasure",
    "Pyiqa",
    "PyiqaSpec",
    "Reduction",
    "Reference",
    "SsimSpec",
    "Style",
    "StyleSpec",
    "create_measure",
    "dists",
    "gradient_matching_weight",
    "learnable",
    "list_measures",
    "parse_measure",
    "pyiqa_network",
    "pyiqa_version",
    "register_measure",
]
