"""The error of this part."""

from __future__ import annotations

from ..common.errors import LopsidedError


class MllmError(LopsidedError):
    """A scorer, preset, benchmark or reply file that cannot be used as it is."""
