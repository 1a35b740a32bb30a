"""What other toolkits can ask as a preset does: a written number or letter, about images as they are."""

from __future__ import annotations

from ..backends.backend import Reply
from ..errors import MllmError
from ..item import Item
from ..scoring.outcomes import Choice, Rating
from ..scoring.preset import CONSTRAINED, Preset, WrittenLetter, WrittenNumber
from ..scoring.scorer import read_choice, read_rating


def question_text(preset: Preset, item: Item) -> str:
    """Return what a preset asks about an item, without the options of a choice.

    Raises:
        MllmError: the preset reads probabilities, keeps replies to a schema, begins the reply or changes images, which
            other toolkits do not.
    """
    if item.task == "open":
        return item.question
    asked = preset.multiple_choice if item.task == "answer" else preset.question(item.dimension)
    reading = asked and asked.reading
    if asked is None or not isinstance(reading, WrittenNumber | WrittenLetter) or reading.parser == CONSTRAINED:
        raise MllmError(f"other toolkits read written replies only, and preset {preset.key} has none; numeric has")
    if asked.prefix or asked.system or preset.preprocessing:
        raise MllmError(
            f"preset {preset.key} changes images or begins replies, which other toolkits do not; take numeric"
        )
    if item.task == "answer":
        return item.question
    return item.question if preset.takes_wording and item.question else asked.text


def read_reply(preset: Preset, item: Item, reply: str) -> Rating | Choice:
    """Read a reply as the preset says; of an open question it is taken as it is."""
    if item.task == "rate":
        return read_rating(preset, item.dimension, Reply(reply))
    if item.task == "answer":
        return read_choice(preset, item.options, Reply(reply))
    return Choice(None, None, None, "ok" if reply.strip() else "empty", reply)
