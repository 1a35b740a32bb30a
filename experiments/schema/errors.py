"""Errors of experiments."""

from __future__ import annotations

from ...common.errors import LopsidedError, did_you_mean
from ...common.origin import Location


class ExperimentError(LopsidedError):
    """An experiment that cannot be read, planned or run as it is written."""


class LocatedError(ExperimentError):
    """An error whose message already names the place in the YAML."""


class PlacedError(ExperimentError, ValueError):
    """A validation error tied to one place in the experiment.

    Attributes:
        place: path of the wrong value inside the part that was checked.
    """

    def __init__(self, message: str, *place: str | int) -> None:
        super().__init__(message)
        self.place: Location = place


def unknown(kind: str, name: str, known: list[str], section: str) -> str:
    """Return a message about an unknown name: it suggests the nearest known one, or lists what ``section`` has."""
    hint = did_you_mean(name, known, f"{section} has {', '.join(known) or 'none'}")
    return f"unknown {kind} '{name}'; {hint}"
