"""Measures as losses of other trainers, which build them from options; each trainer's plugin registers them there."""

from __future__ import annotations

import math
from typing import Any, ClassVar, Literal, NamedTuple, get_args

from torch import Tensor, nn

from ..common.errors import did_you_mean
from .errors import MeasureError
from .measure import Reduction
from .registry import SPECS, create_measure

Slot = Literal["perceptual", "pixel", "unweighted"]
OWN = ("loss_weight", "slot", "reduction")  # options beside the measure's


class PerceptualTerms(NamedTuple):
    """What BasicSR's models unpack from a loss in ``perceptual_opt``: l_percep, and no l_style."""

    percep: Tensor
    style: None = None

    def _refuse(self, _: Any) -> Any:
        """Refuse to be used as one number, as BasicSR does with losses in ``pixel_opt``, and others with all."""
        raise MeasureError(
            "slot 'perceptual' gives two terms; this place needs the option 'slot: pixel', which gives one, or "
            "'slot: unweighted' if the trainer multiplies by loss_weight itself"
        )

    __radd__ = __rmul__ = __mul__ = __truediv__ = _refuse


class LopsidedMeasure(nn.Module):
    """Any measure as a loss of another trainer.

    Args:
        measure: key of a measure; or its name, with its further options among ``options``.
        loss_weight: factor of the loss; 1 by default.
        slot: what the trainer expects: ``perceptual``, two terms (``perceptual_opt`` of BasicSR); ``pixel``, one term
            (``pixel_opt`` of BasicSR, all of neosr); ``unweighted``, one term that the trainer multiplies by
            ``loss_weight`` (traiNNer-redux). By default what the plugin's trainer expects.
        reduction: over the batch, ``mean`` or ``sum``.
        perceptual_weight: another name of ``loss_weight``, for options that were written for BasicSR's PerceptualLoss.
        style_weight: for the same reason; it must be 0.
        options: options of the measure.

    Raises:
        MeasureError: an unknown measure, option or slot, a weight that is not a number, or weights that
            cannot be obtained.
    """

    default_slot: ClassVar[Slot] = "perceptual"

    def __init__(
        self,
        measure: str,
        loss_weight: float | None = None,
        slot: Slot | None = None,
        reduction: Reduction = "mean",
        perceptual_weight: float | None = None,
        style_weight: float = 0.0,
        **options: Any,
    ) -> None:
        super().__init__()
        if loss_weight is not None and perceptual_weight is not None:
            raise MeasureError("loss_weight and perceptual_weight are one option; leave one of them out")
        if style_weight:
            raise MeasureError(f"style_weight must be 0, got {style_weight!r}; use a measure such as style-vgg16")
        weight = next((given for given in (loss_weight, perceptual_weight) if given is not None), 1.0)
        if not isinstance(weight, (int, float)) or not math.isfinite(weight):
            raise MeasureError(f"loss_weight must be a number, got {weight!r}; YAML reads 1e-1 as text: write 0.1")
        slot = slot or self.default_slot
        if slot not in get_args(Slot):
            raise MeasureError(f"slot must be one of {', '.join(get_args(Slot))}, got {slot!r}")
        if reduction not in ("mean", "sum"):
            raise MeasureError(f"reduction must be 'mean' or 'sum', got {reduction!r}")
        if measure in SPECS:
            fields = SPECS[measure].model_fields.items()
            known = [*OWN, *(field.alias or name for name, field in fields if name != "measure")]
            if unknown := [name for name in options if name not in (*known, "variant")]:
                near = did_you_mean(unknown[0], known)
                listed = "" if near.startswith("known") else f" (known: {', '.join(known)})"
                raise MeasureError(f"measure '{measure}': unknown option '{unknown[0]}'; {near}{listed}")
        self.measure = create_measure({"measure": measure, **options} if options else measure, reduction=reduction)
        self.loss_weight = weight
        self.slot: Slot = slot

    def forward(self, prediction: Tensor, reference: Tensor) -> Tensor | PerceptualTerms:
        """Return the loss in the form that the slot needs; images are RGB in [0, 1], ``(N, 3, H, W)``.

        Raises:
            MeasureError: images that the measure cannot take.
        """
        loss = self.measure(prediction, reference)
        if self.slot == "unweighted":
            return loss
        return PerceptualTerms(self.loss_weight * loss) if self.slot == "perceptual" else self.loss_weight * loss


class LopsidedDISTS(LopsidedMeasure):
    """DISTS as a loss of another trainer.

    Args:
        options: those of :class:`DistsSpec` (``backbone``, ``layers``, ``alpha_beta`` …) and those of
            :class:`LopsidedMeasure` except ``measure``.

    Raises:
        MeasureError: as :class:`LopsidedMeasure`.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__("dists", **options)


def register_losses(registry: Any, slot: Slot) -> None:
    """Register both in a trainer's registry of losses, with the slot that most of its losses are in."""
    for kind in (LopsidedDISTS, LopsidedMeasure):
        registry.register(type(kind.__name__, (kind,), {"default_slot": slot, "__module__": __name__}))
