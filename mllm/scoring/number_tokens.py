"""The numbers of an answer as tokens: what each can mean, and which only describe the scale or a sum."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from .answer_words import HAN_NUMBERS, NUMBER_WORDS, classes_of, words_of

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
_TO = (
    r"(?:\s?\([^()\d]{0,30}\))?\s{0,3}"
    r"(?:[-–—~…]|\.{2,3}|\b(?:to|and|or|through|bis|und|oder|à|ou|y|o|a)\s(?:an?\s)?|至|到|或)\s{0,3}"
)
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
_MOST_SUMMANDS = 12
_MEANS = words_of("means meaning being represents denotes indicates stands")
_SUPERLATIVES = words_of("worst best lowest highest perfect")
_RESULTS = words_of("gives giving leaves leaving yields yielding makes making results equals")
_ASPECTS = words_of("aesthetic aesthetics memorability funniness valence technical artistic")  # of quality
_LEADS_TO_WORD = words_of("a is of with say as at minus plus give it score rating number was be")


@dataclass
class Token:
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


def values_of(number: str, low: float, high: float) -> frozenset[float]:
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


def in_digits(text: str) -> str:
    """Write "eight out of ten" in digits, and the Turkish "10 üzerinden 8" in the order of other languages."""
    text = re.sub(r"\b(\d{1,3}) üzerinden (\d{1,3}(?:[.,]\d{1,3})?)\b", r"\2/\1", text)
    return _WORDED.sub(lambda found: re.sub(r"[a-z]+$|^[a-z]+", _digits, found[0], flags=re.IGNORECASE), text)


def _digits(word: re.Match[str]) -> str:
    return str(NUMBER_WORDS.get(word[0].lower(), word[0]))


def _share(number: str, whole: str, low: float, high: float) -> frozenset[float]:
    """Return "number out of whole" on the scale asked for: as it is, or rescaled where both scales start at 0."""
    wholes, values = values_of(whole, high, high), values_of(number, low, high)
    if wholes == {high}:
        return values
    if low == 0 and len(wholes) == 1 and wholes <= _USUAL_TOPS:
        return frozenset(value * high / max(wholes) for value in values)
    return frozenset()


def _computed(amounts: Sequence[float], said: Collection[str]) -> float | None:
    """Return what a mean or a difference comes to that the words between some numbers speak of."""
    if len(amounts) < 2:
        return None
    if {"average", "mean"} & set(said):
        return sum(amounts) / len(amounts)
    return amounts[0] - sum(amounts[1:]) if {"change", "-"} & set(said) else None


class NumberTokens:
    """The tokens of an answer, and what each number in it is."""

    def __init__(self, text: str, low: float, high: float, asked: str) -> None:
        self.low, self.high = low, high
        self.asked = frozenset(re.findall(r"[a-z]+", asked.lower().replace("_", " ")))
        self.has_aspects = len(_ASPECTS & set(re.findall(r"[a-z]+", text.lower()))) > 1  # then none is the answer
        if len(_LIST_ITEM.findall(text)) > 1:
            text = _LIST_ITEM.sub(lambda found: " " * len(found[0]), text)
        self.text = _INTERVAL.sub(self._without_interval, text)
        self.another_scale = False
        self.tokens = [self._token(found) for found in _TOKEN.finditer(self.text)]
        self._read_number_words()
        self._read_signs()
        self._read_scales()
        self._read_legends()
        self._read_sums()

    # ------------------------------------------------------------------------------------------------------- tokens
    def classes(self, word: str) -> frozenset[str]:
        """Return the classes of a word; what the number is of is a mark."""
        if word.lower() in self.asked:
            return frozenset({"mark"})
        if word.lower() in _ASPECTS and self.has_aspects:
            return frozenset()
        if re.fullmatch(r"\d+-(?:point|star|level)s?|[QA]\d{1,2}|[A-Zxyz]", word):
            return frozenset({"filler"})
        return classes_of(word)

    def _without_interval(self, found: re.Match[str]) -> str:
        ends = [values_of(found[group], self.low, self.high) for group in (1, 2)]
        return " " * len(found[0]) if ends == [{self.low}, {self.high}] else found[0]

    def _token(self, found: re.Match[str]) -> Token:
        kind = found.lastgroup or "mark"
        if found["number"] is not None:
            kind = "number"
        classes = self.classes(found[0]) if kind == "word" else frozenset[str]()
        return Token(kind, found[0], found.start(), found.end(), found, classes)

    def near(self, index: int, step: int = 1) -> Token | None:
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
            before, after = self.near(index, -1), self.near(index)
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
                    token.values = frozenset(-abs(value) for value in self.readings(token))
                if sign.text.lower() in ("minus", "plus"):
                    sign.classes = frozenset({"filler"})

    def _read_scales(self) -> None:
        """Set the range asked for aside; note where another one is named."""
        for token in self.tokens:
            if token.kind != "number":
                continue
            before = self.text[max(0, token.start - 40) : token.start]
            if token.found["upper"]:
                ends = [values_of(token.found[name], self.low, self.high) for name in ("number", "upper")]
                same = max(ends[1], default=0) == self.high and abs(min(ends[0], default=9) - self.low) <= 1
                token.is_scale = bool(same or _SCALE_BEFORE.search(before) or _SCALE_AFTER.match(self.text, token.end))
                self.another_scale |= token.is_scale and not same and max(ends[1], default=0) in _USUAL_TOPS
            elif token.values or token.found["whole"]:
                continue
            elif _TOP.search(before) or _TOP_AFTER.match(self.text, token.end):
                token.is_scale = True
                self.another_scale |= values_of(token.found["number"], self.low, self.high) != {self.high}

    def _read_legends(self) -> None:
        """Set numbers and ranges aside whose meaning is explained: "1 = worst", "0-20: bad, 21-40: poor"."""
        listed: dict[int, list[Token]] = {}  # by sentence; -1: those that begin a line
        sentence = 0
        for index, token in enumerate(self.tokens):
            sentence += token.kind == "stop"
            if token.kind != "number" or token.found["whole"]:
                continue
            after = [other for other in self.tokens[index + 1 : index + 5] if other.kind != "number"]
            words = [other for other in after if other.kind == "word"][:3]
            if not after or not words:
                continue
            explained = any({"level"} & word.classes for word in words[:2])
            first = after[0].text.lower()
            before = self.near(index, -1)
            if first in _MEANS or (words[0].text.lower() in ("is", "the") and self._superlative(words)):
                is_end = self.readings(token) <= {self.low, self.high}
                token.is_scale |= is_end or any("level" in word.classes for word in words)
            elif first == "=" and "level" in words[0].classes and not self._is_named(index):
                token.is_scale = True
            elif first in (":", "=", "-", "–", "(", "is") and explained:
                listed.setdefault(sentence, []).append(token)
                if before is None or before.kind == "stop" or (before.text in "-•|" and before.kind == "mark"):
                    listed.setdefault(-1, []).append(token)
        for index, token in enumerate(self.tokens[2:], start=2):
            if (
                token.kind == "number"
                and self.tokens[index - 1].text == "="
                and "level" in self.tokens[index - 2].classes
            ):
                token.is_scale = True
        for tokens in listed.values():
            for token in tokens if len({token.text for token in tokens}) > 1 else ():
                token.is_scale = True

    def _is_named(self, index: int) -> bool:
        """Return whether a colon and what is asked for precede a number: "Rating: 4 = good", not "Scale: 1 = bad"."""
        before = self.tokens[max(0, index - 2) : index]
        return len(before) == 2 and before[1].text == ":" and bool(before[0].classes & {"mark", "final"})

    @staticmethod
    def _superlative(words: Sequence[Token]) -> bool:
        return any(word.text.lower() in _SUPERLATIVES for word in words)

    def _read_sums(self) -> None:
        """Keep of "(7 + 8) / 2 = 7.5" and "10, minus 3 for blur: 7" only the result, and of an open sum nothing."""
        numbers: list[Token] = []
        said: set[str] = set()
        sums = False
        for index, token in enumerate(self.tokens):
            if token.kind == "stop":
                numbers, said, sums = [], set(), False
            elif token.kind != "number":
                said |= {token.text.lower(), *token.classes}
            elif not token.is_scale:
                before = self.tokens[index - 1] if index else None
                closing = self.near(index - 1, -1) if index > 1 else None
                after_number = bool(closing and closing.kind == "number" and not closing.is_scale)
                token.is_result = (
                    bool(before and before.text == "=" and after_number)
                    or (sums and bool(said & _RESULTS) and self._follows_word(index, _RESULTS))
                    or self._amounts([token]) == [_computed(self._amounts(numbers), said)]
                )
                sums |= token.is_result or bool(before and before.text in "+×÷*" and after_number)
                for other in numbers if sums else ():
                    other.is_operand = True
                token.is_operand = sums and not token.is_result
                numbers = [*numbers[1 - _MOST_SUMMANDS :], token]
                said |= {"-"} if token.found["upper"] and "-" in token.text else set()
                if token.is_result:
                    numbers, said = [token], set()

    def _follows_word(self, index: int, words: frozenset[str]) -> bool:
        """Return whether one of some words is right before a number, articles and marks aside."""
        return any(token.text.lower() in words for token in self.tokens[max(0, index - 3) : index])

    def _amounts(self, tokens: Sequence[Token]) -> list[float]:
        """Return the numbers that tokens hold, without signs; "100 - 20" holds two."""
        written = [token.found[name] for token in tokens for name in ("number", "upper") if token.found[name]]
        return [abs(value) for number in written for value in values_of(number, self.low, self.high)]

    # ------------------------------------------------------------------------------------------------------ reading
    def readings(self, token: Token) -> frozenset[float]:
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
            ends = [values_of(found[name], self.low, self.high) for name in ("number", "upper")]
            changes = self.text[max(0, token.start - 6) : token.start].lower().endswith("from ")
            return ends[1] if changes and min(ends[0]) > max(ends[1]) else ends[0] | ends[1]
        if found["percent"]:
            return _share(found["number"], "100", self.low, self.high)
        return values_of(found["number"], self.low, self.high)

    def _has_other_sign(self, token: Token) -> bool:
        """Return whether the words before a number name the other sign: "negative: 2"."""
        sign = re.search(r"\b(negative|positive)\s?[:,]\s?$", self.text[max(0, token.start - 30) : token.start], re.I)
        return bool(sign) and (sign[1].lower() == "positive") == token.text.startswith("-")
