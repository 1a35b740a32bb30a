"""Measures as losses of BasicSR: importing this module registers ``LopsidedDISTS`` and ``LopsidedMeasure`` there.

Import it before anything from basicsr, which cannot be imported directly if torchvision is a current one.
"""

from ..common.basicsr_compat import load_basicsr
from .hosted import register_losses

load_basicsr()
from basicsr.utils.registry import LOSS_REGISTRY  # noqa: E402 - after what makes it importable

register_losses(LOSS_REGISTRY, "perceptual")
