"""Rewards of written replies, for reinforcement learning: each takes parsed replies with their statuses.

A reward is typed settings with a method. ``Rewards`` weights several and adds them up. What happens to a reply that
cannot be read is a decision here, never an accident: ``on_failure`` is the least that the reward can give unless it is
set. Most trainers take a missing reward as *no signal*, so a model could stop answering at no cost.
"""

from __future__ import annotations

import re
from abc import abstractmethod
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator, model_validator

from ...common.fields import COUNT, NUMBER, Settings
from ..errors import MllmError
from ..item import Item
from ..scoring.outcomes import Status
from ..scoring.targets import (
    CLOSENESS_SCALES,
    adaptive_gaussian_reward,
    closeness_reward,
    fidelity,
    preference,
    threshold_reward,
)

Floats = NDArray[np.float64]
Bounded = Annotated[float, Field(ge=-NUMBER, le=NUMBER)]
NO_SIGNAL = "none"
EPSILON = 1e-6  # as in VisualQuality-R1


@dataclass(frozen=True)
class ParsedReply:
    """A reply as it was read.

    Attributes:
        value: number of a rating, on the scale of its item; letter of an answer; None unless the status is ok.
        status: see :data:`lopsided.mllm.scoring.Status`.
        text: what the model wrote.
        tokens: how many tokens that was.
        item: what was asked.
    """

    value: float | str | None
    status: Status
    text: str
    tokens: int
    item: Item

    @property
    def number(self) -> float:
        """The value as a number; NaN without one."""
        return float(self.value) if isinstance(self.value, int | float) else float("nan")

    @property
    def target(self) -> float:
        """The label as a number; NaN without one."""
        return float(self.item.target) if isinstance(self.item.target, int | float) else float("nan")

    def to_100(self, value: float) -> float:
        """Return a value on the scale 0 … 100.

        Raises:
            MllmError: the scale of the item is unknown.
        """
        if self.item.scale is None:
            raise MllmError(f"item {self.item.id} of {self.item.benchmark} has no scale: its reward needs one")
        low, high = self.item.scale
        return 100 * (value - low) / (high - low)


class Reward(Settings):
    """One reward.

    Attributes:
        lowest: the least it gives to a reply that can be read.
        highest: the most.
        tasks: the tasks it is for; the replies of others get no signal from it.
    """

    lowest: ClassVar[float] = 0.0
    highest: ClassVar[float] = 1.0
    tasks: ClassVar[tuple[str, ...]] = ("rate",)

    weight: float = Field(default=1.0, ge=0, le=NUMBER, description="Factor in the sum; 0: it is only logged.")
    on_failure: Bounded | Literal["none"] | None = Field(
        default=None,
        description="What a reply without a value gets; default: the least there is; none: no signal, so it costs "
        "nothing.",
    )

    @model_validator(mode="after")
    def _failing_does_not_pay(self) -> Reward:
        if isinstance(self.on_failure, float | int):
            if not self.needs_value:
                raise ValueError(
                    f"{self.name} pays for the form of every reply: on_failure means nothing, leave it out"
                )
            if self.on_failure > self.highest:
                raise ValueError(
                    f"{self.name} gives {self.highest:g} at most, on_failure is {self.on_failure:g}: failing would pay"
                )
        return self

    @property
    def name(self) -> str:
        """Name in logs."""
        return str(getattr(self, "kind"))  # noqa: B009 - every subclass has it

    def __call__(self, replies: Sequence[ParsedReply]) -> Floats:
        """Return one reward per reply; NaN where there is no signal.

        Args:
            replies: of one step; those to one item form a group, whatever their order.
        """
        rewards = np.full(len(replies), np.nan)
        mine = [n for n, reply in enumerate(replies) if reply.item.task in self.tasks]
        if mine:
            rewards[mine] = self.of([replies[n] for n in mine])
        failed = self.lowest if self.on_failure is None else self.on_failure
        for n in mine:
            if self.needs_value and replies[n].status != "ok":
                rewards[n] = np.nan if failed == NO_SIGNAL else float(failed)
        return rewards

    @property
    def needs_value(self) -> bool:
        """Whether a reply that could not be read is a failure."""
        return True

    @abstractmethod
    def of(self, replies: Sequence[ParsedReply]) -> Floats:
        """Return the rewards of replies; what it says of replies without a value is not used."""


