"""How a super-resolver is trained: the numbers of a training run, as they stand in an experiment's YAML."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator

from ..discriminators import objective

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, lt=1)]


class TrainingSpec(BaseModel):
    """Training with the pixel loss (L1) alone; what pretraining and fine-tuning share."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: int = Field(ge=1, description="Optimiser steps.")
    batch: int = Field(default=8, ge=1, description="Crops per step.")
    patch: int = Field(default=192, ge=8, description="Side of a high-resolution crop, in pixels.")
    learning_rate: Positive = Field(default=2e-4, description="Adam's learning rate after warm-up.")
    betas: tuple[Fraction, Fraction] = Field(default=(0.9, 0.99), description="Adam's betas, of both networks.")
    warmup: int = Field(default=0, ge=0, description="Steps over which the learning rate rises linearly.")
    milestones: tuple[int, ...] = Field(
        default=(), description="Steps at which the learning rate is multiplied by gamma."
    )
    gamma: Positive = Field(default=0.5, description="Factor applied at each milestone.")
    ema: Fraction = Field(
        default=0.999, description="Decay of the moving average of the weights that is kept; 0: none."
    )
    augment: bool = Field(default=True, description="Random flips and transpositions of the crops.")
    log_every: int = Field(default=10, ge=1, description="Steps averaged into one row of the training table.")

    @field_validator("milestones")
    @classmethod
    def _ascending(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if list(value) != sorted(set(value)) or any(step < 1 for step in value):
            raise ValueError(f"milestones must be positive and ascending, got {list(value)}")
        return value

    def learning_rate_factor(self, step: int) -> float:
        """Return the learning rate at ``step`` (from 0) relative to its peak: a pure function, so resuming is exact."""
        warm = min(1.0, (step + 1) / self.warmup) if self.warmup else 1.0
        return warm * self.gamma ** sum(step >= milestone for milestone in self.milestones)


class FinetuneSpec(TrainingSpec):
    """Fine-tuning: pixel + fidelity + adversarial terms on a pretrained generator."""

    pixel_weight: NonNegative = Field(default=1.0, description="Weight of the pixel loss (L1).")
    fidelity_weight: NonNegative = Field(
        default=1.0, description="Weight of the fidelity measure, on top of gradient matching."
    )
    gradient_matching: bool = Field(
        default=True,
        description="Scale the fidelity measure so that its gradient at the start has the pixel loss's norm.",
    )
    objective: str = Field(
        default="bce", description="Adversarial objective: bce, least_squares, hinge, wasserstein or relativistic."
    )
    gradient_penalty: NonNegative = Field(
        default=10.0, description="Weight of the gradient penalty; of objective wasserstein only."
    )
    discriminator_learning_rate: Positive = Field(default=1e-4, description="The discriminator's learning rate.")

    @field_validator("objective")
    @classmethod
    def _known_objective(cls, value: str) -> str:
        try:
            objective(value)
        except Exception as error:
            raise ValueError(str(error)) from None
        return value
