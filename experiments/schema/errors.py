""""""

from __future__ import annotations

from ...common.errors import LopsidedError, did_you_mean
from .origin import Location


class ExperimentError(LopsidedError):
    """An experiment that cannot be read, planned or run as it is written."""


class PlacedError(ExperimentError, ValueError):
    """What a check of a whole found wrong with one part of it.

    Attributes:
        place: where the part is, seen from the whole.
    """

    def __init__(self, message: str, *place: str | int) -> None:
        super().__init__(message)
        self.place: Location = place


def _unknown(kind: str, name: str, known: list[str], section: str) -> str:
    hint = did_you_mean(name, known, f"{section} has {', '.join(known) or 'none'}")
    return f"unknown {kind} '{name}'; {hint}"
