"""A scorer is a backend and a preset: images in, values with a distribution, a status and the raw reply out."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from PIL import Image

from ...common.identity import identity
from ..backends.backend import Backend, LevelLogits, Prompt, Reply
from ..errors import MllmError
from .compat import LETTER_PARSERS, NUMBER_PARSERS
from .outcomes import Choice, Comparison, Rating, Status
from .preset import PREPROCESSING, LetterTokens, Preset, Question, WrittenLetter, WrittenNumber
from .reply_judge import ReplyJudge, require_replies
from .scale import Reading, ScoreScale

__all__ = ["Choice", "Comparison", "Rating", "Scorer", "Status"]

Images = Image.Image | Sequence[Image.Image]
Result = TypeVar("Result")
Other = TypeVar("Other")


def option_letters(count: int) -> tuple[str, ...]:
    """Return the names of the first ``count`` options: ``A``, ``B`` and so on."""
    return tuple(chr(ord("A") + index) for index in range(count))


class Scorer:
    """Rates, answers and compares with one model and one preset.

    There is one result per input, in order. If something goes wrong with one input, the status of its result says so; a
    fault of the scorer itself (levels that are not single tokens, a question that the preset does not ask) raises.

    Args:
        backend: the model.
        preset: what is asked and how replies are read.
        judge: another model, which reads the replies that the preset cannot; none by default.

    Raises:
        MllmError: a judge for a preset without written replies.

    Examples:
        >>> from lopsided.mllm import create_preset
        >>> class Fair(Backend):  # a model whose only answer is 3
        ...     name = "fair"
        ...     definition = check_candidates = level_logits = None
        ...     def generate(self, prompts, **options):
        ...         return [Reply("Score: 3") for _ in prompts]
        >>> scorer = Scorer(Fair(), create_preset("numeric", high=5))
        >>> scorer.key
        'fair/numeric[high=5]'
        >>> scorer.rate([Image.new("RGB", (8, 8))])[0].value
        3.0
    """

    def __init__(self, backend: Backend, preset: Preset, judge: ReplyJudge | None = None):
        if judge is not None:
            require_replies(preset)
        self.backend = backend
        self.preset = preset
        self.judge = judge
        self._checked: set[tuple[str, ...]] = set()

    @property
    def key(self) -> str:
        """Readable name, e.g. ``Qwen2.5-VL-7B-Instruct/q-align``."""
        return f"{self.backend.name}/{self.preset.key}" + (f"+judge:{self.judge.backend.name}" if self.judge else "")

    def definition(self) -> dict[str, Any]:
        """Return what determines the results, as JSON."""
        judged = {"judge": self.judge.definition()} if self.judge else {}
        return {"backend": self.backend.identity, "preset": self.preset.definition(), **judged}

    @property
    def identity(self) -> str:
        """Short content hash of the definition."""
        return identity({"kind": "mllm-scorer", **self.definition()})

    def rate(
        self,
        images: Sequence[Image.Image],
        *,
        dimension: str | None = None,
        questions: Sequence[str] | None = None,
        seed: int = 0,
    ) -> list[Rating]:
        """Rate images.

        Args:
            images: any mode and size.
            dimension: one that the preset asks about, by its name or a benchmark's (``quality`` or ``IQA``); None for
                its first.
            questions: one text per image, from a benchmark; each replaces the preset's own if the preset
                ``takes_wording``, and "" keeps it. The numbers they ask for must be on the preset's scale.
            seed: of the sampling, for a preset with a temperature above 0.

        Returns:
            One rating per image; ``preset.scale(dimension)`` has their range and direction.

        Raises:
            MllmError: a dimension the preset does not ask about, a wrong number of questions, or a backend that cannot
                do what the preset needs.
        """
        asked = self.preset.question(dimension)
        texts = [""] * len(images) if questions is None else list(questions)
        written = asked.reading if isinstance(asked.reading, WrittenNumber) else None
        wording, schema = self.preset.takes_wording, written and written.schema
        form = f"\n{written.form}" if written and schema else ""
        prompts = [
            self._prompt(image, asked, text + form if wording and text else "", schema)
            for image, text in _paired(images, texts, "questions")
        ]
        if isinstance(asked.reading, ScoreScale):
            readings = (_read(asked.reading, logits) for logits in self._next_token(prompts, asked.reading.candidates))
            return [
                Rating(reading.value, reading.distribution, reading.mass, "ok", "")
                if isinstance(reading, Reading)
                else Rating(None, None, None, "failed", reading)
                for reading in readings
            ]
        found = [read_rating(self.preset, dimension, reply) for reply in self._generate(prompts, seed)]
        if self.judge is None or written is None:
            return found
        return self.judge.ratings(found, [prompt.text for prompt in prompts], written)

    def answer(self, image: Images, question: str, options: Sequence[str]) -> Choice:
        """Answer one multiple-choice question; see ``answers``."""
        return self.answers([image], [question], [options])[0]

    def answers(
        self,
        images: Sequence[Images],
        questions: Sequence[str],
        options: Sequence[Sequence[str]],
        *,
        seed: int = 0,
    ) -> list[Choice]:
        """Answer multiple-choice questions.

        Args:
            images: one image, or several in order, per question.
            questions: the texts. If a text does not list its options, they are added to it, one per line.
            options: the options' texts per question; their names are the letters from A.
            seed: of the sampling, for a preset with a temperature above 0.

        Returns:
            One choice per question.

        Raises:
            MllmError: a preset that asks no such questions, different numbers of inputs, or fewer than two options.
        """
        asked = self.preset.multiple_choice
        if asked is None:
            raise MllmError(f"preset {self.preset.key} answers no multiple-choice questions; 'letters' does")
        prompts = []
        asking = _paired(images, questions, "questions")
        for (_, listed), (shown, text) in zip(_paired(images, options, "lists of options"), asking, strict=True):
            if not 2 <= len(listed) <= 26:
                raise MllmError(f"question {text[:60]!r} has {len(listed)} options, it needs 2 to 26")
            written = asked.reading if isinstance(asked.reading, WrittenLetter) else None
            schema = written and written.schema(option_letters(len(listed)))
            prompts.append(
                self._prompt(shown, asked, asked.text.replace("{question}", with_options(text, listed)), schema)
            )
        if isinstance(asked.reading, LetterTokens):
            counts = [len(listed) for listed in options]
            logits = self._next_token(prompts, option_letters(max(counts, default=2)))
            return [_choose(these, count) for these, count in zip(logits, counts, strict=True)]
        replies = zip(self._generate(prompts, seed), options, strict=True)
        found = [read_choice(self.preset, listed, reply) for reply, listed in replies]
        return found if self.judge is None else self.judge.choices(found, [prompt.text for prompt in prompts], options)

    def compare(self, pairs: Sequence[tuple[Image.Image, Image.Image]]) -> list[Comparison]:
        """Compare pairs of images.

        Args:
            pairs: two images each, shown in this order. Models prefer one position: ask both orders to see by how much.

        Returns:
            One comparison per pair.

        Raises:
            MllmError: a preset that does not compare.
        """
        asked = self.preset.comparison
        if asked is None or not isinstance(asked.reading, ScoreScale):
            raise MllmError(f"preset {self.preset.key} does not compare images; 'compare2score' does")
        low, high = asked.reading.range
        prompts = [self._prompt(pair, asked) for pair in pairs]
        readings = (_read(asked.reading, logits) for logits in self._next_token(prompts, asked.reading.candidates))
        return [
            Comparison((high - reading.value) / (high - low), reading.distribution, reading.mass, "ok", "")
            if isinstance(reading, Reading)
            else Comparison(None, None, None, "failed", reading)
            for reading in readings
        ]

    def reply(self, images: Sequence[Images], questions: Sequence[str], *, seed: int = 0) -> list[Reply]:
        """Ask open questions, and return what the model writes, not parsed; at most ``preset.max_tokens`` tokens.

        Args:
            images: one image, or several in order, per question.
            questions: the texts, used unchanged.
            seed: of the sampling, for a preset with a temperature above 0.

        Raises:
            MllmError: a wrong number of questions.
        """
        asked = _paired(images, questions, "questions")
        return self._generate([Prompt(self._shown(shown), text) for shown, text in asked], seed)

    def _shown(self, images: Images) -> tuple[Image.Image, ...]:
        """Return images after the preset's steps."""
        shown = []
        for image in [images] if isinstance(images, Image.Image) else images:
            rgb = image.convert("RGB")
            for step in self.preset.preprocessing:
                rgb = PREPROCESSING[step](rgb)
            shown.append(rgb)
        return tuple(shown)

    def _prompt(
        self, images: Images, asked: Question, text: str = "", schema: Mapping[str, Any] | None = None
    ) -> Prompt:
        return Prompt(self._shown(images), text or asked.text, asked.prefix, asked.system, schema)

    def _generate(self, prompts: Sequence[Prompt], seed: int) -> list[Reply]:
        """Return what the model writes for each prompt."""
        limit, temperature = self.preset.max_tokens, self.preset.temperature
        if not prompts:
            return []
        replies = self.backend.generate(prompts, max_tokens=limit, temperature=temperature, seed=seed)
        return self._complete(replies, len(prompts))

    def _next_token(self, prompts: Sequence[Prompt], candidates: tuple[str, ...]) -> list[LevelLogits]:
        """Return how probable the candidates are as the next token of each prompt."""
        if candidates not in self._checked:
            self.backend.check_candidates(candidates)
            self._checked.add(candidates)
        return self._complete(self.backend.level_logits(prompts, candidates) if prompts else [], len(prompts))

    def _complete(self, results: list[Result], count: int) -> list[Result]:
        """Return a backend's results if there is one per prompt."""
        if len(results) != count:
            raise MllmError(f"backend {self.backend.name} returned {len(results)} results for {count} prompts")
        return results