class AdaptiveGaussian(Reward):
    """UniPercept's adaptive Gaussian soft reward: r = exp(−e² / 2σ'²), σ' = σ (1 + α e / 100), on 0 … 100."""

    kind: Literal["adaptive-gaussian"] = "adaptive-gaussian"
    sigma: float = Field(default=8.0, gt=0, le=NUMBER, description="Width σ0; TATAR: 7.43.")
    alpha: float = Field(default=0.25, ge=0, le=NUMBER, description="Growth with the error; TATAR: 0.8 or 2.0.")

    def of(self, replies: Sequence[ParsedReply]) -> Floats:
        """The Gaussian of the error."""
        values = [reply.to_100(reply.number) for reply in replies]
        targets = [reply.to_100(reply.target) for reply in replies]
        return adaptive_gaussian_reward(values, targets, sigma=self.sigma, alpha=self.alpha)


class Gaussian(Reward):
    """A Gaussian of fixed width on 0 … 100: it tells progress, which the adaptive one does not."""

    kind: Literal["gaussian"] = "gaussian"
    sigma: float = Field(default=10.0, gt=0, le=NUMBER, description="Width.")

    def of(self, replies: Sequence[ParsedReply]) -> Floats:
        """The Gaussian of the error."""
        return AdaptiveGaussian(sigma=self.sigma, alpha=0).of(replies)


class Window(Reward):
    """1 within a window around the label, else 0, on 1 … 5, as Q-Insight has it."""

    kind: Literal["window"] = "window"
    window: float = Field(default=0.35, gt=0, le=NUMBER, description="Half its width, on the scale 1 … 5.")

    def of(self, replies: Sequence[ParsedReply]) -> Floats:
        """Whether the error is small."""
        values = [reply.to_100(reply.number) / 25 for reply in replies]
        return threshold_reward(values, [reply.to_100(reply.target) / 25 for reply in replies], window=self.window)


class Closeness(Reward):
    """CogIP-Bench's 1 − |error| / scale in [−1, 1], with the scale of each dimension."""

    lowest: ClassVar[float] = -1.0
    kind: Literal["closeness"] = "closeness"
    scales: dict[str, Bounded] = Field(
        default=CLOSENESS_SCALES,
        description="Scale by dimension; the width of the item's scale for others. 10 for all "
        "replays the original's fault.",
    )

    @field_validator("scales")
    @classmethod
    def _are_widths(cls, value: dict[str, float]) -> dict[str, float]:
        if wrong := [name for name, width in value.items() if width <= 0]:
            raise ValueError(f"the scale of {wrong[0]} must be above 0, got {value[wrong[0]]:g}")
        return {name.lower(): width for name, width in value.items()}

    def of(self, replies: Sequence[ParsedReply]) -> Floats:
        """The closeness."""
        return np.array([float(closeness_reward(r.number, r.target, scale=self._scale(r.item))) for r in replies])

    def _scale(self, item: Item) -> float:
        if (known := self.scales.get(item.dimension.lower())) is not None:
            return known
        if item.scale is None:
            raise MllmError(f"closeness needs a scale for the dimension {item.dimension!r}: give it under scales")
        return item.scale[1] - item.scale[0]


class ThurstoneFidelity(Reward):
    """VisualQuality-R1's reward: how well a reply orders its image against the other images of the step.

    Replies without a number are left out of the means and variances. Items are compared within one dimension; a reply
    to an image that no other one can be compared with gets no signal.
    """

    kind: Literal["thurstone"] = "thurstone"

    def of(self, replies: Sequence[ParsedReply]) -> Floats:
        """The mean fidelity against every other image."""
        groups: dict[tuple[str, str, str], list[int]] = defaultdict(list)
        for n, reply in enumerate(replies):
            groups[reply.item.benchmark, reply.item.dimension, reply.item.id].append(n)
        read = {
            name: numbers
            for name, members in groups.items()
            if len(numbers := np.array([replies[n].number for n in members if replies[n].status == "ok"]))
        }
        rewards = np.full(len(replies), np.nan)
        for name, members in groups.items():
            others = [other for other in read if other != name and other[:2] == name[:2]]
            for n in members:
                if name in read and others and replies[n].status == "ok":
                    rewards[n] = np.mean([self._against(replies, n, read[name], groups[o][0], read[o]) for o in others])
        return rewards

    @staticmethod
    def _against(replies: Sequence[ParsedReply], n: int, own: Floats, other: int, others: Floats) -> float:
        from scipy.special import ndtr

        spread = sum(float(numbers.var(ddof=1)) if len(numbers) > 1 else 0.0 for numbers in (own, others))
        p = ndtr((replies[n].number - others.mean()) / np.sqrt(spread + EPSILON))
        g = preference(replies[n].target, replies[other].target)
        return float(fidelity(p, g, epsilon=EPSILON))


