"""Questions about pictures from different cultures, in our own words: the authors' are not published.

CultureMix (arXiv 2511.22787) tries three ways of asking: plainly, PromptDirect (attend to the target, ignore the rest)
and PromptCoT (reason about the target first). Every question ends with the form of answer that ``answers.py``
reads.
"""

from __future__ import annotations

from ..errors import MllmError

DIRECT, PROMPT_DIRECT, PROMPT_COT = "direct", "PromptDirect", "PromptCoT"
STRATEGIES = (DIRECT, PROMPT_DIRECT, PROMPT_COT)
_FORM_FOOD = "Answer with two lines only:\nFood: <name of the dish>\nCountry: <country>"
_FORM_COUNTRY = "Answer with one line only:\nCountry: <country>"
_AFTER_THINKING = "End your reply with"


def ask(target: str, rest: str, *, strategy: str, food: bool) -> str:
    """Word a question.

    Args:
        target: what is asked about, e.g. ``the dish on the left``.
        rest: what to ignore, e.g. ``the other dish and the background``; "" if there is nothing.
        strategy: one of ``STRATEGIES``.
        food: whether the question asks for the dish's name besides the country.

    Raises:
        MllmError: an unknown strategy.
    """
    if strategy not in STRATEGIES:
        raise MllmError(f"there is no strategy {strategy!r}; choose {', '.join(STRATEGIES)}.")
    asked = f"What is the name of {target}, and which" if food else "Which"
    question = f"{asked} country does {'it' if food else target} most likely come from?"
    form = _FORM_FOOD if food else _FORM_COUNTRY
    if strategy == DIRECT:
        return f"{question}\n{form}"
    ignoring = f" Ignore {rest}: it says nothing about the origin of {target}." if rest else ""
    focus = f"Look at {target} alone.{ignoring}"
    if strategy == PROMPT_DIRECT:
        return f"{focus} {question}\n{form}"
    steps = (
        f"First describe {target} step by step: its ingredients or parts, shape, colour and style."
        if food
        else (f"First describe {target} step by step: its parts, shape, colour and style.")
    )
    return f"{focus} {question}\n{steps} {form.replace('Answer with', _AFTER_THINKING)}"


def reply(food: str, country: str) -> str:
    """Return the right reply in the form that the questions ask for; without ``food``, only the country."""
    return f"Food: {food}\nCountry: {country}" if food else f"Country: {country}"
