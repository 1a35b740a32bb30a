"""The root of every exception that lopsided raises on purpose, and words for what others raise."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class LopsidedError(Exception):
    """A problem the user can act on: the message names the thing, the value seen and the way out.

    The command line prints the message without a traceback. Each part derives its own family from this class.
    """


class ImageError(LopsidedError):
    """An image file or tensor that cannot be used as it is."""


class SettingsError(LopsidedError):
    """A file of settings that is not YAML, or says what it cannot mean."""


class PlacedError(LopsidedError, ValueError):
    """What a check of settings finds wrong with one place of them.

    Attributes:
        place: path of the wrong value inside the part that was checked.
    """

    def __init__(self, message: str, *place: str | int) -> None:
        super().__init__(message)
        self.place = place


class SourceError(LopsidedError):
    """A folder, manifest or embedded set of images that cannot be used as it is."""


def one_line(error: BaseException, most: int = 200) -> str:
    r"""Return what an exception of another library says, in one line; never an empty one.

    Args:
        error: the exception.
        most: number of characters at most.

    Examples:
        >>> one_line(ValueError("bad header\n  at byte 7"))
        'bad header at byte 7'
        >>> one_line(IndexError())
        'IndexError without a message'
    """
    if isinstance(error, OSError) and error.strerror:  # without the number
        return error.strerror + (f": '{error.filename}'" if error.filename else "")
    text = " ".join(str(error).split())
    if not text:
        return f"{type(error).__name__} without a message"
    text = f"KeyError {text}" if isinstance(error, KeyError) else text
    return text if len(text) <= most else f"{text[: most - 1]}…"


def did_you_mean(name: object, known: Iterable[str], otherwise: str = "") -> str:
    """Return a hint for an unknown name.

    Args:
        name: the unknown name.
        known: what there is.
        otherwise: what to say if no known name is near; by default all of them.

    Examples:
        >>> did_you_mean("vgg61", ["vgg16", "alexnet"])
        "did you mean 'vgg16'?"
        >>> did_you_mean("swin", ["vgg16", "alexnet"])
        'known: vgg16, alexnet'
    """
    known = list(known)
    near = difflib.get_close_matches(str(name), known, 1)
    return f"did you mean '{near[0]}'?" if near else otherwise or f"known: {', '.join(known)}"
