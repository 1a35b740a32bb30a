"""Discriminators as networks of traiNNer-redux: importing this module registers ``LopsidedDiscriminator``."""

from traiNNer.utils.registry import ARCH_REGISTRY  # pyright: ignore[reportMissingImports] - the host has it

from .hosted import LopsidedDiscriminator

ARCH_REGISTRY.register(LopsidedDiscriminator)
