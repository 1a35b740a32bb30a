"""The parsers by name: the robust ones, those of constrained replies, and those of the original scripts.

How the original scripts read replies, faults included, to replay published numbers and to show the difference.

A reply that an original drops silently has a status here; what an original takes as an answer is an answer.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from .answer_text import answer_text, fields
from .outcomes import Status
from .written_letter import ParsedLetter, parse_letter
from .written_number import ParsedNumber, parse_number

_DECIMAL = re.compile(r"[-+]?\d*\.\d+(?:[eE][-+]?\d+)?")


def first_letter(text: str, options: Sequence[str], *, finished: bool = True) -> ParsedLetter:
    """Read the first character of the reply in capitals, as UniPercept's multiple-choice script does.

    "Based on the image, C" is B, "The answer is B" is T, which names no option.
    """
    del finished
    letter = text.strip().upper()[:1]
    if not letter:
        return ParsedLetter(None, "empty")
    known = letter in [chr(ord("A") + index) for index in range(len(options))]
    return ParsedLetter(letter, "ok") if known else ParsedLetter(None, "out_of_range")


def first_decimal(text: str, low: float, high: float, *, finished: bool = True, asked: str = "") -> ParsedNumber:
    """Read the first number with a decimal point, as CogIP-Bench's scripts do.

    It misses integers ("7" has no value; in "7, confidence 0.9" it reads 0.9) and does not check the range.
    """
    del low, high, finished, asked
    found = _DECIMAL.search(text)
    return ParsedNumber(float(found[0]), "ok") if found else ParsedNumber(None, "unparsable")


def first_decimal_within_10(
    text: str, low: float, high: float, *, finished: bool = True, asked: str = ""
) -> ParsedNumber:
    """Read as ``first_decimal``, but drop |x| > 10, as CogIP-Bench's Llama script does."""
    parsed = first_decimal(text, low, high, finished=finished, asked=asked)
    if parsed.value is not None and abs(parsed.value) > 10:
        return ParsedNumber(None, "out_of_range")
    return parsed


def constrained_number(text: str, low: float, high: float, *, finished: bool = True, asked: str = "") -> ParsedNumber:
    """Read the one field of a reply that a JSON schema has formed.

    Examples:
        >>> constrained_number('{"rating": 3.5}', 1, 5)
        ParsedNumber(value=3.5, status='ok')
    """
    del asked
    value, status = _only_field(text, "rating", finished)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return ParsedNumber(None, status)
    return ParsedNumber(float(value), "ok") if low <= value <= high else ParsedNumber(None, "out_of_range")


def constrained_letter(text: str, options: Sequence[str], *, finished: bool = True) -> ParsedLetter:
    """Read the one field of a reply that a JSON schema has formed."""
    value, status = _only_field(text, "answer", finished)
    if not isinstance(value, str):
        return ParsedLetter(None, status)
    known = value in [chr(ord("A") + index) for index in range(len(options))]
    return ParsedLetter(value, "ok") if known else ParsedLetter(None, "out_of_range")


def _only_field(text: str, name: str, finished: bool) -> tuple[Any, Status]:
    """Return the value of a reply's only field, or why there is none."""
    answer = answer_text(text, finished)
    if isinstance(answer, str):
        return None, answer
    found = fields(answer.text)
    if found is None or len(found) != 1 or found[0][0] != (name,):
        return None, "unparsable" if finished else "truncated"
    return found[0][1], "unparsable"


NUMBER_PARSERS: Mapping[str, Callable[..., ParsedNumber]] = MappingProxyType(
    {
        "robust": parse_number,
        "constrained": constrained_number,
        "cogip": first_decimal,
        "cogip-llama": first_decimal_within_10,
    }
)
LETTER_PARSERS: Mapping[str, Callable[..., ParsedLetter]] = MappingProxyType(
    {"robust": parse_letter, "constrained": constrained_letter, "first-letter": first_letter}
)
