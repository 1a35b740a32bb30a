"""Judges of restored images: any full-reference measure, or a no-reference model of pyiqa, named by one kind of key."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from ..common.errors import LopsidedError, did_you_mean
from ..common.families import checked, learnt_from
from ..common.fields import SIDE, Keyed
from ..common.identity import identity
from ..common.images import check_images
from ..common.registry import Registry
from ..losses import MeasureSpec, Reference, list_measures, parse_measure
from ..losses.through_pyiqa import pyiqa_network, pyiqa_version
from .niqe import niqe_network


class JudgeError(LopsidedError):
    """An unknown judge, or images that it does not accept."""


@dataclass(frozen=True)
class NoReferenceEntry:
    """A no-reference model of pyiqa.

    Attributes:
        families: backbone, form and what the backbone learnt from, such as ``form:nr-regression``; those of
            ``trained_on`` are added. A judge is not independent of a loss that shares one.
        trained_on: data sets whose human labels it was trained on.
        lower_is_better: direction of the score.
        min_size: smallest side in pixels.
    """

    families: frozenset[str]
    trained_on: tuple[str, ...] = ()
    lower_is_better: bool = False
    min_size: int = 64

    def __post_init__(self) -> None:
        checked(*self.families)


NO_REFERENCE: Registry[NoReferenceEntry] = Registry("judge", reserved=list_measures)


def _on(*backbones: str, form: str = "nr-regression", data: str = "imagenet") -> frozenset[str]:
    return frozenset({*(f"backbone:{backbone}" for backbone in backbones), f"form:{form}", f"data:{data}"})


_STATISTICS = frozenset({"form:nr-scene-statistics"})  # how far a photograph's statistics are from those of good ones
_KONIQ = ("KonIQ-10k",)
# Backbones by pyiqa's code: NIMA's is Inception-ResNet-v2, MUSIQ's a ResNet stem before a transformer, MANIQA's a ViT
# with Swin blocks after it, CLIP-IQA's the ResNet-50 of CLIP. DB-CNN's second branch has learnt to name synthetic
# distortions of the Waterloo Exploration Database and of PASCAL VOC.
for _key, _entry in (
    ("niqe", NoReferenceEntry(_STATISTICS | {"data:niqe-photographs"}, (), True, 96)),
    ("brisque", NoReferenceEntry(_STATISTICS, ("LIVE",), True)),
    ("nima", NoReferenceEntry(_on("inception"), ("AVA",), min_size=224)),
    ("dbcnn", NoReferenceEntry(_on("vgg") | {"data:waterloo-exploration", "data:pascal-voc"}, _KONIQ)),
    ("hyperiqa", NoReferenceEntry(_on("resnet"), _KONIQ, min_size=224)),
    ("musiq", NoReferenceEntry(_on("resnet", "vit"), _KONIQ)),
    ("maniqa", NoReferenceEntry(_on("vit", "swin"), _KONIQ, min_size=224)),
    ("clipiqa", NoReferenceEntry(_on("resnet", form="nr-prompts", data="clip-400m"))),
    ("clipiqa+", NoReferenceEntry(_on("resnet", form="nr-prompts", data="clip-400m"), _KONIQ)),
    ("topiq_nr", NoReferenceEntry(_on("resnet") | {"form:topiq"}, _KONIQ)),
):
    NO_REFERENCE.register(_key, _entry)


class JudgeSpec(Keyed):
    """Definition of a judge; in YAML a key such as ``psnr_y``, ``musiq`` or ``dists-vgg16-r``, or a mapping.

    Restored images are judged from their 8-bit files, cropped by ``crop`` pixels on each side, at full size.

    Attributes:
        judge: key of a full-reference measure or of a no-reference model.
        options: options of the measure, e.g. ``backbone`` for ``dists``.
        crop: pixels cut off each border first; default: the scale factor, as super-resolution papers do.

    Examples:
        >>> spec = JudgeSpec.model_validate("dists-vgg16-r")
        >>> spec.key, sorted(spec.families)
        ('dists-vgg16-r', ['backbone:vgg', 'form:dists'])
    """

    key_field: ClassVar[str] = "judge"

    judge: str = Field(description="Key of a full-reference measure or of a no-reference model.")
    options: dict[str, Any] = Field(default_factory=dict, description="Options of the measure.")
    crop: int | None = Field(default=None, ge=0, le=SIDE, description="Pixels cut off each border; default: the scale.")

    @model_validator(mode="after")
    def _known(self) -> JudgeSpec:
        if self.judge in NO_REFERENCE:
            if self.options:
                raise ValueError(f"judge '{self.judge}' takes no options, got {', '.join(self.options)}")
        elif self.judge not in list_judges() and not self.judge.startswith("pyiqa-") and not self.options:
            raise ValueError(f"unknown judge '{self.judge}'; {did_you_mean(self.judge, list_judges())}")
        else:
            try:
                measure = self.measure
            except LopsidedError as error:
                raise ValueError(str(error)) from None
            if measure and measure.preprocessing:
                raise ValueError("input_range: judged images are in [0, 1]; leave it out")
        return self

    def __hash__(self) -> int:
        return hash(self.identity)

    @cached_property
    def measure(self) -> MeasureSpec | None:
        """The full-reference measure behind the judge; None for a no-reference model."""
        if self.judge in NO_REFERENCE:
            return None
        return parse_measure({"measure": self.judge, **self.options} if self.options else self.judge)

    @property
    def key(self) -> str:
        """Short name used in tables and figures."""
        return self.measure.key if self.measure else self.judge

    @property
    def families(self) -> frozenset[str]:
        """What the judge is made of: ``backbone:…``, ``form:…`` and ``data:…``."""
        if self.measure:
            return self.measure.families
        entry = NO_REFERENCE[self.judge]
        return entry.families | learnt_from(entry.trained_on)

    @property
    def trained_on(self) -> tuple[str, ...] | None:
        """Data sets whose human judgements it was trained on; None where that is not known."""
        return self.measure.trained_on if self.measure else NO_REFERENCE[self.judge].trained_on

    @property
    def min_size(self) -> int:
        """Smallest side of an image after cropping, in pixels."""
        return self.measure.min_size if self.measure else NO_REFERENCE[self.judge].min_size

    def definition(self) -> dict[str, Any]:
        """Return what determines the scores."""
        if self.measure:
            return {"measure": self.measure.identity, "crop": self.crop}
        return {"metric": self.judge, "pyiqa": pyiqa_version(), "crop": self.crop}

    @property
    def identity(self) -> str:
        """Short content hash of the definition."""
        return identity({"kind": "judge", **self.definition()})


class Judge:
    """A judge on a device.

    Args:
        spec: the definition.
        device: where it runs.

    Attributes:
        spec: the definition.
        device: where it runs, and where images must be.
        lower_is_better: direction of the scores.
    """

    def __init__(self, spec: JudgeSpec, device: str = "cpu") -> None:
        self.spec, self.device = spec, device
        measure = spec.measure.build() if spec.measure else None
        self._network: nn.Module | None = None
        if measure is None:
            network = niqe_network() if spec.judge == "niqe" else pyiqa_network(spec.judge)
            self._network = network.to(device)
            self.lower_is_better = NO_REFERENCE[spec.judge].lower_is_better
        else:
            self.lower_is_better = measure.lower_is_better
        self._measure = measure.to(device) if measure else None

    @torch.inference_mode()
    def prepare(self, references: Tensor) -> Reference:
        """Compute what depends only on the references; give the result to :meth:`score` in place of the references.

        The result holds their feature maps; it is empty for a no-reference model, which does not look at references.

        Raises:
            LopsidedError: references too small after cropping, or of another shape or range.
        """
        if self._measure is None:
            return Reference(references.new_empty(0), {})
        return self._measure.prepare(references[self._inner(references)])

    @torch.inference_mode()
    def score(self, images: Tensor, references: Tensor | Reference) -> Tensor:
        """Return one score per image, ``(N,)`` on the CPU, in the judge's own direction.

        Args:
            images: restored RGB images in [0, 1], ``(N, 3, H, W)``.
            references: their references, of the same shape, or what :meth:`prepare` made of them; a no-reference model
                does not look at them.

        Raises:
            JudgeError: images too small after cropping.
            LopsidedError: images of another shape or range.
        """
        inner = self._inner(images)
        if self._measure is not None:
            prepared = references if isinstance(references, Reference) else references[inner]
            return self._measure.score(images[inner], prepared).cpu()
        if self._network is None:
            raise JudgeError(f"judge '{self.spec.key}' was not built")
        check_images(images, "images")
        return self._network(images[inner]).reshape(len(images)).float().cpu()

    def _inner(self, images: Tensor) -> tuple[Any, ...]:
        """Return the index of the part of images that remains after cropping."""
        crop = self.spec.crop or 0
        height, width = images.shape[-2:]
        if min(height, width) - 2 * crop < self.spec.min_size:
            raise JudgeError(
                f"judge '{self.spec.key}' needs sides of {self.spec.min_size} px after cropping {crop} px from each "
                f"border, got {height}×{width}; use larger test images or leave the judge out"
            )
        return (..., slice(crop, height - crop), slice(crop, width - crop))


def list_judges() -> list[str]:
    """Return every judge key.

    Examples:
        >>> {"psnr_y", "musiq"} <= set(list_judges())
        True
    """
    return [*list_measures(), *NO_REFERENCE]


def parse_judge(value: Any, *, scale: int) -> JudgeSpec:
    """Return the judge's spec with its border crop filled in.

    Args:
        value: a key, a mapping or a spec.
        scale: border crop where ``value`` gives none.

    Raises:
        pydantic.ValidationError: an unknown judge, or options that it does not have.

    Examples:
        >>> parse_judge("psnr_y", scale=4).crop
        4
    """
    spec = JudgeSpec.model_validate(value)
    return spec if spec.crop is not None else spec.model_copy(update={"crop": scale})


def create_judge(value: Any, *, scale: int, device: str = "cpu") -> Judge:
    """Build a judge from its key, a mapping or a spec; ``scale`` sets the default border crop.

    Raises:
        LopsidedError: weights that are missing or fail verification.

    Examples:
        >>> judge = create_judge("psnr_y", scale=4)
        >>> judge.score(torch.zeros(1, 3, 32, 32), torch.full((1, 3, 32, 32), 0.1)).shape, judge.lower_is_better
        (torch.Size([1]), False)
    """
    return Judge(parse_judge(value, scale=scale), device)
