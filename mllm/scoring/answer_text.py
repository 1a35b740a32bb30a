r"""Where in a reply its answer is: outside the thinking, inside the last answer tag or box, in a JSON field.

Numbers, letters and open answers are all read from what :func:`answer_text` leaves:

1. Digits of any script, full-width signs and minuses are written in ASCII; marks of emphasis, code, formulas and
   tokenizers, struck-out words and invisible characters are dropped.
2. Thinking is dropped in any dress: ``<think>``, ``[THINK]``, ``◁think▷``, ``<reasoning>``, every channel but
   ``final``. If the template opened it, the reply holds only its end. Thinking that never ends is ``truncated``.
3. If there is an answer tag (``<answer>…</answer>``, ``<score>…</score>``, ``<|begin_of_box|>…``) or ``\boxed{…}``,
   only the last one is read.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from .answer_words import words_of
from .outcomes import Status

THINKING = words_of(
    "think thinking thought thoughts reasoning reason reflection analysis scratchpad rationale cot seed:think"
)
ANSWER_TAGS = words_of("answer final final_answer score rating output response result solution box")

_TAG = re.compile(r"[<\[◁]\|?(/|begin_of_|end_of_)?([A-Za-z][\w:]{1,20})\|?[>\]▷]")
_FINAL_CHANNEL = re.compile(r"<\|channel\|>final\b[^<]{0,40}<\|message\|>|\bassistantfinal")
_ANY_CHANNEL = re.compile(r"<\|channel\|>|\Aanalysis(?=[A-Z])")  # where special tokens are left out, their words remain
_TOKEN = re.compile(r"<\|[\w:]{1,30}\|>|</s>|<eos>")
_BOX = re.compile(r"\\f?box(?:ed)?\{")

_ASCII = {"\u2212": "-", "\ufe63": "-", "\u066b": ".", "。": ". ", "、": ", ", "’": "'", "≈": "~", "⭐": "★"}
_FRACTIONS = {"½": 0.5, "¼": 0.25, "¾": 0.75}
_DROPPED = re.compile(
    "[\u200b-\u200f\u2060\ufeff\ufe0f]"  # invisible
    r"|~~[^~\n]*~~"  # struck out
    r"|\*+|`+(?:json)?|(?<!\w)_+|(?<!_)_+(?!\w)|^#+ *|^> +"  # emphasis, code, headings, quotations
    r"|\\[()\[\]]|\\(?:text|math)[a-z]*",  # formulas
    re.MULTILINE,
)


@dataclass(frozen=True)
class AnswerText:
    """The part of a reply that holds its answer.

    Attributes:
        text: the part.
        closed: whether nothing that the model might still write can change it.
    """

    text: str
    closed: bool


def answer_text(reply: str, finished: bool) -> AnswerText | Status:
    """Return the part of a reply that holds its answer, or why it has none: ``empty`` or ``truncated``."""
    text = without_thinking(reply)
    if text is None:
        return "truncated"
    tagged, closed = _tagged(text)
    closed |= finished
    boxed = list(_boxes(tagged))
    if boxed:
        tagged, closed = boxed[-1], True
    text = normalise(tagged)
    if not text.strip():
        return "empty" if closed else "truncated"
    return AnswerText(text, closed)


def normalise(text: str) -> str:
    """Write digits, signs and minuses in ASCII; drop what only decorates."""
    characters = []
    for character in text:
        digit = unicodedata.decimal(character, None)
        if digit is not None:
            characters.append(str(digit))
        elif "\uff01" <= character <= "\uff5e" or character == "：":
            characters.append(unicodedata.normalize("NFKC", character))
        else:
            characters.append(_ASCII.get(character, character))
    text = _DROPPED.sub("", "".join(characters))
    text = re.sub(r"\\frac\{([\d.]+)\}\{([\d.]+)\}", r"\1/\2", text)
    text = re.sub(r"\$([^$\n]*)\$", r"\1", text).replace("$$", "")
    text = re.sub(r"(?<!\d)(?<!\d )[–—](?=\d)", "-", text)  # "–2" is a sign, "60–70" is a range
    text = re.sub(r"<\s?([\d.,/]{1,12})\s?>", r"\1", text)  # a form filled in: "Score: <72>"
    text = re.sub(r"(\d{1,3}) and a half\b", r"\1.5", text)
    text = re.sub(r"(\d{0,3})([½¼¾])", lambda found: str(int(found[1] or 0) + _FRACTIONS[found[2]]), text)
    text = re.sub(r"^ ?★(?= {1,3}[A-Za-z])", "", text, flags=re.MULTILINE)  # decorates a line; several are a rating
    text = re.sub(r"(?<=\d)[ ]?★(?![★☆])", " stars", text)  # "4.5 ★"
    return re.sub(r"★{1,10}(☆{0,10})", _stars, text)


def fields(text: str) -> list[tuple[tuple[str, ...], Any]] | None:
    """Return the values of the JSON in a text with the names that lead to each; None if there is no JSON."""
    start = re.search(r"\{|\A\s*\[", text)
    if start is None:
        return None
    written = text[start.end() - 1 :]
    if '"' not in written:
        written = written.replace("'", '"')
    try:
        value, _ = json.JSONDecoder().raw_decode(written)
    except (ValueError, RecursionError):
        return None
    return list(_leaves(value))


def _leaves(value: Any) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield the values in a nest of objects and lists, each with the names above it."""
    waiting: list[tuple[tuple[str, ...], Any]] = [((), value)]
    while waiting:
        names, value = waiting.pop()
        if isinstance(value, dict):
            waiting += [((*names[-3:], str(name)), below) for name, below in value.items()]
        elif isinstance(value, list):
            waiting += [(names, below) for below in value]
        else:
            yield names, value


