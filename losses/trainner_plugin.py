"""Measures as losses of traiNNer-redux: importing this module registers ``LopsidedDISTS`` and ``LopsidedMeasure``."""

from traiNNer.utils.registry import LOSS_REGISTRY  # pyright: ignore[reportMissingImports] - the host has it

from .hosted import register_losses

register_losses(LOSS_REGISTRY, "unweighted")
