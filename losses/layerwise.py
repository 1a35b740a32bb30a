"""Measures that are a sum of terms, one per layer of a backbone."""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated, Any, Generic, TypeVar

import torch
from pydantic import Field, model_validator
from torch import Tensor

from ..backbones import distinguished
from ..common.fields import NUMBER
from .features import FeatureMeasure, FeatureSpec

UNIT_EPSILON = 1e-10  # under the root of a norm: keeps the gradient finite where all features are zero

Weight = Annotated[float, Field(gt=0, le=NUMBER, allow_inf_nan=False)]


class LayerwiseSpec(FeatureSpec):
    """A measure on feature maps that is ``Σ weight · term`` over its layers.

    Attributes:
        measure: the measure's name, with which its key begins; each measure narrows it to its own.
        layer_weights: weight of each layer's term, in the order of ``layers``; 1 each by default.
    """

    measure: Any
    layer_weights: tuple[Weight, ...] | None = None

    @model_validator(mode="after")
    def _one_weight_per_layer(self) -> LayerwiseSpec:
        if self.layer_weights is not None and len(self.layer_weights) != len(self.stages):
            raise ValueError(
                f"layer_weights has {len(self.layer_weights)} values; "
                f"'{self.measure}' is on {len(self.stages)} layers of '{self.backbone.name}'"
            )
        return self

    @property
    def weights(self) -> tuple[float, ...]:
        """Weight of each layer that enters, shallow to deep."""
        if self.layer_weights is None:
            return (1.0,) * len(self.stages)
        if self.layers is None:
            return self.layer_weights
        named = dict(zip(self.layers, self.layer_weights, strict=True))
        return tuple(named[self.architecture.stages[i].name] for i in self.stages)

    @property
    def key(self) -> str:
        """``<measure>-<backbone>``, followed by a mark of the definition where it is not the default one."""
        return distinguished(f"{self.measure}-{self.backbone.name}", self, type(self).on(self.backbone.name))


LSpec = TypeVar("LSpec", bound=LayerwiseSpec)


class LayerwiseMeasure(FeatureMeasure[LSpec], Generic[LSpec]):
    """A sum of terms, one per layer; see :class:`FeatureMeasure` for the arguments.

    Statistics are taken in float32 or better, whatever the precision of the backbone and under autocast too.
    """

    @abstractmethod
    def _kept(self, features: Tensor) -> Any:
        """Return what is kept of one layer of references."""

    @abstractmethod
    def _term(self, features: Tensor, reference: Any) -> Tensor:
        """Return the unweighted term ``(N,)`` of one layer, given what :meth:`_kept` returned for the references."""

    def terms(self, images: Tensor, references: Tensor) -> list[Tensor]:
        """Return each layer's weighted term ``(N,)``, shallow to deep; their sum is the score.

        Gradients flow to ``images``. Arguments as for :meth:`score`, the value range unchecked.

        Raises:
            MeasureError: wrong type, shape or size.
        """
        self._check_pair(images, references)
        _, maps = self.backbone_pass(images)
        return self._terms([maps[i] for i in self.spec.stages], self._prepare(references))

    def _digest(self, images: Tensor, maps: list[Tensor]) -> list[Any]:  # noqa: ARG002
        with torch.autocast(maps[0].device.type, enabled=False):
            return [self._kept(features) for features in maps]

    def _compare(self, images: Tensor, maps: list[Tensor], reference: list[Any]) -> Tensor:  # noqa: ARG002
        return torch.stack(self._terms(maps, reference)).sum(0)

    def _terms(self, maps: list[Tensor], reference: list[Any]) -> list[Tensor]:
        with torch.autocast(maps[0].device.type, enabled=False):
            layers = zip(self.spec.weights, maps, reference, strict=True)
            return [weight * self._term(features, kept) for weight, features, kept in layers]


def places(features: Tensor) -> Tensor:
    """Return ``(N, C, H, W)`` features as ``(N, P, C)``, P places of C channels, in float32 or better."""
    return wide(features).movedim(1, -1).flatten(1, 2)


def wide(features: Tensor) -> Tensor:
    """Return features in float32 or better."""
    return features.to(torch.promote_types(features.dtype, torch.float32))


def unit(features: Tensor, axis: int) -> Tensor:
    """Scale the vectors along ``axis`` to length one; zero vectors stay zero, with a finite gradient."""
    return features / length(features, axis)


def length(features: Tensor, axis: int) -> Tensor:
    """Return the lengths of the vectors along ``axis``, which is kept; never quite zero."""
    return (features.square().sum(axis, keepdim=True) + UNIT_EPSILON).sqrt()
