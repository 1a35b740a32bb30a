r"""Robust reading of written replies: a number or a letter with a status, never a guess.

The steps are the same for numbers and letters:

1. Digits of any script become ASCII digits, full-width signs plain ones, minuses hyphens; emphasis and code marks are
   removed.
2. Thinking is removed: the text between ``<think>`` and ``</think>``. Thinking that never ends is ``truncated``.
3. If there is ``<answer>…</answer>`` or ``\boxed{…}``, only the last one is read.
4. An answer is searched, as ``parse_number`` and ``parse_letter`` describe. Several different ones of equal strength
   are ``ambiguous``.
5. A refusal without an answer is ``refused``; one beside an answer is ``ambiguous``.
6. If the limit on tokens cut the reply off, an answer counts only if more words cannot change it; otherwise the reply
   is ``truncated``.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .outcomes import Status


@dataclass(frozen=True)
class ParsedNumber:
    """A number or why there is none: ``value`` is None unless ``status`` is ok."""

    value: float | None
    status: Status


@dataclass(frozen=True)
class ParsedLetter:
    """A letter or why there is none: ``letter`` is None unless ``status`` is ok."""

    letter: str | None
    status: Status


_FRACTIONS = {"½": 0.5, "¼": 0.25, "¾": 0.75}
# The verb decides: who "can't see any noise. Score: 85" refuses nothing.
_DECLINED = (
    r"(?:assist|help|provide|rate|score|evaluate|assess|judge|analy[sz]e|determine|answer|comply|process|view|open|access"
    r"|give|do|choose|decide|tell|see (?:\w+ )?(?:images?|pictures?|photos?))\b"
)
_REFUSAL = re.compile(
    rf"\b(?:can ?not|can['’]?t|could not|couldn['’]t|won['’]t|will not|(?:un|not )able to) (?:\w+ )?{_DECLINED}"
    r"|\bI(?:['’]?m| am) sorry\b|\bI apologi[sz]e|\bas an ai\b|\bI (?:can ?not|can['’]t)\W*$|^\W*sorry\b"
    r"|\bn/a\b|^\W*-/-\W*$"
    r"|tut mir leid|kann ich (?:leider )?nicht|ich kann\b[^.!?]*\bnicht"
    r"|je ne peux pas|désolée?\b|no puedo|lo siento|non posso|mi dispiace|não posso|desculpe"
    r"|не могу|извините|無法|无法|抱歉|对不起|對不起|不能(?:提供|评|評)|できません|申し訳|할 수 없|죄송",
    re.IGNORECASE,
)


def _normalise(text: str) -> str:
    """Write digits, full-width signs and minuses in ASCII; drop marks of emphasis and code."""
    characters = []
    for character in text:
        digit = unicodedata.decimal(character, None)
        if digit is not None:
            characters.append(str(digit))
        elif "\uff01" <= character <= "\uff5e":
            characters.append(unicodedata.normalize("NFKC", character))
        else:
            characters.append(
                {"\u2212": "-", "\ufe63": "-", "\u066b": ".", "。": ". ", "：": ":"}.get(character, character)
            )
    text = "".join(characters)
    text = re.sub(r"(\d{0,3})([½¼¾])", lambda found: str(int(found[1] or 0) + _FRACTIONS[found[2]]), text)
    return re.sub(r"\*+|`+(?:json)?|(?<!\w)_+|_+(?!\w)|^#+ *", "", text, flags=re.MULTILINE)


@dataclass(frozen=True)
class _Answer:
    """The part of a reply that holds the answer; ``closed`` where nothing more can be added to it."""

    text: str
    closed: bool


def _answer_part(text: str, finished: bool) -> _Answer | Status:
    """Return what is left of a reply without thinking and outside its answer tags, or why nothing is."""
    if not text.strip():
        return "empty" if finished else "truncated"
    text = _normalise(text)
    text = re.sub(r"<think(?:ing)?>.*?</think(?:ing)?>", "", text, flags=re.DOTALL | re.IGNORECASE)
    # Templates can open the thinking in the prompt: then the reply holds only its end.
    text = re.split(r"</think(?:ing)?>", text, flags=re.IGNORECASE)[-1]
    if re.search(r"<think(?:ing)?>", text, re.IGNORECASE):
        return "truncated"
    tagged = re.findall(r"<answer>(.*?)(</answer>|$)", text, re.DOTALL | re.IGNORECASE)
    boxed = re.findall(r"\\boxed\{([^{}]*)\}", text)
    closed = finished
    if tagged:
        text, closed = tagged[-1][0], finished or bool(tagged[-1][1])
    elif boxed:
        text, closed = boxed[-1], True
    if not text.strip():
        return "empty" if closed else "truncated"
    return _Answer(text, closed)


# ------------------------------------------------------------------------------------------------------------ numbers
# Not inside words, sizes (448x448, 4K) or versions; a sign counts only where no digit or letter is before it.
_NUMBER = (
    r"(?<![A-Za-z0-9_.])[-+]?(?:\d+(?:[.,]\d+)*|\.\d+)(?:[eE][-+]?\d+)?"
    r"(?=(?:points?|pts?|stars?)\b|[^A-Za-z0-9_]|$)(?![.,]\d)"
)
_UNIT = re.compile(
    r"\s*(?:(?:points?|pts?|stars?|Punkten?|étoiles?|estrellas?|puntos?|punti|баллов|балла|балл)\b|[分点점])",
    re.IGNORECASE,
)
_BETWEEN = r"\s*(?:-|–|—|~|,\s|\b(?:to|and|or|bis|und|oder|à|ou|y|o)\b(?:\s+an?\b)?|至|到|或)\s*"
_RANGE = re.compile(rf"({_NUMBER}){_BETWEEN}({_NUMBER})", re.IGNORECASE)
_SHARE = re.compile(rf"(?<!/)({_NUMBER})\s*(?:/|out of|von|sur|su|из)\s*({_NUMBER})(?!\s*/)", re.IGNORECASE)
_PERCENT = re.compile(rf"({_NUMBER})\s*(?:%|(?:percent|per cent|Prozent|pour cent|por ciento)\b)", re.IGNORECASE)
_PLAIN = re.compile(_NUMBER)
_LIST_ITEM = re.compile(rf"^\s*{_NUMBER}[.)]\s+(?=\S)", re.MULTILINE)
_SCALE_BEFORE = re.compile(
    r"(?:\bon an?\s+)?(?:scale|range|skala|échelle|escala|scala|шкал\w*)\W*(?:\w+\W+){0,2}$", re.IGNORECASE
)
_SCALE_AFTER = re.compile(r"\W*(?:scale|skala)\b", re.IGNORECASE)

_MARK = (
    r"(?:(?<![A-Za-z])(?:scored?|rat(?:e|ed|ing)|quality|aesthetics?|grade|mos|value|answer|result"
    r"|i(?:['’]d| would)? say|give (?:it|this)|deserves|gets"
    r"|bewertung|punktzahl|wertung|puntuación|calificación|punteggio|voto|оценка)"
    r"|评分|得分|分数|打分|评价|評価|スコア|점수|평점)"
)
_FINAL = r"(?:(?<![A-Za-z])(?:final|overall|total|insgesamt|gesamt\w*)|总体?)"
_FILLER = (
    r"(?:[\s\"'’:=→>()\[\]{}-]|\b(?:is|was|as|at|of|for|a|an|the|this|that|it|its|image|picture|photo|would|be|i|d|rate"
    r"|rating|score|quality|about|around|approximately|roughly|solid|strong|equals?|to|ist|est|es|è|dieses|bildes|between|from)\b"
    r"|是|为|為|は|打|约)*"
)
_MARKED = re.compile(rf"{_MARK}{_FILLER}$", re.IGNORECASE)
_MARKED_FINAL = re.compile(rf"{_FINAL}{_FILLER}(?:{_MARK}{_FILLER})?$", re.IGNORECASE)
_INEQUALITY = re.compile(r"(?:^|\s)[<>≤≥]\s*$")
_REACH = 80  # only words within this many characters of a number belong to it
_SENTENCE_END = re.compile(r"\n|[.!?;](?=\s|$)")
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?")
_OTHER_WORDS = 2  # a bare number is an answer if at most this many words are beside it: "very high 8.234"

_FINAL_TIER, _MARKED_TIER, _BARE_TIER = range(3)


@dataclass(frozen=True)
class _Candidate:
    """A number that may be the answer.

    Attributes:
        readings: what it can mean on the scale asked for; empty where it cannot be brought onto that scale.
        tier: how clearly it is marked as the answer; the lowest wins.
        ends: whether it ends the text, so that more words could change it.
    """

    readings: frozenset[float]
    tier: int
    ends: bool


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


def _share(number: str, whole: str, low: float, high: float) -> frozenset[float]:
    """Return "number out of whole" on the scale asked for: as it is, or rescaled where both scales start at 0."""
    wholes = _values(whole, high, high)
    values = _values(number, low, high)
    if wholes == {high}:
        return values
    if low == 0 and len(wholes) == 1 and max(wholes) > 0:
        return frozenset(value * high / max(wholes) for value in values)
    return frozenset()


def _tier(text: str, start: int, end: int) -> int | None:
    """Return how clearly the number at ``[start, end)`` is marked as the answer; None if it is not."""
    before, after = text[max(0, start - _REACH) : start], text[end : end + _REACH]
    if _MARKED_FINAL.search(before):
        return _FINAL_TIER
    if _MARKED.search(before) or _UNIT.match(text, end):
        return _MARKED_TIER
    sentence = _SENTENCE_END.split(before)[-1] + " " + _SENTENCE_END.split(after)[0]
    return _BARE_TIER if len(_WORD.findall(sentence)) <= _OTHER_WORDS else None


def _candidates(text: str, low: float, high: float) -> list[_Candidate]:
    """Return the numbers of a text that may be the answer."""

    def blank(found: re.Match[str]) -> str:
        return " " * len(found[0])

    if len(_LIST_ITEM.findall(text)) > 1:
        text = _LIST_ITEM.sub(blank, text)
    another_scale = False
    for found in _RANGE.finditer(text):
        ends = [_values(found[group], low, high) for group in (1, 2)]
        same = ends == [{low}, {high}]
        before = _SCALE_BEFORE.search(text, max(0, found.start() - _REACH), found.start())
        after = _SCALE_AFTER.match(text, found.end())
        if same or before or after:
            start, end = (before or found).start(), (after or found).end()
            text = text[:start] + " " * (end - start) + text[end:]
            another_scale |= not same
    candidates = []
    rest, last = text, len(text.rstrip())
    for pattern in (_SHARE, _RANGE, _PERCENT, _PLAIN):
        for found in pattern.finditer(rest):
            tier = _tier(text, *found.span())
            if pattern is _SHARE:
                readings = _share(found[1], found[2], low, high)
                if _values(found[2], high, high) == {high}:  # names the top of the scale: as good as a mark
                    tier = _MARKED_TIER if tier is None else min(tier, _MARKED_TIER)
            elif another_scale or _INEQUALITY.search(text[max(0, found.start() - 4) : found.start()]):
                readings = frozenset()
            elif pattern is _RANGE:
                readings = _values(found[1], low, high) | _values(found[2], low, high)
            elif pattern is _PERCENT:
                readings = _share(found[1], "100", low, high)
            else:
                readings = _values(found[0], low, high)
            if tier is not None:
                candidates.append(_Candidate(readings, tier, found.end() >= last))
        rest = pattern.sub(blank, rest)
    return candidates


def parse_number(text: str, low: float, high: float, *, finished: bool = True) -> ParsedNumber:
    """Read a number out of a reply.

    The first kind found wins: a number marked as final ("overall score: 7", "final rating …"); one that is marked
    ("score is 7", ``{"rating": 7}``, "I'd say 7"), has a unit ("7 points", "7 分") or names the top of the scale
    ("7/10"); a bare one with at most two words beside it in its sentence or line ("medium 5.577"). Other numbers ("I
    see 3 people here") are not answers. Different numbers of the winning kind are ambiguous, and so are ranges ("7-8",
    "between 3 and 4", "3 or 4").

    "8/10", "8 out of 10" and "80%" are read unchanged if they name the top of the scale asked for, and rescaled if
    both scales start at 0; otherwise they are ambiguous, and so is any number beside another scale ("on a scale of 1 to
    10"). The range asked for ("0-100") is not an answer. A comma is a decimal sign ("7,5"; "7,234" if 7234 does not
    fit). Words for numbers ("seven", "十") are not read.

    Args:
        text: the reply.
        low: lowest number asked for.
        high: highest number asked for.
        finished: False if a limit on tokens cut the reply off.

    Examples:
        >>> parse_number("The overall score is 7.5.", 0, 10)
        ParsedNumber(value=7.5, status='ok')
        >>> parse_number("between 3 and 4", 1, 5)
        ParsedNumber(value=None, status='ambiguous')
    """
    answer = _answer_part(text, finished)
    if isinstance(answer, str):
        return ParsedNumber(None, answer)
    refused = _REFUSAL.search(answer.text)
    candidates = _candidates(answer.text, low, high)
    if not candidates:
        return ParsedNumber(None, "refused" if refused else "unparsable" if answer.closed else "truncated")
    tier = min(candidate.tier for candidate in candidates)
    best = [candidate for candidate in candidates if candidate.tier == tier]
    values = frozenset[float]().union(*(candidate.readings for candidate in best))
    if not answer.closed and (tier == _BARE_TIER or len(values) != 1 or any(candidate.ends for candidate in best)):
        return ParsedNumber(None, "truncated")
    if refused or len(values) != 1 or not all(candidate.readings for candidate in best):
        return ParsedNumber(None, "ambiguous")
    (value,) = values
    return ParsedNumber(value, "ok") if low <= value <= high else ParsedNumber(None, "out_of_range")


# ------------------------------------------------------------------------------------------------------------ letters
_LETTER = r"[(\[\"'“]?([A-Za-z])[)\]\"'”]?(?![A-Za-z'’])"
_CHOICE_MARK = (
    r"(?:(?<![A-Za-z])(?:answers?|choices?|choose|select|pick|correct|respuesta|réponse|antwort|risposta|resposta|ответ)"
    r"|答案|选择|选|答え|정답)"
)
_CHOICE_FILLER = (
    r"(?:[\s:=→\"'{}-]|\b(?:is|are|would|be|should|most|likely|probably|clearly|the|option|letter|choice|answer|one|correct"
    r"|best|ist|est|es|è|é|и)\b|是|为|為|は){0,30}"
)
_MORE_LETTERS = r"((?:\s*(?:,|/|&|\bor\b|\band\b|\boder\b|\bou\b)\s*[(\[]?[A-Z][)\]]?(?![A-Za-z'’]))*)"
_MARKED_LETTER = re.compile(rf"{_CHOICE_MARK}{_CHOICE_FILLER}{_LETTER}{_MORE_LETTERS}", re.IGNORECASE)
_FINAL_LETTER = re.compile(rf"\bfinal {_CHOICE_MARK}{_CHOICE_FILLER}{_LETTER}{_MORE_LETTERS}", re.IGNORECASE)
_OPTION_LETTER = re.compile(rf"(?:(?<![A-Za-z])options?|选项)\s*{_LETTER}{_MORE_LETTERS}", re.IGNORECASE)
_OWN_LINE_LETTER = re.compile(r"^[^\w\n]*([A-Za-z])[^\w\n]*$", re.MULTILINE)
_LISTED_LETTER = re.compile(
    r"(?:(?<![A-Za-z.])([A-Z])[.):](?=\s|$|[A-Z][a-z])|\(([A-Z])\)|\[([A-Z])\]|^\W*([a-z])[.):](?=\s|$))"
)
_LONE_LETTER = re.compile(r"(?<![A-Za-z.'’])([A-Z])(?![A-Za-z.'’])")
# "A photo …" and "I think …" are words, "A because …" is an answer.
_ARTICLE = re.compile(r"\s+(?!(?:because|since|as|is|or|and|but)\b)[a-z]")
_BEFORE_CHOICE = re.compile(rf"{_CHOICE_MARK}{_CHOICE_FILLER}$", re.IGNORECASE)
_NEGATED = re.compile(r"\b(?:not|isn['’]t|rather than|instead of|neither|nor)\s+(?:option\s+)?\(?[A-Z]\)?(?![A-Za-z])")


@dataclass(frozen=True)
class _Letters:
    """Letters found in one way, where the text goes on after the first, and whether more words could change them."""

    letters: frozenset[str]
    end: int
    final: bool


def _marked(pattern: re.Pattern[str], text: str) -> _Letters | None:
    """Return the letters that follow a mark such as "the answer is"."""
    letters, end = set(), 0
    for found in pattern.finditer(text):
        # "the answer is a blurry edge": a small letter counts only where the clause ends.
        if found[1].islower() and not re.match(r"\s*(?:[.,;:)\]}\n\"']|$)", text[found.end(1) :]):
            continue
        letters |= {found[1].upper(), *re.findall(r"[A-Z]", re.sub(r"[a-z]+", "", found[2]))}
        end = end or found.end()
    return _Letters(frozenset(letters), end, True) if letters else None


def _all(matches: Iterable[re.Match[str]], final: bool) -> _Letters | None:
    """Return the letters of all matches."""
    found = list(matches)
    letters = frozenset(next(group for group in match.groups() if group).upper() for match in found)
    return _Letters(letters, found[0].end(), final) if found else None


def _named_options(text: str, options: Sequence[str]) -> _Letters | None:
    """Return the letters of the options whose texts a reply is, starts with, or holds among two other words."""
    spans: list[tuple[int, int, str]] = []
    for index, option in enumerate(options):
        words = r"\s+".join(map(re.escape, option.strip(" .").split()))
        if words:
            matches = re.finditer(rf"(?<!\w){words}(?!\w)", text, re.IGNORECASE)
            spans += [(*match.span(), chr(ord("A") + index)) for match in matches]
    outer = [
        span
        for span in spans
        if not any(other[0] <= span[0] and span[1] <= other[1] and other[:2] != span[:2] for other in spans)
    ]
    leading = [
        span
        for span in outer
        if re.match(r"\W*$|[.,;:!)\n\"'”]", text[span[1] :])
        and (not text[: span[0]].strip(" \n\"'(“") or _BEFORE_CHOICE.search(text[: span[0]]))
    ]
    others = len(_WORD.findall(text)) - sum(len(_WORD.findall(text[a:b])) for a, b in {span[:2] for span in outer})
    chosen = leading or (outer if others <= _OTHER_WORDS else [])
    return _Letters(frozenset(span[2] for span in chosen), min(chosen)[1], False) if chosen else None


def parse_letter(text: str, options: Sequence[str], *, finished: bool = True) -> ParsedLetter:
    """Read the letter of an option out of a reply.

    The first kind found wins: "final answer …"; a letter alone on its line ("B", "(b)"); a marked letter ("the answer
    is B", ``{"answer": "B"}``); letters written as in a list ("B.", "(B)", "B:"); "option C"; capitals that stand alone
    (not the article "A …" nor "I …"); the text of an option, if it starts the reply, follows "the answer is", or has at
    most two other words beside it. Different letters of the winning kind are ambiguous, and so is a letter followed by
    another option's text ("B. Obvious" where C is *Obvious*). A letter that names no option is out of range.

    Args:
        text: the reply.
        options: the options' texts, the first is ``A``; texts may be empty.
        finished: False if a limit on tokens cut the reply off.

    Examples:
        >>> parse_letter("The answer is (B).", ["None", "Slight", "Obvious"])
        ParsedLetter(letter='B', status='ok')
    """
    answer = _answer_part(text, finished)
    if isinstance(answer, str):
        return ParsedLetter(None, answer)
    body = _NEGATED.sub(lambda match: " " * len(match[0]), answer.text)
    names = [chr(ord("A") + index) for index in range(len(options))]
    lone = (
        match
        for match in _LONE_LETTER.finditer(body)
        if match[1] in names and not (match[1] in "AI" and _ARTICLE.match(body, match.end()))
    )
    found = (
        _marked(_FINAL_LETTER, body)
        or _all(_OWN_LINE_LETTER.finditer(body), True)
        or _marked(_MARKED_LETTER, body)
        or _all(_LISTED_LETTER.finditer(body), True)
        or _marked(_OPTION_LETTER, body)
        or _all(lone, False)
        or _named_options(body, options)
    )
    refused = _REFUSAL.search(answer.text)
    if not found:
        return ParsedLetter(None, "refused" if refused else "unparsable" if answer.closed else "truncated")
    rest = body[found.end :].lstrip(" .:)],-\"'\n")
    if not answer.closed and (not found.final or not body[found.end :].strip() or len(found.letters) > 1):
        return ParsedLetter(None, "truncated")
    follows = _named_options(re.split(r"[.;\n]", rest)[0], options) if rest else None
    contradicted = follows and not found.letters & follows.letters and found.letters <= set(names)
    if refused or len(found.letters) > 1 or contradicted:
        return ParsedLetter(None, "ambiguous")
    (letter,) = found.letters
    return ParsedLetter(letter, "ok") if letter in names else ParsedLetter(None, "out_of_range")
