"""A discriminator is a trunk (plain convolutions or a backbone) and a head, or a whole published network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field, ValidationError, model_validator
from torch import Tensor, nn

from ..backbones import BackboneSpec, build_extractor, distinguished, list_backbones
from ..backbones.freezing import freeze
from ..backbones.registry import architecture
from ..common.building import building
from ..common.errors import did_you_mean
from ..common.families import learnt_from
from ..common.fields import COUNT, WIDTH, PathText, Settings
from ..common.identity import identity, sha256_file
from ..common.paths import expanded
from ..common.registry import Registry
from ..common.value_range import UNIT, InputRange, to_unit
from . import convolutional, patchgan, srgan, unet
from .errors import DiscriminatorError
from .heads import PatchHead, VanillaHead
from .inputs import MOMENTS, WATCHED, InputNormalisation, Normalised, check_values
from .layers import Norm, SpectralConv2d
from .weights import load_weights

PATCH_STRIDE = 8  # a patch head sits on the deepest stage of at most this stride, so that a 64 px crop has 8×8 places


@dataclass(frozen=True)
class Network:
    """A published discriminator that is one whole network.

    Attributes:
        build: makes it from its options and a ``seed``.
        options: its options, with the values of its paper.
        min_size: smallest height and width of an image at these options, in pixels.
        input_normalisation: what its paper does to images in [0, 1] first.
    """

    build: Callable[..., nn.Module]
    options: dict[str, Any]
    min_size: int
    input_normalisation: InputNormalisation = "symmetric"


NETWORKS = Registry[Network]("discriminator")
NETWORKS.register(
    "patchgan",
    Network(
        patchgan.PatchGan,
        {"norm": "batch", "spectral_norm": False, "width": 64, "receptive_field": 70},
        patchgan.min_size(70),
    ),
)
NETWORKS.register(
    "srgan",
    Network(srgan.SrganDiscriminator, {"norm": "batch", "spectral_norm": False, "width": 64}, srgan.MIN_SIZE),
)
NETWORKS.register(
    "unet", Network(unet.UNet, {"norm": "none", "spectral_norm": True, "width": 64}, unet.MIN_SIZE, "none")
)
_PATCHGANS = {f"patchgan{'' if field == 70 else field}": field for field in patchgan.STRIDED}


class DiscriminatorSpec(Settings):
    """Definition of a discriminator; in YAML ``none``, ``vanilla``, ``patch-vgg16-r``, ``unet`` … or a mapping.

    Attributes:
        form: ``none`` (no adversarial term), ``vanilla`` (one logit per image) or ``patch`` (a map of logits) on a
            trunk; or a published network: ``patchgan``, ``srgan``, ``unet``.
        backbone: ``conv`` (a small plain network) or a backbone of the registry, e.g. ``resnet50``.
        trainable: whether the backbone learns too, or only the head does.
        stage: index of the stage the head sits on; by default the last one for ``vanilla`` and the deepest one of
            stride ≤ 8 for ``patch``.
        frozen_stages: how many stages of a trainable trunk, from the shallow end, do not learn.
        spectral_norm: spectral normalisation, of the head for ``vanilla`` and ``patch``, of the convolutions for
            published networks; by default as in their papers (``unet`` only).
        norm: normalisation layer of a published network, by default its paper's.
        width: channels of a published network's first convolution.
        receptive_field: of a ``patchgan``, in pixels; 70 by default.
        input_normalisation: what is done to images in [0, 1] first. ``none``; ``symmetric``: to [-1, 1]; ``imagenet``:
            ImageNet's mean and deviation; ``backbone``: as the backbone was trained. By default ``backbone`` where
            there is one, ``none`` for ``unet``, ``symmetric`` for the others.
        input_range: values of black and white in the images that are given; they are brought to [0, 1] first.
        weights: a ``.safetensors`` or ``.pth`` file with all weights of the discriminator, the head's included: one
            that an experiment has written, or a published one. Then every seed starts from them.
    """

    one_word: ClassVar[bool] = True

    form: Literal["none", "vanilla", "patch", "patchgan", "srgan", "unet"] = "none"
    backbone: BackboneSpec | Literal["conv"] = Field(default="conv", union_mode="left_to_right")
    trainable: bool = True
    stage: int | None = Field(default=None, ge=0, le=COUNT)
    frozen_stages: int = Field(default=0, ge=0, le=COUNT)
    spectral_norm: bool | None = None
    norm: Norm | None = None
    width: int | None = Field(default=None, ge=1, le=WIDTH)
    receptive_field: patchgan.ReceptiveField | None = None
    input_normalisation: InputNormalisation | None = None
    input_range: InputRange = UNIT
    weights: PathText | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_key(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        if value in _PATCHGANS:
            return {"form": "patchgan", "receptive_field": _PATCHGANS[value]}
        if value in NETWORKS:
            return {"form": value}
        form, _, backbone = value.partition("-")
        known = ("conv", *list_backbones())
        if form not in ("none", "vanilla", "patch") or (backbone and (backbone not in known or form == "none")):
            keys = [*list_discriminators(), *(f"{form}-conv" for form in ("vanilla", "patch"))]
            raise ValueError(f"unknown discriminator '{value}'; {did_you_mean(value, keys)}")
        return {"form": form, "backbone": backbone or "conv"}

    @model_validator(mode="after")
    def _options_fit_the_form(self) -> DiscriminatorSpec:
        own = self._own_options
        for name in ("norm", "spectral_norm", "width", "receptive_field"):
            if getattr(self, name) is None:
                object.__setattr__(self, name, own.get(name))
            elif name not in own:
                raise ValueError(f"'{self.form}' has no option {name}; it has: {', '.join(own) or 'none'}")
        if self.form == "none" and (self.input_normalisation or self.weights):
            raise ValueError("'none' is no discriminator: leave input_normalisation and weights out")
        if self.form in NETWORKS:
            for name in ("backbone", "trainable", "stage", "frozen_stages"):
                if getattr(self, name) != type(self).model_fields[name].default:
                    raise ValueError(f"'{self.form}' has no {name}: it is one whole network; leave {name} out")
        return self

    @model_validator(mode="after")
    def _start_is_clear(self) -> DiscriminatorSpec:
        backbone = self.backbone if isinstance(self.backbone, BackboneSpec) else None
        if self.form != "none" and self.input_normalisation is None:
            object.__setattr__(self, "input_normalisation", self._own_normalisation)
        if self.input_normalisation == "backbone" and not backbone:
            raise ValueError(
                f"'{self.form}' has no backbone whose normalisation to use; say none, symmetric or imagenet"
            )
        if self.weights and backbone and backbone.weights != "official":
            raise ValueError("weights of the whole discriminator replace the backbone's; leave one of the two out")
        return self

    @model_validator(mode="after")
    def _stage_exists(self) -> DiscriminatorSpec:
        count = len(self._strides)
        if self.stage is not None and self.stage >= count:
            raise ValueError(f"stage {self.stage} of '{self.key}': there are {count} stages, 0 to {count - 1}")
        if self.frozen_stages and not (self.trainable and self.frozen_stages <= self.head_stage):
            raise ValueError(
                f"frozen_stages {self.frozen_stages} of '{self.form}': at most {self.head_stage} of the "
                f"{self.head_stage + 1} stages in use, and only if trainable; for all of them say trainable: false"
            )
        return self

    @property
    def key(self) -> str:
        """Short name used in tables and figures: the form, and the backbone unless it is ``conv``."""
        if self.form in NETWORKS:
            receptive_field = self.receptive_field if self.receptive_field not in (None, 70) else ""
            plain = DiscriminatorSpec.model_validate(f"{self.form}{receptive_field}")
            return f"{self.form}{receptive_field}" + ("" if self == plain else f"+{self.identity[:4]}")
        if self.form == "none":
            return self.form
        name = self.backbone.name if isinstance(self.backbone, BackboneSpec) else "conv"
        plain = DiscriminatorSpec.model_validate({"form": self.form, "backbone": name})
        key = self.form if name == "conv" else f"{self.form}-{name}"
        return distinguished(key, self, plain)

    @property
    def identity(self) -> str:
        """Short content hash of the definition."""
        return identity({"kind": "discriminator", **self.definition()})

    def definition(self) -> dict[str, Any]:
        """Return what makes two discriminators interchangeable before training, files of weights by content.

        Raises:
            LopsidedError: a file of weights does not exist.
        """
        if self.form == "none":
            return {"form": "none"}
        # Options that were added later count only where they are used, so that earlier identities stay valid.
        later: dict[str, Any] = {}
        if self.input_normalisation != self._own_normalisation:
            later["input_normalisation"] = self.input_normalisation
        if self.input_range != UNIT:
            later["input_range"] = list(self.input_range)
        if self.weights:
            later["weights"] = f"sha256:{sha256_file(self._weights_file(self.weights))}"
        # Version 2 of spectral normalisation: one power iteration per training step, not per forward pass.
        version = 2 if self.spectral_norm else 1
        if self.form in NETWORKS:
            options = {name: getattr(self, name) for name in self._own_options}
            return {"version": version, "form": self.form, **options, **later}
        later |= {"spectral_norm": self.spectral_norm, "frozen_stages": self.frozen_stages}
        return {
            "version": version,
            "form": self.form,
            "backbone": self.backbone.definition() if isinstance(self.backbone, BackboneSpec) else "conv-v1",
            "trainable": self.trainable,
            "stage": self.head_stage,
            **{name: value for name, value in later.items() if value},
        }

    @property
    def families(self) -> frozenset[str]:
        """The backbone's families: none for plain convolutions, and unknown data for a file of weights.

        A judge that shares one with the discriminator is not independent of what it trains. They are no part of the
        definition.

        Raises:
            LopsidedError: a file of the backbone's weights does not exist.

        Examples:
            >>> sorted(DiscriminatorSpec.model_validate("patch-resnet50").families)
            ['backbone:resnet', 'data:imagenet']
            >>> sorted(DiscriminatorSpec.model_validate("unet").families)
            []
        """
        if not isinstance(self.backbone, BackboneSpec):
            return learnt_from(None) if self.weights else frozenset()
        if self.weights:
            return BackboneSpec(name=f"{self.backbone.architecture}-r").families | learnt_from(None)
        return self.backbone.families

    @property
    def _own_options(self) -> dict[str, Any]:
        """The options that only some forms have, with their default values."""
        if self.form in NETWORKS:
            return NETWORKS[self.form].options
        return {} if self.form == "none" else {"spectral_norm": False}

    @property
    def _own_normalisation(self) -> InputNormalisation:
        if self.form in ("vanilla", "patch") and isinstance(self.backbone, BackboneSpec):
            return "backbone"
        return NETWORKS[self.form].input_normalisation if self.form in NETWORKS else "symmetric"

    def _weights_file(self, path: str) -> Path:
        file = expanded(path)
        if not file.is_file():
            raise DiscriminatorError(f"weights of '{self.form}': no file '{file}'; give a .safetensors or .pth file")
        return file

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
        if self.receptive_field is not None:
            return patchgan.min_size(self.receptive_field)
        if self.form in NETWORKS:
            return NETWORKS[self.form].min_size
        if isinstance(self.backbone, BackboneSpec):
            return architecture(self.backbone.name).min_size
        return convolutional.MIN_SIZE


class Discriminator(nn.Module):
    """Images to real/fake logits.

    A published network is :attr:`network`; every other discriminator is a :attr:`trunk` and a :attr:`head`. A loop
    that trains it calls :meth:`begin_step` once per step.

    Args:
        spec: the definition; its form must not be ``none``.
        seed: seed of everything drawn at random (a ``-r`` backbone included, so that seeds are independent samples).
    """

    def __init__(self, spec: DiscriminatorSpec, seed: int = 0) -> None:
        super().__init__()
        if spec.form == "none":
            raise DiscriminatorError("discriminator 'none' has no network; leave the adversarial term out instead")
        self.spec = spec
        self._frozen: list[nn.Module] = []  # a plain list: the trunk already owns these modules
        self._to_watch = WATCHED
        self.normalise: nn.Module = nn.Identity()
        if spec.input_normalisation in MOMENTS:
            self.normalise = Normalised(spec.input_normalisation)
        if spec.form in NETWORKS:
            network = NETWORKS[spec.form]
            self.network = network.build(**{name: getattr(spec, name) for name in network.options}, seed=seed)
        else:
            self._build_trunk_and_head(spec, seed)
        if spec.weights:
            load_weights(self, expanded(spec.weights), spec.form)
        self.train()

    def _build_trunk_and_head(self, spec: DiscriminatorSpec, seed: int) -> None:
        if isinstance(spec.backbone, BackboneSpec):
            kind = architecture(spec.backbone.name)
            backbone = spec.backbone
            if backbone.random or spec.weights:  # which hold the backbone's too: no need for official ones
                backbone = BackboneSpec(name=f"{backbone.architecture}-r", seed=seed)
            extractor = build_extractor(backbone, stages=spec.head_stage + 1, trainable=spec.trainable)
            if spec.input_normalisation != "backbone":  # `normalise` comes first, and the extractor changes nothing
                extractor.get_buffer("mean").zero_()
                extractor.get_buffer("std").fill_(kind.scale)
            self.trunk: nn.Module = extractor
            channels = kind.stages[spec.head_stage].channels
            stages = kind.split(extractor.trunk)
        else:
            self.trunk = convolutional.ConvolutionalTrunk(seed)
            self.trunk.stages = self.trunk.stages[: spec.head_stage + 1]
            channels = convolutional.CHANNELS[spec.head_stage]
            stages = [[stage] for stage in self.trunk.stages]
        self._frozen = [module for modules in stages[: spec.frozen_stages] for module in modules]
        if not spec.trainable:
            self._frozen = [self.trunk]
        if self._frozen:
            # What belongs to no stage, as the embeddings of a transformer, comes before the first: frozen with it.
            later = stages[spec.frozen_stages :] if spec.trainable else []
            freeze(self.trunk, {id(p) for modules in later for module in modules for p in module.parameters()})
        self.head = (VanillaHead if spec.form == "vanilla" else PatchHead)(channels, seed + 1, bool(spec.spectral_norm))

    def train(self, mode: bool = True) -> Discriminator:
        """Set training mode, except of frozen parts: they stay in evaluation mode."""
        super().train(mode)
        self._keep_frozen()
        return self

    def _keep_frozen(self) -> None:
        for module in self._frozen:
            if any(part.training for part in module.modules()):
                module.eval()

    def __prepare_scriptable__(self) -> Discriminator:
        """Refuse TorchScript's compiler, which reads a small part of Python."""
        raise DiscriminatorError(
            f"discriminator '{self.spec.key}': torch.jit.script cannot read it; use torch.compile, torch.export or "
            "torch.jit.trace"
        )

    def begin_step(self) -> None:
        """Begin a training step: one power iteration of every layer under spectral normalisation.

        The layers stay fixed until the next call, however often the discriminator is called in between, in whatever
        mode: a batch in several parts, or on several machines, gives the numbers of one pass. Without any call they
        iterate in every forward pass in training mode, as published. Do not call it between a forward pass and its
        backward pass.
        """
        for module in self.modules():
            if isinstance(module, SpectralConv2d):
                module.begin_step()

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits of RGB images meant for [0, 1] or the spec's ``input_range``; positive means real.

        The values of the first passes are checked for what cannot be meant, such as photographs in [-1, 1].

        Returns:
            ``(N, 1, 1, 1)`` for ``vanilla`` and ``srgan``, ``(N, 1, H', W')`` for ``patch`` and ``patchgan``,
            ``(N, 1, H, W)`` for ``unet``.

        Raises:
            DiscriminatorError: images of another shape or range, or too small.
        """
        if images.ndim != 4 or images.shape[1] != 3 or min(images.shape[-2:]) < self.spec.min_size:
            raise DiscriminatorError(
                f"discriminator '{self.spec.key}' takes (N, 3, H, W) of at least {self.spec.min_size} px, "
                f"got {tuple(images.shape)}"
            )
        self._keep_frozen()  # a host may have called train() on a part
        images = to_unit(images, self.spec.input_range)
        if self._to_watch and not torch.compiler.is_compiling():
            self._to_watch -= 1
            check_values(self.spec.key, images)
        images = self.normalise(images)
        return self.network(images) if self.spec.form in NETWORKS else self.head(self.trunk(images)[-1])


def list_discriminators() -> list[str]:
    """Return the key of every discriminator.

    Examples:
        >>> from lopsided.discriminators import list_discriminators
        >>> list_discriminators()[:4], list_discriminators()[-2:]
        (['none', 'vanilla', 'vanilla-alexnet', 'vanilla-alexnet-r'], ['srgan', 'unet'])
    """
    tails = ("", *(f"-{key}" for key in list_backbones()))
    trunks = [f"{form}{tail}" for form in ("vanilla", "patch") for tail in tails]
    return ["none", *trunks, *_PATCHGANS, *(form for form in NETWORKS if form != "patchgan")]


@building()
def build_discriminator(spec: DiscriminatorSpec | str | Mapping[str, Any], *, seed: int = 0) -> Discriminator:
    """Build a discriminator on the CPU.

    Args:
        spec: its spec, its key (``vanilla``, ``patch-vgg16-r``, ``unet`` …), or a mapping of its options.
        seed: seed of everything drawn at random.

    Raises:
        DiscriminatorError: unknown key, or options that do not fit together.
        WeightsUnavailableError: its backbone's official weights are neither on disk nor reachable.

    Examples:
        >>> import torch
        >>> from lopsided.discriminators import build_discriminator
        >>> images = torch.rand(2, 3, 64, 64)
        >>> build_discriminator("vanilla")(images).shape  # one logit per image
        torch.Size([2, 1, 1, 1])
        >>> build_discriminator({"form": "patchgan", "receptive_field": 34, "width": 8}, seed=1)(images).shape
        torch.Size([2, 1, 14, 14])
    """
    if not isinstance(spec, DiscriminatorSpec):
        try:
            spec = DiscriminatorSpec.model_validate(spec)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            message = f"{where + ': ' if where else ''}{first['msg'].removeprefix('Value error, ')}"
            if first["type"] == "extra_forbidden":
                message = f"unknown option '{where}'; {did_you_mean(where, DiscriminatorSpec.model_fields)}"
            raise DiscriminatorError(message) from None
    with torch.random.fork_rng(devices=[]):  # building draws nothing from the global generator
        return Discriminator(spec, seed)
