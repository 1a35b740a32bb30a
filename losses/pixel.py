"""Pixel-wise distances: L1, L2 (mean squared error), Charbonnier."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from .measure import MeasureSpec, Reduction
from .precise import PreciseMeasure


class PixelSpec(MeasureSpec):
    """A pixel-wise distance.

    Attributes:
        measure: ``l1``, ``l2`` or ``charbonnier``.
    """

    measure: Literal["l1", "l2", "charbonnier"]

    @property
    def families(self) -> frozenset[str]:
        """All pixel-wise distances (PSNR among them) are of one form."""
        return frozenset({"form:pixel"})

    @property
    def min_size(self) -> int:
        """Any size."""
        return 1

    def build(self, *, reduction: Reduction = "mean") -> Pixel:
        """Build the distance."""
        return Pixel(self, reduction=reduction)


class Pixel(PreciseMeasure[PixelSpec]):
    """Mean over channels and pixels of ``|d|``, ``d²`` or ``sqrt(d² + ε²) - ε`` with ε = 1e-3 (Charbonnier).

    Direction: lower is better. Range: [0, 1] for inputs in [0, 1]. Loss: the score.

    Args:
        spec: the definition, or ``l1``, ``l2`` or ``charbonnier``.
        reduction: how :meth:`forward` reduces over the batch.

    Examples:
        >>> import torch
        >>> from lopsided.losses import Pixel
        >>> Pixel("l1").score(torch.full((1, 3, 8, 8), 0.25), torch.zeros(1, 3, 8, 8))
        tensor([0.2500])
    """

    value_range = (0.0, 1.0)

    def __init__(self, spec: PixelSpec | Literal["l1", "l2", "charbonnier"], reduction: Reduction = "mean") -> None:
        super().__init__(spec if isinstance(spec, PixelSpec) else PixelSpec(measure=spec), reduction)

    def _compute(self, images: Tensor, references: Tensor) -> Tensor:
        difference = images - references
        if self.spec.measure == "l1":
            distance = difference.abs()
        elif self.spec.measure == "l2":
            distance = difference.square()
        else:
            distance = (difference.square() + 1e-6).sqrt() - 1e-3
        return distance.flatten(1).mean(1)
