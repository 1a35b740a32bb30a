"""Robust reading of a written choice: a letter with a status, never a guess.

The grammar of an answer, strongest first:

- what ``{"answer": "B"}`` or a closed tag or box holds;
- **final**: "final answer: B";
- **affirmed**: "B is right", where others are not;
- **alone**: "B", "(b)" or "B. Slight" on its own line;
- **marked**: "the answer is B", "I choose B", "option B";
- **leading**: the text of an option that starts the reply;
- **listed**: "B.", "(B)", "B:";
- **bare**: a capital in a clause without a word about anything else: "B because …", not "Plan B";
- **named**: the only option whose text the reply holds, where that text says something ("slight", not "no").

Eliminated letters and texts ("not A", "A is wrong", "no noise") and a list of all options count for nothing.
:mod:`answer_words` has the words.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from .answer_text import answer_text, fields
from .answer_words import APOLOGY, CORRECTION, REFUSAL, classes_of, words_of
from .option_texts import (
    NEGATED_TEXT,
    WORD,
    Mention,
    blank,
    content_of,
    is_unfinished_list,
    item_of,
    mentions_of,
    without_list,
)
from .outcomes import Status


@dataclass(frozen=True)
class ParsedLetter:
    """A letter or why there is none: ``letter`` is None unless ``status`` is ok."""

    letter: str | None
    status: Status


@dataclass(frozen=True)
class _Found:
    """Letters found in one way, where the first begins and ends, and whether more words could change them."""

    letters: frozenset[str]
    start: int
    end: int
    sure: bool = True


_LETTER = r"[(\[{<\"'“]{0,3}([A-Za-z])[)\]}>\"'”]{0,3}(?![A-Za-z'’0-9-])"
_MORE = r"((?:\s?(?:,|/|&|\b(?:or|and|oder|ou)\b)\s?[(\[]?[A-Z][)\]]?(?![A-Za-z'’])){0,25})"
_MARK = (
    r"(?:(?<![A-Za-z])(?:answers?|choices?|choose|chose|select|selected|pick|go(?:ing)? with|go for|correct|remains"
    r"|leaving|lean(?:ing)? (?:towards?|to)|settl(?:e|ing) (?:on|for)|best (?:description|match|fit)"
    r"|respuesta|réponse|antwort|risposta|resposta|ответ|đáp án|cevap|odpowiedź)(?![^\W\d_])"
    r"|答案|选择|選擇|选|選|答え|正解|정답)"
)
_FILLER = (
    r"(?:[\s:=→\"'{(\[-]|\b(?:is|are|would|be|should|must|most|likely|probably|clearly|the|option|letter|choice|answer|one"
    r"|correct|correcta|correcte|corretta|richtige|best|therefore|thus|ist|lautet|est|es|è|é|и)\b|是|为|為|は|项){0,20}"
)
_MARKED = re.compile(rf"{_MARK}{_FILLER}{_LETTER}{_MORE}", re.IGNORECASE)
_FINAL = re.compile(rf"\bfinal {_MARK}{_FILLER}{_LETTER}{_MORE}", re.IGNORECASE)
_OPTION = re.compile(rf"(?:(?<![A-Za-z])options?|选项|選項)\s?{_LETTER}{_MORE}", re.IGNORECASE)
_ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth")
_BY_PLACE = re.compile(
    rf"\W{{0,3}}(?:option\s?(?P<number>\d)|(?:the\s)?(?P<ordinal>{'|'.join(_ORDINALS)})(?:\s(?:option|choice|answer|one))?)\W*",
    re.IGNORECASE,
)
_ALONE = re.compile(r"^[^\w\n]{0,6}([A-Za-z])[^\w\n]{0,6}$", re.MULTILINE)
_LISTED = re.compile(
    r"(?:(?<![A-Za-z.'’-])([A-Z])[.):-](?=\s|$|[A-Z][a-z])|\(([A-Z])\)|\[([A-Z])\]|\{([A-Z])\}|<([A-Z])>"
    r"|^\W{0,4}([a-z])[.):](?=\s|$))"
)
_BARE = re.compile(r"(?<![A-Za-z.'’-])([A-Z])(?![A-Za-z.'’-]|\d)")
_LAST = re.compile(r"(?<=:)\s{0,2}([A-Z])\W*$")
# "A photo …" and "I think …" are words, "A because …" is an answer.
_ARTICLE = re.compile(r"\s+(?!(?:because|since|as|is|or|and|but)\b)[a-z]")
_BEFORE_CHOICE = re.compile(rf"{_MARK}{_FILLER}$", re.IGNORECASE)
_CLAUSE = re.compile(r"[.,;:!?\n()…—–]|\s-\s|\b(?:but|because|since|as|so|although|though|while)\b", re.IGNORECASE)
_ONE = r"(?:option\s|choice\s|answer\s)?[(\[]?[A-Z][)\]]?(?![A-Za-z'’])"
_NOTED = rf"{_ONE}(?:\s\([^()]{{0,60}}\))?"  # "A (no haze)"
_SEVERAL = rf"{_NOTED}(?:\s?(?:,|/|\bor\b|\band\b|\bnor\b|, and|, or)\s?(?:not\s)?{_NOTED}){{0,25}}"
_WRONG = r"(?:wrong|incorrect|false|not\b|no\b|out\b|excluded|eliminated|ruled out|implausible|unlikely)"
_ELIMINATED = re.compile(
    rf"\b(?i:not|isn['’]t|cannot be|can['’]t be|(?:rather|better|closer|likel\w+) than"
    rf"|instead of|neither|nor|rule out|ruling out|exclude"
    rf"|eliminat(?:e|ing)|excluding|discard|except|(?:anything|everything|all) but"
    rf"|options?(?= [A-Z]\b[^.]{{0,30}}\b(?:excluded|eliminated|ruled out)))\s(?:be\s)?{_SEVERAL}"
    rf"|{_ONE}\?\s(?i:no|not)\b"
    rf"|{_SEVERAL}\s?(?:(?:is|are|can be|must be|seems?)\s(?:clearly\s|also\s|both\s|all\s)?{_WRONG}"
    rf"|[:=-]\s?(?i:{_WRONG}))",
)
_AFFIRMED = re.compile(
    r"(?<![A-Za-z.'’-])([A-Z])\)?\s?(?:remains|it is\b|fits (?:better|best)"
    r"|(?:is|seems|must be)\s(?:the\s|clearly\s|most\s){0,2}"
    r"(?:right|correct|best|better|true|answer|likely)|[:=-]\s?(?i:right|yes|correct|true))(?=\W|$)"
)
_TRUE = words_of("true right correct yes")
_VERDICT = re.compile(
    rf"^\W{{0,4}}(?P<letter>[A-Z])[.):].{{0,200}}?[-–—:,→(]\s?(?P<verdict>{'|'.join(sorted(_TRUE))}|false|wrong|incorrect|no)\W*$",
    re.MULTILINE | re.IGNORECASE,
)
_FIRST_THOUGHT = re.compile(
    rf"\b(?:first|initially|originally)\b[^.!?;,\n]{{0,40}}?\b(?!I\s[a-z]){_ONE}"
    rf"|\b(?:could|might|may) be {_ONE}(?=,? but\b)"
)
_CONDITIONAL = re.compile(rf"\b(?i:if)\b(?! (?:I|you|forced|pressed)\b)[^.;\n]{{0,80}}[,:]\s?(?:then\s)?{_ONE}(?=\W|$)")
_CONCLUDED = re.compile(
    r"\b(?i:so|therefore|thus|hence)\b[^.,;:\n]{0,60}?(\w{1,20})\s(?:is|was)\s([A-Z])(?=\W{0,3}(?:$|\n))"
)
_UNDECIDED = re.compile(
    r"\bcan(?:not|['’]t)\b|\bun(?:known|clear|decid)|\bdetermin|\bimpossible\b|\bnot enough\b", re.IGNORECASE
)
_ALL = re.compile(rf"{_ONE}(?:,\s?(?:and|or)?\s?{_ONE}|\s(?:and|or)\s{_ONE}){{2,25}}")
_HOLLOW = words_of("yes no none not all both neither same other i it")
_OF_ABOVE = re.compile(r"\b(?:all|none|both|neither|any) of (?:the|these|them|those)\b", re.IGNORECASE)
_CHOICE_FIELDS = words_of("answer choice letter option selected selection response result final pick correct label")
_NAMED_BY_LETTERS = words_of("grade image photo picture plan vitamin type")
_MOST_CORRECTIONS = 4  # looked at, from the last
_FEW = 2  # words beside a letter or an option's text


def _letters(pattern: re.Pattern[str], text: str) -> _Found | None:
    """Return the letters that follow a mark such as "the answer is"."""
    letters, first = set(), None
    for found in pattern.finditer(text):
        # "the answer is a blurry edge": a small letter counts only where the clause ends.
        if found[1].islower() and not re.match(r"\s*(?:[.,;:)\]}\n\"'>]|$)", text[found.end(1) : found.end(1) + 8]):
            continue
        if found[1] in "AI" and found[0].endswith(found[1]) and _ARTICLE.match(text, found.end()):
            continue
        letters |= {found[1].upper(), *re.findall(r"[A-Z]", re.sub(r"[a-z]+", "", found[2]))}
        first = first or found
    return _Found(frozenset(letters), first.start(), first.end()) if first else None


def _all(matches: Iterable[re.Match[str]], *, sure: bool = True) -> _Found | None:
    """Return the letters of all matches."""
    found = list(matches)
    letters = frozenset(next(group for group in match.groups() if group).upper() for match in found)
    return _Found(letters, found[0].start(), found[0].end(), sure) if found else None


def _about_the_answer(text: str, start: int, end: int) -> bool:
    """Return whether the words of the clause around ``[start, end)`` are about the answer; if empty, those before."""
    before = WORD.findall(_CLAUSE.split(text[max(0, start - 80) : start])[-1])
    after = WORD.findall(_CLAUSE.split(text[end : end + 80])[0]) if end > start else []
    if before and before[-1].lower() in _NAMED_BY_LETTERS:
        return False
    return all(len(word) == 1 or classes_of(word) for word in (*before, *after))


def _leading(text: str, mentions: Sequence[Mention]) -> _Found | None:
    """Return the options whose text begins a reply or follows "the answer is"."""
    chosen = [
        mention
        for mention in mentions
        if re.match(r"\W{0,4}$|\W{0,2}[.,;:!)\n\"'”]", text[mention.end : mention.end + 8])
        and (
            not text[: mention.start].strip(" \n\"'(“-")
            or _BEFORE_CHOICE.search(text[max(0, mention.start - 80) : mention.start])
        )
    ]
    letters = frozenset(mention.letter for mention in chosen)
    return _Found(letters, chosen[0].start, chosen[0].end, sure=False) if chosen else None


def _named(text: str, mentions: Sequence[Mention], options: Sequence[str]) -> _Found | None:
    """Return the options that a reply names anywhere; hollow texts ("no") only beside few other words."""
    others = len([word for word in WORD.findall(text) if not classes_of(word)])
    chosen = [mention for mention in mentions if mention.text not in _HOLLOW or others <= _FEW]
    if not chosen or _OF_ABOVE.search(text):
        return None
    letters = {mention.letter for mention in chosen}
    said = content_of(re.sub(rf"{NEGATED_TEXT}\w+", "", text, flags=re.IGNORECASE))
    longest = max(len(content_of(mention.text)) for mention in chosen)
    for index, option in enumerate(options):  # "the car is red" is "a red car" as much as "red"
        words = content_of(option)
        if len(words) > longest and words <= said:
            letters.add(chr(ord("A") + index))
    return _Found(frozenset(letters), chosen[0].start, chosen[0].end, sure=False)


def _partly_named(text: str, options: Sequence[str]) -> _Found | None:
    """Return the only option that shares words with a reply of few words."""
    if len(WORD.findall(text)) > 2 * _FEW or re.search(NEGATED_TEXT, text, re.IGNORECASE) or _OF_ABOVE.search(text):
        return None
    said = content_of(text)
    sharing = [chr(ord("A") + index) for index, option in enumerate(options) if said & content_of(option)]
    return _Found(frozenset(sharing), 0, len(text), sure=False) if len(sharing) == 1 else None


def _left_over(text: str, names: Sequence[str]) -> _Found | None:
    """Return the only letter that a reply does not eliminate."""
    gone = {letter for found in _ELIMINATED.finditer(text) for letter in re.findall(r"\b[A-Z]\b", found[0])}
    left = [name for name in names if name not in gone]
    return _Found(frozenset(left), 0, len(text), sure=False) if len(names) > 2 and len(left) == 1 else None


def _verdicts(text: str, names: Sequence[str]) -> _Found | None:
    """Return the letter that is true where a reply says of each whether it is: "A: the sky is red - false"."""
    lines = list(_VERDICT.finditer(text))
    if [line["letter"] for line in lines] != list(names):
        return None
    true = [line for line in lines if line["verdict"].lower() in _TRUE]
    return _all(true) if len(true) == 1 else None


def _from_json(text: str, options: Sequence[str]) -> _Found | None:
    """Return the letters in the fields of JSON that are named after an answer."""
    entries = fields(text) or ()
    letters: set[str] = set(_preferred({names[-1]: value for names, value in entries if len(names) == 1}, options))
    for names, value in entries:
        words = {word for name in names[-1:] for word in re.findall(r"[a-z]+", name.lower())}
        if isinstance(value, str) and words & _CHOICE_FIELDS:
            inner = parse_letter(value, options)
            letters |= (
                {inner.letter} if inner.letter else {value.strip().upper()[:1]} if len(value.strip()) == 1 else set()
            )
    return _Found(frozenset(letters), 0, len(text)) if letters else None


def _preferred(values: Mapping[str, object], options: Sequence[str]) -> set[str]:
    """Return the option that JSON with a value for each letter says is true, or most probable."""
    if set(values) != {chr(ord("A") + index) for index in range(len(options))}:
        return set()
    numbers = {letter: float(value) for letter, value in values.items() if isinstance(value, (bool, int, float))}
    most = max(numbers.values(), default=0.0)
    best = {letter for letter, number in numbers.items() if number == most}
    return best if len(numbers) == len(values) and len(best) == 1 else set()


def _concluded(text: str) -> _Found | None:
    """Return the letter that a last sentence comes to: "so the game is C"."""
    found = [match for match in _CONCLUDED.finditer(text) if match[1].lower() not in _NAMED_BY_LETTERS]
    return _Found(frozenset(found[-1][2]), found[-1].start(2), found[-1].end(2), sure=False) if found else None


def _find(text: str, options: Sequence[str]) -> _Found | None:
    """Return the strongest answer in a text from which eliminated letters are gone."""
    names = [chr(ord("A") + index) for index in range(len(options))]
    if is_unfinished_list(text, options) or len(_CONDITIONAL.findall(text)) > 1:
        return None
    item = item_of(text, options, whole=True)
    if item is not None:
        return _Found(frozenset(names[item]), 0, text.upper().index(names[item]) + 1)  # "B: No" eliminates nothing
    text = without_list(text, options)
    if place := _BY_PLACE.fullmatch(text):
        index = int(place["number"]) - 1 if place["number"] else _ORDINALS.index(place["ordinal"].lower())
        return _Found(frozenset({chr(ord("A") + index)}), 0, len(text)) if index >= 0 else None
    whole, text = text, _ELIMINATED.sub(blank, text)
    text = _ALL.sub(
        lambda found: blank(found) if set(re.findall(r"\b[A-Z]\b", found[0])) == set(names) else found[0], text
    )
    text = _FIRST_THOUGHT.sub(blank, text)
    mentions = mentions_of(text, options)
    bare = [
        match
        for match in _BARE.finditer(text)
        if match[1] in names
        and not (match[1] in "AI" and _ARTICLE.match(text, match.end()))
        and _about_the_answer(text, *match.span())
    ]
    listed = [match for match in _LISTED.finditer(text) if _about_the_answer(text, match.start(), match.start())]
    affirmed = [
        match
        for match in _AFFIRMED.finditer(text)
        if match[1] in names and _about_the_answer(text, match.start(), match.start())
    ]
    return (
        _letters(_FINAL, text)
        or _verdicts(whole, names)
        or _all(_ALONE.finditer(text))
        or _letters(_MARKED, text)
        or _leading(text, mentions)
        or _all(affirmed)
        or _all(listed)
        or _letters(_OPTION, text)
        or _concluded(text)
        or _all(_LAST.finditer(text))
        or _all(bare, sure=False)
        or _left_over(whole, names)
        or _named(text, mentions, options)
        or _partly_named(text, options)
    )


def parse_letter(text: str, options: Sequence[str], *, finished: bool = True) -> ParsedLetter:
    """Read the letter of an option out of a reply, as the grammar of this module says.

    The strongest kind of answer that a reply has wins; different letters of that kind are ambiguous, and so is a letter
    followed by another option's text ("B. Obvious" where C is *Obvious*). What was said before a correction ("Wait,
    actually B") does not count if an answer follows it. A letter that names no option is out of range.

    Args:
        text: the reply.
        options: the options' texts, the first is ``A``; texts may be empty.
        finished: False if a limit on tokens cut the reply off.

    Examples:
        >>> parse_letter("Not A. The answer is (B).", ["None", "Slight", "Obvious"])
        ParsedLetter(letter='B', status='ok')
    """
    answer = answer_text(text, finished)
    if isinstance(answer, str):
        return ParsedLetter(None, answer)
    body = answer.text
    options = ["" if re.fullmatch(r"\W*[A-Z]\W*", option) else option for option in options]  # "A" says nothing
    found = _from_json(body, options)
    for cue in () if found else list(CORRECTION.finditer(body))[: -_MOST_CORRECTIONS - 1 : -1]:
        if found := _find(body[cue.end() :], options):
            body = body[cue.end() :]
            break
    found = found or _find(body, options)
    if not found:
        if REFUSAL.search(body) or APOLOGY.search(body):
            return ParsedLetter(None, "refused")
        return ParsedLetter(None, "unparsable" if answer.closed else "truncated")
    if not answer.closed and (not found.sure or not body[found.end :].strip(" .") or len(found.letters) > 1):
        return ParsedLetter(None, "truncated")
    names = frozenset(chr(ord("A") + index) for index in range(len(options)))
    rest = re.split(r"[.;\n]", body[found.end :].lstrip(" .:)],-\"'\n")[:200])[0]
    follows = _leading(rest, mentions_of(rest, options))
    contradicted = follows and not found.letters & follows.letters and found.letters <= names
    undecided = any(_UNDECIDED.search(options[ord(letter) - ord("A")]) for letter in found.letters & names)
    if (REFUSAL.search(body) and not undecided) or len(found.letters) > 1 or contradicted:
        return ParsedLetter(None, "ambiguous")
    (letter,) = found.letters
    return ParsedLetter(letter, "ok") if letter in names else ParsedLetter(None, "out_of_range")
