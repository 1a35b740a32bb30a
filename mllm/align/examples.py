"""Items as examples for training: the prompt that a scorer would send, the answer to teach, and how a reply is read.

Prompts and readings are those of :class:`lopsided.mllm.Scorer` itself, with a backend that only listens or only
repeats, so that training and evaluation cannot differ.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from PIL import Image

from ...common.images import read_rgb
from ..backends.backend import Backend, LevelLogits, Prompt, Reply
from ..errors import MllmError
from ..item import Item
from ..scoring.outcomes import Status
from ..scoring.preset import Preset
from ..scoring.presets import COGIP_LABELS
from ..scoring.scale import ScoreScale, level_of
from ..scoring.scorer import Scorer
from .config import Target
from .rewards import ParsedReply

_BLANK = Image.new("RGB", (1, 1))


class _Transcript(Backend):
    """Notes prompts, and replies with what it is given."""

    @property
    def name(self) -> str:
        return "transcript"

    def __init__(self, replies: Sequence[Reply] = ()) -> None:
        self.replies, self.prompts = list(replies), list[Prompt]()

    def definition(self) -> dict[str, Any]:
        return {"backend": self.name}

    def check_candidates(self, candidates: Sequence[str]) -> None:
        """Nothing is known of tokens here."""

    def level_logits(self, prompts: Sequence[Prompt], candidates: Sequence[str]) -> list[LevelLogits]:
        self.prompts += prompts
        return [LevelLogits(np.full(len(candidates), np.nan), failure="not asked") for _ in prompts]

    def generate(
        self, prompts: Sequence[Prompt], *, max_tokens: int, temperature: float = 0.0, seed: int = 0
    ) -> list[Reply]:
        del max_tokens, temperature, seed
        self.prompts += prompts
        return self.replies[: len(prompts)] or [Reply("", failure="not asked") for _ in prompts]


@dataclass(frozen=True)
class Example:
    """An item as it is trained on.

    Attributes:
        item: with its label and scale.
        system: the system message; empty leaves the chat template's own.
        text: what the user says.
        prefix: how the answer begins; part of ``answer``.
        answer: the whole right answer.
        score: the label on the preset's scale; NaN for a question.
        std: deviation of the label there; NaN where the item does not say (group ``std``).
    """

    item: Item
    system: str
    text: str
    prefix: str
    answer: str
    score: float
    std: float


def ask(preset: Preset, item: Item, images: Sequence[Image.Image]) -> Prompt:
    """Return the prompt that a scorer sends for an item, its images after the preset's steps.

    Raises:
        MllmError: a task that the preset does not have.
    """
    listener = _Transcript()
    scorer = Scorer(listener, preset)
    if item.task == "rate":
        if len(images) != 1:
            raise MllmError(f"item {item.id} of {item.benchmark} shows {len(images)} images; a rating is of one")
        scorer.rate(images, dimension=item.dimension, questions=[item.question])
    elif item.task == "answer":
        scorer.answers([list(images)], [item.question], [item.options])
    else:
        scorer.reply([list(images)], [item.question])
    return listener.prompts[0]


def make_example(item: Item, preset: Preset, target: Target, scale: tuple[float, float] | None = None) -> Example:
    """Return an item as an example.

    Args:
        item: with a label.
        preset: what is asked.
        target: the form of a written rating.
        scale: of the label, if the item does not say.

    Raises:
        MllmError: no label or scale, a label outside the scale, or a task that cannot be trained on.

    Examples:
        >>> from lopsided.mllm import create_preset
        >>> item = Item(
        ...     benchmark="own", dimension="IQA", id="1", task="rate", images=("a.png",), target=72.0, scale=(0, 100)
        ... )
        >>> make_example(item, create_preset("q-align"), Target()).answer
        'The quality of the image is good'
        >>> make_example(item, create_preset("numeric", high=10), Target(decimals=1)).answer
        '7.2'
    """
    where = f"item {item.id} of {item.benchmark}"
    if item.target is None:
        raise MllmError(f"{where} has no label to train on")
    if item.task == "rate" and item.scale is None:
        if scale is None:
            raise MllmError(
                f"{where} does not say its scale: give it in the file, or, for what is trained on, as "
                "scale: [lowest, highest] under data"
            )
        item = replace(item, scale=scale)
    prompt = ask(preset, item, [_BLANK] * max(len(item.images), 1))
    if item.task != "rate":
        return Example(item, prompt.system, prompt.text, "", str(item.target), math.nan, math.nan)
    assert item.scale is not None  # noqa: S101 - set above
    if not isinstance(item.target, int | float) or not item.scale[0] <= item.target <= item.scale[1]:
        raise MllmError(f"{where} has the label {item.target!r}, outside its scale {list(item.scale)}")
    low, high = preset.scale(item.dimension).range
    score = _to_preset(float(item.target), item, preset)
    std = _std(item, where) * (high - low) / (item.scale[1] - item.scale[0])
    answer = write_rating(score, item, preset, target)
    return Example(item, prompt.system, prompt.text, prompt.prefix, prompt.prefix + answer, score, std)


def _std(item: Item, where: str) -> float:
    given = item.groups.get("std", "nan")
    try:
        std = float(given)
    except ValueError:
        std = -1.0
    if std < 0 or std == math.inf:
        raise MllmError(f"{where} has the group std = {given!r}, which must be a number of 0 or more")
    return std


def write_rating(score: float, item: Item, preset: Preset, target: Target) -> str:
    """Return the words for a rating on the preset's scale, after the prefix."""
    reading = preset.scale(item.dimension)
    low, high = reading.range
    if isinstance(reading, ScoreScale):
        return reading.lead + level_of(reading, score, low, high)
    number = f"{score:.{target.decimals}f}"
    text = target.template.replace("{number}", number if float(number) else number.lstrip("-"))
    if "{label}" in text:
        bins = COGIP_LABELS.get(item.dimension.lower())
        label = bins.label_of(score) if bins else None
        if label is None:
            raise MllmError(f"there is no label for {score:g} of {item.dimension!r}: leave {{label}} out")
        text = text.replace("{label}", label)
    return text