def read_rating(preset: Preset, dimension: str | None, reply: Reply) -> Rating:
    """Read a written number as a preset says; None takes its first dimension."""
    scale = preset.scale(dimension)
    assert isinstance(scale, WrittenNumber)  # noqa: S101 - the only other scale there is
    if reply.failure:
        return Rating(None, None, None, "failed", reply.failure)
    about = dimension or preset.dimensions[0]
    parsed = NUMBER_PARSERS[scale.parser](reply.text, scale.low, scale.high, finished=reply.finished, asked=about)
    return Rating(parsed.value, None, None, parsed.status, reply.text)


def read_choice(preset: Preset, options: Sequence[str], reply: Reply) -> Choice:
    """Read a written letter as a preset says."""
    reading = preset.multiple_choice and preset.multiple_choice.reading
    assert isinstance(reading, WrittenLetter)  # noqa: S101 - the only other way to read a choice
    if reply.failure:
        return Choice(None, None, None, "failed", reply.failure)
    parsed = LETTER_PARSERS[reading.parser](reply.text, options, finished=reply.finished)
    return Choice(parsed.letter, None, None, parsed.status, reply.text)


def _read(scale: ScoreScale, logits: LevelLogits) -> Reading | str:
    """Return a scale's reading of a model's next token, or why there is none."""
    if logits.failure:
        return logits.failure
    try:
        reading = scale.read(logits.log_probabilities)
    except MllmError as error:
        return str(error)
    return reading if logits.over_vocabulary else replace(reading, mass=None)