class Binary(Reward):
    """1 for the right option, else 0."""

    tasks: ClassVar[tuple[str, ...]] = ("answer",)
    kind: Literal["binary"] = "binary"

    def of(self, replies: Sequence[ParsedReply]) -> Floats:
        """Whether the letter is right."""
        return np.array([float(reply.value == reply.item.target) for reply in replies])


class Format(Reward):
    """1 if the whole reply matches a pattern, else 0; without a pattern, if it could be read."""

    tasks: ClassVar[tuple[str, ...]] = ("rate", "answer")
    kind: Literal["format"] = "format"
    pattern: str = Field(default="", description="Regular expression for the whole reply, over several lines.")

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, value: str) -> str:
        try:
            re.compile(value, re.DOTALL)
        except re.error as error:
            raise ValueError(f"{value!r} is no regular expression: {error}") from None
        return value

    @property
    def needs_value(self) -> bool:
        """No: it is about the form."""
        return False

    def of(self, replies: Sequence[ParsedReply]) -> Floats:
        """Whether the form is right."""
        if not self.pattern:
            return np.array([float(reply.status == "ok") for reply in replies])
        form = re.compile(self.pattern, re.DOTALL)
        return np.array([float(form.fullmatch(reply.text.strip()) is not None) for reply in replies])


class Length(Reward):
    """1 up to a number of tokens, then falling linearly to 0."""

    tasks: ClassVar[tuple[str, ...]] = ("rate", "answer")
    kind: Literal["length"] = "length"
    free: int = Field(default=16, ge=0, le=COUNT, description="Tokens that cost nothing.")
    most: int = Field(default=64, ge=1, le=COUNT, description="Tokens from which on there is nothing.")

    @model_validator(mode="after")
    def _falls(self) -> Length:
        if not self.free < self.most:
            raise ValueError(f"length: free must be below most, got {self.free} and {self.most}")
        return self

    @property
    def needs_value(self) -> bool:
        """No: it is about the form."""
        return False

    def of(self, replies: Sequence[ParsedReply]) -> Floats:
        """How short the replies are."""
        used = np.array([reply.tokens for reply in replies], np.float64)
        return np.clip((self.most - used) / (self.most - self.free), 0, 1)


AnyReward = Annotated[
    AdaptiveGaussian | Gaussian | Window | Closeness | ThurstoneFidelity | Binary | Format | Length,
    Field(discriminator="kind"),
]


@dataclass
class Rewards:
    """Several rewards with their weights, and counts of what they have seen.

    Args:
        parts: the rewards; names are made distinct by a number.

    Attributes:
        statuses: how many replies of each status were rewarded since the last ``take_statuses``.

    Examples:
        >>> item = Item(benchmark="own", dimension="IQA", id="1", task="rate", images=(), target=50.0, scale=(0, 100))
        >>> replies = [ParsedReply(55.0, "ok", "55", 2, item), ParsedReply(None, "refused", "I cannot", 3, item)]
        >>> rewards = Rewards([AdaptiveGaussian(), Format(weight=0.5)])
        >>> rewards.total(replies).round(3).tolist()
        [1.327, 0.0]
        >>> rewards.take_statuses()
        {'ok': 0.5, 'refused': 0.5}
    """

    parts: Sequence[Any]
    statuses: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        """Refuse an empty list; add a reward that tells progress where only the adaptive one is there."""
        if not self.parts:
            raise MllmError("give at least one reward")
        kinds = {part.name for part in self.parts}
        if "adaptive-gaussian" in kinds and "gaussian" not in kinds:
            self.parts = [*self.parts, Gaussian(weight=0)]

    @property
    def named(self) -> Mapping[str, Any]:
        """The rewards by name, in order; the second of a kind is ``<kind>-2``."""
        named: dict[str, Any] = {}
        for part in self.parts:
            same = sum(name == part.name or name.startswith(f"{part.name}-") for name in named)
            named[part.name if not same else f"{part.name}-{same + 1}"] = part
        return named

    def count(self, replies: Sequence[ParsedReply]) -> None:
        """Count the statuses of replies."""
        self.statuses.update(reply.status for reply in replies)

    def take_statuses(self) -> dict[str, float]:
        """Return the share of every status since the last call, and start again."""
        total = sum(self.statuses.values())
        shares = {status: count / total for status, count in sorted(self.statuses.items())}
        self.statuses.clear()
        return shares

    def total(self, replies: Sequence[ParsedReply]) -> Floats:
        """Return the weighted sum per reply; NaN where no reward with a weight gives a signal."""
        self.count(replies)
        parts = [(part.weight, part(replies)) for part in self.parts if part.weight]
        if not parts:
            return np.full(len(replies), np.nan)
        given = np.array([weight * rewards for weight, rewards in parts])
        return np.where(np.isnan(given).all(0), np.nan, np.nansum(given, 0))