def read_replies(replies: Sequence[Reply], items: Sequence[Item], preset: Preset) -> list[ParsedReply]:
    """Read written replies as the scorer does; ratings come back on the scales of their items."""
    return [_read(reply, item, preset) for reply, item in zip(replies, items, strict=True)]


def _read(reply: Reply, item: Item, preset: Preset) -> ParsedReply:
    tokens = reply.new_tokens or 0
    if item.task == "answer":
        images = [[_BLANK] * max(len(item.images), 1)]
        choice = Scorer(_Transcript([reply]), preset).answers(images, [item.question], [item.options])[0]
        return ParsedReply(choice.choice, choice.status, reply.text, tokens, item)
    reading = preset.scale(item.dimension)
    if isinstance(reading, ScoreScale):
        value, status = _read_level(reply.text, reading)
    else:
        rating = Scorer(_Transcript([reply]), preset).rate([_BLANK], dimension=item.dimension)[0]
        value, status = rating.value, rating.status
    return ParsedReply(None if value is None else _from_preset(value, item, preset), status, reply.text, tokens, item)


def _read_level(text: str, scale: ScoreScale) -> tuple[float | None, Status]:
    """Read a sampled reply that must be one of the levels."""
    word = text.strip()
    if not word:
        return None, "empty"
    values = dict(zip(scale.levels, scale.values, strict=True))
    return (values[word], "ok") if word in values else (None, "unparsable")


def _to_preset(value: float, item: Item, preset: Preset) -> float:
    reading = preset.scale(item.dimension)
    assert item.scale is not None  # noqa: S101 - of an example
    share = (value - item.scale[0]) / (item.scale[1] - item.scale[0])
    share = share if reading.higher_is_better == item.higher_is_better else 1 - share
    low, high = reading.range
    return min(max(low + share * (high - low), low), high)


def _from_preset(value: float, item: Item, preset: Preset) -> float:
    reading = preset.scale(item.dimension)
    assert item.scale is not None  # noqa: S101 - of an example
    low, high = reading.range
    share = (value - low) / (high - low)
    share = share if reading.higher_is_better == item.higher_is_better else 1 - share
    return item.scale[0] + share * (item.scale[1] - item.scale[0])


def shown(example: Example, preset: Preset) -> list[Image.Image]:
    """Read the images of an example, and return them after the preset's steps."""
    images = [Image.fromarray(read_rgb(path)) for path in example.item.images]
    return list(ask(preset, example.item, images).images)