def without_thinking(text: str) -> str | None:
    """Return a reply without thinking; None if it never ends."""
    finals = list(_FINAL_CHANNEL.finditer(text))
    if finals:
        text = text[finals[-1].end() :]
    elif _ANY_CHANNEL.search(text):
        return None
    kept, thinking, position = [""], False, 0
    for tag in _TAG.finditer(text):
        if tag[2].lower() not in THINKING:
            continue
        if tag[1] in ("/", "end_of_"):
            if not thinking:  # the template opened it
                kept.clear()
            thinking = False
        elif not thinking:
            kept.append(text[position : tag.start()])
            thinking = True
        position = tag.end()
    return None if thinking else "".join([*kept, text[position:]])


def _tagged(text: str) -> tuple[str, bool]:
    """Return what the last answer tag holds and whether it is closed; the whole text if there is none."""
    start, found = None, None
    for tag in _TAG.finditer(text):
        if tag[2].lower() in ANSWER_TAGS:
            if tag[1] not in ("/", "end_of_"):
                start = tag.end()
            elif start is not None:
                found, start = text[start : tag.start()], None
    if start is not None and found is None:
        found = text[start:]
        return _TOKEN.sub("", found), False
    return _TOKEN.sub("", text if found is None else found), found is not None


def _boxes(text: str) -> Iterator[str]:
    r"""Yield what every closed ``\boxed{…}`` holds, braces in it included."""
    position = 0
    while start := _BOX.search(text, position):
        depth, position = 1, start.end()
        for brace in re.compile(r"[{}]").finditer(text, position):
            depth += 1 if brace[0] == "{" else -1
            position = brace.end()
            if depth == 0:
                yield re.sub(
                    r"[{}]", " ", re.sub(r"\\frac\{(\d+)\}\{(\d+)\}", r"\1/\2", text[start.end() : position - 1])
                )
                break
        else:
            return


def _stars(found: re.Match[str]) -> str:
    stars = len(found[0]) - len(found[1])
    return f" {stars}/{len(found[0])} " if found[1] else f" {stars} stars "
