"""What an alignment file says: typed, with every value checked before anything is loaded."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from ...common.errors import LopsidedError, PlacedError, SettingsError
from ...common.fields import BATCH, COUNT, NUMBER, STEPS, Keyed, Settings
from ...common.origin import Origin
from ...common.paths import expanded, is_folder
from ...common.validation import validated
from ...common.yaml_text import read_mapping
from ..benchmarks.settings import BenchmarkSettings
from ..errors import MllmError
from ..scoring.preset import CONSTRAINED, LetterTokens, Preset
from ..scoring.presets import create_preset, list_presets
from ..scoring.scale import ScoreScale
from .rewards import AnyReward, Bounded
from .splits import NEAR

HELD_OUT = "held-out"  # the name of the items kept for evaluation, as a data set
Method = Literal["sft", "grpo", "dpo"]
PLACES = {"{number}", "{label}"}  # what a template can hold
Part = Literal["language", "projector", "vision"]


class ModelSettings(Keyed):
    """The model that is trained."""

    key_field = "path"

    path: str = Field(min_length=1, description="Folder of the model, or its name on the hub.")
    revision: str | None = Field(default=None, description="Revision on the hub.")
    dtype: Literal["float32", "bfloat16"] = Field(
        default="float32",
        description="Type of the weights; bfloat16 halves the memory, but loses small steps.",
    )
    autocast: bool = Field(default=False, description="Compute in bfloat16 with weights in float32, on a GPU.")
    max_pixels: int | None = Field(default=None, ge=1, le=10**9, description="Larger images are reduced to this.")


class TrainingData(BenchmarkSettings):
    """A benchmark to train on."""

    weight: float = Field(default=1.0, gt=0, le=1000, description="How often each item is shown per epoch.")
    scale: tuple[Bounded, Bounded] | None = Field(
        default=None, description="Lowest and highest label possible, for items that do not say."
    )

    @field_validator("scale")
    @classmethod
    def _rises(cls, value: tuple[float, float] | None) -> tuple[float, float] | None:
        if value is not None and not value[0] < value[1]:
            raise ValueError(
                f"the lowest label must be below the highest, got {list(value)}; where less is better the items say "
                "higher_is_better: false"
            )
        return value

    @property
    def known_as(self) -> str:
        """Its name as a data set: of a file of JSON lines the option ``benchmark``, or the file's own name."""
        return self.options.get("benchmark", self.path.stem) if self.benchmark == "jsonl" else self.benchmark


class SplitSettings(Settings):
    """What is kept out of training."""

    held_out: float = Field(default=0.1, ge=0, lt=1, description="Share of the references that is kept for evaluation.")
    against: list[BenchmarkSettings] = Field(
        default=[], description="Benchmarks whose files, near-duplicates and references are not trained on."
    )
    near: float | None = Field(
        default=NEAR, gt=0, le=1, description="Similarity from which on two pictures are the same; null: equal files."
    )


class Target(Settings):
    """The answer that is taught for a written rating; levels, letter pairs and options follow from the preset."""

    template: str = Field(
        default="{number}", description="The answer; {number} is the label, {label} CogIP-Bench's word for it."
    )
    decimals: int = Field(default=0, ge=0, le=9, description="Decimals of the number.")

    @model_validator(mode="after")
    def _can_be_filled(self) -> Target:
        if "{number}" not in self.template:
            raise ValueError(f"the template {self.template!r} lacks {{number}}")
        if unknown := sorted(set(re.findall(r"\{\w*\}", self.template)) - PLACES):
            raise ValueError(f"the template {self.template!r} has {unknown[0]}; known: {', '.join(sorted(PLACES))}")
        return self


class CrossEntropy(Settings):
    """Plain next-token loss of the answer."""

    kind: Literal["cross-entropy"] = "cross-entropy"


