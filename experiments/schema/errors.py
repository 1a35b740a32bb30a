"""Errors of experiments."""

from __future__ import annotations

from ...common import errors
from ...common.errors import LopsidedError, did_you_mean


class ExperimentError(LopsidedError):
    """An experiment that cannot be read, planned or run as it is written."""


class LocatedError(ExperimentError):
    """An error whose message already names the place in the YAML."""


class PlacedError(ExperimentError, errors.PlacedError):
    """The same, as an error of experiments."""


def unknown(kind: str, name: str, known: list[str], section: str) -> str:
    """Return a message about an unknown name: it suggests the nearest known one, or lists what ``section`` has."""
    hint = did_you_mean(name, known, f"{section} has {', '.join(known) or 'none'}")
    return f"unknown {kind} '{name}'; {hint}"