def _choose(logits: LevelLogits, count: int) -> Choice:
    """Return the most probable of the first ``count`` letters."""
    letters = option_letters(count)
    scale = ScoreScale(levels=letters, values=tuple(map(float, range(count))), lead="")
    reading = _read(scale, replace(logits, log_probabilities=logits.log_probabilities[:count]))
    if isinstance(reading, str):
        return Choice(None, None, None, "failed", reading)
    highest = max(reading.distribution.values())
    best = [letter for letter, probability in reading.distribution.items() if probability == highest]
    return (
        Choice(best[0], reading.distribution, reading.mass, "ok", "")
        if len(best) == 1
        else Choice(None, reading.distribution, reading.mass, "ambiguous", "")
    )


def with_options(question: str, options: Sequence[str]) -> str:
    """Return a question with its options, one per line, unless it lists them itself."""
    letters = option_letters(len(options))
    if all(re.search(rf"(?m)^\W*{letter}\W", question) for letter in letters):
        return question
    return "\n".join([question, *(f"{letter}. {text}" for letter, text in zip(letters, options, strict=True))])


def _paired(images: Sequence[Images], others: Sequence[Other], what: str) -> list[tuple[Images, Other]]:
    """Return images with what belongs to each."""
    if len(images) != len(others):
        raise MllmError(f"{len(images)} inputs need as many {what}, got {len(others)}")
    return list(zip(images, others, strict=True))
