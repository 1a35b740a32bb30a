"""Measures as losses of neosr: importing this module registers ``LopsidedDISTS`` and ``LopsidedMeasure``."""

from neosr.utils.registry import LOSS_REGISTRY  # pyright: ignore[reportMissingImports] - the host has it

from .hosted import register_losses

register_losses(LOSS_REGISTRY, "pixel")
