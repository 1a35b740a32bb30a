"""Feature extractors: one registry, shared by losses, discriminators and IQA models.

>>> from lopsided.backbones import BackboneSpec, build_extractor
>>> extractor = build_extractor(BackboneSpec(name="vgg16-r"))
>>> [tuple(f.shape[1:]) for f in extractor(images)]
"""

from .extractor import FeatureExtractor, build_extractor
from .pooling import L2Pool
from .registry import Architecture, BackboneError, BackboneSpec, Stage, list_backbones
from .weights import WeightsUnavailableError

__all__ = [
    "Architecture",
    "BackboneError",
    "BackboneSpec",
    "FeatureExtractor",
    "L2Pool",
    "Stage",
    "WeightsUnavailableError",
    "build_extractor",
    "list_backbones",
]
