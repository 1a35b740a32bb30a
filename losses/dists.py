"""The DISTS family: structure and texture similarity of feature maps, over any backbone of the registry.

Ding, Ma, Wang and Simoncelli, "Image Quality Assessment: Unifying Structure and Texture Similarity", TPAMI 2022.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from ..backbones import BackboneError, FeatureExtractor, distinguished
from ..backbones.files import WeightsFile, register_file
from ..backbones.weights import read_state
from ..common.errors import one_line
from ..common.fields import NUMBER, PathText
from ..common.identity import sha256_file
from ..common.paths import expanded
from ..common.state_dicts import read_metadata
from .features import FeatureMeasure, FeatureSpec
from .measure import MeasureError, Reduction
from .statistics import Moments, joint_moments, moments

PUBLISHED = register_file(
    WeightsFile(
        name="dists_alpha_beta/weights.pt",
        url="https://raw.githubusercontent.com/dingkeyan93/DISTS/master/weights/weights.pt",
        sha256="f5e65c96230b7f6ca995691647d482237e4cab8a50c5c4a5784f219ef0748218",
        licence="MIT (the authors of DISTS)",
        purpose="alpha and beta of DISTS",
        packages=("DISTS_pytorch/weights.pt", "torchmetrics/functional/image/dists_models/weights.pt"),
    )
)

# DISTS in public packages, by how they differ from the authors' `DISTS.forward`, which resizes nothing.
VARIANTS: dict[str, dict[str, Any]] = {
    "original": {},
    "original-demo": {"resize": "antialias-256"},
    "piq": {"resize": "bilinear-256"},
    "pyiqa": {},
    "torchmetrics": {},
}


class DistsSpec(FeatureSpec):
    """Definition of one member of the DISTS family.

    Without a ``backbone`` it is the authors' metric: VGG-16 with the published alpha and beta, key ``dists``. With one
    it is the family's uniform member on that backbone, so that backbones can be compared, key ``dists-<backbone>``.
    Nothing is clamped, and nothing is resized unless ``resize`` says so, in either use.

    Attributes:
        measure: ``dists``.
        pooling: ``l2`` replaces max pooling as in the original, ``max`` keeps it.
        image_layer: whether the RGB image itself is layer 0, as in the original.
        alpha_beta: ``uniform`` (every channel of every layer weighs the same, texture and structure alike);
            ``published`` (VGG-16 only); or the path of a ``.safetensors`` or ``.pt`` file with tensors ``alpha`` and
            ``beta`` of one value per channel, image layer first.
        c1: constant of the texture term (original: 1e-6).
        c2: constant of the structure term (original: 1e-6).

    A mapping can name a public package's variant instead of its options: ``{measure: dists, variant: piq}``, see
    :data:`VARIANTS`.
    """

    measure: Literal["dists"] = "dists"
    pooling: Literal["max", "l2"] = "l2"
    image_layer: bool = True
    alpha_beta: PathText = "uniform"
    c1: float = Field(default=1e-6, gt=0, le=NUMBER)
    c2: float = Field(default=1e-6, gt=0, le=NUMBER)

    @model_validator(mode="before")
    @classmethod
    def _original_by_default(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        fields = dict(value)
        variant = fields.pop("variant", "original")
        if variant not in VARIANTS:
            raise ValueError(f"unknown variant '{variant}'; known: {', '.join(VARIANTS)}")
        if "variant" in value and "backbone" in value:
            raise ValueError("variants exist only for VGG-16 with the published weights; drop 'backbone' or 'variant'")
        if "backbone" not in fields:
            fields.setdefault("alpha_beta", "published")
        return VARIANTS[variant] | fields

    @model_validator(mode="after")
    def _published_fit(self) -> DistsSpec:
        if self.alpha_beta == "published" and (self.backbone.name != "vgg16" or self.layers or not self.image_layer):
            raise ValueError(
                "alpha_beta 'published' belongs to all layers of pretrained 'vgg16' and the image; use 'uniform' or a "
                f"file for '{self.backbone.name}'"
            )
        return self

    @property
    def key(self) -> str:
        """``dists`` or ``dists-<backbone>``, followed by a mark of the definition where it is not the default one."""
        if self == DistsSpec():
            return "dists"
        return distinguished(f"dists-{self.backbone.name}", self, DistsSpec.on(self.backbone.name))

    @property
    def trained_on(self) -> tuple[str, ...] | None:
        """KADID-10k for the published alpha and beta; unknown for those of a file."""
        return {"uniform": (), "published": ("KADID-10k",)}.get(self.alpha_beta)

    def definition(self) -> dict[str, Any]:
        """The fields, with the backbone's weights and alpha and beta by content."""
        fields = super().definition()
        if self.alpha_beta == "published":
            fields["alpha_beta"] = f"sha256:{PUBLISHED.sha256}"
        elif self.alpha_beta != "uniform":
            fields["alpha_beta"] = f"sha256:{sha256_file(_existing(self.alpha_beta))}"
        return fields

    def build(self, *, reduction: Reduction = "mean", extractor: FeatureExtractor | None = None) -> DISTS:
        """Build the measure with its frozen backbone."""
        return DISTS(self, reduction, extractor)


