"""Feature extractors: one registry, shared by losses, discriminators and IQA models.

Examples:
    >>> import torch
    >>> from lopsided.backbones import build_extractor
    >>> extractor = build_extractor("squeezenet1_1-r")
    >>> [tuple(maps.shape) for maps in extractor(torch.rand(1, 3, 64, 64))][:2]
    [(1, 64, 31, 31), (1, 128, 15, 15)]
"""

from . import alexnet, convnext, googlenet, resnet, squeezenet, swin, vgg, vit  # noqa: F401  (each registers itself)
from .extractor import FeatureExtractor, Precision, build_extractor
from .files import WeightsFile, register_file, registered_files
from .keys import distinguished
from .pooling import L2Pool
from .registry import (
    Architecture,
    BackboneError,
    BackboneSpec,
    DeclaredFamilies,
    Stage,
    architecture,
    list_backbones,
    register_backbone,
    weights_names,
)
from .weights import WeightsUnavailableError, published, read_state, weights_file

__all__ = [
    "Architecture",
    "BackboneError",
    "BackboneSpec",
    "DeclaredFamilies",
    "FeatureExtractor",
    "L2Pool",
    "Precision",
    "Stage",
    "WeightsFile",
    "WeightsUnavailableError",
    "architecture",
    "build_extractor",
    "distinguished",
    "list_backbones",
    "published",
    "read_state",
    "register_backbone",
    "register_file",
    "registered_files",
    "weights_file",
    "weights_names",
]
