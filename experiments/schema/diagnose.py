"""The section on diagnostics of measures as objectives: which measures, on which crops, how long."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from ...common.fields import COUNT, STEPS, Settings
from ...common.sources import ImageSource
from .axes import Seed
from .errors import PlacedError
from .measures import DefinedMeasure

Start = Literal["bicubic", "blur", "noise", "jpeg"]
Diagnostic = Literal["alignment", "frequency", "curvature", "shares", "invariance", "recovery"]


def _each_once(values: list[str]) -> list[str]:
    if twice := next((value for value in values if values.count(value) > 1), None):
        raise ValueError(f"'{twice}' is listed twice; keep one")
    return values


class Diagnose(Settings):
    """Diagnostics of measures as objectives: of the grid's, of those in `assessment`, and of those listed here."""

    measures: list[DefinedMeasure] = Field(default=[], description="Further measures to diagnose.")
    images: ImageSource | None = Field(
        default=None, description="Where the photographs come from; default: the training images."
    )
    crops: int = Field(
        default=2, ge=1, le=COUNT, description="How many photographs, the first ones; a centre crop of each is used."
    )
    crop: int = Field(default=64, ge=16, le=512, description="Side of a crop in pixels.")
    starts: Annotated[list[Start], Field(min_length=1), AfterValidator(_each_once)] = Field(
        default=["bicubic", "blur", "noise", "jpeg"],
        description="Degraded images from which gradients are taken and references recovered.",
    )
    scale: Literal[2, 3, 4] = Field(default=4, description="Magnification of the start `bicubic`.")
    diagnostics: Annotated[list[Diagnostic], Field(min_length=1), AfterValidator(_each_once)] = Field(
        default=["alignment", "frequency", "curvature", "shares", "invariance", "recovery"],
        description="What is computed; docs/diagnostics.md.",
    )
    bands: int = Field(default=6, ge=2, le=24, description="Bands of radial frequency.")
    power_steps: int = Field(default=10, ge=1, le=STEPS, description="Steps to the largest eigenvalue of the Hessian.")
    probes: int = Field(default=4, ge=1, le=COUNT, description="Random vectors for the traces of the Hessian.")
    noise_psnr: float = Field(
        default=30.0, gt=0, le=80, description="PSNR in dB of the noise that invariances are measured against."
    )
    steps: int = Field(default=50, ge=1, le=STEPS, description="Steps of a recovery, and of a maximum differentiation.")
    learning_rate: float = Field(default=0.005, gt=0, le=1, description="Of Adam, on pixels in [0, 1].")
    every: int = Field(default=10, ge=1, le=STEPS, description="Steps of a recovery between readings of the PSNR.")
    pairs: list[tuple[DefinedMeasure, DefinedMeasure]] = Field(
        default=[],
        description="Pairs for maximum differentiation: each measure is held while the other is moved.",
    )
    seed: Seed = Field(default=0, description="Seed of noise and random vectors.")

    @field_validator("pairs")
    @classmethod
    def _unlike(cls, value: list[tuple[DefinedMeasure, DefinedMeasure]]) -> list[tuple[DefinedMeasure, DefinedMeasure]]:
        for pair in value:
            if pair[0].identity == pair[1].identity:
                raise ValueError(f"'{pair[0].key}' is paired with itself; name two measures")
            for measure in pair:
                if not measure.differentiable:
                    raise ValueError(f"'{measure.key}' has no finite gradient, so it can be neither held nor moved")
        return value

    @model_validator(mode="after")
    def _divisible(self) -> Diagnose:
        if "bicubic" in self.starts and self.crop % self.scale:
            near = round(self.crop / self.scale) * self.scale
            raise PlacedError(f"must be a multiple of scale {self.scale}, e.g. {near}; got {self.crop}", "crop")
        return self