class DISTS(FeatureMeasure[DistsSpec]):
    """DISTS on any backbone: ``1 - Σ (α·texture + β·structure)`` over the channels of all layers.

    For channel statistics over the whole map (means μ, variances σ², covariance σ_xy) of the features of image x and
    reference y (eqs. 5-7 of the paper)::

        texture   = (2 μ_x μ_y + c1) / (μ_x² + μ_y² + c1)
        structure = (2 σ_xy + c2) / (σ_x² + σ_y² + c2)

    Direction: lower is better; 0 for identical images. Range: at most 2, usually within [0, 1].

    Args:
        spec: the definition, or a backbone key for the uniform member on that backbone; left out, the authors' metric.
        reduction: how :meth:`forward` reduces over the batch.
        extractor: one to share with other measures.

    Examples:
        >>> import torch
        >>> from lopsided.losses import DISTS
        >>> _ = torch.manual_seed(0)
        >>> loss, reference = DISTS("squeezenet1_1-r"), torch.rand(2, 3, 32, 32)
        >>> prediction = (reference + 0.1 * torch.randn(2, 3, 32, 32)).requires_grad_()
        >>> loss(prediction, reference).backward()  # the loss is the mean over the batch
        >>> bool(prediction.grad.abs().sum() > 0)
        True
        >>> loss.score(reference, reference)  # one score per image
        tensor([0., 0.])
    """

    value_range = (0.0, 2.0)

    alpha: Tensor
    beta: Tensor

    def __init__(
        self,
        spec: DistsSpec | str | None = None,
        reduction: Reduction = "mean",
        extractor: FeatureExtractor | None = None,
    ) -> None:
        if not isinstance(spec, DistsSpec):
            spec = DistsSpec.on(spec) if spec else DistsSpec()
        super().__init__(spec, reduction, extractor)
        self.channels = (3, *spec.channels) if spec.image_layer else spec.channels
        alpha, beta = _alpha_beta(spec, sum(self.channels))
        self.register_buffer("alpha", alpha)
        self.register_buffer("beta", beta)

    def terms(self, images: Tensor, references: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Return (texture, structure) similarities of each layer, each ``(N, C_layer)``; 1 is identical.

        The image layer comes first. With ``alpha`` and ``beta``, which have one value per channel, they make up the
        score. Gradients flow to ``images``.
        """
        self._check_pair(images, references)
        texture, structure = self._similarities(*self._own(self.backbone_pass(images)), self._prepare(references))
        sizes = list(self.channels)
        return list(zip(texture.split(sizes, 1), structure.split(sizes, 1), strict=True))

    def _own(self, images_and_maps: tuple[Tensor, list[Tensor]]) -> tuple[Tensor, list[Tensor]]:
        images, maps = images_and_maps
        return images, [maps[i] for i in self.spec.stages]

    def _digest(self, images: Tensor, maps: list[Tensor]) -> list[Moments]:
        return [moments(layer) for layer in self._layers(images, maps)]

    def _compare(self, images: Tensor, maps: list[Tensor], reference: list[Moments]) -> Tensor:
        texture, structure = self._similarities(images, maps, reference)
        # Dissimilarities are summed, not similarities subtracted from 1: identical images then give exactly 0. And not
        # as a matrix product, which autocast would round to half precision.
        alpha, beta = self.alpha, self.beta
        return ((1 - texture) * alpha + (1 - structure) * beta).sum(1)

    def _similarities(self, images: Tensor, maps: list[Tensor], reference: list[Moments]) -> tuple[Tensor, Tensor]:
        texture, structure = [], []
        c1, c2 = self.spec.c1, self.spec.c2
        for layer, of_reference in zip(self._layers(images, maps), reference, strict=True):
            mean, variance, covariance = joint_moments(layer, of_reference)
            other = of_reference.mean
            texture.append((2 * mean * other + c1) / (mean.square() + other.square() + c1))
            structure.append((2 * covariance + c2) / (variance + of_reference.variance + c2))
        return torch.cat(texture, 1), torch.cat(structure, 1)

    def _layers(self, images: Tensor, maps: list[Tensor]) -> list[Tensor]:
        return [images, *maps] if self.spec.image_layer else maps


def dists(images: Tensor, references: Tensor, backbone: str | None = None) -> Tensor:
    """Return DISTS of each image, ``(N,)``, lower is better; for many calls keep a :class:`DISTS` instead.

    Args:
        images: RGB in [0, 1], ``(N, 3, H, W)``.
        references: likewise, or one for all.
        backbone: key of a backbone for the uniform member on it; left out, the authors' metric.

    Examples:
        >>> import torch
        >>> from lopsided.losses import dists
        >>> image = torch.rand(2, 3, 32, 32)
        >>> dists(image, image, "squeezenet1_1-r")
        tensor([0., 0.])
    """
    return DISTS(backbone).to(images.device).score(images, references)


def _existing(path: str) -> Path:
    found = expanded(path)
    if not found.is_file():
        raise MeasureError(f"alpha_beta: no file '{found}'; give an existing file, 'published' or 'uniform'")
    return found


def _alpha_beta(spec: DistsSpec, channels: int) -> tuple[Tensor, Tensor]:
    if spec.alpha_beta == "uniform":
        weights = torch.full((channels,), 0.5 / channels)
        return weights, weights.clone()
    try:
        published = spec.alpha_beta == "published"
        path = PUBLISHED.locate("'dists-vgg16' for uniform ones") if published else _existing(spec.alpha_beta)
        state = read_state(path)
    except BackboneError as error:
        raise MeasureError(f"{spec.key}: {error}") from None
    if set(state) != {"alpha", "beta"}:
        raise MeasureError(f"{spec.key}: '{path}' must hold alpha and beta, it holds {', '.join(state)[:100]}")
    if path.suffix == ".safetensors":
        _refuse_other_definition(path, spec)
    alpha, beta = (state[name].flatten() for name in ("alpha", "beta"))
    if len(alpha) != channels or len(beta) != channels:
        raise MeasureError(f"'{path}' has {len(alpha)} alpha and {len(beta)} beta; {spec.key} has {channels} channels")
    total = alpha.sum() + beta.sum()
    if not (torch.isfinite(total) and total > 0 and min(alpha.min(), beta.min()) >= 0):
        raise MeasureError(f"'{path}': alpha and beta must be finite and not negative; they sum to {float(total):.4g}")
    return alpha / total, beta / total


def _refuse_other_definition(path: Path, spec: DistsSpec) -> None:
    """Raise MeasureError if the file records (iqa/learn.py writes it) that it was learnt for another DISTS."""
    try:
        record = read_metadata(path)
    except (OSError, ValueError) as error:
        raise MeasureError(f"alpha_beta: cannot read '{path}': {one_line(error)}") from None
    wanted = spec.model_copy(update={"alpha_beta": "uniform"}).identity
    if record.get("measure", wanted) != wanted:
        raise MeasureError(
            f"'{path}' was learnt for '{record.get('key')}' ({record.get('measure')}), not for this definition on "
            f"'{spec.backbone.name}' ({wanted}); learn its own weights, see `lopsided learn-weights`"
        )
