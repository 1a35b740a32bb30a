"""Score scales: words or tokens that mean values, and how their probabilities become one number."""

from __future__ import annotations

import math
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...common.identity import identity
from ..errors import MllmError

# If a server lists only the most probable tokens, the others count as improbable once those listed hold this much: no
# value can then be wrong by more than 1 % of the range.
COMPLETE = 0.99


@dataclass(frozen=True)
class Reading:
    """A value computed from the candidates' probabilities.

    Attributes:
        value: expectation of the levels' values.
        distribution: level → probability among the candidates; sums to 1.
        mass: share of the candidates in the softmax over the whole vocabulary; None if unknown.
    """

    value: float
    distribution: dict[str, float]
    mass: float | None


def to_bfloat16(values: ArrayLike) -> NDArray[np.float32]:
    """Round finite values to the nearest bfloat16, ties to even, and return them as float32."""
    bits = np.atleast_1d(np.asarray(values, dtype=np.float32)).view(np.uint32)
    rounded = (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) & np.uint32(0xFFFF0000)
    return rounded.view(np.float32).reshape(np.shape(values))


@dataclass(frozen=True, kw_only=True)
class ScoreScale:
    """Levels, each one token of the model, and their values: score = Σ p(level) · value(level).

    Attributes:
        levels: the words or letter pairs, without the space before them.
        values: their values, in the same order.
        lead: the text between the answer's prefix and a level: a space before words, nothing if the level is the
            whole answer.
        higher_is_better: direction of the values.
        temperature: the log-probabilities are divided by it before the softmax.
        bf16_compatible: round the probabilities and the expectation to bfloat16, as code does that computes in the
            model's dtype: values from 64 then have steps of 0.5, from 32 steps of 0.25, from 16 steps of 0.125. Use it
            to replay published numbers.

    Raises:
        MllmError: fewer than two levels, a repeated level, another number of values, or a temperature that is not
            positive.

    Examples:
        >>> scale = ScoreScale(levels=("good", "poor"), values=(1.0, 0.0))
        >>> reading = scale.read(np.log([0.6, 0.2]))
        >>> round(reading.value, 3), round(reading.mass, 3)
        (0.75, 0.8)
    """

    levels: tuple[str, ...]
    values: tuple[float, ...]
    lead: str = " "
    higher_is_better: bool = True
    temperature: float = 1.0
    bf16_compatible: bool = False

    def __post_init__(self) -> None:
        """Refuse a scale that cannot be read."""
        if len(self.levels) < 2 or len(set(self.levels)) != len(self.levels):
            raise MllmError(f"a scale needs two or more different levels, got {list(self.levels)}")
        if len(self.values) != len(self.levels) or not np.all(np.isfinite(self.values)):
            raise MllmError(f"a scale needs one finite value per level, got {len(self.values)} for {len(self.levels)}")
        if not 0 < self.temperature < np.inf:
            raise MllmError(f"the temperature of a scale must be positive, got {self.temperature}")

    @property
    def candidates(self) -> tuple[str, ...]:
        """What the model must write next for each level."""
        return tuple(self.lead + level for level in self.levels)

    @property
    def range(self) -> tuple[float, float]:
        """Lowest and highest value."""
        return min(self.values), max(self.values)

    def definition(self) -> dict[str, Any]:
        """Return the content of the scale as JSON."""
        return {
            "levels": list(self.levels),
            "values": list(self.values),
            "lead": self.lead,
            "higher_is_better": self.higher_is_better,
            "temperature": self.temperature,
            "bf16_compatible": self.bf16_compatible,
        }

    @property
    def identity(self) -> str:
        """Short content hash of the definition."""
        return identity({"kind": "score-scale", **self.definition()})

    def read(self, log_probabilities: ArrayLike) -> Reading:
        """Return the expectation over the levels.

        Args:
            log_probabilities: of the candidates under the softmax over the whole vocabulary, ``(levels,)``, natural
                logarithms; NaN for candidates that a server does not list. Plain logits give the same, except for the
                mass.

        Raises:
            MllmError: a wrong number of values, none that is finite, +∞, or unknown candidates that can matter: the
                known ones must hold 99 % of the vocabulary's probability, and the temperature must be 1.
        """
        logs = np.asarray(log_probabilities, dtype=np.float64)
        if logs.shape != (len(self.levels),):
            raise MllmError(f"a scale of {len(self.levels)} levels cannot read probabilities of shape {logs.shape}")
        unknown = np.isnan(logs)
        known = np.where(unknown, -np.inf, logs)
        highest = known.max()
        if not np.isfinite(highest):
            raise MllmError(f"no level has a probability above 0 (highest log-probability {highest})")
        with np.errstate(over="ignore"):
            mass = float(np.exp(known).sum())
        if unknown.any() and (mass < COMPLETE or self.temperature != 1):
            names = ", ".join(level for level, lost in zip(self.levels, unknown, strict=True) if lost)
            raise MllmError(f"probabilities of {names} are not known, and the other levels hold {mass:.1%} of all")
        weights = np.exp((known - highest) / self.temperature)
        probabilities = weights / weights.sum()
        values = np.asarray(self.values, dtype=np.float64)
        if self.bf16_compatible:
            probabilities = to_bfloat16(probabilities).astype(np.float64)
            value = float(to_bfloat16(probabilities @ to_bfloat16(values)))
        else:
            value = float(np.clip(probabilities @ values, *self.range))  # the sum may round to an ulp outside
        return Reading(value, dict(zip(self.levels, probabilities.tolist(), strict=True)), mass)


