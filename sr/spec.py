"""How a generator is trained: the settings of a training run, as an experiment's YAML gives them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from ..common.errors import LopsidedError
from ..common.fields import BATCH, NUMBER, SIDE, STEPS, Settings
from ..discriminators import Augmentation, objective

Positive = Annotated[float, Field(gt=0, le=NUMBER, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, le=NUMBER, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, lt=1)]


class TrainingSpec(Settings):
    """Training with the pixel loss (L1) alone; what pretraining and fine-tuning share.

    Examples:
        >>> spec = TrainingSpec(steps=100, warmup=10, milestones=(50,))
        >>> [spec.learning_rate_factor(step) for step in (0, 9, 49, 50)]
        [0.1, 1.0, 1.0, 0.5]
    """

    steps: int = Field(
        ge=0, le=STEPS, description="Optimiser steps; 0 in pretrain only, where generators have `weights`."
    )
    batch: int = Field(default=8, ge=1, le=BATCH, description="Crops per step.")
    micro_batches: int = Field(
        default=1,
        ge=1,
        le=BATCH,
        description="Parts the batch is cut into: their gradients are averaged, one part in memory at a time; "
        "processes started by torchrun share them.",
    )
    patch: int = Field(default=192, ge=8, le=SIDE, description="Side of a high-resolution crop, in pixels.")
    learning_rate: Positive = Field(default=2e-4, description="Adam's learning rate after warm-up.")
    betas: tuple[Fraction, Fraction] = Field(default=(0.9, 0.99), description="Adam's betas, of both networks.")
    warmup: int = Field(default=0, ge=0, le=STEPS, description="Steps over which the learning rate rises linearly.")
    milestones: tuple[Annotated[int, Field(le=STEPS)], ...] = Field(
        default=(), description="Steps at which the learning rate is multiplied by gamma."
    )
    gamma: Positive = Field(default=0.5, description="Factor applied at each milestone.")
    ema: Fraction = Field(
        default=0.999, description="Decay of the moving average of the weights that is kept; 0: none."
    )
    precision: Literal["fp32", "bf16"] = Field(
        default="fp32", description="Arithmetic of the networks; weights, losses and optimisers stay fp32."
    )
    clip_gradient: Positive | None = Field(
        default=None,
        description="Largest norm of the generator's gradient, and of the discriminator's; null: no limit.",
    )
    skip_budget: int = Field(
        default=10,
        ge=0,
        le=STEPS,
        description="Steps with a non-finite loss or gradient that are skipped, at most half of all; one more ends the "
        "run as diverged.",
    )
    keep: Literal["last", "best"] = Field(
        default="last", description="Which averaged weights are the result; best: by `validation`."
    )
    augment: bool = Field(default=True, description="Random flips and transpositions of the crops.")
    log_every: int = Field(default=10, ge=1, le=STEPS, description="Steps averaged into one row of the training table.")

    @field_validator("milestones")
    @classmethod
    def _ascending(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if list(value) != sorted(set(value)) or any(step < 1 for step in value):
            raise ValueError(f"milestones must be positive and ascending, got {list(value)}")
        return value

    @field_validator("precision", mode="before")
    @classmethod
    def _no_half(cls, value: Any) -> Any:
        if value in ("fp16", "float16", "half"):
            raise ValueError(
                "fp16 is refused: SwinIR's activations grow with depth beyond its largest number, 65504, and come out "
                "as black images or NaN; use bf16, which has the range of fp32"
            )
        return value

    @model_validator(mode="after")
    def _divisible(self) -> TrainingSpec:
        if self.batch % self.micro_batches:
            raise ValueError(f"micro_batches ({self.micro_batches}) must divide batch ({self.batch})")
        return self

    @property
    def may_skip(self) -> int:
        """Steps that may be skipped: at most half, because a run that skips most of its steps has not trained."""
        return min(self.skip_budget, self.steps // 2)

    def learning_rate_factor(self, step: int) -> float:
        """Return the learning rate at ``step`` (from 0) relative to its peak: a pure function, so resuming is exact."""
        warm = min(1.0, (step + 1) / self.warmup) if self.warmup else 1.0
        return warm * self.gamma ** sum(step >= milestone for milestone in self.milestones)


class FinetuneSpec(TrainingSpec):
    """Fine-tuning: pixel + fidelity + adversarial terms on a pretrained generator."""

    steps: int = Field(ge=1, le=STEPS, description="Optimiser steps.")
    pixel_weight: NonNegative = Field(default=1.0, description="Weight of the pixel loss (L1).")
    fidelity_weight: NonNegative = Field(
        default=1.0, description="Weight of the fidelity measure, on top of gradient matching."
    )
    gradient_matching: bool = Field(
        default=True,
        description="Scale the fidelity measure so that its gradient at the start has the pixel loss's norm.",
    )
    hold_adversarial_share: bool = Field(
        default=False,
        description="Read `grid.gan_weight` as the adversarial term's share of the gradient on the image, in [0, 1), "
        "and hold it by a running match.",
    )
    objective: str = Field(
        default="bce", description="Adversarial objective: bce, least_squares, hinge, wasserstein or relativistic."
    )
    label_smoothing: Annotated[float, Field(ge=0, lt=0.5)] = Field(
        default=0.0, description="One-sided: the discriminator's target for real images is 1 minus this."
    )
    gradient_penalty: NonNegative = Field(
        default=10.0, description="Weight of the gradient penalty; used with objective wasserstein only."
    )
    r1_penalty: NonNegative = Field(default=0.0, description="Weight of the R1 penalty, on real images.")
    r2_penalty: NonNegative = Field(default=0.0, description="Weight of the R2 penalty, on restored images.")
    augmentation: tuple[Augmentation, ...] = Field(
        default=(),
        description="Differentiable augmentation of what the discriminator sees: color, translation, cutout.",
    )
    discriminator_learning_rate: Positive = Field(default=1e-4, description="The discriminator's learning rate.")

    @field_validator("objective")
    @classmethod
    def _known_objective(cls, value: str) -> str:
        try:
            objective(value)
        except LopsidedError as error:
            raise ValueError(str(error)) from None
        return value

    @model_validator(mode="after")
    def _has_labels_to_smooth(self) -> FinetuneSpec:
        try:
            objective(self.objective, label_smoothing=self.label_smoothing)
        except LopsidedError as error:
            raise ValueError(str(error)) from None
        return self


@dataclass(frozen=True)
class Runtime:
    """How a machine runs a training: nothing here enters a result's identity, though the last digits can differ.

    Attributes:
        device: cpu, cuda, cuda:N or mps.
        channels_last: keep images and convolution weights channels last in memory.
        compile: compile the generator with torch.compile.
        loader_threads: threads that draw the crops of the steps to come; 0 draws them when they are needed.
    """

    device: str = "cpu"
    channels_last: bool = True
    compile: bool = False
    loader_threads: int = 1