class SoftDigits(Settings):
    """CogIP-Bench's loss: soft labels for digits, cross-entropy for the rest."""

    kind: Literal["soft-digits"] = "soft-digits"
    weight: float = Field(default=2.0, ge=0, le=NUMBER, description="λ: weight of digits.")
    eta: float = Field(default=0.15, ge=0, le=1, description="η: share that goes to other digits; 0: hard labels.")
    spread: Literal["triangular", "uniform"] = Field(default="triangular", description="How it is shared.")
    place_weight: float = Field(default=1.0, gt=0, le=1, description="The k-th digit counts this to the power of k.")
    cancelling: bool = Field(default=False, description="Weight places as the original does, which has no effect.")


class Levels(Settings):
    """Losses on the level's token: Q-Align, DeQA-Score and what is between them."""

    kind: Literal["levels"] = "levels"
    target: Literal["hard", "two-level", "deqa"] = Field(default="deqa", description="Target distribution.")
    deqa: Literal["density", "mass"] = Field(default="density", description="How the normal distribution is read.")
    weight: float = Field(default=1.0, ge=0, le=NUMBER, description="Weight of KL on the level's token.")
    fidelity: float = Field(default=0.0, ge=0, le=NUMBER, description="Weight of the fidelity loss of pairs.")
    tokens: float = Field(default=0.05, ge=0, le=NUMBER, description="Weight of the plain loss of the answer's tokens.")


AnyLoss = Annotated[CrossEntropy | SoftDigits | Levels, Field(discriminator="kind")]


class Generation(Settings):
    """How replies are drawn in GRPO. Draw at temperature 1; evaluation is always greedy."""

    replies: int = Field(default=8, ge=2, le=COUNT, description="Replies per prompt.")
    max_tokens: int = Field(default=64, ge=1, le=COUNT, description="Longest reply.")
    temperature: float = Field(default=1.0, gt=0, le=100, description="Temperature.")
    top_p: float = Field(default=1.0, gt=0, le=1, description="Share of the probability that is drawn from.")
    top_k: int = Field(default=0, ge=0, le=COUNT, description="Number of tokens that are drawn from; 0: all.")


class Optim(Settings):
    """Optimiser (AdamW), schedule and batch."""

    rate: float = Field(default=1e-5, gt=0, le=1, description="Learning rate of the language model.")
    projector_rate: float | None = Field(default=None, ge=0, le=1, description="That of the projector; 0: frozen.")
    vision_rate: float | None = Field(default=None, ge=0, le=1, description="That of the vision tower; 0: frozen.")
    schedule: Literal["constant", "linear", "cosine"] = Field(default="cosine", description="Of the learning rates.")
    warmup: float = Field(default=0.03, ge=0, lt=1, description="Share of the steps in which the rates rise.")
    weight_decay: float = Field(default=0.0, ge=0, le=1, description="Weight decay.")
    clip: float = Field(default=1.0, gt=0, le=NUMBER, description="Largest norm of the gradient.")
    batch: int = Field(default=8, ge=1, le=BATCH, description="Examples computed together; in GRPO, replies.")
    accumulation: int = Field(default=1, ge=1, le=COUNT, description="Batches per step.")
    epochs: float = Field(default=1.0, gt=0, le=COUNT, description="Passes over the data.")
    steps: int | None = Field(default=None, ge=1, le=STEPS, description="Number of steps, in place of epochs.")
    checkpointing: bool = Field(default=False, description="Save memory by computing activations twice.")


class Lora(Settings):
    """Adapters; without this section all weights are trained."""

    rank: int = Field(default=16, ge=1, le=COUNT, description="Rank.")
    alpha: float = Field(default=32.0, gt=0, le=NUMBER, description="Alpha: the update counts alpha / rank.")
    dropout: float = Field(default=0.0, ge=0, lt=1, description="Dropout.")
    parts: list[Part] = Field(default=["language"], min_length=1, description="Parts whose linear layers get adapters.")
    head: bool = Field(
        default=False, description="Train the output layer in full, too. Needed if the answers' tokens are new to it."
    )


