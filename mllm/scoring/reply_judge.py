"""Another model reads the replies that the parser could not: it finds the value in a reply, and rates nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from ..backends.backend import Backend, Prompt, Reply
from ..errors import MllmError
from .outcomes import Choice, Rating
from .preset import GRAMMAR, Preset, WrittenLetter, WrittenNumber
from .written_letter import parse_letter
from .written_number import parse_number

NO_ANSWER = "UNREADABLE"
_TASK = (
    "Below are a question about an image, and somebody's reply. Do not answer the question yourself. {find}. If the "
    f"reply gives none, or more than one, write {NO_ANSWER}.\n\n<question>\n{{question}}\n</question>\n\n<reply>\n"
    "{reply}\n</reply>\n\n{form}"
)
_NUMBER = (
    "Find the number that the reply gives",
    f"Write this number only, from {{low:g}} to {{high:g}}, or {NO_ANSWER}.",
)
_LETTER = ("Find the option that the reply chooses", f"Write the letter of this option only, or {NO_ANSWER}.")

Found = TypeVar("Found", Rating, Choice)


class ReplyJudge:
    """Reads replies of status ``unparsable``; all other statuses stay as they are.

    What it finds has ``parsed_by`` "judge" and the judge's own words in ``judge_reply``. If it finds nothing, the
    reply stays ``unparsable``. If it cannot be asked, the item is ``failed``, so that the next run asks again.

    Args:
        backend: the judge's model; it sees text only, no image.
        max_tokens: of the judge's reply.

    Examples:
        >>> class Clerk(Backend):  # reads "so-so" as 3
        ...     name = "clerk"
        ...     definition = check_candidates = level_logits = None
        ...     def generate(self, prompts, **options):
        ...         return [Reply("3" if "so-so" in prompt.text else "UNREADABLE") for prompt in prompts]
        >>> unread = [Rating(None, None, None, "unparsable", raw) for raw in ("so-so", "a lamp")]
        >>> scale = WrittenNumber(low=1, high=5)
        >>> for found in ReplyJudge(Clerk()).ratings(unread, ["How good is it?"] * 2, scale):
        ...     print(found.value, found.status, found.parsed_by)
        3.0 ok judge
        None unparsable judge
    """

    def __init__(self, backend: Backend, max_tokens: int = 256) -> None:
        self.backend = backend
        self.max_tokens = max_tokens

    def definition(self) -> dict[str, Any]:
        """Return what determines what it finds, as JSON."""
        prompts = [_TASK, *_NUMBER, *_LETTER]
        return {
            "backend": self.backend.identity,
            "prompts": prompts,
            "max_tokens": self.max_tokens,
            "grammar": GRAMMAR,
        }

    def ratings(self, found: Sequence[Rating], questions: Sequence[str], scale: WrittenNumber) -> list[Rating]:
        """Return the ratings, those that the parser could not read as the judge reads them.

        Args:
            found: what the parser read.
            questions: what was asked, one per rating.
            scale: of the numbers asked for.
        """
        find, form = _NUMBER
        prompts = [_prompt(find, form.format(low=scale.low, high=scale.high), q) for q in questions]

        def read(reply: Reply, _: int) -> dict[str, Any] | None:
            parsed = parse_number(reply.text, scale.low, scale.high, finished=reply.finished)
            return {"value": parsed.value} if parsed.status == "ok" else None

        return self._read(found, prompts, read)

    def choices(
        self, found: Sequence[Choice], questions: Sequence[str], options: Sequence[Sequence[str]]
    ) -> list[Choice]:
        """Return the choices, those that the parser could not read as the judge reads them.

        Args:
            found: what the parser read.
            questions: what was asked, with the options, one per choice.
            options: the options' texts per choice.
        """

        def read(reply: Reply, index: int) -> dict[str, Any] | None:
            parsed = parse_letter(reply.text, options[index], finished=reply.finished)
            return {"choice": parsed.letter} if parsed.status == "ok" else None

        return self._read(found, [_prompt(*_LETTER, question) for question in questions], read)

    def _read(
        self,
        found: Sequence[Found],
        prompts: Sequence[str],
        read: Callable[[Reply, int], dict[str, Any] | None],
    ) -> list[Found]:
        unread = [index for index, one in enumerate(found) if one.status == "unparsable"]
        texts = [prompts[index].replace("{reply}", found[index].raw, 1) for index in unread]
        asked = [Prompt((), text) for text in texts]
        replies = self.backend.generate(asked, max_tokens=self.max_tokens, temperature=0.0) if asked else []
        result = list(found)
        for index, reply in zip(unread, replies, strict=True):
            before = found[index]
            if reply.failure:
                why = f"{self.backend.name}, which reads unparsable replies, gave no reply: {reply.failure}"
                result[index] = replace(before, status="failed", raw=why)
                continue
            value = None if NO_ANSWER in reply.text else read(reply, index)
            status = "unparsable" if value is None else "ok"
            result[index] = replace(before, **(value or {}), status=status, parsed_by="judge", judge_reply=reply.text)
        return result


def require_replies(preset: Preset) -> None:
    """Raise MllmError if a preset has no written replies that a judge could read."""
    asked = [*preset.ratings.values(), *filter(None, [preset.multiple_choice])]
    if not any(isinstance(question.reading, WrittenNumber | WrittenLetter) for question in asked):
        raise MllmError(
            f"preset {preset.key} reads probabilities: there is no reply that a judge could read; leave it out"
        )


def _prompt(find: str, form: str, question: str) -> str:
    """Return the judge's question, with a place for the reply."""
    return _TASK.replace("{find}", find).replace("{form}", form).replace("{question}", question.replace("{reply}", ""))
