"""The DISTS family: structure and texture similarity of feature maps, over any backbone of the registry.

Ding, Ma, Wang and Simoncelli, "Image Quality Assessment: Unifying Structure and Texture Similarity", TPAMI 2022.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field, field_validator
from torch import Tensor

from ..backbones import BackboneSpec, build_extractor
from ..backbones.registry import architecture
from ..common.identity import sha256_file
from .measure import Measure, MeasureError, MeasureSpec, Reduction


class DistsSpec(MeasureSpec):
    """Definition of one member of the DISTS family. Nothing is resized and nothing is clamped, in either use.

    Attributes:
        measure: ``dists``.
        backbone: feature extractor, e.g. ``vgg16`` or ``vgg16-r`` (seeded random weights).
        stages: how many stages of the backbone enter, from the shallow end; all by default.
        image_layer: whether the RGB image itself is layer 0, as in the original.
        pooling: ``l2`` replaces max pooling as in the original, ``max`` keeps it.
        alpha_beta: ``uniform`` (every channel of every layer weighs the same, texture and structure alike), or the
            path of a file with tensors ``alpha`` and ``beta`` of one value per channel, image layer first.
        c1: constant of the texture term (original: 1e-6).
        c2: constant of the structure term (original: 1e-6).
    """

    measure: Literal["dists"] = "dists"
    backbone: BackboneSpec = Field(default_factory=lambda: BackboneSpec(name="vgg16"))
    stages: int | None = None
    image_layer: bool = True
    pooling: Literal["l2", "max"] = "l2"
    alpha_beta: str = "uniform"
    c1: float = Field(default=1e-6, gt=0)
    c2: float = Field(default=1e-6, gt=0)

    @field_validator("backbone", mode="before")
    @classmethod
    def _backbone_by_name(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    @property
    def key(self) -> str:
        """``dists-<backbone>``, followed by a mark of the definition where it is not the default one."""
        default = DistsSpec(backbone=BackboneSpec(name=self.backbone.name))
        mark = "" if self == default else f"+{self.identity[:4]}"
        return f"dists-{self.backbone.name}{mark}"

    @property
    def families(self) -> frozenset[str]:
        """The backbone's architecture."""
        return frozenset({self.backbone.family})

    @property
    def min_size(self) -> int:
        """The backbone's smallest input."""
        return architecture(self.backbone.name).min_size

    def definition(self) -> dict[str, Any]:
        """The spec with the backbone's weights and the alpha/beta file by content."""
        fields = self.model_dump(mode="json") | {"backbone": self.backbone.identity}
        if self.alpha_beta != "uniform":
            fields["alpha_beta"] = f"sha256:{sha256_file(_existing(self.alpha_beta))}"
        return fields

    def build(self, *, reduction: Reduction = "mean") -> DISTS:
        """Build the measure with its frozen backbone."""
        return DISTS(self, reduction=reduction)


