"""Errors of no-reference models."""

from ...common.errors import LopsidedError


class NRError(LopsidedError):
    """A no-reference model that cannot be built, trained, loaded or used as asked."""


class NRDivergedError(NRError):
    """A training that became non-finite. This is a result: its test images get rows of status ``diverged``."""