class Grpo(Settings):
    """Group relative policy optimisation; the defaults are those of the papers, not of trl."""

    loss: Literal["grpo", "dr_grpo", "dapo", "bnpo"] = Field(default="grpo", description="How tokens are averaged.")
    scale: Literal["group", "batch", "none"] = Field(default="group", description="What advantages are divided by.")
    aggregation: Literal["sum_then_normalize", "normalize_then_sum"] = Field(
        default="sum_then_normalize",
        description="Whether several rewards are added up before the group is normalised; normalize_then_sum for "
        "rewards of different sizes.",
    )
    epsilon: float = Field(default=0.2, gt=0, le=NUMBER, description="Clipping of the ratio.")
    iterations: int = Field(default=1, ge=1, le=COUNT, description="Steps per draw of replies.")


class Dpo(Settings):
    """Direct preference optimisation: the right answer against a wrong one."""

    beta: float = Field(default=0.1, gt=0, le=NUMBER, description="How strongly the reference model holds.")
    gap: float = Field(
        default=0.2, gt=0, le=0.5, description="Least distance of the wrong answer, as a share of the scale."
    )
    imitation: float = Field(
        default=0.0, ge=0, le=NUMBER, description="Weight of imitating the right answer beside preferring it."
    )


class Evaluate(Settings):
    """Greedy ratings of held-out items during training."""

    every: int | None = Field(default=None, ge=1, le=STEPS, description="Steps between evaluations; null: at the end.")
    limit: int = Field(default=200, ge=3, le=COUNT, description="Held-out items to rate.")
    benchmarks: dict[str, BenchmarkSettings] = Field(
        default={}, description="Benchmarks to rate besides, by name; nothing of them is trained on."
    )


