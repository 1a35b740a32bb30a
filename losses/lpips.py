"""LPIPS: distance of unit-normalised feature maps, weighted per channel, over any backbone of the registry.

Zhang, Isola, Efros, Shechtman and Wang, "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric",
CVPR 2018.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from pydantic import model_validator
from torch import Tensor

from ..backbones import BackboneError, FeatureExtractor, distinguished
from ..backbones.files import WeightsFile, register_file
from ..backbones.weights import read_state
from ..common.fields import PathText
from ..common.identity import sha256_file
from ..common.paths import expanded
from .features import FeatureMeasure, FeatureSpec
from .layerwise import unit, wide
from .measure import MeasureError, Reduction
from .unit_distance import unit_distance


def _published(network: str, sha256: str) -> WeightsFile:
    folder = "https://raw.githubusercontent.com/richzhang/PerceptualSimilarity/master/lpips/weights/v0.1"
    return register_file(
        WeightsFile(
            name=f"lpips_lin_v0.1/{network}.pth",
            url=f"{folder}/{network}.pth",
            sha256=sha256,
            licence="BSD-2-Clause (the authors of LPIPS)",
            purpose="linear weights of LPIPS",
            packages=(
                f"lpips/weights/v0.1/{network}.pth",
                f"torchmetrics/functional/image/lpips_models/{network}.pth",
            ),
        )
    )


PUBLISHED = {
    "alexnet": _published("alex", "df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0"),
    "vgg16": _published("vgg", "a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868"),
    "squeezenet1_1": _published("squeeze", "4a5350f23600cb79923ce65bb07cbf57dca461329894153e05a1346bd531cf76"),
}
KEYS: dict[str, dict[str, str]] = {
    "lpips": {"backbone": "alexnet"},
    "lpips-vgg": {"backbone": "vgg16"},
    "lpips-squeeze": {"backbone": "squeezenet1_1"},
    "lpips+": {"backbone": "alexnet", "semantic_layer": "relu3"},
    "lpips-vgg+": {"backbone": "vgg16", "semantic_layer": "relu3_3"},
}

SILENT = 1e-20  # energy of a place without any: a reference without features weighs all places the same


class LpipsSpec(FeatureSpec):
    """Definition of one member of the LPIPS family.

    On pretrained AlexNet (the default), VGG-16 and SqueezeNet it is the authors' metric with its published weights,
    keys ``lpips``, ``lpips-vgg`` and ``lpips-squeeze``. On any other backbone and on random weights it is the
    unweighted form (the authors' "baseline"), key ``lpips-<backbone>``. Nothing is clamped, and nothing is resized
    unless ``resize`` says so, in either use; the authors' input scaling is the backbones' own.

    Attributes:
        measure: ``lpips``.
        linear: weights of the channels: ``v0.1``, the published ones of the three networks; ``none``, 1 each; or the
            path of a ``.pth`` or ``.safetensors`` file with a tensor ``lin<stage>.model.1.weight`` for every stage.
            Version 0.0 is not offered: it was fitted to images in the wrong scale.
        semantic_layer: one of the layers, by whose features of the reference places are weighted (LPIPS+, keys
            ``lpips+`` and ``lpips-vgg+``); none by default.
    """

    forms = ("lpips", "feature-distance")

    measure: Literal["lpips"] = "lpips"
    linear: PathText = "v0.1"
    semantic_layer: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _original_by_default(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        fields = {"backbone": "alexnet"} | value
        backbone = fields["backbone"]
        name = backbone.get("name") if isinstance(backbone, dict) else getattr(backbone, "name", backbone)
        return {"linear": "v0.1" if name in tuple(PUBLISHED) else "none"} | fields

    @model_validator(mode="after")
    def _fit(self) -> LpipsSpec:
        if self.linear == "v0.1" and self.backbone.name not in PUBLISHED:
            raise ValueError(
                f"linear 'v0.1' belongs to pretrained {', '.join(PUBLISHED)}; use 'none' or a file for "
                f"'{self.backbone.name}'"
            )
        names = [self.architecture.stages[i].name for i in self.stages]
        if self.semantic_layer is not None and self.semantic_layer not in names:
            raise ValueError(f"semantic_layer '{self.semantic_layer}' is not one of the layers: {', '.join(names)}")
        return self

    @property
    def key(self) -> str:
        """The key of the authors' metric or ``lpips-<backbone>``; with a mark where the definition differs."""
        for key, fields in KEYS.items():
            if self == LpipsSpec.model_validate(fields):
                return key
        default = LpipsSpec.on(self.backbone.name)
        base = f"lpips-{self.backbone.name}" if default.linear == "none" else default.key
        return distinguished(base, self, default)

    @property
    def trained_on(self) -> tuple[str, ...] | None:
        """BAPPS for the published linear weights; unknown for those of a file."""
        return {"none": (), "v0.1": ("BAPPS",)}.get(self.linear)

    def definition(self) -> dict[str, Any]:
        """The fields, with the backbone's and the linear weights by content."""
        fields = super().definition()
        if self.linear == "v0.1":
            fields["linear"] = f"sha256:{PUBLISHED[self.backbone.name].sha256}"
        elif self.linear != "none":
            fields["linear"] = f"sha256:{sha256_file(_existing(self.linear))}"
        return fields

    def build(self, *, reduction: Reduction = "mean", extractor: FeatureExtractor | None = None) -> LPIPS:
        """Build the measure with its frozen backbone."""
        return LPIPS(self, reduction, extractor)


class LPIPS(FeatureMeasure[LpipsSpec]):
    """LPIPS on any backbone (eq. 1 of the paper).

    With features x and y of image and reference at layer l, channel c and place p::

        x̂_c = x_c / sqrt(Σ_k x_k² + 1e-10)            unit length at each place
        d_l(p) = Σ_c w_lc (x̂_c - ŷ_c)²
        LPIPS = Σ_l mean_p d_l(p)

    The authors' code adds its epsilon to the root instead of under it. Values agree, but the gradient with respect to
    features that are all zero is NaN there. A rectifier behind them hides that, as in the authors' three networks.

    With a ``semantic_layer`` s (LPIPS+ of Chen et al., "TOPIQ", TIP 2024) the mean over places is weighted by
    ``Σ_c |y_sc|``, brought to the size of each layer by bilinear interpolation.

    Direction: lower is better; 0 for identical images. Range: [0, ∞), usually below 1 with the published weights; at
    most 4 per layer without weights (2 where features are not negative).

    Args:
        spec: the definition, or a backbone key for the default member on that backbone; left out, the authors' metric
            on AlexNet.
        reduction: how :meth:`forward` reduces over the batch.
        extractor: one to share with other measures.

    Examples:
        >>> import torch
        >>> from lopsided.losses import LPIPS
        >>> _ = torch.manual_seed(0)
        >>> lpips, image = LPIPS("alexnet-r"), torch.rand(1, 3, 64, 64)
        >>> lpips.score(image, image)
        tensor([0.])
        >>> [tuple(places.shape) for places in lpips.terms(image, 1 - image)]  # where the images differ, layer by layer
        [(1, 15, 15), (1, 7, 7), (1, 3, 3), (1, 3, 3), (1, 3, 3)]
    """

    linear: Tensor

    def __init__(
        self,
        spec: LpipsSpec | str | None = None,
        reduction: Reduction = "mean",
        extractor: FeatureExtractor | None = None,
    ) -> None:
        if not isinstance(spec, LpipsSpec):
            spec = LpipsSpec.on(spec) if spec else LpipsSpec()
        super().__init__(spec, reduction, extractor)
        self.register_buffer("linear", torch.cat(_linear(spec)))

    def terms(self, images: Tensor, references: Tensor) -> list[Tensor]:
        """Return each layer's distances, ``(N, H_layer, W_layer)``: where the images differ, and for which layer.

        The score is the sum over layers of their means. With a ``semantic_layer`` they are weighted, with weights of
        mean 1. Gradients flow to ``images``. Arguments as for :meth:`score`, the value range unchecked.

        Raises:
            MeasureError: wrong type, shape or size.
        """
        self._check_pair(images, references)
        _, maps = self.backbone_pass(images)
        return self._distances([maps[i] for i in self.spec.stages], self._prepare(references))

    def _digest(self, images: Tensor, maps: list[Tensor]) -> list[tuple[Tensor, Tensor | None]]:  # noqa: ARG002
        with torch.autocast(maps[0].device.type, enabled=False):
            units = [unit(wide(features), 1) for features in maps]
            if self.spec.semantic_layer is None:
                return [(features, None) for features in units]
            names = [self.spec.architecture.stages[i].name for i in self.spec.stages]
            energy = wide(maps[names.index(self.spec.semantic_layer)]).abs().sum(1, keepdim=True)
            energy = energy + SILENT
            sizes = [features.shape[-2:] for features in units]
            resized = [F.interpolate(energy, size=size, mode="bilinear")[:, 0] for size in sizes]
            return [(f, w / w.mean((1, 2), keepdim=True)) for f, w in zip(units, resized, strict=True)]

    def _compare(self, images: Tensor, maps: list[Tensor], reference: list[tuple[Tensor, Tensor | None]]) -> Tensor:  # noqa: ARG002
        return torch.stack([distances.mean((1, 2)) for distances in self._distances(maps, reference)]).sum(0)

    def _distances(self, maps: list[Tensor], reference: list[tuple[Tensor, Tensor | None]]) -> list[Tensor]:
        linear = self.linear.split(list(self.spec.channels))
        result = []
        with torch.autocast(maps[0].device.type, enabled=False):
            for features, (other, places), weights in zip(maps, reference, linear, strict=True):
                distances = unit_distance(features, other, weights)
                result.append(distances if places is None else distances * places)
        return result


def _existing(path: str) -> Path:
    found = expanded(path)
    if not found.is_file():
        raise MeasureError(f"linear: no file '{found}'; give an existing file, 'v0.1' or 'none'")
    return found


def _linear(spec: LpipsSpec) -> list[Tensor]:
    """Return the channels' weights of each layer."""
    if spec.linear == "none":
        return [torch.ones(channels) for channels in spec.channels]
    try:
        instead = "'linear: none' for equal weights"
        path = PUBLISHED[spec.backbone.name].locate(instead) if spec.linear == "v0.1" else _existing(spec.linear)
        state = read_state(path)
    except BackboneError as error:
        raise MeasureError(f"{spec.key}: {error}") from None
    names = [f"lin{i}.model.1.weight" for i in range(len(spec.architecture.stages))]
    seen = [len(state[name].flatten()) if name in state else 0 for name in names]
    expected = [stage.channels for stage in spec.architecture.stages]
    if seen != expected or set(state) != set(names):
        raise MeasureError(
            f"'{path}' has linear weights of {seen} channels (tensors {', '.join(state)[:60]} …); "
            f"'{spec.backbone.name}' has stages of {expected}"
        )
    weights = [state[names[i]].flatten() for i in spec.stages]
    if not all(bool((torch.isfinite(w) & (w >= 0)).all()) for w in weights):
        raise MeasureError(f"'{path}': linear weights must be finite and not negative")
    return weights