def letter_pairs() -> tuple[str, ...]:
    """Return the 101 letter pairs that mean 0 … 100 in UniPercept (and ArtiMuse, which it extends).

    0–25 are ``aa`` … ``az``, 26–50 ``ca`` … ``cy``, 51–75 ``da`` … ``dy``, 76–100 ``ea`` … ``ey``.
    """
    blocks = (("a", 26), ("c", 25), ("d", 25), ("e", 25))
    return tuple(first + second for first, count in blocks for second in string.ascii_lowercase[:count])


# Where an original's code differs (Q-Bench and Compare2Score divide logits by 100, UniPercept uses bfloat16), an option
# of the presets replays it, to show the difference.
FIVE_LEVELS = ScoreScale(levels=("excellent", "good", "fair", "poor", "bad"), values=(5.0, 4.0, 3.0, 2.0, 1.0))
SCALES: Mapping[str, ScoreScale] = MappingProxyType(
    {
        "q-align": FIVE_LEVELS,
        "q-align-unit": ScoreScale(levels=FIVE_LEVELS.levels, values=(1.0, 0.75, 0.5, 0.25, 0.0)),
        "q-bench": ScoreScale(levels=("good", "poor"), values=(1.0, 0.0)),
        "deqa": FIVE_LEVELS,
        "letter-pairs": ScoreScale(levels=letter_pairs(), values=tuple(map(float, range(101))), lead=""),
        "compare2score": ScoreScale(
            levels=("inferior", "worse", "similar", "better", "superior"), values=(0.0, 0.25, 0.5, 0.75, 1.0)
        ),
    }
)


@dataclass(frozen=True)
class LabelBins:
    """Words for intervals of a value, half-open ``[low, high)``; the last one is closed.

    Attributes:
        labels: the words, in ascending order.
        bounds: ``(low, high)`` of each.
    """

    labels: tuple[str, ...]
    bounds: tuple[tuple[float, float], ...]

    def label_of(self, value: float) -> str | None:
        """Return the word for a value; None between intervals or outside them."""
        for label, (low, high) in zip(self.labels, self.bounds, strict=True):
            if low <= value < high or value == high == self.bounds[-1][1]:
                return label
        return None


def level_of(
    scale: ScoreScale, value: float, low: float, high: float, *, edges: Literal["upper", "lower"] = "upper"
) -> str:
    """Return the level for a label: each has an equal part of ``[low, high]``, as in Q-Align's training targets.

    Args:
        scale: levels in either order of their values.
        value: a label; a higher one means a higher value of the scale.
        low: lowest possible label.
        high: highest possible label.
        edges: which part a label between two parts belongs to (20, 40, 60 and 80 of 100 with five levels): the
            ``upper`` one, or the ``lower`` one as in DeQA-Score's code. The lowest label is in the lowest part either
            way, the highest in the highest.

    Raises:
        MllmError: a label outside the range, an empty range, or another word for the edges.

    Examples:
        >>> level_of(SCALES["q-align"], 72, 0, 100)
        'good'
        >>> level_of(SCALES["q-align"], 60, 0, 100), level_of(SCALES["q-align"], 60, 0, 100, edges="lower")
        ('good', 'fair')
    """
    if not low <= value <= high or low == high:
        raise MllmError(f"label {value} is not in the range [{low}, {high}]")
    if edges not in ("upper", "lower"):
        raise MllmError(f"edges={edges!r}; give upper or lower")
    ascending: Sequence[int] = np.argsort(scale.values, kind="stable").tolist()
    # Rounding must not move a label across an edge: .6 of five parts is 3, not 2.9999….
    place = round((value - low) / (high - low) * len(ascending), 9)
    part = math.floor(place) if edges == "upper" else math.ceil(place) - 1
    part = min(max(part, 0), len(ascending) - 1)
    return scale.levels[ascending[part]]
