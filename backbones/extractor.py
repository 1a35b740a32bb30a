"""The feature extractor that losses, discriminators and IQA models all hold."""

from __future__ import annotations

import itertools
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from ..common.building import building, ordinary_tensors
from ..common.transforms import transformed
from .freezing import freeze
from .known_answers import check_known_answer
from .pooling import L2Pool
from .registry import BackboneError, BackboneSpec, architecture
from .weights import initialise, locate

Pooling = Literal["max", "l2"]
Precision = Literal["fp32", "bf16"]


class FeatureExtractor(nn.Module):
    """Images to a list of feature maps, one per stage of a backbone.

    The ``trunk`` keeps the key names of the official checkpoint, so that its state dict can be exchanged between
    losses, discriminators and IQA models. A frozen extractor stays frozen: its weights are buffers, and
    ``train()`` on a parent does not switch its normalisation layers to training mode.

    Attributes:
        spec: the backbone and the origin of its weights.
        channels: channels of each feature map.
        strides: input pixels per feature-map pixel of each map.
        min_size: smallest height and width accepted, in pixels.
    """

    mean: Tensor
    std: Tensor

    @building()
    def __init__(
        self,
        spec: BackboneSpec,
        *,
        pooling: Pooling = "max",
        stages: int | None = None,
        trainable: bool = False,
        precision: Precision = "fp32",
    ) -> None:
        super().__init__()
        kind = architecture(spec.name)
        count = len(kind.stages) if stages is None else stages
        if not 1 <= count <= len(kind.stages):
            raise BackboneError(f"'{spec.name}' has {len(kind.stages)} stages; asked for {count}")
        if precision == "bf16" and trainable:
            raise BackboneError(f"'{spec.name}' in bf16 cannot be trained: small updates would be lost; use autocast")
        self.spec = spec
        self.trainable = trainable
        self.channels = tuple(stage.channels for stage in kind.stages[:count])
        self.min_size = kind.min_size
        self._kind = kind
        path = locate(spec)  # first, so that missing weights are reported before anything slow
        # Before: modules that torchvision imports for the first time would make their own tensors without memory too.
        import torchvision.models  # noqa: F401

        with torch.device("meta"):  # so memory is taken once, and nothing is drawn from the global generator
            self.trunk = kind.build()
        self.trunk.to_empty(device="cpu")
        initialise(self.trunk, spec, path)
        self.register_buffer("mean", torch.tensor(kind.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(kind.std).view(1, 3, 1, 1), persistent=False)
        # Held in a plain list: the trunk already owns these modules, and its keys must stay the official ones.
        self._stages = kind.split(self.trunk)
        self.strides = tuple(stage.stride for stage in kind.stages)
        check_known_answer(spec, path, self.eval())  # before any option changes what the network computes
        self.strides = self.strides[:count]
        self._stages = [
            [L2Pool() if pooling == "l2" and isinstance(m, nn.MaxPool2d) else m for m in modules]
            for modules in self._stages[:count]
        ]
        self.pools = nn.ModuleList(m for modules in self._stages for m in modules if isinstance(m, L2Pool))
        if precision == "bf16":
            self.trunk.to(torch.bfloat16)
        if not trainable:
            freeze(self.trunk)
        self.train(trainable)

    def train(self, mode: bool = True) -> FeatureExtractor:
        """Set training mode, unless the extractor is frozen: then it stays in evaluation mode."""
        return super().train(mode and self.trainable)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the feature maps of ``images``.

        Args:
            images: RGB in [0, 1], ``(N, 3, H, W)``, each side at least ``min_size``. Where the network cuts images
                into patches, their last row and column are repeated up to a multiple of the patch.

        Returns:
            One ``(N, channels[i], H_i, W_i)`` per stage, shallow to deep.

        Raises:
            BackboneError: an image is smaller than ``min_size``.
        """
        if min(images.shape[-2:]) < self.min_size:
            raise BackboneError(
                f"'{self.spec.name}' needs images of at least {self.min_size}×{self.min_size} px, "
                f"got {images.shape[-2]}×{images.shape[-1]}"
            )
        if not torch.compiler.is_compiling() and torch.is_inference_mode_enabled():  # torch cannot compile the question
            with ordinary_tensors():  # features that are kept can then be trained against
                return self._maps(images)
        if transformed():
            with sdpa_kernel(SDPBackend.MATH):  # fused attention has no forward and no second derivative
                return self._maps(images)
        return self._maps(images)

    def _maps(self, images: Tensor) -> list[Tensor]:
        hidden = self._prepare(images).to(self.dtype)
        height, width = hidden.shape[-2:]
        readout = self._kind.readout
        maps = []
        for modules, stride in zip(self._stages, self.strides, strict=True):
            for module in modules:
                hidden = module(hidden)
            maps.append(readout(hidden, height // stride, width // stride) if readout else hidden)
        return maps

    @property
    def dtype(self) -> torch.dtype:
        """The type in which the network computes."""
        # Of a frozen trunk the weights are buffers, and other buffers may count.
        tensors = itertools.chain(self.trunk.parameters(), self.trunk.buffers())
        return next(tensor.dtype for tensor in tensors if tensor.is_floating_point())

    def _prepare(self, images: Tensor) -> Tensor:
        """Bring images in [0, 1] to the colours, range and size that the network was made for."""
        kind = self._kind
        if kind.channel_order == "bgr":
            images = images.flip(1)
        if kind.scale != 1:
            images = images * kind.scale
        images = (images - self.mean) / self.std
        bottom, right = (-side % kind.multiple for side in images.shape[-2:])
        # Repeated, not mirrored: a mirror image needs more rows than a small image can have.
        return F.pad(images, (0, right, 0, bottom), mode="replicate") if bottom or right else images


def build_extractor(
    spec: BackboneSpec | str,
    *,
    pooling: Pooling = "max",
    stages: int | None = None,
    trainable: bool = False,
    precision: Precision = "fp32",
) -> FeatureExtractor:
    """Build an extractor on the CPU.

    Args:
        spec: the backbone, or its key.
        pooling: ``max`` as published, or ``l2`` to replace every max pooling by :class:`L2Pool`.
        stages: how many stages to compute, from the shallow end; all by default.
        trainable: whether parameters get gradients and normalisation layers follow ``train()``.
        precision: ``bf16`` to hold the weights and compute the features in bfloat16; frozen only.

    Raises:
        BackboneError: unknown key, or weights that do not fit.
        WeightsUnavailableError: official weights are neither on disk nor reachable.

    Examples:
        >>> import torch
        >>> from lopsided.backbones import build_extractor
        >>> extractor = build_extractor("vgg16-r", stages=3)
        >>> [tuple(maps.shape) for maps in extractor(torch.rand(1, 3, 32, 48))]
        [(1, 64, 32, 48), (1, 128, 16, 24), (1, 256, 8, 12)]
    """
    if isinstance(spec, str):
        architecture(spec)  # an unknown key is an error of ours
        spec = BackboneSpec(name=spec)
    return FeatureExtractor(spec, pooling=pooling, stages=stages, trainable=trainable, precision=precision)
