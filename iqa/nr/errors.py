"""What can be wrong with a no-reference model."""

from ...common.errors import LopsidedError


class NRError(LopsidedError):
    """A no-reference model that cannot be built, trained, loaded or asked as it is meant to be."""


class NRDivergedError(NRError):
    """A training that became non-finite. A result, not a fault: its test images get rows of status ``diverged``."""
