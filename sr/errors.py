"""The exceptions of the super-resolution part."""

from ..common.errors import LopsidedError


class SuperResolutionError(LopsidedError):
    """A generator, image pair or training setting that cannot be used as it is."""
