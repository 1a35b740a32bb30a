"""A discriminator is a trunk (plain convolutions or a backbone) and a head (vanilla or patch)."""

from __future__ import annotations

import difflib
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from torch import Tensor, nn

from ..backbones import BackboneSpec, build_extractor, list_backbones
from ..backbones.registry import architecture
from ..common.errors import LopsidedError
from ..common.identity import identity
from . import convolutional
from .heads import PatchHead, VanillaHead

PATCH_STRIDE = 8  # a patch head sits on the deepest stage of at most this stride, so that a 64 px crop has 8×8 places


class DiscriminatorError(LopsidedError):
    """An unknown discriminator or objective, or images it cannot take."""


class DiscriminatorSpec(BaseModel):
    """Definition of a discriminator; in YAML ``none``, ``vanilla``, ``patch-vgg16-r`` … or a mapping.

    Attributes:
        form: ``none`` (no adversarial term), ``vanilla`` (one logit per image) or ``patch`` (a map of logits).
        backbone: ``conv`` (a small plain network) or a backbone of the registry, e.g. ``resnet50``.
        trainable: whether the backbone learns too, or only the head does.
        stage: index of the stage the head sits on; by default the last one for ``vanilla`` and the deepest one of
            stride ≤ 8 for ``patch``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    form: Literal["none", "vanilla", "patch"] = "none"
    backbone: BackboneSpec | Literal["conv"] = Field(default="conv", union_mode="left_to_right")
    trainable: bool = True
    stage: int | None = Field(default=None, ge=0)

    @model_validator(mode="before")
    @classmethod
    def _from_key(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        form, _, backbone = value.partition("-")
        known = ("conv", *list_backbones())
        if form not in ("none", "vanilla", "patch") or (backbone and (backbone not in known or form == "none")):
            keys = ["none", "vanilla", "patch", *(f"{f}-{b}" for f in ("vanilla", "patch") for b in known)]
            near = difflib.get_close_matches(value, keys, 1)
            raise ValueError(
                f"unknown discriminator '{value}'; "
                + (f"did you mean '{near[0]}'?" if near else f"known: {', '.join(keys)}")
            )
        return {"form": form, "backbone": backbone or "conv"}

    @field_validator("backbone", mode="before")
    @classmethod
    def _backbone_by_name(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) and value != "conv" else value

    @model_validator(mode="after")
    def _stage_exists(self) -> DiscriminatorSpec:
        count = len(self._strides)
        if self.stage is not None and self.stage >= count:
            raise ValueError(f"stage {self.stage} of '{self.key}': there are {count} stages, 0 to {count - 1}")
        return self

    @property
    def key(self) -> str:
        """Short name used in tables and figures: the form, and the backbone unless it is ``conv``."""
        if self.form == "none" or not isinstance(self.backbone, BackboneSpec):
            return self.form
        plain = DiscriminatorSpec.model_validate({"form": self.form, "backbone": self.backbone.name})
        return f"{self.form}-{self.backbone.name}" + ("" if self == plain else f"+{self.identity[:4]}")

    @property
    def identity(self) -> str:
        """Short content hash of the definition."""
        if self.form == "none":
            return identity({"kind": "discriminator", "form": "none"})
        backbone = self.backbone.identity if isinstance(self.backbone, BackboneSpec) else "conv-v1"
        return identity(
            {
                "kind": "discriminator",
                "version": 1,
                "form": self.form,
                "backbone": backbone,
                "trainable": self.trainable,
                "stage": self.head_stage,
            }
        )

    @property
    def _strides(self) -> tuple[int, ...]:
        if isinstance(self.backbone, BackboneSpec):
            return tuple(stage.stride for stage in architecture(self.backbone.name).stages)
        return convolutional.STRIDES

    @property
    def head_stage(self) -> int:
        """Index of the stage the head sits on."""
        if self.stage is not None:
            return self.stage
        if self.form == "vanilla":
            return len(self._strides) - 1
        coarsest = max(PATCH_STRIDE, min(self._strides))  # no stage of a vision transformer is as fine as 8 px
        return max(i for i, stride in enumerate(self._strides) if stride <= coarsest)

    @property
    def min_size(self) -> int:
        """Smallest height and width the discriminator accepts, in pixels."""
        if isinstance(self.backbone, BackboneSpec):
            return architecture(self.backbone.name).min_size
        return convolutional.MIN_SIZE


class Discriminator(nn.Module):
    """Images to real/fake logits.

    Args:
        spec: the definition; its form must not be ``none``.
        seed: seed of everything drawn at random (a ``-r`` backbone included, so that seeds are independent samples).
    """

    def __init__(self, spec: DiscriminatorSpec, seed: int = 0) -> None:
        super().__init__()
        if spec.form == "none":
            raise DiscriminatorError("discriminator 'none' has no network; leave the adversarial term out instead")
        self.spec = spec
        if isinstance(spec.backbone, BackboneSpec):
            backbone = spec.backbone.model_copy(update={"seed": seed}) if spec.backbone.random else spec.backbone
            self.trunk: nn.Module = build_extractor(backbone, stages=spec.head_stage + 1, trainable=spec.trainable)
            channels = architecture(backbone.name).stages[spec.head_stage].channels
        else:
            self.trunk = convolutional.ConvolutionalTrunk(seed)
            self.trunk.stages = self.trunk.stages[: spec.head_stage + 1]
            self.trunk.requires_grad_(spec.trainable)
            channels = convolutional.CHANNELS[spec.head_stage]
        self.head = (VanillaHead if spec.form == "vanilla" else PatchHead)(channels, seed + 1)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits of RGB images in [0, 1]; positive means real.

        Returns:
            ``(N, 1, 1, 1)`` for ``vanilla``, ``(N, 1, H', W')`` for ``patch``.

        Raises:
            DiscriminatorError: images of another shape, or too small.
        """
        if images.ndim != 4 or images.shape[1] != 3 or min(images.shape[-2:]) < self.spec.min_size:
            raise DiscriminatorError(
                f"discriminator '{self.spec.key}' takes (N, 3, H, W) of at least {self.spec.min_size} px, "
                f"got {tuple(images.shape)}"
            )
        return self.head(self.trunk(images)[-1])


def build_discriminator(spec: DiscriminatorSpec | str, *, seed: int = 0) -> Discriminator:
    """Build a discriminator on the CPU from its spec or key (``vanilla``, ``patch-vgg16-r`` …).

    Raises:
        DiscriminatorError: unknown key.
        WeightsUnavailableError: its backbone's official weights are neither on disk nor reachable.
    """
    if isinstance(spec, str):
        try:
            spec = DiscriminatorSpec.model_validate(spec)
        except ValidationError as error:
            raise DiscriminatorError(error.errors()[0]["msg"].removeprefix("Value error, ")) from None
    with torch.random.fork_rng(devices=[]):  # building draws nothing from the global generator
        return Discriminator(spec, seed)
