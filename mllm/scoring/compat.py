"""How the original scripts read replies, faults included, to replay published numbers and to show the difference.

A reply that an original drops silently has a status here; what an original takes as an answer is an answer.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

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


def first_decimal(text: str, low: float, high: float, *, finished: bool = True) -> ParsedNumber:
    """Read the first number with a decimal point, as CogIP-Bench's scripts do.

    It misses integers ("7" has no value; in "7, confidence 0.9" it reads 0.9) and does not check the range.
    """
    del low, high, finished
    found = _DECIMAL.search(text)
    return ParsedNumber(float(found[0]), "ok") if found else ParsedNumber(None, "unparsable")


def first_decimal_within_10(text: str, low: float, high: float, *, finished: bool = True) -> ParsedNumber:
    """Read as ``first_decimal``, but drop |x| > 10, as CogIP-Bench's Llama script does."""
    parsed = first_decimal(text, low, high, finished=finished)
    if parsed.value is not None and abs(parsed.value) > 10:
        return ParsedNumber(None, "out_of_range")
    return parsed


NUMBER_PARSERS: Mapping[str, Callable[..., ParsedNumber]] = MappingProxyType(
    {"robust": parse_number, "cogip": first_decimal, "cogip-llama": first_decimal_within_10}
)
LETTER_PARSERS: Mapping[str, Callable[..., ParsedLetter]] = MappingProxyType(
    {"robust": parse_letter, "first-letter": first_letter}
)
