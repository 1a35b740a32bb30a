"""What a preset is: questions, how their answers are read, and which steps images go through before."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from types import MappingProxyType
from typing import Any

from PIL import Image

from ...common.identity import identity
from ..errors import MllmError
from .scale import ScoreScale

CONSTRAINED = "constrained"  # the parser of replies that a JSON schema has formed
GRAMMAR = 3  # of the robust parsers: another one reads some replies otherwise


def _object(name: str, value: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": {name: value}, "required": [name], "additionalProperties": False}


@dataclass(frozen=True, kw_only=True)
class WrittenNumber:
    """The model writes a number.

    Attributes:
        low: lowest number asked for.
        high: highest number asked for.
        higher_is_better: direction.
        parser: a name in ``compat.NUMBER_PARSERS``: ``robust``, ``constrained``, or an original's.
    """

    low: float
    high: float
    higher_is_better: bool = True
    parser: str = "robust"

    @property
    def schema(self) -> dict[str, Any] | None:
        """JSON schema that the reply is kept to; None if it is free."""
        number = {"type": "number", "minimum": self.low, "maximum": self.high}
        return _object("rating", number) if self.parser == CONSTRAINED else None

    @property
    def form(self) -> str:
        """What the prompt must say of a constrained reply."""
        return f'Reply with JSON only: {{"rating": a number from {self.low:g} to {self.high:g}}}.'

    @property
    def range(self) -> tuple[float, float]:
        """Lowest and highest value."""
        return self.low, self.high


@dataclass(frozen=True, kw_only=True)
class WrittenLetter:
    """The model writes the letter of an option.

    Attributes:
        parser: a name in ``compat.LETTER_PARSERS``: ``robust``, ``constrained``, or an original's.
    """

    parser: str = "robust"
    form = 'Reply with JSON only: {"answer": the letter}.'

    def schema(self, letters: Sequence[str]) -> dict[str, Any] | None:
        """Return the JSON schema that the reply is kept to; None if it is free."""
        return _object("answer", {"type": "string", "enum": list(letters)}) if self.parser == CONSTRAINED else None


@dataclass(frozen=True)
class LetterTokens:
    """The letters of the options are candidates for the next token: the most probable one is the choice."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """What is asked, and how the answer is read.

    Attributes:
        text: what the user says; ``{question}`` is replaced by a benchmark's question.
        reading: what the answer is: a level, a number or a letter.
        prefix: how the model's answer begins.
        system: the system message; empty leaves the chat template's own.
    """

    text: str
    reading: ScoreScale | WrittenNumber | WrittenLetter | LetterTokens
    prefix: str = ""
    system: str = ""

    def definition(self) -> dict[str, Any]:
        """Return the content as JSON."""
        reading = self.reading.definition() if isinstance(self.reading, ScoreScale) else asdict(self.reading)
        if reading.get("parser") == "robust":
            reading["grammar"] = GRAMMAR
        return {
            "text": self.text,
            "prefix": self.prefix,
            "system": self.system,
            "reading": {"kind": type(self.reading).__name__, **reading},
        }


@dataclass(frozen=True, kw_only=True)
class Preset:
    """What a scorer asks, how it reads replies, and what it claims to reproduce.

    The identity covers what is shown, asked and read, but neither the key nor the descriptions.

    Attributes:
        key: name in ``list_presets``, followed by the options that were changed.
        ratings: dimension → question, for ``Scorer.rate``; the first is the default. Empty if it does not rate.
        multiple_choice: for ``Scorer.answers``; None if it answers no such questions.
        comparison: for ``Scorer.compare``; its scale says how much better the *second* image is. None if it does not
            compare.
        preprocessing: steps for every image before the backend's own, names in ``PREPROCESSING``.
        max_tokens: limit of a written reply.
        temperature: of written replies; 0 is greedy.
        takes_wording: whether ratings are asked in a benchmark's own words if it has some. False if the reading needs
            the preset's own words: levels follow its prefix.
        reproduces: which part of which published scorer this is, and which part is not.
        unknown: what is not known about the original.
    """

    key: str
    ratings: Mapping[str, Question] = field(default_factory=lambda: MappingProxyType({}))
    multiple_choice: Question | None = None
    comparison: Question | None = None
    preprocessing: tuple[str, ...] = ()
    max_tokens: int = 64
    temperature: float = 0.0
    takes_wording: bool = False
    reproduces: str
    unknown: str = ""

    def definition(self) -> dict[str, Any]:
        """Return what determines prompts and readings, as JSON."""
        return {
            "ratings": {name: question.definition() for name, question in self.ratings.items()},
            "multiple_choice": self.multiple_choice and self.multiple_choice.definition(),
            "comparison": self.comparison and self.comparison.definition(),
            "preprocessing": list(self.preprocessing),
            "max_tokens": self.max_tokens,
            "temperature": self.temperature,
            "takes_wording": self.takes_wording,
        }

    @property
    def constrained(self) -> bool:
        """Whether replies are kept to a JSON schema."""
        asked = (*self.ratings.values(), *filter(None, [self.multiple_choice]))
        return any(getattr(question.reading, "parser", "") == CONSTRAINED for question in asked)

    @property
    def identity(self) -> str:
        """Short content hash of the definition."""
        return identity({"kind": "mllm-preset", **self.definition()})

    @property
    def dimensions(self) -> tuple[str, ...]:
        """The dimensions it rates, the default first."""
        return tuple(self.ratings)

    def question(self, dimension: str | None = None) -> Question:
        """Return what it asks about a dimension, by its name or a benchmark's (``quality`` or ``IQA``).

        Raises:
            MllmError: a dimension it does not rate.
        """
        if not self.ratings:
            raise MllmError(f"preset {self.key} does not rate images; most others do, such as q-align or numeric")
        if dimension is None:
            return next(iter(self.ratings.values()))
        name = dimension.lower()
        name = ALIASES.get(name, name)
        if name not in self.ratings:
            raise MllmError(f"preset {self.key} does not rate {dimension!r}, only {', '.join(self.ratings)}")
        return self.ratings[name]

    def scale(self, dimension: str | None = None) -> ScoreScale | WrittenNumber:
        """Return the scale of its ratings of a dimension: it has a ``range`` and ``higher_is_better``.

        Raises:
            MllmError: a dimension it does not rate.
        """
        reading = self.question(dimension).reading
        if isinstance(reading, ScoreScale | WrittenNumber):
            return reading
        raise MllmError(f"preset {self.key} reads ratings as {type(reading).__name__}, which has no scale")


def _resize_448(image: Image.Image) -> Image.Image:
    return image.resize((448, 448), Image.Resampling.BICUBIC)


def _pad_square(image: Image.Image) -> Image.Image:
    width, height = image.size
    side = max(width, height)
    square = Image.new("RGB", (side, side), (122, 116, 104))  # the mean of CLIP's training images, in whole grey levels
    square.paste(image, ((side - width) // 2, (side - height) // 2))
    return square


def _long_side_448(image: Image.Image) -> Image.Image:
    share = 448 / max(image.size)
    if share >= 1:
        return image
    width, height = (max(1, int(side * share)) for side in image.size)
    return image.resize((width, height), Image.Resampling.BICUBIC)


# On RGB images, in the order in which a preset names them. A name is part of identities: never change what one does.
PREPROCESSING: Mapping[str, Callable[[Image.Image], Image.Image]] = MappingProxyType(
    {
        "resize-448x448-bicubic": _resize_448,
        "pad-square-clip-mean": _pad_square,
        "long-side-448-bicubic": _long_side_448,
    }
)

# What benchmarks call the dimensions, in lower case.
ALIASES: Mapping[str, str] = MappingProxyType({"iqa": "quality", "iaa": "aesthetics", "ista": "structure"})
