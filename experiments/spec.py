"""The typed experiment: what a YAML file may say, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from ..common.errors import LopsidedError
from ..common.sources import ImageSource
from ..discriminators import DiscriminatorSpec
from ..iqa import JudgeSpec, list_judges, parse_judge
from ..iqa.ladder import LadderSpec
from ..losses import MeasureSpec, list_measures, parse_measure
from ..sr import FinetuneSpec, GeneratorSpec, TrainingSpec
from ..sr.generators import WINDOW, list_generators


class ExperimentError(LopsidedError):
    """An experiment that cannot be read, planned or run as it is written."""


def _fidelity(value: Any) -> MeasureSpec | None:
    if value is None or value == "none":
        return None
    if not isinstance(value, (str, dict, MeasureSpec)):
        raise ValueError(f"a fidelity measure is a key or a mapping, got {value!r}")
    try:
        spec = parse_measure(value)
    except LopsidedError as error:
        raise ValueError(str(error)) from None
    if not spec.differentiable:
        raise ValueError(f"'{spec.key}' has no finite gradient, so it cannot be a training loss; use it as a judge")
    return spec


def _measure(value: Any) -> MeasureSpec:
    if not isinstance(value, (str, dict, MeasureSpec)):
        raise ValueError(f"a measure is a key or a mapping, got {value!r}")
    try:
        return parse_measure(value)
    except LopsidedError as error:
        raise ValueError(str(error)) from None


def _choice(keys: list[str], mapping: str) -> WithJsonSchema:
    """Schema of a field given by key or mapping: editors complete the keys."""
    return WithJsonSchema({"anyOf": [{"enum": keys}, {"type": "object", "required": [mapping]}]})


_dump = PlainSerializer(lambda spec: spec.model_dump(mode="json") if spec else "none")

Fidelity = Annotated[
    MeasureSpec | None, PlainValidator(_fidelity), _dump, _choice(["none", *list_measures()], "measure")
]
AssessedMeasure = Annotated[MeasureSpec, PlainValidator(_measure), _dump, _choice(list_measures(), "measure")]
Generator = Annotated[GeneratorSpec, _choice(list_generators(), "name")]
DiscriminatorAxis = Annotated[
    DiscriminatorSpec, WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "object", "required": ["form"]}]})
]
JudgeAxis = Annotated[JudgeSpec, _choice(list_judges(), "judge")]
Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TestSet(_Model):
    """Images that the trained generators restore and the judges score."""

    images: ImageSource = Field(description="Where the high-resolution images come from.")
    crop: int | None = Field(default=None, ge=16, description="Centre crop to this many pixels a side; default: whole.")


class Data(_Model):
    """Images of the super-resolution side. Train and test may not share a file."""

    train: ImageSource = Field(description="High-resolution training images.")
    test: dict[str, TestSet] = Field(min_length=1, description="Test sets by name.")


class SuperResolution(_Model):
    """Task and training of the super-resolvers."""

    scale: Literal[2, 3, 4] = Field(default=4, description="Magnification; degradation is antialiased bicubic.")
    pretrain: TrainingSpec = Field(description="Pixel-loss training that every fine-tuning starts from.")
    finetune: FinetuneSpec = Field(description="Training with fidelity and adversarial terms.")

    @model_validator(mode="after")
    def _patch_fits(self) -> SuperResolution:
        for name, spec in (("pretrain", self.pretrain), ("finetune", self.finetune)):
            unit = self.scale * WINDOW
            if spec.patch % unit:
                near = max(unit, round(spec.patch / unit) * unit)
                raise ValueError(
                    f"{name}.patch is {spec.patch} px; at ×{self.scale} it must be a multiple of {unit} "
                    f"(scale × attention window), e.g. {near}"
                )
        return self


class GridRule(_Model):
    """Values of some axes: an ``include`` adds their product to the grid, an ``exclude`` takes matching cells out."""

    generator: list[Generator] | None = None
    fidelity: list[Fidelity] | None = None
    discriminator: list[DiscriminatorAxis] | None = None
    gan_weight: list[Weight] | None = None
    seed: list[Seed] | None = None

    @field_validator("*", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        return value if value is None or isinstance(value, list) else [value]

    @model_validator(mode="after")
    def _not_empty(self) -> GridRule:
        if all(getattr(self, axis) is None for axis in AXES):
            raise ValueError(f"a rule needs at least one of {', '.join(AXES)}")
        return self


AXES = ("generator", "fidelity", "discriminator", "gan_weight", "seed")


class Grid(_Model):
    """The axes; their product is trained. The pixel-only baseline of every generator and seed is added by itself."""

    generator: list[Generator] = Field(default=["swinir-tiny"], min_length=1, validate_default=True)  # type: ignore[assignment]
    fidelity: list[Fidelity] = Field(min_length=1, description="Fidelity measures; 'none' is the pixel loss alone.")
    discriminator: list[DiscriminatorAxis] = Field(
        default=["none"],  # type: ignore[assignment]
        min_length=1,
        validate_default=True,
        description="none, vanilla, patch, or <form>-<backbone>.",
    )
    gan_weight: list[Weight] = Field(default=[0.01], min_length=1, description="Weight of the adversarial term.")
    seed: list[Seed] = Field(default=[0], min_length=1, description="Seeds of weights and crops.")
    include: list[GridRule] = Field(default=[], description="Cells to add; axes left out take the grid's values.")
    exclude: list[GridRule] = Field(default=[], description="Cells to leave out; axes left out match anything.")

    @field_validator(*AXES, mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        return value if isinstance(value, list) else [value]


class LadderSet(_Model):
    """An FR set made here by distorting photographs in graded steps; its labels are severity grades."""

    ladder: LadderSpec


class ManifestSet(_Model):
    """An FR set listed in a CSV: image, reference, distortion, label, label_kind, label_higher_is_better."""

    manifest: Path


class Assessment(_Model):
    """Measures as full-reference metrics."""

    datasets: dict[str, LadderSet | ManifestSet] = Field(default={}, description="FR sets by name.")
    measures: list[AssessedMeasure] = Field(
        default=[], description="Measures to assess besides the grid's fidelity measures."
    )

    @field_validator("datasets", mode="before")
    @classmethod
    def _one_kind(cls, value: Any) -> Any:
        if isinstance(value, dict):
            for name, entry in value.items():
                if isinstance(entry, dict) and len({"ladder", "manifest"} & set(entry)) != 1:
                    raise ValueError(f"'{name}' needs exactly one of 'ladder' and 'manifest', got {list(entry)}")
        return value


class Analysis(_Model):
    """How intervals are computed."""

    resamples: int = Field(default=2000, ge=100, description="Bootstrap resamples.")
    seed: Seed = Field(default=0, description="Seed of the bootstrap.")


class Execution(_Model):
    """How, not what, is computed: nothing here enters a cell's identity."""

    threads: int = Field(default=1, ge=1, description="CPU threads of torch. One is safest on busy machines.")
    device: str = Field(default="cpu", pattern=r"^(cpu|cuda(:\d+)?|mps)$", description="cpu, cuda, cuda:N or mps.")
    checkpoint_every: int = Field(default=500, ge=1, description="Steps between training checkpoints.")


