"""Discriminators as networks of neosr: importing this module registers ``LopsidedDiscriminator``."""

from neosr.utils.registry import ARCH_REGISTRY  # pyright: ignore[reportMissingImports] - the host has it

from .hosted import LopsidedDiscriminator

ARCH_REGISTRY.register(LopsidedDiscriminator)
