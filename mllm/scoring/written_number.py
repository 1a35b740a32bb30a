"""Robust reading of a written number: a value with a status, never a guess.

The grammar of an answer, strongest first:

- **final**: a number that words such as "overall" or "final" lead to: "Overall score: 7".
- **marked**: one that the name of what is asked for leads to ("score is 7", "I'd give it 7", ``{"rating": 7}``), that has
  a unit ("7 points"), names the top of the scale ("7/10") or is the result of a sum ("(7 + 8) / 2 = 7.5").
- **bare**: one in a clause without a word about anything else: "medium 5.577", "around 70, I guess".

No answers are: numbers that a word outside the vocabulary leads to or follows ("Sharpness: 7", "3 people"), bounds ("at
most 5", "80+"), what is negated ("not a 7"), other images' scores and first thoughts, changes of a score ("minus 2 for
noise"), and the scale and its legend ("0-100", "1 = worst"). :mod:`answer_words` has the words.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from .answer_text import answer_text, fields
from .answer_words import (
    APOLOGY,
    BOUND_AFTER,
    BOUND_BEFORE,
    CORRECTION,
    HAN_NUMBERS,
    NUMBER_WORDS,
    REFUSAL,
    classes_of,
)
from .outcomes import Status


@dataclass(frozen=True)
class ParsedNumber:
    """A number or why there is none: ``value`` is None unless ``status`` is ok."""

    value: float | None
    status: Status


_FINAL, _MARKED, _BARE = range(3)

# Every repetition has a limit, so that the time is linear in the length of a reply.
_PLAIN = r"(?:\d{1,25}(?:[.,]\d{1,25}){0,4}|\.\d{1,25})(?:[eE][-+]?\d{1,4})?"
_END = r"(?:(?=(?:points?|pts?|stars?|-?ish)\b)|(?![A-Za-z0-9_]|[.,]\d|-[A-Za-z]))"
_NUMBER = rf"(?<![A-Za-z0-9_.$€£])[-+]?{_PLAIN}{_END}"
_OTHER_NUMBER = rf"[-+]?{_PLAIN}{_END}"
_OF = (
    r"(?:\s?(?:points?|stars?|punkte?n?|puntos|estrellas)(?=\s))?\s{0,3}\(?"
    r"(?:/|(?:out of|of|von|sur|su|sobre|de|из|on a scale of)\s)\s{0,3}"
    r"(?:(?:an?|the|maximum|max)\s(?:possible\s|total\s|maximum\s)?(?:of\s)?)?\s{0,2}"
)
_TO = r"(?:\s?\([^()\d]{0,30}\))?\s{0,3}(?:[-–—~…]|\.{2,3}|\b(?:to|and|or|through|bis|und|oder|à|ou|y|o|a)\s(?:an?\s)?|至|到|或)\s{0,3}"
_LATIN = r"[A-Za-z0-9\u00c0-\u024f\u1e00-\u1eff]"  # digits too: "3D" and "iPhone7" are words
_TOKEN = re.compile(
    rf"(?P<number>{_NUMBER})(?:{_OF}(?P<whole>{_OTHER_NUMBER})(?!\s?(?:/|[-–]\s?\d|to\b))|{_TO}(?P<upper>{_OTHER_NUMBER})"
    rf"|\s?(?:±|\+/-)\s?{_OTHER_NUMBER}|(?P<percent>\s?(?:%|(?:percent|per cent|Prozent|pour cent|por ciento)\b))"
    rf"|(?P<odds>(?:\s(?:in|times|x)\s|:){_OTHER_NUMBER}))?"
    rf"|(?P<word>{_LATIN}+(?:['’-]{_LATIN}+){{0,5}}|[^\x00-\u024f\W\d_][^\x00-\x7f\s\u2000-\u206f\u3000-\u303f]*)"
    r"|(?P<stop>[.!?;…](?=[\s\"')\]]|$)|\n)"
    r"|(?P<mark>[^\s\w])",
    re.IGNORECASE,
)
_LIST_ITEM = re.compile(r"^[ \t]{0,8}\d{1,3}[.)][ \t]{1,4}(?=\S)", re.MULTILINE)
_INTERVAL = re.compile(rf"[(\[]\s?({_PLAIN})\s?[,;]\s?({_PLAIN})\s?[)\]]")
_SCALE_BEFORE = re.compile(
    r"(?:scale|range|skala|échelle|escala|scala|шкал\w{0,3})\W{0,3}(?:\w{1,12}\W{1,3}){0,2}$", re.I
)
_SCALE_AFTER = re.compile(r"\W{0,3}(?:scale|skala|range)\b", re.IGNORECASE)
_TOP = re.compile(
    r"(?:(?:^|\(|[^\d)\s]\s)/|\b(?:out of|sur)\s|满分|滿分|満点|만점)\s{0,2}(?:a maximum of\s)?$", re.IGNORECASE
)
_TOP_AFTER = re.compile(r"[点點점]?\s?(?:満点|满分|만점)")
_USUAL_TOPS = frozenset({5.0, 10.0, 100.0})
_OBJECTS = frozenset("it its this that the my i we you your our image's".split())  # a noun phrase begins with them
_PREPOSITIONS = frozenset("of for in on to about de du des la le".split())
_EXPLAINS = frozenset("because since as but due given which although though while so and with considering".split())
_COUNTED = frozenset("images pictures photos photographs times".split())
_HYPOTHETICAL = frozenset("would could might".split())
_SURE = frozenset("sure confident certain certainty confidence probability probable".split())
_MEANS = frozenset("means meaning being represents denotes indicates stands".split())
_SUPERLATIVES = frozenset("worst best lowest highest perfect".split())
_LEADS_TO_WORD = frozenset("a is of with say as at minus plus give it score rating number was be".split())


@dataclass
class _Token:
    """A number, a word, the end of a sentence or another character."""

    kind: str
    text: str
    start: int
    end: int
    found: re.Match[str]
    classes: frozenset[str] = frozenset()
    is_scale: bool = False  # a number that describes the scale: as if it were not there
    is_result: bool = False  # of a sum
    is_operand: bool = False
    values: frozenset[float] = field(default_factory=frozenset)


@dataclass(frozen=True)
class _Candidate:
    """A number that may be the answer: what it can mean, how clearly it is one, and where it is."""

    readings: frozenset[float]
    tier: int
    start: int
    end: int


def _values(number: str, low: float, high: float) -> frozenset[float]:
    """Return what a written number can mean: a comma is a decimal sign unless only thousands fit the scale."""
    separators = re.findall(r"[.,]", number)
    if len(separators) > 1:  # 1,234.5 or 1.234,5 or 1,234,567
        *groups, last = separators
        if len(set(groups)) > 1 or not re.fullmatch(rf"[-+]?\d{{1,3}}(?:[{groups[0]}]\d{{3}})*(?:[.,]\d+)", number):
            return frozenset()
        number = number.replace(groups[0], "") if last != groups[0] else re.sub(r"[.,]", "", number)
        return frozenset({float(number.replace(",", "."))})
    decimal = float(number.replace(",", "."))
    if not re.fullmatch(r"[-+]?[1-9]\d{0,2},\d{3}", number):
        return frozenset({decimal})
    fitting = frozenset(value for value in (decimal, float(number.replace(",", ""))) if low <= value <= high)
    return fitting or frozenset({decimal})


_WORDED = re.compile(rf"\b({'|'.join(NUMBER_WORDS)}) (out of|of) ({'|'.join(NUMBER_WORDS)}|\d{{1,3}})\b", re.IGNORECASE)


def _in_digits(text: str) -> str:
    """Write "eight out of ten" in digits."""
    return _WORDED.sub(lambda found: re.sub(r"[a-z]+$|^[a-z]+", _digits, found[0], flags=re.IGNORECASE), text)


def _digits(word: re.Match[str]) -> str:
    return str(NUMBER_WORDS.get(word[0].lower(), word[0]))


def _share(number: str, whole: str, low: float, high: float) -> frozenset[float]:
    """Return "number out of whole" on the scale asked for: as it is, or rescaled where both scales start at 0."""
    wholes, values = _values(whole, high, high), _values(number, low, high)
    if wholes == {high}:
        return values
    if low == 0 and len(wholes) == 1 and wholes <= _USUAL_TOPS:
        return frozenset(value * high / max(wholes) for value in values)
    return frozenset()


class _Reader:
    """The tokens of an answer, and what each number in it is."""

    def __init__(self, text: str, low: float, high: float, asked: str) -> None:
        self.low, self.high = low, high
        self.asked = frozenset(re.findall(r"[a-z]+", asked.lower().replace("_", " ")))
        if len(_LIST_ITEM.findall(text)) > 1:
            text = _LIST_ITEM.sub(lambda found: " " * len(found[0]), text)
        self.text = _INTERVAL.sub(self._without_interval, text)
        self.another_scale = self.bounded = False
        self.tokens = [self._token(found) for found in _TOKEN.finditer(self.text)]
        self._read_number_words()
        self._read_signs()
        self._read_scales()
        self._read_legends()
        self._read_sums()

    def candidates(self) -> list[_Candidate]:
        """Return the numbers that may be the answer."""
        found = []
        for index, token in enumerate(self.tokens):
            if token.kind == "number" and not token.is_scale and not token.is_operand:
                tier = self._tier(index)
                if tier is not None:
                    found.append(_Candidate(self._readings(token), tier, token.start, token.end))
        return found

    # ------------------------------------------------------------------------------------------------------- tokens
    def classes(self, word: str) -> frozenset[str]:
        if word.lower() in self.asked:
            return frozenset({"mark"})
        if re.fullmatch(r"\d+-(?:point|star|level)s?|[QA]\d{1,2}|[A-Zxyz]", word):
            return frozenset({"filler"})
        return classes_of(word)

    def _without_interval(self, found: re.Match[str]) -> str:
        ends = [_values(found[group], self.low, self.high) for group in (1, 2)]
        return " " * len(found[0]) if ends == [{self.low}, {self.high}] else found[0]

    def _token(self, found: re.Match[str]) -> _Token:
        kind = found.lastgroup or "mark"
        if found["number"] is not None:
            kind = "number"
        classes = self.classes(found[0]) if kind == "word" else frozenset[str]()
        return _Token(kind, found[0], found.start(), found.end(), found, classes)

    def _near(self, index: int, step: int = 1) -> _Token | None:
        """Return the next token that is no quotation mark or bracket."""
        index += step
        while (
            0 <= index < len(self.tokens)
            and self.tokens[index].kind == "mark"
            and self.tokens[index].text in "\"'“”)]}{"
        ):
            index += step
        return self.tokens[index] if 0 <= index < len(self.tokens) else None

    def _read_number_words(self) -> None:
        """Take "seven" as a number where nothing else is beside it."""
        for index, token in enumerate(self.tokens):
            parts = token.text.lower().split("-")
            if token.kind != "word" or not all(part in NUMBER_WORDS for part in parts) or len(parts) > 2:
                continue
            before, after = self._near(index, -1), self._near(index)
            ends = after is None or after.kind in ("stop", "mark") or "unit" in after.classes
            leads = before is None or before.kind in ("stop", "mark") or before.text.lower() in _LEADS_TO_WORD
            if parts == ["one"]:
                leads = before is None or before.text.lower() in (":", "minus", "plus", "a")
            if ends and leads:
                token.kind = "number"
                token.values = frozenset({float(sum(NUMBER_WORDS[part] for part in parts))})
        if found := re.fullmatch(rf"\W*([{HAN_NUMBERS}])[分点點]?\W*", self.text):
            for token in self.tokens:
                if token.kind == "word":
                    token.kind, token.values = "number", frozenset({float(HAN_NUMBERS.index(found[1]))})

    def _read_signs(self) -> None:
        """Take "minus 2" and "negative 2" as −2 where the scale has negative numbers."""
        for sign, token in zip(self.tokens, self.tokens[1:], strict=False):
            if token.kind == "number" and sign.kind == "word" and self.low < 0:
                if sign.text.lower() in ("minus", "negative"):
                    token.values = frozenset(-abs(value) for value in self._readings(token))
                if sign.text.lower() in ("minus", "plus"):
                    sign.classes = frozenset({"filler"})

    def _read_scales(self) -> None:
        """Set the range asked for aside; note where another one is named."""
        for token in self.tokens:
            if token.kind != "number":
                continue
            before = self.text[max(0, token.start - 40) : token.start]
            if token.found["upper"]:
                ends = [_values(token.found[name], self.low, self.high) for name in ("number", "upper")]
                same = max(ends[1], default=0) == self.high and abs(min(ends[0], default=9) - self.low) <= 1
                token.is_scale = bool(same or _SCALE_BEFORE.search(before) or _SCALE_AFTER.match(self.text, token.end))
                self.another_scale |= token.is_scale and not same and max(ends[1], default=0) in _USUAL_TOPS
            elif token.values or token.found["whole"]:
                continue
            elif _TOP.search(before) or _TOP_AFTER.match(self.text, token.end):
                token.is_scale = True
                self.another_scale |= _values(token.found["number"], self.low, self.high) != {self.high}

    def _read_legends(self) -> None:
        """Set numbers aside whose meaning is explained: "1 = worst", "5 means excellent", "0: bad, 1: good"."""
        listed: dict[int, list[_Token]] = {}
        sentence = 0
        for index, token in enumerate(self.tokens):
            sentence += token.kind == "stop"
            if token.kind != "number" or token.found["whole"] or token.found["upper"]:
                continue
            after = [other for other in self.tokens[index + 1 : index + 5] if other.kind != "number"]
            words = [other for other in after if other.kind == "word"][:3]
            if not after or not words:
                continue
            explained = any({"level"} & word.classes for word in words[:2])
            first = after[0].text.lower()
            before = self._near(index, -1)
            if first in _MEANS or (words[0].text.lower() in ("is", "the") and self._superlative(words)):
                token.is_scale = any("level" in word.classes for word in words)
            elif first == "=" and "level" in words[0].classes and not (before and before.text == ":"):
                token.is_scale = True
            elif first in (":", "=", "-", "–", "(") and explained:
                listed.setdefault(sentence, []).append(token)
        for index, token in enumerate(self.tokens[2:], start=2):
            if (
                token.kind == "number"
                and self.tokens[index - 1].text == "="
                and "level" in self.tokens[index - 2].classes
            ):
                token.is_scale = True
        for tokens in listed.values():
            for token in tokens if len(tokens) > 1 else ():
                token.is_scale = True

    @staticmethod
    def _superlative(words: Sequence[_Token]) -> bool:
        return any(word.text.lower() in _SUPERLATIVES for word in words)

    def _read_sums(self) -> None:
        """Keep of "(7 + 8) / 2 = 7.5" only the result, and of a sum without a result nothing."""
        sentence: list[_Token] = []
        previous: _Token | None = None
        sums = False
        for index, token in enumerate(self.tokens):
            if token.kind == "stop":
                sentence, previous, sums = [], None, False
                continue
            if token.kind == "number":
                before = self.tokens[index - 1] if index else None
                closing = self._near(index - 1, -1) if index > 1 else None
                if before and before.text in "=" and closing and closing.kind == "number" and not closing.is_scale:
                    for other in sentence:
                        other.is_operand = True
                    token.is_result = True
                elif sums or (before and before.text in "+×÷*" and closing and closing.kind == "number"):
                    sums = True
                    for other in (*sentence, token):
                        other.is_operand = not other.is_result
                sentence.append(token)
                previous = token

    # ------------------------------------------------------------------------------------------------------ reading
    def _readings(self, token: _Token) -> frozenset[float]:
        """Return what a number can mean on the scale asked for; empty where it cannot be brought onto it."""
        found = token.found
        if token.values:
            return token.values
        if self.low < 0 and self._has_other_sign(token):
            return frozenset()
        if found["odds"]:
            return frozenset()
        if found["whole"]:
            return _share(found["number"], found["whole"], self.low, self.high)
        if self.another_scale:
            return frozenset()
        if found["upper"]:
            return _values(found["number"], self.low, self.high) | _values(found["upper"], self.low, self.high)
        if found["percent"]:
            return _share(found["number"], "100", self.low, self.high)
        return _values(found["number"], self.low, self.high)

    def _has_other_sign(self, token: _Token) -> bool:
        """Return whether the words before a number name the other sign: "negative: 2"."""
        sign = re.search(r"\b(negative|positive)\s?[:,]\s?$", self.text[max(0, token.start - 30) : token.start], re.I)
        return bool(sign) and (sign[1].lower() == "positive") == token.text.startswith("-")

    def _tier(self, index: int) -> int | None:
        """Return how clearly a number is the answer; None if it is not one."""
        token = self.tokens[index]
        if BOUND_BEFORE.search(self.text[max(0, token.start - 30) : token.start]) or BOUND_AFTER.match(
            self.text, token.end
        ):
            self.bounded = True
            return None
        if self.low < 0 and not self.text[: token.start].strip(" \n—–-") and token.start:
            return None  # a sign or a bullet
        if self._is_label(index):
            return None
        unit = self._follows(index)
        if unit is None:
            return None
        whole = token.found["whole"]
        marked = unit or token.is_result or bool(whole and _values(whole, self.high, self.high) == {self.high})
        lead = self._leads(index, marked)
        if lead is None:
            return None
        return lead if lead < _BARE or self._alone(index) else None

    def _is_label(self, index: int) -> bool:
        """Return whether a number names another: "Image 1: 7"."""
        after = self.tokens[index + 1 : index + 3]
        return len(after) == 2 and after[0].text in ":=" and after[1].kind == "number"

    def _follows(self, index: int) -> bool | None:
        """Return whether a unit follows a number; None if what follows says that it counts something else."""
        rest = [token for token in self.tokens[index + 1 : index + 8] if token.text not in "\"'“”)]}"]
        unit = bool(rest and rest[0].kind == "word" and "unit" in rest[0].classes)
        if unit:
            rest = rest[1:]
        if not rest or rest[0].kind != "word":
            return unit
        word = rest[0].text.lower()
        if word in _COUNTED or (word in _HYPOTHETICAL and not self._alone(index)):
            return None
        if self.tokens[index].found["percent"] and word in _SURE:
            return None
        if not rest[0].classes or (rest[0].classes == {"foreign"} and not unit) or "change" in rest[0].classes:
            return None
        if word in ("for", "in", "on"):  # "7 for composition"
            about = [token for token in rest[1:3] if token.text.lower() not in _OBJECTS]
            if about and about[0].kind == "word" and not about[0].classes:
                return None
        return unit

    def _leads(self, index: int, marked: bool) -> int | None:
        """Return the tier that the words before a number give it; None if they are about something else."""
        final = colon = apart = named = False
        position = index - 1
        while position >= 0:
            token = self.tokens[position]
            position -= 1
            word = token.text.lower()
            if token.text == "\n" and position >= 0 and self.tokens[position].text == ":":
                continue  # "Overall:" on one line, the number on the next
            if token.kind == "stop" or (token.kind == "number" and not token.is_scale):
                break
            if token.kind == "number":
                continue
            if token.kind == "mark":
                if word in ")]":
                    position = self._opening(position)
                elif word in "/#@&№\\" and position == index - 2:
                    return None
                elif word == ",":
                    if marked:
                        break
                    apart = True
                colon |= word in ":="
                continue
            if word in ("but", "so", "and") and not final:
                apart = True
            before = self.tokens[position].text.lower() if position >= 0 else ""
            if word in _OBJECTS and (marked or final) and before not in _PREPOSITIONS:
                if self._is_first_thought(position):
                    return None
                break
            if apart and not token.classes & {"final", "mark", "filler", "level"}:
                break
            if not token.classes or (token.classes == {"foreign"} and colon and not named):
                return None
            if "negation" in token.classes and not apart and not self._of_level(position + 1, index):
                return None
            if token.classes & {"other", "change"}:
                near = position == index - 2 or self.tokens[position + 2].text == ":"  # "a perfect 10", "Average: 6"
                if not (near and "level" in token.classes):
                    return None
            final |= "final" in token.classes
            named |= "mark" in token.classes
            marked |= named
        return _FINAL if final else _MARKED if marked else _BARE

    def _is_first_thought(self, position: int) -> bool:
        """Return whether the clause that goes on before a position begins as "At first glance …" does."""
        while position >= 0 and self.tokens[position].kind == "word":
            if self.tokens[position].text.lower() in ("first", "initially", "originally"):
                return True
            position -= 1
        return False

    def _opening(self, position: int) -> int:
        """Return where to go on before the bracket that was closed after a position."""
        for other in range(position, max(-1, position - 40), -1):
            if self.tokens[other].text in "([" and self.tokens[other].kind == "mark":
                return other - 1
        return position

    def _of_level(self, position: int, index: int) -> bool:
        """Return whether a negation is of a level: "not bad: 7"."""
        after = self.tokens[position + 1] if position + 1 < index else None
        return bool(after and "level" in after.classes)

    def _alone(self, index: int) -> bool:
        """Return whether no word in a number's clause is about anything else."""
        for step in (-1, 1):
            position = index + step
            while 0 <= position < len(self.tokens):
                token = self.tokens[position]
                if token.kind == "stop" or token.text in ",()[]" or (step > 0 and token.text.lower() in _EXPLAINS):
                    break
                if token.kind == "word" and not token.classes:
                    return False
                position += step
        return True