class Experiment(_Model):
    """One experiment: data, training, grid, judges and assessment."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$", description="Names the folder of its results.")
    title: str = Field(default="", description="Headline of the report; default: the name.")
    description: str = Field(default="", description="What the experiment is for; printed in the report.")
    data: Data
    super_resolution: SuperResolution
    grid: Grid
    judges: list[JudgeAxis] = Field(min_length=1, description="Judges of restored images.")
    assessment: Assessment = Assessment()
    analysis: Analysis = Analysis()
    execution: Execution = Execution()

    @model_validator(mode="after")
    def _resolve(self) -> Experiment:
        judges = [parse_judge(judge, scale=self.super_resolution.scale) for judge in self.judges]
        repeated = {judge.key for judge in judges if sum(other.key == judge.key for other in judges) > 1}
        if repeated:
            raise ValueError(f"judges: listed twice: {', '.join(sorted(repeated))}")
        object.__setattr__(self, "judges", judges)
        patch = self.super_resolution.finetune.patch
        rules = [self.grid, *self.grid.include]
        for fidelity in (f for rule in rules for f in rule.fidelity or []):
            if fidelity and fidelity.min_size > patch:
                raise ValueError(
                    f"grid.fidelity: '{fidelity.key}' needs crops of at least {fidelity.min_size} px, "
                    f"super_resolution.finetune.patch is {patch}"
                )
        for discriminator in (d for rule in rules for d in rule.discriminator or []):
            if discriminator.form != "none" and discriminator.min_size > patch:
                raise ValueError(
                    f"grid.discriminator: '{discriminator.key}' needs crops of at least {discriminator.min_size} px, "
                    f"super_resolution.finetune.patch is {patch}"
                )
        return self
