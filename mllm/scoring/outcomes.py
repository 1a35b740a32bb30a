"""What a scorer says of an image, a question or a pair of images: a value or the reason why there is none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

# ok: a value. empty, refused, ambiguous (several readings), out_of_range, truncated (cut off before the answer),
# unparsable (words without an answer): a reply without one. failed: no reply at all, `raw` says why.
Status = Literal["ok", "empty", "refused", "ambiguous", "out_of_range", "truncated", "unparsable", "failed"]


@dataclass(frozen=True)
class Rating:
    """How good a scorer finds an image.

    Attributes:
        value: on the scale of the preset; None unless ``status`` is ok.
        distribution: probability of each level among the candidates, summing to 1; None where a number was written.
        mass: share of the candidates in the softmax over the whole vocabulary; None where a number was written.
        status: see ``Status``.
        raw: the reply as it came, or why there is none; empty where no text was generated.
    """

    value: float | None
    distribution: Mapping[str, float] | None
    mass: float | None
    status: Status
    raw: str


@dataclass(frozen=True)
class Choice:
    """Which option of a multiple-choice question a scorer takes.

    Attributes:
        choice: letter of the option, ``A`` on; None unless ``status`` is ok.
        distribution: probability of each letter among the options; None where a reply was parsed.
        mass: share of the letters in the softmax over the whole vocabulary; None where a reply was parsed.
        status: see ``Status``.
        raw: the reply as it came, or why there is none.
    """

    choice: str | None
    distribution: Mapping[str, float] | None
    mass: float | None
    status: Status
    raw: str


@dataclass(frozen=True)
class Comparison:
    """Which of two images a scorer finds better.

    Attributes:
        first_is_better: probability in [0, 1]; None unless ``status`` is ok.
        distribution: probability of each comparative level among the candidates.
        mass: share of the candidates in the softmax over the whole vocabulary.
        status: see ``Status``.
        raw: the reply as it came, or why there is none.
    """

    first_is_better: float | None
    distribution: Mapping[str, float] | None
    mass: float | None
    status: Status
    raw: str
