"""Measures as losses of BasicSR: importing this module registers ``LopsidedDISTS`` and ``LopsidedMeasure`` there.

Import it before anything from basicsr, which cannot be imported directly if torchvision is a current one.
"""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple

from torch import Tensor, nn

from ..common.basicsr_compat import load_basicsr
from .measure import MeasureError, Reduction
from .registry import create_measure

Slot = Literal["perceptual", "pixel"]


class PerceptualTerms(NamedTuple):
    """What BasicSR's models unpack from a loss in ``perceptual_opt``: l_percep, and no l_style."""

    percep: Tensor
    style: None = None

    def __radd__(self, total: Any) -> Any:
        """Refuse to be added to a total, as BasicSR does with what it gets from ``pixel_opt``."""
        raise MeasureError("a loss of lopsided in 'pixel_opt' needs the option 'slot: pixel'")


class LopsidedMeasure(nn.Module):
    """Any measure as a loss of BasicSR.

    Args:
        measure: key of a measure; or its name, with its further options among ``options``.
        loss_weight: factor of the loss.
        slot: where BasicSR holds the loss: ``perceptual`` for ``perceptual_opt``, whose losses return two terms, or
            ``pixel`` for ``pixel_opt``, whose losses return one.
        reduction: over the batch, ``mean`` or ``sum``.
        options: options of the measure.

    Raises:
        MeasureError: an unknown measure, option or slot, a weight that is not a number, or weights that
            cannot be obtained.
    """

    def __init__(
        self,
        measure: str,
        loss_weight: float = 1.0,
        slot: Slot = "perceptual",
        reduction: Reduction = "mean",
        **options: Any,
    ) -> None:
        super().__init__()
        if not isinstance(loss_weight, (int, float)) or not math.isfinite(loss_weight):
            raise MeasureError(f"loss_weight must be a number, got {loss_weight!r}; YAML reads 1e-1 as text: write 0.1")
        if slot not in ("perceptual", "pixel"):
            raise MeasureError(f"slot must be 'perceptual' or 'pixel', got {slot!r}")
        if reduction not in ("mean", "sum"):
            raise MeasureError(f"reduction must be 'mean' or 'sum', got {reduction!r}")
        self.measure = create_measure({"measure": measure, **options} if options else measure, reduction=reduction)
        self.loss_weight = loss_weight
        self.slot: Slot = slot

    def forward(self, prediction: Tensor, reference: Tensor) -> Tensor | PerceptualTerms:
        """Return the weighted loss in the form that the slot needs; images are RGB in [0, 1], ``(N, 3, H, W)``.

        Raises:
            MeasureError: images that the measure cannot take.
        """
        loss = self.loss_weight * self.measure(prediction, reference)
        return PerceptualTerms(loss) if self.slot == "perceptual" else loss


class LopsidedDISTS(LopsidedMeasure):
    """DISTS as a loss of BasicSR.

    Args:
        options: those of :class:`DistsSpec` (``backbone``, ``layers``, ``alpha_beta`` …) and ``loss_weight``, ``slot``
            and ``reduction`` of :class:`LopsidedMeasure`.

    Raises:
        MeasureError: as :class:`LopsidedMeasure`.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__("dists", **options)


def _register() -> None:
    load_basicsr()
    from basicsr.utils.registry import LOSS_REGISTRY

    for kind in (LopsidedDISTS, LopsidedMeasure):
        LOSS_REGISTRY.register(kind)


_register()
