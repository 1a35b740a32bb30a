"""Robust reading of a written number: a value with a status, never a guess.

The grammar of an answer, strongest first:

- **final**: a number that words such as "overall" or "final" lead to: "Overall score: 7".
- **marked**: one that the name of what is asked for leads to ("score is 7", "I'd give it 7", ``{"rating": 7}``), that
  has a unit ("7 points"), names the top of the scale ("7/10") or is the result of a sum ("(7 + 8) / 2 = 7.5").
- **named**: one of something else than quality ("Similarity: 96%", "Edit quality: 4"), if nothing else is rated.
- **bare**: one in a clause without a word about anything else: "medium 5.577", "around 70, I guess".

No answers are: numbers that a word outside the vocabulary leads to or follows ("Sharpness: 7", "3 people"), bounds
("at most 5", "80+"), what is negated ("not a 7"), other images' scores and first thoughts, changes of a score ("minus
2 for noise"), and the scale and its legend ("0-100", "1 = worst"). :mod:`answer_words` has the words.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from .answer_text import answer_text, fields
from .answer_words import APOLOGY, CORRECTION, REFUSAL
from .number_candidates import BARE, FINAL, MARKED, NAMED, NO_RATING, Candidate, Reader, sole_goal
from .number_tokens import in_digits
from .outcomes import Status


@dataclass(frozen=True)
class ParsedNumber:
    """A number or why there is none: ``value`` is None unless ``status`` is ok."""

    value: float | None
    status: Status


_LEAF_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+|[^\W\d_]+")


def _json_candidates(text: str, low: float, high: float, asked: str) -> list[Candidate]:
    """Return the numbers in JSON whose names say that they may be the answer."""
    candidates: list[Candidate] = []
    others = False
    for names, value in fields(text) or ():
        words = [word for name in names for word in _LEAF_WORD.findall(name)]
        reader = Reader("", low, high, asked)
        classes = [reader.classes(word) for word in words]
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            continue
        if not all(of & {"mark", "final", "filler", "level", "goal"} for of in classes):
            others |= isinstance(value, int | float) and not any(word.lower() in NO_RATING for word in words)
            continue
        goal = frozenset(word.lower() for word, of in zip(words, classes, strict=True) if "goal" in of)
        kinds = frozenset[str]().union(*classes)
        tier = FINAL if "final" in kinds else NAMED if goal else MARKED if "mark" in kinds else BARE
        inner = Reader(value if isinstance(value, str) else repr(value), low, high, asked).candidates()
        if inner:
            best = min(candidate.tier for candidate in inner)
            readings = [candidate.readings for candidate in inner if candidate.tier == best]
            candidates.append(Candidate(frozenset[float]().union(*readings), tier, 0, 0, goal))
    return sole_goal(candidates, others)


def parse_number(text: str, low: float, high: float, *, finished: bool = True, asked: str = "") -> ParsedNumber:
    """Read a number out of a reply, as the grammar of this module says.

    The strongest kind of answer that a reply has wins; different numbers of that kind are ambiguous, and so are ranges
    ("7-8", "3 or 4"). What was said before a correction ("Wait, actually 6") does not count if an answer follows it.

    "8/10", "8 out of 10" and "80%" are read unchanged if they name the top of the scale asked for, and rescaled if both
    scales start at 0 and theirs ends at 5, 10 or 100; otherwise they are ambiguous, and so is any number beside another
    scale ("on a scale of 1 to 10"). A comma is a decimal sign ("7,5"; "7,234" if 7234 does not fit).

    Args:
        text: the reply.
        low: lowest number asked for.
        high: highest number asked for.
        finished: False if a limit on tokens cut the reply off: then only an answer in its first sentence counts, or one
            in a closed tag, box or JSON.
        asked: what the number is of, such as ``sharpness``; a score and quality are known.

    Examples:
        >>> parse_number("Sharpness: 8. The overall score is 7.5.", 0, 10)
        ParsedNumber(value=7.5, status='ok')
        >>> parse_number("Sharpness: 8", 0, 10).status, parse_number("between 3 and 4", 1, 5).status
        ('unparsable', 'ambiguous')
    """
    answer = answer_text(text, finished)
    if isinstance(answer, str):
        return ParsedNumber(None, answer)
    body = in_digits(answer.text)
    candidates = _json_candidates(body, low, high, asked)
    closed, doubtful = answer.closed or bool(candidates), False
    if not candidates:
        candidates, doubtful = _uncorrected(body, low, high, asked)
    refused = REFUSAL.search(body)
    if not candidates:
        if refused or APOLOGY.search(body):
            return ParsedNumber(None, "refused")
        return ParsedNumber(None, "truncated" if not answer.closed else "ambiguous" if doubtful else "unparsable")
    tier = min(candidate.tier for candidate in candidates)
    best = [candidate for candidate in candidates if candidate.tier == tier]
    values = frozenset[float]().union(*(candidate.readings for candidate in best))
    if not closed and not _is_safe(body, best):
        return ParsedNumber(None, "truncated")
    if (refused and tier >= NAMED) or len(values) != 1 or not all(candidate.readings for candidate in best):
        return ParsedNumber(None, "ambiguous")
    (value,) = values
    return (
        ParsedNumber(value, "ok")
        if low <= value <= high and math.isfinite(value)
        else ParsedNumber(None, "out_of_range")
    )


def _uncorrected(text: str, low: float, high: float, asked: str) -> tuple[list[Candidate], bool]:
    """Return the numbers after the last correction that has any; none, and True, if only bounds or doubts are left."""
    reader = Reader(CORRECTION.sub(lambda cue: ".".ljust(len(cue[0])), text), low, high, asked)
    candidates = reader.candidates()
    cues = [cue.end() - 1 for cue in CORRECTION.finditer(text)]
    last = max((candidate.start for candidate in candidates), default=0)
    if cues and cues[-1] > last and any(n.kind == "number" and n.start > cues[-1] for n in reader.tokens):
        return [], True  # "4 … no, make that about 3": whatever that is, it is not 4
    corrected = max((cue for cue in cues if cue <= last), default=0)
    return [candidate for candidate in candidates if candidate.start >= corrected], reader.bounded


def _is_safe(text: str, best: Sequence[Candidate]) -> bool:
    """Return whether a reply that was cut off began with its answer: more words then cannot change it."""
    first = best[0]
    opened = not re.search(r"[.!?;\n]\s", text[: first.start].lstrip())
    sentence = re.split(r"[.!?;\n](?:\s|$)", text[first.end :])[0]
    taken_back = re.search(r"\b(?:but|yet|however|though|although|if|unless|except|were)\b", sentence, re.IGNORECASE)
    return opened and not taken_back and first.tier < NAMED and bool(text[first.end :].strip(" .\n"))
