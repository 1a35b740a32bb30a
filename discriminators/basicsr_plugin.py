"""Discriminators as networks of BasicSR: importing this module registers ``LopsidedDiscriminator`` there.

Import it before anything from basicsr, which cannot be imported directly if torchvision is a current one.
"""

from ..common.basicsr_compat import load_basicsr
from .hosted import LopsidedDiscriminator

load_basicsr()
from basicsr.utils.registry import ARCH_REGISTRY  # noqa: E402 - after what makes it importable

ARCH_REGISTRY.register(LopsidedDiscriminator)
