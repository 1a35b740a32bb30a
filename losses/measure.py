"""What every fidelity measure is: a frozen spec with an identity, a score per image, and a loss made of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Generic, Literal, TypeVar

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from ..common.errors import LopsidedError
from ..common.identity import identity

Reduction = Literal["mean", "sum", "none"]

TOLERANCE = 1e-4  # how far a value may lie outside [0, 1]: rounding of resizing and of half precision
OVERSHOOT = 8  # how far a network's output may: untrained ones leave [0, 1] by units, a wrong scale by hundreds


class MeasureError(LopsidedError):
    """An unknown measure, or images that it cannot take."""


class MeasureSpec(BaseModel, ABC):
    """Everything that makes a measure the number it is; two measures with equal identity give equal scores.

    Attributes:
        version: raised whenever the same spec would give other numbers than before.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    version: ClassVar[int] = 1

    @property
    @abstractmethod
    def key(self) -> str:
        """Short name used in YAML, tables and figures, e.g. ``dists-vgg16-r``."""

    @property
    @abstractmethod
    def families(self) -> frozenset[str]:
        """What the measure is made of; a judge that shares a family with a loss is not independent of it."""

    @property
    @abstractmethod
    def min_size(self) -> int:
        """Smallest height and width the measure accepts, in pixels."""

    @property
    def differentiable(self) -> bool:
        """Whether the measure has finite gradients on ordinary images, and so can be a training loss."""
        return True

    @property
    def identity(self) -> str:
        """Short content hash of the definition, weights included."""
        return identity({"kind": type(self).__name__, "version": self.version, **self.definition()})

    def definition(self) -> dict[str, Any]:
        """The fields that enter the identity, as JSON values."""
        return self.model_dump(mode="json")

    @abstractmethod
    def build(self, *, reduction: Reduction = "mean") -> Measure:
        """Build the measure on the CPU."""


Spec = TypeVar("Spec", bound=MeasureSpec)


class Measure(nn.Module, ABC, Generic[Spec]):
    """A full-reference measure: ``score`` as a metric, ``forward`` as a loss.

    Attributes:
        spec: definition and identity.
        lower_is_better: direction of ``score``; ``forward`` is always lower-is-better.
        value_range: lower and upper bound of ``score``; None where there is none.
        reduction: how ``forward`` reduces over the batch.
    """

    lower_is_better: bool = True
    value_range: tuple[float | None, float | None] = (0.0, None)

    def __init__(self, spec: Spec, reduction: Reduction = "mean") -> None:
        super().__init__()
        if reduction not in ("mean", "sum", "none"):
            raise MeasureError(f"{spec.key}: reduction must be 'mean', 'sum' or 'none', got '{reduction}'")
        self.spec = spec
        self.reduction: Reduction = reduction

    @abstractmethod
    def _score(self, images: Tensor, references: Tensor) -> Tensor:
        """Return ``(N,)`` scores of checked inputs; ``references`` has batch N or 1."""

    def score(self, images: Tensor, references: Tensor) -> Tensor:
        """Return one score per image, in the measure's own direction (see ``lower_is_better``).

        Args:
            images: distorted RGB images in [0, 1], ``(N, 3, H, W)``.
            references: their references, ``(N, 3, H, W)``, or ``(1, 3, H, W)`` shared by all.

        Raises:
            MeasureError: wrong type, shape, size or value range; the message says what was seen.
        """
        self._check_pair(images, references)
        _check_range(self.spec.key, "images", images, -TOLERANCE, 1 + TOLERANCE)
        _check_range(self.spec.key, "references", references, -TOLERANCE, 1 + TOLERANCE)
        return self._score(images, references)

    def forward(self, prediction: Tensor, reference: Tensor) -> Tensor:
        """Return the loss: the score mapped so that lower is better, reduced over the batch.

        A higher-is-better score ``s`` with an upper bound ``b`` becomes ``b - s``; without a bound, ``-s``.

        Args:
            prediction: RGB meant for [0, 1], ``(N, 3, H, W)``; a network's output may overshoot by up to 8.
            reference: RGB in [0, 1], of the same shape.

        Raises:
            MeasureError: wrong type, shape, size or value range. Non-finite predictions are not an error here:
                they give a non-finite loss, for the trainer to locate and record.
        """
        self._check_pair(prediction, reference)
        _check_range(self.spec.key, "reference", reference, -TOLERANCE, 1 + TOLERANCE)
        _check_range(self.spec.key, "prediction", prediction, -OVERSHOOT, 1 + OVERSHOOT, allow_non_finite=True)
        loss = self._score(prediction, reference)
        if not self.lower_is_better:
            loss = (self.value_range[1] or 0.0) - loss
        if self.reduction == "none":
            return loss
        return loss.mean() if self.reduction == "mean" else loss.sum()

    def _check_pair(self, images: Tensor, references: Tensor) -> None:
        for name, value in (("images", images), ("references", references)):
            if not isinstance(value, Tensor):
                raise MeasureError(f"{self.spec.key}: {name} must be a tensor, got {type(value).__name__}")
            if not value.is_floating_point():
                raise MeasureError(f"{self.spec.key}: {name} must be float in [0, 1], got {value.dtype}; divide by 255")
            if value.ndim != 4 or value.shape[1] != 3 or value.shape[0] == 0:
                raise MeasureError(f"{self.spec.key}: {name} must be (N, 3, H, W) with N ≥ 1, got {tuple(value.shape)}")
        if images.shape[1:] != references.shape[1:] or references.shape[0] not in (1, images.shape[0]):
            raise MeasureError(
                f"{self.spec.key}: images {tuple(images.shape)} and references {tuple(references.shape)} do not match"
            )
        if images.device != references.device:
            raise MeasureError(f"{self.spec.key}: images are on {images.device}, references on {references.device}")
        if min(images.shape[-2:]) < self.spec.min_size:
            raise MeasureError(
                f"{self.spec.key} needs at least {self.spec.min_size}×{self.spec.min_size} px, "
                f"got {images.shape[-2]}×{images.shape[-1]}"
            )


def _check_range(
    key: str, name: str, value: Tensor, low: float, high: float, *, allow_non_finite: bool = False
) -> None:
    # One reduction and one transfer; for images this small against any network pass.
    seen_low, seen_high = torch.stack(torch.aminmax(value.detach())).tolist()
    finite = seen_low > -float("inf") and seen_high < float("inf")  # False for NaN too
    if not finite and allow_non_finite:
        return
    if not finite or seen_low < low or seen_high > high:
        raise MeasureError(f"{key}: {name} must lie in [0, 1], seen [{seen_low:.4g}, {seen_high:.4g}]")