_LEAF_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+|[^\W\d_]+")


def _json_candidates(text: str, low: float, high: float, asked: str) -> list[_Candidate]:
    """Return the numbers in JSON whose names say that they may be the answer."""
    candidates = []
    for names, value in fields(text) or ():
        words = [word for name in names for word in _LEAF_WORD.findall(name)]
        reader = _Reader("", low, high, asked)
        classes = [reader.classes(word) for word in words]
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            continue
        if not all(of & {"mark", "final", "filler", "level"} for of in classes):
            continue
        tier = (
            _FINAL
            if any("final" in of for of in classes)
            else _MARKED
            if any("mark" in of for of in classes)
            else _BARE
        )
        inner = _Reader(value if isinstance(value, str) else repr(value), low, high, asked).candidates()
        if inner:
            best = min(candidate.tier for candidate in inner)
            readings = [candidate.readings for candidate in inner if candidate.tier == best]
            candidates.append(_Candidate(frozenset[float]().union(*readings), tier, 0, 0))
    return candidates


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
    body = _in_digits(answer.text)
    candidates = _json_candidates(body, low, high, asked)
    closed, bounded = answer.closed or bool(candidates), False
    if not candidates:
        cut = CORRECTION.sub(lambda cue: ".".ljust(len(cue[0])), body)
        reader = _Reader(cut, low, high, asked)
        candidates = reader.candidates()
        bounded = reader.bounded
        for cue in reversed(list(CORRECTION.finditer(body))):
            if later := [candidate for candidate in candidates if candidate.start >= cue.end() - 1]:
                candidates = later
                break
    refused = REFUSAL.search(body)
    if not candidates:
        if refused or APOLOGY.search(body):
            return ParsedNumber(None, "refused")
        return ParsedNumber(None, "truncated" if not answer.closed else "ambiguous" if bounded else "unparsable")
    tier = min(candidate.tier for candidate in candidates)
    best = [candidate for candidate in candidates if candidate.tier == tier]
    values = frozenset[float]().union(*(candidate.readings for candidate in best))
    if not closed and not _is_safe(body, best):
        return ParsedNumber(None, "truncated")
    if (refused and tier == _BARE) or len(values) != 1 or not all(candidate.readings for candidate in best):
        return ParsedNumber(None, "ambiguous")
    (value,) = values
    return (
        ParsedNumber(value, "ok")
        if low <= value <= high and math.isfinite(value)
        else ParsedNumber(None, "out_of_range")
    )


def _is_safe(text: str, best: Sequence[_Candidate]) -> bool:
    """Return whether a reply that was cut off began with its answer: more words then cannot change it."""
    first = best[0]
    opened = not re.search(r"[.!?;\n]\s", text[: first.start].lstrip())
    return opened and first.tier < _BARE and bool(text[first.end :].strip(" .\n"))
