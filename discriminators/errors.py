"""What can be wrong with a discriminator."""

from ..common.errors import LopsidedError


class DiscriminatorError(LopsidedError, ValueError):
    """An unknown discriminator, weights that do not fit it, or images it cannot take."""
