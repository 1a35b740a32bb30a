"""The axes of the grid, and rules that add cells to it or take cells out."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

from pydantic import (
    AfterValidator,
    Field,
    model_validator,
)

from ...common.fields import NUMBER, ByKey, OneOrMore, Settings
from ...common.value_range import UNIT
from ...discriminators import DiscriminatorSpec, list_discriminators
from ...sr import GeneratorSpec
from ...sr.generators import list_generators
from .measures import Fidelity, backbone_schema

Generator = Annotated[GeneratorSpec, ByKey(list_generators(), name={"enum": list_generators()})]


def _in_unit_range(spec: DiscriminatorSpec) -> DiscriminatorSpec:
    if spec.input_range != UNIT:
        raise ValueError("input_range: the images of an experiment are in [0, 1]; leave it out")
    return spec


DiscriminatorAxis = Annotated[
    DiscriminatorSpec,
    AfterValidator(_in_unit_range),
    ByKey(list_discriminators(), backbone=backbone_schema("conv")),
]

Weight = Annotated[float, Field(ge=0, le=NUMBER, allow_inf_nan=False)]

Seed = Annotated[int, Field(ge=0, lt=2**31)]

_Value = TypeVar("_Value")


def _each_once(values: list[Any]) -> list[Any]:
    for index, value in enumerate(values):
        if value in values[:index]:
            name = getattr(value, "key", getattr(value, "name", "none" if value is None else value))
            raise ValueError(f"{name} is given twice; give every value of an axis once")
    return values


Axis = Annotated[list[_Value], Field(min_length=1), AfterValidator(_each_once), OneOrMore()]


class GridRule(Settings):
    """Values of some axes: an ``include`` adds their product to the grid, an ``exclude`` takes matching cells out."""

    generator: Axis[Generator] | None = Field(default=None, description="Values of grid.generator.")
    fidelity: Axis[Fidelity] | None = Field(default=None, description="Values of grid.fidelity.")
    discriminator: Axis[DiscriminatorAxis] | None = Field(default=None, description="Values of grid.discriminator.")
    gan_weight: Axis[Weight] | None = Field(default=None, description="Values of grid.gan_weight.")
    seed: Axis[Seed] | None = Field(default=None, description="Values of grid.seed.")

    @model_validator(mode="after")
    def _not_empty(self) -> GridRule:
        if all(getattr(self, axis) is None for axis in AXES):
            raise ValueError(f"a rule needs at least one of {', '.join(AXES)}")
        return self


AXES = ("generator", "fidelity", "discriminator", "gan_weight", "seed")


class Grid(Settings):
    """The axes; every combination of their values is trained. Missing pixel-only baselines are added."""

    generator: Axis[Generator] = Field(
        default=["swinir-tiny"],  # type: ignore[assignment]
        validate_default=True,
        description="Generators, such as swinir-tiny, edsr-baseline or rrdb; docs/generators.md.",
    )
    fidelity: Axis[Fidelity] = Field(description="Fidelity measures; none is the pixel loss alone; docs/measures.md.")
    discriminator: Axis[DiscriminatorAxis] = Field(
        default=["none"],  # type: ignore[assignment]
        validate_default=True,
        description="none, vanilla, patch, <form>-<backbone>, patchgan, srgan or unet; docs/discriminators.md.",
    )
    gan_weight: Axis[Weight] = Field(default=[0.01], description="Weight of the adversarial term.")
    seed: Axis[Seed] = Field(default=[0], description="Seeds of weights and crops.")
    include: list[GridRule] = Field(default=[], description="Cells to add; axes left out take the grid's values.")
    exclude: list[GridRule] = Field(default=[], description="Cells to leave out; axes left out match anything.")
