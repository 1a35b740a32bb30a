"""The section on no-reference models: data sets, initialisations, how models are trained, splits."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Field, field_validator

from ...backbones import BackboneError
from ...backbones.registry import architecture
from ...common.errors import did_you_mean
from ...common.fields import ByKey, Settings
from ...iqa.nr import LinearProbe, Pretrained, SelfSupervised, Splits, list_nr_backbones
from ...iqa.nr.spec import CONV, AnyProtocol, Statistics, Views
from .datasets import RatedSet


class RandomWeights(Settings):
    """Random weights, once per seed of the discriminators: the weights that each discriminator started from."""

    name: Literal["random"] = "random"


class GridDiscriminators(Settings):
    """The trunk of every discriminator of the grid that has the backbone."""

    name: Literal["discriminator"] = "discriminator"


class ZeroLabel(Settings):
    """The mean logit of every discriminator of the grid, trained and untrained; nothing is learnt from labels."""

    name: Literal["zero-label"] = "zero-label"


Start = RandomWeights | Pretrained | GridDiscriminators | SelfSupervised | ZeroLabel
STARTS = ("random", "pretrained", "discriminator", "self", "zero-label")


def _start(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value
    name = value.get("name") if isinstance(value, dict) else value
    if name not in STARTS:
        raise ValueError(f"unknown initialisation {name!r}; {did_you_mean(name, STARTS)}")
    if isinstance(value, dict) and "seed" in value:
        raise ValueError("initialisations take the seeds of the grid; leave seed out")
    return value if isinstance(value, dict) else {"name": name}


Backbone = Annotated[str, Field(json_schema_extra={"enum": [*list_nr_backbones()]})]
AnyStart = Annotated[
    Annotated[Start, Field(discriminator="name")], BeforeValidator(_start), ByKey(list(STARTS), "name")
]
AnySplits = Annotated[Splits, ByKey(["random", "official"], "kind")]


class NoReference(Views):
    """No-reference models: each backbone from each initialisation, trained by each protocol on every split."""

    fr_sets: list[str] = Field(
        default=[],
        description="Names of FR sets in assessment.datasets whose distorted images are rated without references.",
    )
    datasets: dict[str, RatedSet] = Field(default={}, description="Rated sets by name, besides fr_sets.")
    backbones: Annotated[list[Backbone], Field(min_length=1)] | None = Field(
        default=None, description="Architectures, without -r, or conv; default: those of the grid's discriminators."
    )
    initialisations: list[AnyStart] = Field(
        default=["random", "pretrained", "discriminator", "zero-label"],  # type: ignore[assignment]
        validate_default=True,
        min_length=1,
        description="What backbones start from; pretrained is skipped for conv, which has no pretrained weights.",
    )
    protocols: list[AnyProtocol] = Field(
        default=[LinearProbe()], min_length=1, description="How models are trained: linear_probe, frozen, fine_tuned."
    )
    layers: bool = Field(default=False, description="Also probe every layer separately.")
    splits: AnySplits = Field(
        default=Splits(), description="Training and test parts: random by reference, or official."
    )
    statistics: Statistics = Field(default="mean_std", description="Statistics to pool from each channel.")
    seed: int = Field(default=0, ge=0, lt=2**31, description="Seed of heads, batches and crops.")

    @field_validator("backbones")
    @classmethod
    def _known(cls, value: list[str] | None) -> list[str] | None:
        for name in value or ():
            if name.endswith("-r"):
                raise ValueError(f"'{name}': name the architecture, '{name.removesuffix('-r')}'; random is a start")
            try:
                _ = name == CONV or architecture(name)
            except BackboneError as error:
                raise ValueError(str(error)) from None
        return value

    @field_validator("backbones", "fr_sets")
    @classmethod
    def _once(cls, value: list[str] | None) -> list[str] | None:
        for name in value or ():
            if (value or []).count(name) > 1:
                raise ValueError(f"'{name}' is listed twice; keep one")
        return value

    @field_validator("initialisations")
    @classmethod
    def _each_once(cls, value: list[Any]) -> list[Any]:
        names = [start.name for start in value]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"'{twice}' is listed twice; keep one")
        return value

    @property
    def probe(self) -> LinearProbe:
        """How single layers are probed: by the linear probe among the protocols, or by the default one."""
        return next((found for found in self.protocols if isinstance(found, LinearProbe)), LinearProbe())

    def start(self, name: str) -> Any:
        """Return the initialisation of that name, or None."""
        return next((start for start in self.initialisations if start.name == name), None)
