"""The texts of options in a reply: where they are, what they mean, and lists of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from .answer_words import classes_of

WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+){0,5}")
NEGATED_TEXT = r"(?:\b(?:not|no|isn['’]t|without|rather than|instead of|never)\s(?:an?\s|the\s|really\s|any\s)?)"


def blank(found: re.Match[str]) -> str:
    """Return as many spaces as what was found has characters: what stays keeps its place."""
    return " " * len(found[0])


@dataclass(frozen=True)
class Mention:
    """The text of an option in a reply."""

    start: int
    end: int
    letter: str
    text: str


def mentions_of(text: str, options: Sequence[str]) -> list[Mention]:
    """Return the options whose texts a reply holds, without those within longer ones and those it negates."""
    found = []
    for index, option in enumerate(options):
        words = r"[\s-]{1,3}".join(map(re.escape, re.split(r"[\s-]+", option.strip(" .-"))))
        if words:
            matches = re.finditer(rf"(?<![\w-])({NEGATED_TEXT})?({words})(?![\w-])", text, re.IGNORECASE)
            found += [(match, chr(ord("A") + index), option.strip(" .").lower()) for match in matches]
    outer, reach = [], -1
    # The longest of those that begin at one place comes first; what lies within an earlier one is dropped.
    for match, letter, option in sorted(found, key=lambda entry: (entry[0].start(2), -entry[0].end(2))):
        if match.end(2) > reach or (outer and (match.start(2), match.end(2)) == (outer[-1][0].start(2), reach)):
            outer.append((match, letter, option))
            reach = match.end(2)
    return [Mention(m.start(2), m.end(2), letter, option) for m, letter, option in outer if not m[1]]


def content_of(text: str) -> frozenset[str]:
    """Return the words of a text that mean something by themselves."""
    return frozenset(
        word for word in map(str.lower, WORD.findall(text.replace("-", " "))) if not classes_of(word) - {"level"}
    )


def without_list(text: str, options: Sequence[str]) -> str:
    """Return a reply without the list of the options ("A. None B. Slight …") if an answer follows it."""
    items = [
        rf"[(]?{chr(ord('A') + index)}[.):]\s{{0,2}}" + r"\s+".join(map(re.escape, option.strip(" .").split()))
        for index, option in enumerate(options)
        if option.strip(" .")
    ]
    listed = list(re.finditer("|".join(items), text, re.IGNORECASE)) if items else []
    if len({found[0][:2] for found in listed}) < 2 or not re.search(r"\w", text[listed[-1].end() :]):
        return text
    return re.sub("|".join(items), blank, text, flags=re.IGNORECASE)


def is_unfinished_list(text: str, options: Sequence[str]) -> bool:
    """Return whether a reply ends within a list of the options: "A. Bridge: … B. Tower: …" where there are more."""
    lines = [line for line in text.splitlines() if line.strip()]
    items = [item_of(line, options) for line in lines]
    named = [item for item in items if item is not None]
    return 1 < len(named) < len(options) and named == list(range(len(named))) and items[-1] is not None


def item_of(text: str, options: Sequence[str], *, whole: bool = False) -> int | None:
    """Return which option a text begins with, or is as a whole, letter and text: "B. Tower: there is …"."""
    for index, option in enumerate(options):
        pattern = rf"\W{{0,4}}{chr(ord('A') + index)}[.):]\s{{0,2}}{re.escape(option.strip(' .'))}(?!\w)"
        if option.strip(" .") and re.match(pattern + (r"\W{0,4}$" if whole else ""), text, re.IGNORECASE):
            return index
    return None
