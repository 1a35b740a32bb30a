"""Free-text answers: the name of a dish and the country it comes from, read from a reply and compared with the truth.

CultureMix (arXiv 2511.22787) accepts a name if its weighted Jaccard similarity on character n-grams (0.7 for bigrams,
0.3 for unigrams) is at least 0.4 (people agreed in 95 % of cases), and a country if it is the same under any of its
names. It is not published whether n-grams are counted or only listed, and how names are normalised: here they are
counted, in letters and digits only, without case and accents.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from dataclasses import dataclass

from ..scoring.answer_text import without_thinking
from ..scoring.outcomes import Status
from .countries import countries_in, country_of

BIGRAMS, UNIGRAMS, THRESHOLD = 0.7, 0.3, 0.4

_FOOD = r"(?:(?:name of the )?(?:dish|food)(?: name)?|name|음식|菜名|菜品|食物|料理|plato|plat|gericht|блюдо)"
_COUNTRY = r"(?:country(?: of origin)?|origin|nation|국가|나라|国家|國家|国|país|pays|land|страна)"
_COLON = r"[\"'*_]*\s*[:：]\s*"
_FIELD = (
    r"(?im)(?<![A-Za-z]){label}" + _COLON + r"(.*?)(?=[\s,;|.\"'*(]*(?<![A-Za-z])(?:{other})" + _COLON + r"|[\n}}]|\Z)"
)
_FOOD_FIELD = re.compile(_FIELD.format(label=_FOOD, other=_COUNTRY))
_COUNTRY_FIELD = re.compile(_FIELD.format(label=_COUNTRY, other=_FOOD))
_NO_ANSWER = re.compile(
    r"\b(?:i|we)(?:'|’)?m (?:sorry|unable|not (?:able|sure|certain))|\bi am (?:sorry|unable|not (?:able|sure|certain))"
    r"|\b(?:can ?not|can(?:'|’)?t|unable to|could ?n(?:'|’)t|could not|not possible to|difficult to)\b[^.\n]{0,20}"
    r"\b(?:identify|determine|tell|say|recogni[sz]e|help|assist|answer|provide|name)"
    r"|\b(?:don(?:'|’)t|do not) know\b|\bas an ai\b|^\W*(?:unknown|unclear|uncertain|not sure|none|n/?a)\b",
    re.IGNORECASE,
)
_LIST_MARK = re.compile(r"^\s*\d\.\s", re.MULTILINE)
_ABOUT_ALL = re.compile(r"^\s*(?:final )?answer\s*[:：]\s*|\bnot [A-Z][a-z]+,? but ", re.IGNORECASE)
_DISH = r"the (?:main |primary |traditional |left )*(?:dish|food)(?: (?:shown|here|in the image|on the left))*"
_SUBJECT = rf"(?:this(?: (?:\w+ )?(?:dish|food))?|it|that|{_DISH})"
_VERB = r"(?:is|looks like|appears to be|seems to be|is most likely|is likely|is probably)"
_SENTENCE = re.compile(
    rf"\b{_SUBJECT} {_VERB}(?: (?:called|known as|named))? (?!(?:from|eaten|served|made|cooked)\b)(?:an? |the )?(.+?)"
    r"(?=,|;|\(|\.(?:\s|$)| from\b| which\b| and (?:it )?(?:is|comes|originates)\b| that\b| originat|\n|$)",
    re.IGNORECASE,
)
_APART = re.compile(r"\s*(?:[,;(|/\n]|\s[-–—]\s|\b(?:is )?from\b|\boriginat)", re.IGNORECASE)
_CLAUSE = re.compile(r"\b(?:is|are|was|comes|looks|shows|it|this|that)\b", re.IGNORECASE)
_FEW_WORDS = 6  # a reply of at most this many words can be a bare name
_WORDS_ABOUT = r"\b(?:traditional |popular |typical )?(?:dish|food)\b|\bsomething\b"


@dataclass(frozen=True)
class OpenAnswer:
    """What a reply says.

    Attributes:
        food: name of the dish as written; None unless ``food_status`` is ok.
        country: the country's name in ``countries.py``; None unless ``country_status`` is ok.
        food_status: see ``Status``.
        country_status: likewise; ambiguous if the reply names several.
    """

    food: str | None
    country: str | None
    food_status: Status
    country_status: Status

    @property
    def status(self) -> Status:
        """Ok if one of them was read; otherwise why the country was not."""
        return "ok" if "ok" in (self.food_status, self.country_status) else self.country_status


def parse_open_answer(text: str, *, finished: bool = True) -> OpenAnswer:
    """Read name and country out of a reply; nothing is guessed.

    The last ``Food: …`` and ``Country: …`` count, anywhere in the reply, also as JSON. If a reply has none, the country
    is the only one that it names, and the name is taken from "This is …", or from the words before the country in a
    short reply ("Kimchi, South Korea"), or is the whole reply if that has at most six words. Thinking is not
    read.

    Args:
        text: the reply.
        finished: False if a limit on tokens cut it off: what it ends with is then not complete.

    Examples:
        >>> answer = parse_open_answer("This is Kimchi, a dish from Korea.")
        >>> answer.food, answer.country
        ('Kimchi', 'South Korea')
    """
    body = without_thinking(text)
    if body is None:
        return OpenAnswer(None, None, "truncated", "truncated")
    body = _LIST_MARK.sub("", _ABOUT_ALL.sub("", body))
    if not body.strip():
        return (
            OpenAnswer(None, None, "empty", "empty") if finished else OpenAnswer(None, None, "truncated", "truncated")
        )
    food, country = _complete(_food(body), body, finished), _complete(_country(body), body, finished)
    return OpenAnswer(food.value, country.value, food.status, country.status)


def fold(name: str) -> str:
    """Return the letters and digits of a name, of any script, without case and accents."""
    plain = unicodedata.normalize("NFKD", name).casefold()
    return "".join(character for character in plain if character.isalnum())


def name_similarity(name: str, other: str, *, counted: bool = True) -> float:
    """Return the weighted Jaccard similarity of two names on their character n-grams, in [0, 1]; 1 is the same.

    0.7 · J₂ + 0.3 · J₁ with Jₙ = Σ min(a, b) / Σ max(a, b) over the counts of each n-gram in the two names. If both are
    too short for a bigram, only single letters count.

    Args:
        name: a name.
        other: another.
        counted: False counts each n-gram once, which makes Jₙ the Jaccard index of two sets.

    Examples:
        >>> name_similarity("Pad Thai", "pad-thai"), name_similarity("ab", "ba")
        (1.0, 0.3)
    """
    a, b = fold(name), fold(other)
    if len(a) < 2 and len(b) < 2:
        return _jaccard(a, b, 1, counted)
    return BIGRAMS * _jaccard(a, b, 2, counted) + UNIGRAMS * _jaccard(a, b, 1, counted)


def same_food(answer: str, truth: str) -> bool:
    """Return whether a name counts as right: a similarity of at least 0.4."""
    # Rounding must not push a similarity of 0.4 below it.
    return name_similarity(answer, truth) >= THRESHOLD - 1e-12


def _jaccard(a: str, b: str, n: int, counted: bool) -> float:
    grams = ([text[i : i + n] for i in range(len(text) - n + 1)] for text in (a, b))
    ours, theirs = (Counter(of if counted else set(of)) for of in grams)
    either = (ours | theirs).total()
    return (ours & theirs).total() / either if either else 0.0


@dataclass(frozen=True)
class _Found:
    """A value, or why there is none, and where in the reply its reading ended."""

    value: str | None
    status: Status
    end: int


def _complete(found: _Found, body: str, finished: bool) -> _Found:
    """Call a value truncated if a cut reply ends with it."""
    return found if finished or body[found.end :].strip() else _Found(None, "truncated", found.end)


def _food(body: str) -> _Found:
    fields = list(_FOOD_FIELD.finditer(body))
    if fields:
        return _name(fields[-1][1], fields[-1].end())
    if sentence := _SENTENCE.search(body):
        return _name(sentence[1], sentence.end())
    if _NO_ANSWER.search(body):
        return _Found(None, "refused", len(body))
    lines = body.strip().split("\n")
    if not _COUNTRY_FIELD.search(body) and (len(lines) == 1 or (len(lines) == 2 and country_of(lines[1]))):
        head = _APART.split(body.strip(), maxsplit=1)[0]
        if len(head.split()) <= _FEW_WORDS and country_of(head) is None and not _CLAUSE.search(head):
            people, _, rest = head.partition(" ")
            alone = head == body.strip(" .") and country_of(people)  # "Turkish baklava" says country and name
            return _name(rest if alone and rest else head, len(body))
    return _Found(None, "unparsable", len(body))


def _name(written: str, end: int) -> _Found:
    name = re.sub(r"^\((.*)\)$", r"\1", written.strip(" \t\"'“”*_`.,;:[]"))
    if _NO_ANSWER.search(name):
        return _Found(None, "refused", end)
    # "<name of the dish>" is the form of the answer, and "a traditional dish" or "a Korean dish" is not a name.
    rest = re.sub(_WORDS_ABOUT, "", name, flags=re.IGNORECASE)
    if name.startswith("<") or not fold(rest) or country_of(rest):
        return _Found(None, "unparsable", end)
    return _Found(name, "ok", end)


def _after_name(text: str) -> str | None:
    """Return the country of "Turkey sandwich, USA", where a name, which may hold another country, is before it."""
    parts = re.split(r"[,\n]", text.strip(" .\n"))
    if len(parts) != 2 or re.search(r"[;:(]|\b(?:from|or|and)\b", text) or _CLAUSE.search(text):
        return None
    words = parts[0].split()
    return country_of(parts[1]) if words and country_of(words[-1]) is None else None


def _beside_name(text: str) -> str | None:
    """Return the country in brackets after "the dish is …": those in the rest of the reply are not the dish's."""
    sentence = _SENTENCE.search(text)
    beside = re.match(r"\s*\(([^()]+)\)", text[sentence.end(1) :]) if sentence else None
    return country_of(beside[1]) if beside else None


def _country(body: str) -> _Found:
    fields = list(_COUNTRY_FIELD.finditer(body))
    text, end = (fields[-1][1], fields[-1].end()) if fields else (body, len(body))
    text = re.sub(r"\([^()]*\)", "", text) if fields else text  # "Mexico (with US influence)"
    whole = country_of(text) or (None if fields else _after_name(text) or _beside_name(text))
    countries = [whole] if whole else countries_in(text)
    if len(countries) == 1:
        return _Found(countries[0], "ok", end)
    if countries:
        return _Found(None, "ambiguous", end)
    return _Found(None, "refused" if _NO_ANSWER.search(text) else "unparsable", end)