class Alignment(Settings):
    """An alignment: a model, what it is taught and how.

    Examples:
        >>> alignment = Alignment.model_validate(
        ...     {"model": "models/tiny", "method": "sft", "preset": "q-align", "loss": {"kind": "levels"},
        ...      "data": [{"benchmark": "jsonl", "path": "train.jsonl"}]}
        ... )
        >>> alignment.loss.target, alignment.optim.schedule
        ('deqa', 'cosine')
    """

    model: ModelSettings = Field(description="The model.")
    method: Method = Field(description="sft: imitate answers; grpo: reinforce rewards; dpo: prefer right answers.")
    preset: str = Field(
        description="What is asked and how replies are read.", json_schema_extra={"enum": [*list_presets()]}
    )
    options: dict[str, Any] = Field(default={}, description="Options of the preset, see docs/scorers.md.")
    data: list[TrainingData] = Field(min_length=1, description="What is trained on.")
    split: SplitSettings = Field(default=SplitSettings(), description="What is kept out.")
    target: Target = Field(default=Target(), description="The answer that is taught.")
    loss: AnyLoss = Field(default=CrossEntropy(), description="Loss of sft.")
    rewards: list[AnyReward] = Field(default=[], description="Rewards of grpo.")
    generation: Generation = Field(default=Generation(), description="Replies of grpo.")
    optim: Optim = Field(default=Optim(), description="Optimiser.")
    lora: Lora | None = Field(default=None, description="Adapters; null trains all weights.")
    kl: float = Field(default=0.0, ge=0, le=NUMBER, description="β of grpo: weight of the distance from the start.")
    grpo: Grpo = Field(default=Grpo(), description="Details of grpo.")
    dpo: Dpo = Field(default=Dpo(), description="Details of dpo.")
    evaluate: Evaluate = Field(default=Evaluate(), description="Evaluation.")
    save_every: int = Field(default=500, ge=1, le=STEPS, description="Steps between checkpoints.")
    log_every: int = Field(default=10, ge=1, le=STEPS, description="Steps between lines of the log.")
    trackers: list[Literal["tensorboard", "wandb", "mlflow"]] = Field(
        default=["tensorboard"], description="Where curves go besides log.jsonl."
    )
    seed: int = Field(default=0, ge=0, lt=2**31, description="Seed of order, dropout and replies.")

    @property
    def asked(self) -> Preset:
        """The preset with its options."""
        return create_preset(self.preset, **self.options)

    @model_validator(mode="after")
    def _belongs_to_the_method(self) -> Alignment:
        if (self.method == "grpo") != bool(self.rewards):
            raise PlacedError(
                "grpo needs rewards" if self.method == "grpo" else f"rewards are for grpo, not {self.method}", "rewards"
            )
        for name, methods in {"grpo": ("grpo",), "generation": ("grpo",), "dpo": ("dpo",), "loss": ("sft",)}.items():
            if self.method not in methods and getattr(self, name) != type(self).model_fields[name].default:
                raise PlacedError(f"{name} is for {methods[0]}; {self.method} has none of it: leave it out", name)
        if self.method != "grpo" and self.kl:
            raise PlacedError("kl is for grpo; dpo has dpo.beta", "kl")
        if self.rewards and not any(reward.weight for reward in self.rewards):
            raise PlacedError("all rewards have weight 0: nothing would be learnt", "rewards")
        return self

    @model_validator(mode="after")
    def _trains_what_has_a_rate(self) -> Alignment:
        for part, name in (("projector", "projector_rate"), ("vision", "vision_rate")):
            rate = getattr(self.optim, name)
            adapted = self.lora is not None and part in self.lora.parts
            if self.lora is not None and rate and not adapted:
                raise PlacedError(f"the {part} has no adapters to learn: add it to lora.parts", "optim", name)
            if adapted and rate == 0:
                raise PlacedError(f"the {part} has adapters: take it out of lora.parts", "optim", name)
        if HELD_OUT in self.evaluate.benchmarks:
            raise PlacedError(f"{HELD_OUT!r} is the name of the items held out: take another", "evaluate", "benchmarks")
        return self

    @model_validator(mode="after")
    def _fits(self) -> Alignment:
        try:
            questions = list(self.asked.ratings.values())
        except LopsidedError as error:
            raise PlacedError(str(error), "options" if self.options else "preset") from None
        levels = any(isinstance(question.reading, ScoreScale) for question in questions)
        if isinstance(self.loss, Levels) and not levels:
            raise PlacedError(f"loss 'levels' needs a preset that rates by levels, and {self.preset} does not", "loss")
        if isinstance(self.loss, SoftDigits) and levels:
            raise PlacedError(
                f"loss 'soft-digits' needs a preset of written numbers, and {self.preset} reads levels", "loss"
            )
        if self.asked.constrained:
            raise PlacedError(
                f"parser={CONSTRAINED!r} is for evaluation: in training nothing keeps replies to a form", "options"
            )
        if self.method == "grpo":
            if any(question.prefix for question in questions):
                raise PlacedError(
                    f"grpo draws whole replies, and {self.preset} begins the answer; take a written preset", "preset"
                )
            if self.asked.multiple_choice and isinstance(self.asked.multiple_choice.reading, LetterTokens):
                raise PlacedError(f"grpo needs written replies, and {self.preset} reads the next token", "preset")
            if self.save_every % self.grpo.iterations:
                raise PlacedError(
                    f"save_every = {self.save_every} must be a multiple of grpo.iterations = {self.grpo.iterations}: "
                    "between two draws of replies a checkpoint would not resume exactly",
                    "save_every",
                )
            if self.optim.batch * self.optim.accumulation % self.generation.replies:
                raise PlacedError(
                    f"optim.batch × accumulation = {self.optim.batch * self.optim.accumulation} must be a multiple of "
                    f"generation.replies = {self.generation.replies}",
                    "optim",
                )
        return self


# --- reading ---------------------------------------------------------------------------------------------------------


def load_alignment(path: str | Path) -> Alignment:
    """Read and check an alignment file; relative paths in it are relative to its folder.

    Raises:
        MllmError: one line per problem: ``file:line: key.path: what is wrong and what would be right``.
    """
    file = expanded(path)
    try:
        root, data = read_mapping(file, "alignment", "model, method, preset, data, …")
        _make_absolute(data, file.resolve().parent)
        return validated(Alignment, data, Origin(Path(path), root))
    except SettingsError as error:
        raise MllmError(str(error)) from None


def _make_absolute(value: Any, base: Path) -> None:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in list(items):
        if key in ("path", "model", "extract") and isinstance(child, str) and child:
            place = base / expanded(child)
            on_hub = key == "model" or (key == "path" and "benchmark" not in value)  # perhaps
            if not on_hub or is_folder(place):
                value[key] = str(place)
        else:
            _make_absolute(child, base)
