"""The registry of backbone architectures and the spec that names one with its weights."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator
from torch import Tensor, nn

from ..common.errors import LopsidedError, did_you_mean
from ..common.families import Families, FamilyError, checked, learnt_from
from ..common.fields import Keyed, PathText
from ..common.identity import identity, sha256_file
from ..common.paths import expanded
from ..common.registry import Registry


class BackboneError(LopsidedError, ValueError):
    """An unknown backbone, or weights that do not fit it."""


@dataclass(frozen=True)
class Stage:
    """One stage of a backbone: the modules up to and including ``end``, and what comes out.

    Attributes:
        name: the layer in the literature's notation, e.g. ``relu3_3``.
        channels: channels of the feature map.
        stride: input pixels per feature-map pixel.
    """

    name: str
    channels: int
    stride: int


@dataclass(frozen=True)
class Architecture:
    """What the registry knows about one backbone, whatever its weights.

    An image in [0, 1] enters the network as ``(image[channel order] · scale - mean) / std``.

    Attributes:
        name: key, e.g. ``vgg16``.
        family: what networks of this design are called, whatever their depth: ``vgg``. A judge that shares it with a
            loss is not independent of it.
        stages: the feature maps an extractor returns, shallow to deep.
        build: makes the trunk on the current default device, uninitialised or not; its state dict has the keys of
            the official checkpoint without the classifier.
        split: cuts a trunk into one list of modules per stage; max-pooling layers stand alone so that they can be
            replaced.
        min_size: smallest height and width accepted, in pixels.
        official_url: the official weights; empty if no address offers exactly this file.
        official_sha256: the leading (without an address: all) hexadecimal digits of the file's SHA-256.
        dropped_keys: prefixes of the official state dict that belong to what follows the last stage.
        mean: per-channel mean, in the network's channel order and scale.
        std: per-channel standard deviation, likewise.
        licence: licence of the official weights.
        data: what the official weights and their known copies learnt from, as words in small letters.
        scale: factor on images in [0, 1]; 255 for networks that were trained on bytes.
        channel_order: order in which the network takes the colours.
        multiple: images are padded, by repeating their last row and column, to a multiple of this many pixels.
        readout: turns what a stage hands to the next one into its feature map ``(N, C, H, W)``, given that and the
            map's height and width; None where the two are the same.
        official_name: name of the official file if there is no address to take it from.
        hub_id: Hugging Face repository whose ``model.safetensors`` holds the official weights.
        known_files: (name, SHA-256) of other published copies of the weights, which a spec can name.
        bf16: whether DISTS keeps the direction of its gradient when the network computes in bfloat16 (cosine with
            float32 0.96 to 0.999, see benchmarks/RESULTS.md); networks with normalisation layers lose it.
        fan: what sets the variance of the random twin's He-normal convolutions: ``fan_out``, as torchvision starts
            its VGG and ResNet, or ``fan_in`` where many narrowing layers would make features explode.
    """

    name: str
    family: str
    stages: tuple[Stage, ...]
    build: Callable[[], nn.Module]
    split: Callable[[Any], list[list[nn.Module]]]
    min_size: int
    official_url: str = ""
    official_sha256: str = ""
    dropped_keys: tuple[str, ...] = ()
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    licence: str = "BSD-3-Clause (torchvision)"
    data: tuple[str, ...] = ("imagenet",)
    scale: float = 1.0
    channel_order: Literal["rgb", "bgr"] = "rgb"
    multiple: int = 1
    readout: Callable[[Tensor, int, int], Tensor] | None = None
    official_name: str = ""
    hub_id: str = ""
    known_files: tuple[tuple[str, str], ...] = ()
    bf16: bool = False
    fan: Literal["fan_in", "fan_out"] = "fan_out"

    def __post_init__(self) -> None:
        checked(f"backbone:{self.family}", *(f"data:{name}" for name in self.data))

    @property
    def official_weights(self) -> str:
        """Identity of the official weights.

        A hub publishes no digest that could be known here, so ``hub:<repository>@main`` names the place and not the
        bytes. Give the downloaded file as ``weights: PATH`` if the bytes must count.
        """
        return f"hub:{self.hub_id}@main" if self.hub_id else f"sha256:{self.official_sha256}"

    @property
    def official_file(self) -> str:
        """Name of the official file."""
        if self.official_name or self.official_url:
            return self.official_name or self.official_url.rsplit("/", 1)[-1]
        return f"{self.hub_id.split('/')[-1]}.safetensors"


ARCHITECTURES = Registry[Architecture]("backbone")


def register_backbone(architecture: Architecture) -> Architecture:
    """Add an architecture to the registry, and return it; its random twin ``<name>-r`` comes with it.

    From then on every measure and discriminator on backbones can use it, see ``docs/backbones.md``.

    Raises:
        LopsidedError: there is a backbone of that name, or ``architecture`` is no Architecture.
    """
    if not isinstance(architecture, Architecture):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise BackboneError(f"register_backbone takes an Architecture, got {architecture!r}")
    return ARCHITECTURES.register(architecture.name, architecture)


def architecture(name: str) -> Architecture:
    """Return the architecture called ``name`` (with or without ``-r``).

    Raises:
        BackboneError: no such backbone; the message names the nearest one.
    """
    key = name.removesuffix("-r")
    if key not in ARCHITECTURES:
        raise BackboneError(f"unknown backbone '{name}'; {did_you_mean(name, list_backbones())}")
    return ARCHITECTURES[key]


def weights_names() -> set[str]:
    """Return every bare file name that ``weights`` may be, because the registry knows the file by its digest."""
    kinds = ARCHITECTURES.values()
    return {kind.official_file for kind in kinds} | {name for kind in kinds for name, _ in kind.known_files}


def list_backbones() -> list[str]:
    """Return every backbone key, the ``-r`` (seeded random weights) twins included.

    Examples:
        >>> from lopsided.backbones import list_backbones
        >>> list_backbones()[:4]
        ['alexnet', 'alexnet-r', 'clip_vit_b16', 'clip_vit_b16-r']
    """
    return [key for name in sorted(ARCHITECTURES) for key in (name, f"{name}-r")]


class BackboneSpec(Keyed):
    """A backbone and the origin of its weights; hashable, and written in YAML as ``vgg16`` or a mapping.

    Attributes:
        name: registry key; with the suffix ``-r`` the weights are random.
        weights: ``official``; the path of a ``.safetensors`` / ``.pth`` file; or the bare name of a file that the
            registry knows by its digest (:func:`weights_names`), e.g. ``squeezenet1_1.safetensors``, in the folder
            named by ``LOPSIDED_WEIGHTS``; the name of the official file means ``official``. Left out, it follows
            from the name.
        seed: seed of the random weights; refused where the weights are not random.
    """

    name: str
    weights: PathText = "official"
    seed: Annotated[int, Field(gt=-(2**63), lt=2**63)] = 0

    @model_validator(mode="after")
    def _check(self) -> BackboneSpec:
        try:
            architecture(self.name)
        except BackboneError as error:
            raise ValueError(str(error)) from None
        if self.random and self.weights != "official":
            raise ValueError(f"'{self.name}' has random weights; drop 'weights: {self.weights}' or the suffix -r")
        if self.seed and not self.random:
            raise ValueError(
                f"'{self.name}' has trained weights, so 'seed: {self.seed}' does nothing; drop it or add -r"
            )
        if self.weights == architecture(self.name).official_file:
            object.__setattr__(self, "weights", "official")
        return self

    @property
    def random(self) -> bool:
        """Whether the weights are drawn from a seed."""
        return self.name.endswith("-r")

    @property
    def architecture(self) -> str:
        """The architecture's name: the backbone's without ``-r``."""
        return self.name.removesuffix("-r")

    @property
    def families(self) -> frozenset[str]:
        """Architecture family, and what the weights learnt from: nothing if they are random.

        Raises:
            BackboneError: a file of weights does not exist.

        Examples:
            >>> sorted(BackboneSpec(name="vgg16").families), sorted(BackboneSpec(name="vgg19_blocks3-r").families)
            (['backbone:vgg', 'data:imagenet'], ['backbone:vgg'])
        """
        kind = architecture(self.name)
        data = () if self.random else kind.data if self._published else None
        return learnt_from(data) | {f"backbone:{kind.family}"}

    @property
    def _published(self) -> bool:
        """Whether the weights are the official ones or a known copy of them, wherever the file is."""
        kind = architecture(self.name)
        if self.weights == "official":
            return True
        digest = self.definition()["weights"].removeprefix("sha256:")
        known = [kind.official_sha256, *dict(kind.known_files).values()]
        return any(digest.startswith(published) for published in known if published)

    @property
    def identity(self) -> str:
        """Short content hash of the definition."""
        return identity({"kind": "backbone", **self.definition()})

    def definition(self) -> dict[str, Any]:
        """Return what makes two backbones interchangeable: architecture, and the recipe or digest of the weights.

        Raises:
            BackboneError: a file of weights does not exist.

        Examples:
            >>> from lopsided.backbones import BackboneSpec
            >>> BackboneSpec(name="vgg16").definition()
            {'architecture': 'vgg16', 'weights': 'sha256:397923af'}
            >>> BackboneSpec(name="vgg16-r", seed=3).definition()
            {'architecture': 'vgg16', 'weights': 'random-v1:3'}
        """
        if self.random:
            weights = f"random-v1:{self.seed}"
        elif self.weights == "official":
            weights = architecture(self.name).official_weights
        elif known := dict(architecture(self.name).known_files).get(self.weights):
            weights = f"sha256:{known}"
        else:
            path = expanded(self.weights)
            if not path.is_file():
                raise BackboneError(
                    f"weights of '{self.name}': no file '{path}'; give an existing .safetensors or .pth"
                )
            weights = f"sha256:{sha256_file(path)}"
        return {"architecture": self.architecture, "weights": weights}


def _architecture_families(declared: tuple[str, ...]) -> tuple[str, ...]:
    """Refuse ``backbone:vgg16``: it would match nothing, so that a judge on VGG-16 would pass for independent."""
    known = sorted({kind.family for kind in ARCHITECTURES.values()})
    for name in (family.removeprefix("backbone:") for family in declared if family.startswith("backbone:")):
        key = name.removesuffix("-r")
        meant = ARCHITECTURES[key].family if key in ARCHITECTURES else None
        meant = meant or next((family for family in known if re.match(rf"{family}[\d_-]", name)), None)
        if meant and meant != name:
            raise FamilyError(
                f"'backbone:{name}': all depths and checkpoints are one family; write backbone:{meant} "
                f"(known here: {', '.join(known)})"
            )
    return declared


DeclaredFamilies = Annotated[Families, AfterValidator(_architecture_families)]
"""Field type of the families that a user declares for something that is not known here."""
