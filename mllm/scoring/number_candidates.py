"""The numbers of a reply that may be its answer, and how clearly each of them is: by the words around it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import zip_longest

from .answer_words import BOUND_AFTER, BOUND_BEFORE, words_of
from .number_tokens import NumberTokens, Token, values_of

FINAL, MARKED, NAMED, BARE = range(4)

_CLAUSE = 200  # characters: a condition is not farther from what it is about
_FAR = 60  # tokens: what is farther from a number is not about it
_OBJECTS = words_of("it its this that the my i we you your our image's")  # a noun phrase begins with them
_SUBJECTS = words_of("i we you")
_PREPOSITIONS = words_of("of for in on to about de du des la le")
_EXPLAINS = words_of("because since as but due given which although though while so and with considering")
_COUNTED = words_of("images pictures photos photographs times")
_HYPOTHETICAL = words_of("would could might")
_IMPLIES = words_of("mean imply require indicate represent denote signify")
_REVISED = words_of("revised corrected adjusted updated changed")
_NUMBERED = words_of("instruction instructions prompt caption edit")
_APART = words_of("but so and whereas while yet")  # a clause begins with them
_RESULT = words_of("to at from")
# What would hold if the image were another one; "if I had to choose" is a choice.
_CONDITION = re.compile(
    r"\b(?:if|unless|were it|had it|without)\b(?! (?:i|we|you|one) (?:have|had|must|need|was|were|am|may)\b"
    r"| (?:any|forced|pressed|pushed|asked|needed|you ask)\b)",
    re.IGNORECASE,
)
_UNREAL = re.compile(r"\b(?:would|could|might|were)\b|['’]d\b", re.IGNORECASE)
_MISSED_CHANCE = re.compile(r"\b(?:would|could|might)(?: \w+ly)? have (?:been|got|gotten|\w+ed)\b", re.IGNORECASE)
_REAL_AGAIN = re.compile(r"[.!?;\n](?=\s|$)|\b(?:but|as it (?:is|stands)|however)\b", re.IGNORECASE)
_SURE = words_of("sure confident certain certainty confidence probability probable")
NO_RATING = _SURE | words_of("id index image")  # in names of fields


@dataclass(frozen=True)
class Candidate:
    """A number that may be the answer: what it can mean, how clearly it is one, and where it is."""

    readings: frozenset[float]
    tier: int
    start: int
    end: int
    goal: frozenset[str] = frozenset()  # the words that name what is rated, if it is not quality

    def holds(self, later: Candidate | None) -> bool:
        """Return whether this is a range and the other, after it, a number in it: "70-75, probably 72"."""
        ends, values = sorted(self.readings), sorted(later.readings if later else ())
        return len(ends) == 2 and len(values) == 1 and ends[0] <= values[0] <= ends[1]


def sole_goal(found: list[Candidate], others: bool) -> list[Candidate]:
    """Return the candidates without those of a goal, unless it is the only thing that a reply rates."""
    goals = {candidate.goal for candidate in found if candidate.tier == NAMED}
    return [candidate for candidate in found if candidate.tier != NAMED] if others or len(goals) > 1 else found


class Reader(NumberTokens):
    """The tokens of an answer, and how clearly each number in it is one."""

    last_number = 0  # its index among the tokens
    goal: frozenset[str] = frozenset()  # the words before the last number looked at that name another goal than quality
    bounded = False  # whether a number was left out because it is a bound

    def candidates(self) -> list[Candidate]:
        """Return the numbers that may be the answer."""
        found: list[Candidate] = []
        others = False  # whether the reply rates something else
        self.last_number = max((index for index, token in enumerate(self.tokens) if token.kind == "number"), default=0)
        for index, token in enumerate(self.tokens):
            if token.kind == "number" and not token.is_scale and not token.is_operand:
                self.goal = frozenset[str]()
                tier = self._tier(index)
                if tier is not None:
                    goal = self.goal if tier == NAMED else frozenset[str]()
                    found.append(Candidate(self.readings(token), tier, token.start, token.end, goal))
                others |= tier is None and self._is_rating(index)
        found = sole_goal(found, others)
        return [first for first, then in zip_longest(found, found[1:]) if not first.holds(then)]

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
        if self._is_label(index) or self._is_asked(index) or self._is_unreal(token):
            return None
        unit = self._follows(index)
        if unit is None:
            return None
        whole = token.found["whole"]
        if token.is_result:
            return MARKED
        marked = unit or self._on_scale(index) or bool(whole and values_of(whole, self.high, self.high) == {self.high})
        lead = self._leads(index, marked)
        if lead is None:
            return None
        if self.goal and lead == MARKED:
            if "goal" in self.tokens[index - 1].classes and (
                not whole or self.tokens[index - 1].text.lower() in _NUMBERED
            ):
                return None  # "Instruction 2"; but "Naturalness 4/5"
            lead = NAMED
        return lead if lead < BARE or self._alone(index) else None

    def _is_rating(self, index: int) -> bool:
        """Return whether a number that is no answer rates something: "Colour: 7", "Colour 7/10", "| Colour | 7 |"."""
        token, before = self.tokens[index], self.near(index, -1)
        return bool(token.found["whole"] or (before and before.text in (":", "|", "=", "(")))

    def _is_label(self, index: int) -> bool:
        """Return whether a number names another: "Image 1: 7"."""
        after = self.tokens[index + 1 : index + 3]
        return len(after) == 2 and after[0].text in ":=" and after[1].kind == "number"

    def _is_asked(self, index: int) -> bool:
        """Return whether a number is a question that more numbers follow: "Perhaps 55? Rather 60."."""
        after = self.tokens[index + 1 : index + 2]
        return bool(after) and after[0].text == "?" and self.last_number > index

    def _is_unreal(self, token: Token) -> bool:
        """Return whether a number is of an image that there might have been: "would merit 80 if it were sharp"."""
        before = _REAL_AGAIN.split(self.text[max(0, token.start - _CLAUSE) : token.start])[-1]
        clause = before + token.text + _REAL_AGAIN.split(self.text[token.end : token.end + _CLAUSE])[0]
        return bool(_MISSED_CHANCE.search(clause) or (_CONDITION.search(clause) and _UNREAL.search(clause)))

    def _on_scale(self, index: int) -> bool:
        """Return whether a number is followed by the scale asked for: "7 on the requested 1-10 scale"."""
        rest = [token for token in self.tokens[index + 1 : index + 6] if token.kind != "mark"]
        if not rest or rest[0].text.lower() != "on":
            return False
        return any(token.is_scale and token.found["upper"] for token in rest) and not self.another_scale

    def _follows(self, index: int) -> bool | None:
        """Return whether a unit follows a number; None if what follows says that it counts something else."""
        rest = [token for token in self.tokens[index + 1 : index + 8] if token.text not in "\"'“”)]}"]
        unit = bool(rest and rest[0].kind == "word" and "unit" in rest[0].classes)
        if unit:
            rest = rest[1:]
        if not rest or rest[0].kind != "word":
            return unit
        word = rest[0].text.lower()
        if [token.text.lower() for token in rest[:2]] == ["at", "first"]:
            return None  # a first thought: "4/5 at first sight"
        if word in _HYPOTHETICAL and len(rest) > 1 and rest[1].text.lower() in _IMPLIES:
            return None  # of the scale: "a score of 100 would mean a flawless image"
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
        result = self._follows_word(index, _RESULT)  # of a change: "down to a 5"
        position = index - 1
        while position >= max(0, index - _FAR):
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
            if word in _APART and not final:
                apart = True
            before = self.tokens[position].text.lower() if position >= 0 else ""
            if word == "from" and position == index - 2 and before in _REVISED:
                return None
            if before == "which" and any("other" in of.classes for of in self.tokens[max(0, position - 5) : position]):
                return None  # "the previous photo, which I rated 6"
            if word in _OBJECTS and (marked or final) and (word in _SUBJECTS or before not in _PREPOSITIONS):
                if self._is_first_thought(position) or (not result and self._is_change(position)):
                    return None
                break
            if apart and not token.classes & {"final", "mark", "filler", "level"}:
                break
            if not token.classes or (token.classes == {"foreign"} and colon and not named):
                return None
            if "negation" in token.classes and not apart and not self._of_level(position + 1, index):
                return None
            is_change = "change" in token.classes and not (result and (named or final or self._is_of_mark(position)))
            if is_change or "other" in token.classes:
                near = position == index - 2 or self.tokens[position + 2].text == ":"  # "a perfect 10", "Average: 6"
                if not (near and "level" in token.classes):
                    return None
            final |= "final" in token.classes
            named |= bool(token.classes & {"mark", "goal"})
            if "goal" in token.classes and not final:
                self.goal |= {word}
            marked |= named
        return FINAL if final else MARKED if marked else BARE

    def _is_of_mark(self, position: int) -> bool:
        """Return whether the words up to a position end with what is asked for: "the score (drops to 40)"."""
        return any(token.classes & {"mark", "final"} for token in self.tokens[max(0, position - 1) : position + 1])

    def _is_change(self, position: int) -> bool:
        """Return whether the word at a position is a change: "noise costs it 20 points"."""
        return position >= 0 and "change" in self.tokens[position].classes

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
            while max(0, index - _FAR) <= position < min(len(self.tokens), index + _FAR):
                token = self.tokens[position]
                if token.kind == "stop" or token.text in ",()[]" or (step > 0 and token.text.lower() in _EXPLAINS):
                    break
                if token.kind == "word" and not token.classes:
                    return False
                position += step
        return True
