"""What all measures on the feature maps of a backbone share: the backbone, its precision, and its passes."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar, Generic, Literal, TypeVar

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor
from typing_extensions import Self

from ..backbones import BackboneSpec, FeatureExtractor, build_extractor
from ..backbones.extractor import Precision
from ..backbones.freezing import freeze
from ..backbones.registry import Architecture, architecture
from ..common.building import building
from ..common.families import learnt_from
from ..common.transforms import transformed
from ..common.value_range import to_unit
from .measure import Measure, MeasureError, MeasureSpec, Reduction

Resize = Literal["none", "bilinear-256", "antialias-256"]


class FeatureSpec(MeasureSpec):
    """A measure on feature maps.

    Attributes:
        forms: how it compares, for :attr:`families`; by default the measure is a form of its own.
        backbone: feature extractor, e.g. ``vgg16`` or ``vgg16-r`` (seeded random weights).
        layers: names of the backbone's stages that enter, e.g. ``[relu2_2, relu3_3]``; all by default.
        pooling: ``l2`` replaces the backbone's max pooling by L2 pooling, ``max`` keeps it.
        precision: of the backbone's pass, ``fp32`` or ``bf16``; statistics are float32 either way.
        resize: ``none``; or, where the shorter side exceeds 256 px, bilinear to 256 without (``bilinear-256``) or with
            antialiasing (``antialias-256``).
    """

    forms: ClassVar[tuple[str, ...]] = ()

    backbone: BackboneSpec = Field(default_factory=lambda: BackboneSpec(name="vgg16"))
    layers: tuple[str, ...] | None = None
    pooling: Literal["max", "l2"] = "max"
    precision: Precision = "fp32"
    resize: Resize = "none"

    @model_validator(mode="after")
    def _layers_exist(self) -> FeatureSpec:
        known = [stage.name for stage in self.architecture.stages]
        for layer in self.layers or ():
            if layer not in known:
                raise ValueError(f"'{self.backbone.name}' has no layer '{layer}'; known: {', '.join(known)}")
        if self.layers is not None and (not self.layers or len(set(self.layers)) < len(self.layers)):
            raise ValueError(f"layers must name one or more stages, each once; known: {', '.join(known)}")
        if self.precision == "bf16" and not self.architecture.bf16:
            raise ValueError(f"in bf16 '{self.backbone.name}' loses the direction of the gradient; use precision fp32")
        return self

    @classmethod
    def on(cls, backbone: str) -> Self:
        """Return the default member of the family on a backbone.

        Raises:
            BackboneError: no such backbone.

        Examples:
            >>> from lopsided.losses import DistsSpec
            >>> DistsSpec().key, DistsSpec.on("vgg16").key  # the authors' metric, and the uniform member
            ('dists', 'dists-vgg16')
            >>> DistsSpec.on("vgg16").channels
            (64, 128, 256, 512, 512)
        """
        architecture(backbone)
        return cls(backbone=BackboneSpec(name=backbone))

    @property
    def architecture(self) -> Architecture:
        """What the registry knows of the backbone."""
        return architecture(self.backbone.name)

    @property
    def stages(self) -> tuple[int, ...]:
        """Indices of the stages that enter, shallow to deep."""
        every = range(len(self.architecture.stages))
        return tuple(i for i in every if self.layers is None or self.architecture.stages[i].name in self.layers)

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels of each layer."""
        return tuple(self.architecture.stages[i].channels for i in self.stages)

    @property
    def families(self) -> frozenset[str]:
        """The backbone's, the forms, and what the measure's own weights learnt from.

        Raises:
            BackboneError: a file of weights does not exist.

        Examples:
            >>> from lopsided.losses import LpipsSpec
            >>> sorted(LpipsSpec.on("vgg16-r").families)  # nothing is learnt
            ['backbone:vgg', 'form:feature-distance', 'form:lpips']
        """
        forms = frozenset(f"form:{form}" for form in self.forms or self.names())
        return self.backbone.families | forms | learnt_from(self.trained_on)

    @property
    def min_size(self) -> int:
        """The backbone's smallest input."""
        return self.architecture.min_size

    @property
    def backbone_pass(self) -> tuple[BackboneSpec, str, str, str, tuple[float, float]]:
        """Measures with equal values see the same feature maps and can share them."""
        return self.backbone, self.pooling, self.precision, self.resize, self.input_range

    def definition(self) -> dict[str, Any]:
        """The fields, the backbone's weights by content."""
        return super().definition() | {"backbone": self.backbone.definition()}

    @building()
    def build_extractor(self, stages: int) -> FeatureExtractor:
        """Build the frozen backbone up to its first ``stages`` stages."""
        extractor = build_extractor(self.backbone, pooling=self.pooling, stages=stages, precision=self.precision)
        # Channels last: convolutions of torch's CPU and GPU libraries are faster on it.
        return extractor.to(memory_format=torch.channels_last)

    @abstractmethod
    def build(self, *, reduction: Reduction = "mean", extractor: FeatureExtractor | None = None) -> FeatureMeasure[Any]:
        """Build the measure, on an extractor it shares with others if one is given."""


