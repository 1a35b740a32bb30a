"""What can be wrong with a measure."""

from ..common.errors import LopsidedError


class MeasureError(LopsidedError, ValueError):
    """An unknown measure, or images that it cannot take."""
