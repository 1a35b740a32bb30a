"""What a scorer says about an image, a question or a pair of images: a value, or why there is none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

# ok: a value. A reply without a value is empty, refused, ambiguous (several readings), out_of_range, truncated (cut off
# before the answer) or unparsable (words without an answer). failed: no reply at all, `raw` says why.
Status = Literal["ok", "empty", "refused", "ambiguous", "out_of_range", "truncated", "unparsable", "failed"]
ParsedBy = Literal["preset", "judge"]


@dataclass(frozen=True)
class Rating:
    """A scorer's rating of an image.

    Attributes:
        value: on the scale of the preset; None unless ``status`` is ok.
        distribution: probability of each level among the candidates, summing to 1; None if a number was written.
        mass: share of the candidates in the softmax over the whole vocabulary; None if a number was written.
        status: see ``Status``.
        raw: the unchanged reply, or why there is none; empty if no text was generated.
        parsed_by: who read the reply: the ``preset``, or a ``judge`` that read what the preset could not.
        judge_reply: what that judge wrote.
    """

    value: float | None
    distribution: Mapping[str, float] | None
    mass: float | None
    status: Status
    raw: str
    parsed_by: ParsedBy = "preset"
    judge_reply: str = ""


@dataclass(frozen=True)
class Choice:
    """Which option of a multiple-choice question a scorer chooses.

    Attributes:
        choice: letter of the option, ``A`` on; None unless ``status`` is ok.
        distribution: probability of each letter among the options; None where a reply was parsed.
        mass: share of the letters in the softmax over the whole vocabulary; None where a reply was parsed.
        status: see ``Status``.
        raw: the unchanged reply, or why there is none.
        parsed_by: see ``Rating``.
        judge_reply: see ``Rating``.
    """

    choice: str | None
    distribution: Mapping[str, float] | None
    mass: float | None
    status: Status
    raw: str
    parsed_by: ParsedBy = "preset"
    judge_reply: str = ""


@dataclass(frozen=True)
class Comparison:
    """Which of two images a scorer finds better.

    Attributes:
        first_is_better: probability in [0, 1]; None unless ``status`` is ok.
        distribution: probability of each comparative level among the candidates.
        mass: share of the candidates in the softmax over the whole vocabulary.
        status: see ``Status``.
        raw: the unchanged reply, or why there is none.
    """

    first_is_better: float | None
    distribution: Mapping[str, float] | None
    mass: float | None
    status: Status
    raw: str