class DISTS(Measure[DistsSpec]):
    """DISTS on any backbone: ``1 - Σ (α·texture + β·structure)`` over the channels of all layers.

    For channel statistics over the whole map (means μ, variances σ², covariance σ_xy) of the features of image x and
    reference y (eqs. 5-7 of the paper)::

        texture   = (2 μ_x μ_y + c1) / (μ_x² + μ_y² + c1)
        structure = (2 σ_xy + c2) / (σ_x² + σ_y² + c2)

    Direction: lower is better; 0 for identical images. Range: at most 2, usually within [0, 1].

    Args:
        spec: the definition, or a backbone key for the default definition on that backbone.
        reduction: how :meth:`forward` reduces over the batch.
    """

    value_range = (0.0, 2.0)

    def __init__(self, spec: DistsSpec | str = "vgg16", reduction: Reduction = "mean") -> None:
        spec = spec if isinstance(spec, DistsSpec) else DistsSpec(backbone=BackboneSpec(name=spec))
        super().__init__(spec, reduction)
        # Channels last: convolutions of torch's CPU and GPU libraries are faster on it, by a third on ResNet-50.
        self.extractor = build_extractor(spec.backbone, pooling=spec.pooling, stages=spec.stages).to(
            memory_format=torch.channels_last
        )
        self.channels = (3, *self.extractor.channels) if spec.image_layer else self.extractor.channels
        alpha, beta = _alpha_beta(spec, sum(self.channels))
        self.register_buffer("alpha", alpha)
        self.register_buffer("beta", beta)
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> DISTS:  # noqa: ARG002
        """Do nothing: the measure is frozen for good, whatever its parent does."""
        return super().train(False)

    def _score(self, images: Tensor, references: Tensor) -> Tensor:
        with torch.no_grad():
            reference_maps = self._features(references)
        texture, structure = self._similarities(self._features(images), reference_maps)
        # Dissimilarities are summed, not similarities subtracted from 1: identical images then give exactly 0.
        return (1 - texture) @ self.get_buffer("alpha") + (1 - structure) @ self.get_buffer("beta")

    def terms(self, images: Tensor, references: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Return (texture, structure) similarities of each layer, each ``(N, C_layer)``; 1 is identical."""
        self._check_pair(images, references)
        texture, structure = self._similarities(self._features(images), self._features(references))
        sizes = list(self.channels)
        return list(zip(texture.split(sizes, 1), structure.split(sizes, 1), strict=True))

    def _features(self, images: Tensor) -> list[Tensor]:
        maps = self.extractor(images.contiguous(memory_format=torch.channels_last))
        return [images, *maps] if self.spec.image_layer else maps

    def _similarities(self, images: list[Tensor], references: list[Tensor]) -> tuple[Tensor, Tensor]:
        texture, structure = [], []
        for x, y in zip(images, references, strict=True):
            # Float32 whatever the autocast: the variance of half-precision features loses most of its digits.
            x, y = x.float(), y.float()
            mean_x, mean_y = x.mean((2, 3), keepdim=True), y.mean((2, 3), keepdim=True)
            x, y = x - mean_x, y - mean_y  # centred first: E[xy] - E[x]E[y] would cancel
            var_x, var_y, cov = x.square().mean((2, 3)), y.square().mean((2, 3)), (x * y).mean((2, 3))
            mean_x, mean_y = mean_x[..., 0, 0], mean_y[..., 0, 0]
            c1, c2 = self.spec.c1, self.spec.c2
            texture.append((2 * mean_x * mean_y + c1) / (mean_x.square() + mean_y.square() + c1))
            structure.append((2 * cov + c2) / (var_x + var_y + c2))
        return torch.cat(texture, 1), torch.cat(structure, 1)


def dists(images: Tensor, references: Tensor, backbone: str = "vgg16") -> Tensor:
    """Return DISTS of each image, ``(N,)``, lower is better; for many calls keep a :class:`DISTS` instead."""
    return DISTS(backbone).to(images.device).score(images, references)


def _existing(path: str) -> Path:
    found = Path(path).expanduser()
    if not found.is_file():
        raise MeasureError(f"alpha_beta: no file '{found}'; give an existing file or 'uniform'")
    return found


def _alpha_beta(spec: DistsSpec, channels: int) -> tuple[Tensor, Tensor]:
    if spec.alpha_beta == "uniform":
        weights = torch.full((channels,), 0.5 / channels)
        return weights, weights.clone()
    path = _existing(spec.alpha_beta)
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        alpha, beta = (state[name].detach().float().flatten() for name in ("alpha", "beta"))
    except Exception as error:
        raise MeasureError(f"cannot read alpha and beta from '{path}': {str(error).splitlines()[0][:150]}") from None
    if len(alpha) != channels or len(beta) != channels:
        raise MeasureError(f"'{path}' has {len(alpha)} alpha and {len(beta)} beta; {spec.key} has {channels} channels")
    total = alpha.sum() + beta.sum()
    return alpha / total, beta / total
