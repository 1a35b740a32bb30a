"""The exceptions of the super-resolution part."""

from ..common.errors import LopsidedError


class SuperResolutionError(LopsidedError):
    """A generator, image pair or training setting that cannot be used as it is."""


class CheckpointError(SuperResolutionError):
    """A checkpoint that is damaged or belongs to something else."""