FSpec = TypeVar("FSpec", bound=FeatureSpec)


class FeatureMeasure(Measure[FSpec], Generic[FSpec]):
    """A measure on feature maps: one pass of the prediction with gradients, one of the reference without.

    Args:
        spec: the definition.
        reduction: how :meth:`forward` reduces over the batch.
        extractor: one to share; by default the measure's own.
    """

    def __init__(self, spec: FSpec, reduction: Reduction = "mean", extractor: FeatureExtractor | None = None) -> None:
        super().__init__(spec, reduction)
        self.extractor = extractor if extractor is not None else spec.build_extractor(spec.stages[-1] + 1)
        freeze(self.extractor)  # a shared one can have been made for training
        self.eval()

    @abstractmethod
    def _digest(self, images: Tensor, maps: list[Tensor]) -> Any:
        """Return what is kept of references: their feature maps, or what can be computed from them alone."""

    @abstractmethod
    def _compare(self, images: Tensor, maps: list[Tensor], reference: Any) -> Tensor:
        """Return ``(N,)`` scores, given what :meth:`_digest` returned for the references (of N, or one for all)."""

    def backbone_pass(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return the images as the backbone saw them and the feature maps of all its stages."""
        expected = torch.bfloat16 if self.spec.precision == "bf16" else torch.float32
        if self.extractor.dtype not in (expected, torch.float64):
            raise MeasureError(
                f"{self.spec.key}: the backbone was converted to {self.extractor.dtype}, it is defined in {expected}; "
                "leave the measure out of .half() and .bfloat16(), and use precision: bf16 for speed"
            )
        images = resized(to_unit(images, self.spec.input_range), self.spec.resize)
        layout = torch.contiguous_format if transformed() else torch.channels_last  # of which vmap knows nothing
        return images, self.extractor(images.contiguous(memory_format=layout))

    def digest(self, images: Tensor, maps: list[Tensor]) -> Any:
        """Digest a pass of the references; only this measure's layers are used."""
        with torch.no_grad():
            return self._digest(images, [maps[i] for i in self.spec.stages])

    def compare(self, images: Tensor, maps: list[Tensor], reference: Any) -> Tensor:
        """Compare a pass with a digested reference; only this measure's layers are used."""
        return self._compare(images, [maps[i] for i in self.spec.stages], reference)

    def _prepare(self, references: Tensor) -> Any:
        with torch.no_grad():
            return self.digest(*self.backbone_pass(references))

    def _score_prepared(self, images: Tensor, references: Tensor, prepared: Any) -> Tensor:  # noqa: ARG002
        return self.compare(*self.backbone_pass(images), prepared)

    def _score(self, images: Tensor, references: Tensor) -> Tensor:
        return self._score_prepared(images, references, self._prepare(references))


def resized(images: Tensor, policy: Resize) -> Tensor:
    """Bring the shorter side to 256 px if it is longer, by the policy; differentiable."""
    shorter = min(images.shape[-2:])
    if policy == "none" or shorter <= 256:
        return images
    if policy == "bilinear-256":  # by the factor, as piq does: the longer side's last pixels may be left over
        return F.interpolate(images, scale_factor=256 / shorter, mode="bilinear")
    size = [int(side * 256 / shorter) for side in images.shape[-2:]]
    return F.interpolate(images, size=size, mode="bilinear", antialias=True)
