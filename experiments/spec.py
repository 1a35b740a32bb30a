"""The typed experiment: what a YAML file may say, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    GetJsonSchemaHandler,
    PlainSerializer,
    PlainValidator,
    PrivateAttr,
    Tag,
    field_validator,
    model_validator,
)

from ..backbones import list_backbones
from ..common.errors import LopsidedError, did_you_mean
from ..common.sources import ImageSource
from ..discriminators import DiscriminatorSpec, list_discriminators
from ..iqa import JudgeSpec, list_judges, parse_judge
from ..iqa.datasets import dataset_info, list_datasets, open_dataset
from ..iqa.ladder import LadderSpec
from ..iqa.manifest import FRDataset, Split
from ..losses import Measure, MeasureSpec, list_measures, parse_measure
from ..losses.dists import VARIANTS, DistsSpec
from ..losses.learn_weights import LearningSpec, learnable
from ..losses.measure import Reduction
from ..losses.registry import SPECS
from ..sr import FinetuneSpec, GeneratorSpec, Runtime, TrainingSpec
from ..sr.generators import list_generators
from ..sr.real_world import RealWorld
from ..sr.tasks import Bicubic, Deblurring, Degradation, Denoising, Jpeg
from .no_reference import NoReferenceModels, RatedManifest, RatedPublished
from .origin import Location, Origin, located
from .rating import Mllm


class ExperimentError(LopsidedError):
    """An experiment that cannot be read, planned or run as it is written."""


class PlacedError(ExperimentError, ValueError):
    """What a check of a whole found wrong with one part of it.

    Attributes:
        place: where the part is, seen from the whole.
    """

    def __init__(self, message: str, *place: str | int) -> None:
        super().__init__(message)
        self.place: Location = place


# --- a measure that the experiment makes ----------------------------------------------------------------------------

LEARNT = "learnt:"  # with a name of the section `learn`: the measure with the weights that are learnt there


class LearntDists(MeasureSpec):
    """A DISTS with the weights that a cell of the experiment learns, in YAML ``learnt:<name>``.

    Its identity is that of the cell, so it is the same measure on the side of optimization and of assessment, before
    and after its weights are there.

    Attributes:
        name: its name in the section ``learn``.
        of: the DISTS whose weights are learnt; filled in when the experiment is read as a whole.
        cell: identity of the cell that learns them; filled in when the experiment is planned.
    """

    name: str
    of: DistsSpec | None = None
    cell: str | None = None

    @property
    def base(self) -> DistsSpec:
        """The DISTS whose weights are learnt.

        Raises:
            ExperimentError: the measure does not belong to an experiment.
        """
        if self.of is None:
            raise ExperimentError(f"'{LEARNT}{self.name}' means something within an experiment only")
        return self.of

    @property
    def key(self) -> str:
        """``dists-<backbone>+<name>``."""
        return f"{self.base.key}+{self.name}"

    @property
    def families(self) -> frozenset[str]:
        """Those of the DISTS."""
        return self.base.families

    @property
    def min_size(self) -> int:
        """That of the DISTS."""
        return self.base.min_size

    def definition(self) -> dict[str, Any]:
        """The cell, whose identity holds measure, data set, recipe and seeds; its name does not count."""
        if self.cell is None:
            raise ExperimentError(f"'{LEARNT}{self.name}' has no identity before the experiment is planned")
        return {"cell": self.cell}

    def with_weights(self, path: Path) -> DistsSpec:
        """Return the DISTS with the weights of a file."""
        return self.base.model_copy(update={"alpha_beta": str(path)})

    def build(self, *, reduction: Reduction = "mean") -> Measure:  # noqa: ARG002
        """Raise ExperimentError: the weights lie in the store, see :meth:`with_weights`."""
        raise ExperimentError(f"'{LEARNT}{self.name}' is built by the stages of an experiment, from its store")


# --- fields given by key or by mapping ------------------------------------------------------------------------------


def _measure(value: Any) -> MeasureSpec:
    if not isinstance(value, (str, dict, MeasureSpec)):
        raise ValueError(f"a measure is a key or a mapping, got {'nothing' if value is None else repr(value)}")
    if isinstance(value, str) and value.startswith(LEARNT):
        return LearntDists(name=value.removeprefix(LEARNT))
    try:
        return parse_measure(value)
    except LopsidedError as error:
        raise ValueError(str(error)) from None


def _fidelity(value: Any) -> MeasureSpec | None:
    if value == "none":
        return None
    spec = _measure(value)
    if not spec.differentiable:
        raise ValueError(f"'{spec.key}' has no finite gradient, so it cannot be a training loss; use it as a judge")
    return spec


def _learnable(value: Any) -> DistsSpec:
    if isinstance(value, str) and value.startswith(LEARNT):
        raise ValueError(f"'{value}' is learnt already; give the DISTS that it is made of")
    try:
        return learnable(_measure(value))
    except LopsidedError as error:
        raise ValueError(str(error)) from None


def _listed(value: Any) -> Any:
    return value if value is None or isinstance(value, list) else [value]


class _OneOrMore(BeforeValidator):
    """A list, or one value for a list of one."""

    def __get_pydantic_json_schema__(self, schema: Any, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        several = handler(schema)
        return {"anyOf": [several["items"], several]}


class _ByKey:
    """In the JSON schema: one of ``keys``, which editors complete, or a mapping."""

    def __init__(
        self, keys: list[str], mapping: dict[str, Any] | None = None, *others: dict[str, Any], **options: Any
    ) -> None:
        self.keys, self.mapping, self.others, self.options = keys, mapping, others, options

    def __get_pydantic_json_schema__(self, schema: Any, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        mapping = self.mapping
        if mapping is None:
            mapping = handler(schema)
            handler.resolve_ref_schema(mapping)["properties"].update(self.options)
        return {"anyOf": [{"enum": self.keys}, mapping, *self.others]}


def _backbone(*others: str) -> dict[str, Any]:
    mapping = {
        "type": "object",
        "properties": {"name": {"enum": list_backbones()}, "weights": {"type": "string"}, "seed": {"type": "integer"}},
        "required": ["name"],
        "additionalProperties": False,
    }
    return {"anyOf": [{"enum": [*others, *list_backbones()]}, mapping]}


_MEASURE = {
    "type": "object",
    "properties": {
        # Without the defaults, which differ between measures.
        **{
            option: {word: value for word, value in schema.items() if word != "default"}
            for spec in SPECS.values()
            for option, schema in spec.model_json_schema()["properties"].items()
        },
        "measure": {"enum": list(SPECS)},
        "variant": {"enum": list(VARIANTS)},
        "backbone": _backbone(),
    },
    "required": ["measure"],
    "additionalProperties": False,
}
_LEARNT = {"type": "string", "pattern": f"^{LEARNT}"}
_dump = PlainSerializer(lambda spec: spec.model_dump(mode="json") if spec else "none")

Fidelity = Annotated[
    MeasureSpec | None, PlainValidator(_fidelity), _dump, _ByKey(["none", *list_measures()], _MEASURE, _LEARNT)
]
AssessedMeasure = Annotated[MeasureSpec, PlainValidator(_measure), _dump, _ByKey(list_measures(), _MEASURE, _LEARNT)]
_DISTS = [key for key in list_measures() if key.startswith("dists-")]
LearntMeasure = Annotated[DistsSpec, PlainValidator(_learnable), _dump, _ByKey(_DISTS, _MEASURE)]
Generator = Annotated[GeneratorSpec, _ByKey(list_generators(), name={"enum": list_generators()})]
DiscriminatorAxis = Annotated[DiscriminatorSpec, _ByKey(list_discriminators(), backbone=_backbone("conv"))]
JudgeAxis = Annotated[JudgeSpec, _ByKey(list_judges())]
Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]
TASKS: dict[str, type[Degradation]] = {task.name(): task for task in (Bicubic, RealWorld, Denoising, Jpeg, Deblurring)}


def _task(value: Any) -> Any:
    if isinstance(value, Degradation):
        return value
    mapping = {"degradation": value} if isinstance(value, str) else value
    if not isinstance(mapping, dict) or "degradation" not in mapping:
        raise ValueError(f"a task is a name ({', '.join(TASKS)}) or a mapping with `degradation: <name>`")
    name = str(mapping["degradation"])
    if name not in TASKS:
        raise ValueError(_unknown("degradation", name, list(TASKS), "lopsided"))
    return mapping


class _Named(BeforeValidator):
    """One of the tasks' names, which editors complete, or a mapping."""

    def __get_pydantic_json_schema__(self, schema: Any, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"anyOf": [{"enum": list(TASKS)}, {**handler(schema), "required": ["degradation"]}]}


Task = Annotated[
    Annotated[Bicubic | RealWorld | Denoising | Jpeg | Deblurring, Field(discriminator="degradation")], _Named(_task)
]
_Value = TypeVar("_Value")
Axis = Annotated[list[_Value], Field(min_length=1), _OneOrMore(_listed)]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TestSet(_Model):
    """Images that the trained generators restore and the judges score."""

    images: ImageSource = Field(description="Where the high-resolution images come from.")
    crop: int | None = Field(default=None, ge=16, description="Centre crop to this many pixels a side; default: whole.")


class ValidationSet(_Model):
    """Images that trainings are validated on; they may share no file with training and test images."""

    images: ImageSource = Field(description="Where the high-resolution images come from.")
    crop: int | None = Field(default=None, ge=16, description="Centre crop to this many pixels a side; default: whole.")
    every: int = Field(default=500, ge=1, description="Steps between validations; the last step is validated too.")
    judges: list[JudgeAxis] = Field(min_length=1, description="Judges; the first one ranks the weights.")
    top: int = Field(default=1, ge=1, description="How many of the best weights are kept beside the last ones.")


class Data(_Model):
    """Images of the super-resolution side. Train and test may not share a file."""

    train: ImageSource = Field(description="High-resolution training images.")
    test: dict[str, TestSet] = Field(min_length=1, description="Test sets by name.")


class SuperResolution(_Model):
    """Task and training of the super-resolvers."""

    task: Task = Field(
        default=Bicubic(),
        description="What is done to photographs and shall be undone: bicubic, real, denoising, jpeg or deblurring.",
    )
    scale: Literal[1, 2, 3, 4] = Field(
        default=4, description="Magnification; 1 for denoising, jpeg and deblurring, which keep the size."
    )
    pretrain: TrainingSpec = Field(description="Pixel-loss training that every fine-tuning starts from.")
    finetune: FinetuneSpec = Field(description="Training with fidelity and adversarial terms.")
    validation: ValidationSet | None = Field(default=None, description="How both trainings are validated on the way.")

    @model_validator(mode="after")
    def _scale_fits(self) -> SuperResolution:
        if self.scale in self.task.scales:
            return self
        name = self.task.name()
        if self.task.scales == (1,):
            raise PlacedError(f"task '{name}' keeps the size; write scale: 1, got {self.scale}", "scale")
        same_size = ", ".join(key for key, task in TASKS.items() if task.scales == (1,))
        raise PlacedError(
            f"task '{name}' is of scale 2, 3 or 4, got {self.scale}; tasks of scale 1 are {same_size}", "scale"
        )

    @property
    def border(self) -> int:
        """Pixels that judges cut off each border by default: the scale, as papers do; none where the size stays."""
        return 0 if self.scale == 1 else self.scale


class GridRule(_Model):
    """Values of some axes: an ``include`` adds their product to the grid, an ``exclude`` takes matching cells out."""

    generator: Axis[Generator] | None = None
    fidelity: Axis[Fidelity] | None = None
    discriminator: Axis[DiscriminatorAxis] | None = None
    gan_weight: Axis[Weight] | None = None
    seed: Axis[Seed] | None = None

    @model_validator(mode="after")
    def _not_empty(self) -> GridRule:
        if all(getattr(self, axis) is None for axis in AXES):
            raise ValueError(f"a rule needs at least one of {', '.join(AXES)}")
        return self


AXES = ("generator", "fidelity", "discriminator", "gan_weight", "seed")


class Grid(_Model):
    """The axes; their product is trained. The pixel-only baseline of every generator and seed is added by itself."""

    generator: Axis[Generator] = Field(
        default=["swinir-tiny"],  # type: ignore[assignment]
        validate_default=True,
        description="Generators, such as swinir-tiny, edsr-baseline or rrdb; docs/generators.md.",
    )
    fidelity: Axis[Fidelity] = Field(description="Fidelity measures; 'none' is the pixel loss alone.")
    discriminator: Axis[DiscriminatorAxis] = Field(
        default=["none"],  # type: ignore[assignment]
        validate_default=True,
        description="none, vanilla, patch, <form>-<backbone>, patchgan, srgan or unet.",
    )
    gan_weight: Axis[Weight] = Field(default=[0.01], description="Weight of the adversarial term.")
    seed: Axis[Seed] = Field(default=[0], description="Seeds of weights and crops.")
    include: list[GridRule] = Field(default=[], description="Cells to add; axes left out take the grid's values.")
    exclude: list[GridRule] = Field(default=[], description="Cells to leave out; axes left out match anything.")


class LadderSet(_Model):
    """An FR set made here by distorting photographs in graded steps; its labels are severity grades."""

    ladder: LadderSpec


class ManifestSet(_Model):
    """An FR set listed in a CSV: image, reference, distortion, label, label_kind, label_higher_is_better."""

    manifest: Path
    split: Split | None = Field(default=None, description="Only this part of the manifest's own division.")

    def open(self) -> FRDataset:
        """Read and check the set.

        Raises:
            SourceError: what is wrong with it.
        """
        return FRDataset(self.manifest, split=self.split)


class PublishedSet(_Model):
    """A human-rated FR set in the folder that its authors publish, see docs/datasets.md."""

    published: str = Field(
        description="Name of the set.",
        json_schema_extra={"enum": [name for name in list_datasets() if dataset_info(name).task == "fr"]},
    )
    path: Path = Field(description="Folder of the set.")
    split: Split | None = Field(default=None, description="Only this part of the authors' own division.")

    @field_validator("published")
    @classmethod
    def _has_references(cls, value: str) -> str:
        try:
            task = dataset_info(value).task
        except LopsidedError as error:
            raise ValueError(str(error)) from None
        if task != "fr":
            raise ValueError(f"'{value}' has no references, which full-reference measures compare with")
        return value

    def open(self) -> FRDataset:
        """Read and check the set.

        Raises:
            SourceError: what is wrong with it.
        """
        dataset = open_dataset(self.published, self.path, split=self.split)
        if not isinstance(dataset, FRDataset):
            raise ExperimentError(f"'{self.path}' lists no references; add a column `reference` to its manifest")
        return dataset


def _kind(value: Any) -> str | None:
    """Tell which kind of FR set is meant by the one key that is its own."""
    keys = value if isinstance(value, dict) else getattr(type(value), "model_fields", {})
    kinds = [key for key in ("ladder", "manifest", "published") if key in keys]
    return kinds[0] if len(kinds) == 1 else None


FRSet = Annotated[
    Annotated[LadderSet, Tag("ladder")]
    | Annotated[ManifestSet, Tag("manifest")]
    | Annotated[PublishedSet, Tag("published")],
    Discriminator(
        _kind,
        custom_error_type="fr_set",
        custom_error_message="an FR set is given by exactly one of `ladder: …`, `manifest: …` and `published: …`",
    ),
]


RatedSet = Annotated[
    Annotated[LadderSet, Tag("ladder")]
    | Annotated[RatedManifest, Tag("manifest")]
    | Annotated[RatedPublished, Tag("published")],
    Discriminator(
        _kind,
        custom_error_type="fr_set",
        custom_error_message="a rated set is given by exactly one of `ladder: …`, `manifest: …` and `published: …`",
    ),
]


class NoReference(NoReferenceModels):
    """No-reference models and the sets that they are trained and tested on."""

    datasets: dict[str, RatedSet] = Field(default={}, description="Rated sets by name, besides fr_sets.")


class Assessment(_Model):
    """Measures as full-reference metrics, and no-reference models."""

    datasets: dict[str, FRSet] = Field(default={}, description="FR sets by name.")
    measures: list[AssessedMeasure] = Field(
        default=[], description="Measures to assess besides the grid's fidelity measures."
    )
    no_reference: NoReference | None = Field(default=None, description="No-reference models; default: none.")

    @model_validator(mode="after")
    def _rated_sets_exist(self) -> Assessment:
        if (nr := self.no_reference) is None:
            return self
        for index, name in enumerate(nr.fr_sets):
            if name not in self.datasets:
                text = _unknown("FR set", name, list(self.datasets), "assessment.datasets")
                raise PlacedError(text, "no_reference", "fr_sets", index)
            if name in nr.datasets:
                raise PlacedError(f"'{name}' is an FR set too; choose another name", "no_reference", "datasets", name)
        if not nr.fr_sets and not nr.datasets:
            raise PlacedError("needs rated images: name FR sets in fr_sets, or give datasets", "no_reference")
        return self


class Learn(LearningSpec):
    """Weights alpha and beta of a DISTS that are learnt from one of the FR sets."""

    measure: LearntMeasure = Field(description="The DISTS, with uniform weights.")
    dataset: str = Field(description="Name of the FR set, as in assessment.datasets.")
    textures: ImageSource | None = Field(
        default=None, description="Textures for recipe mos; default: scikit-image's brick, grass and gravel."
    )

    @property
    def learning(self) -> LearningSpec:
        """Recipe, split and seeds."""
        return LearningSpec(**{name: getattr(self, name) for name in LearningSpec.model_fields})


class Analysis(_Model):
    """How intervals are computed."""

    resamples: int = Field(default=2000, ge=100, description="Bootstrap resamples.")
    seed: Seed = Field(default=0, description="Seed of the bootstrap.")


_DEVICE = re.compile(r"^(cpu|cuda(:\d+)?|mps)\Z")


class Execution(_Model):
    """How, not what, is computed: nothing here enters a cell's identity."""

    threads: int = Field(default=1, ge=1, description="CPU threads of torch. One is safest on busy machines.")
    device: str = Field(
        default="cpu", description="cpu, cuda, cuda:N or mps.", json_schema_extra={"pattern": _DEVICE.pattern}
    )
    checkpoint_every: int = Field(default=500, ge=1, description="Steps between training checkpoints.")
    channels_last: bool = Field(default=True, description="Keep images channels last in memory.")
    compile: bool = Field(default=False, description="Compile the generators with torch.compile.")
    loader_threads: int = Field(default=1, ge=0, description="Threads that draw crops ahead of the training.")
    tensorboard: bool = Field(default=False, description="Write TensorBoard event files beside each training.")

    @property
    def runtime(self) -> Runtime:
        """How trainings run."""
        return Runtime(self.device, self.channels_last, self.compile, self.loader_threads)

    @field_validator("device")
    @classmethod
    def _known_device(cls, value: str) -> str:
        if not _DEVICE.search(value):
            raise ValueError(f"unknown device '{value}'; known: cpu, cuda, cuda:N (such as cuda:0), mps")
        return value


class Experiment(_Model):
    """One experiment: data, training, grid, judges and assessment."""

    name: str = Field(
        description="Names the folder of its results.",
        json_schema_extra={"pattern": r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$"},
    )
    title: str = Field(default="", description="Headline of the report; default: the name.")
    description: str = Field(default="", description="What the experiment is for; printed in the report.")
    data: Data
    super_resolution: SuperResolution
    learn: dict[str, Learn] = Field(
        default={}, description="Weights of DISTS to learn, by name; `learnt:<name>` is the measure that has them."
    )
    grid: Grid
    judges: list[JudgeAxis] = Field(min_length=1, description="Judges of restored images.")
    assessment: Assessment = Assessment()
    mllm: Mllm | None = Field(default=None, description="Multimodal LLMs as judges and measures; docs/rating.md.")
    analysis: Analysis = Analysis()
    execution: Execution = Execution()

    _origin: Origin | None = PrivateAttr(default=None)

    @field_validator("name")
    @classmethod
    def _names_a_folder(cls, value: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", value):
            raise ValueError(
                f"'{value}' must be 1 to 64 letters, digits, '_', '-' or '.', beginning with a letter or digit: "
                "it names a folder"
            )
        return value

    @model_validator(mode="after")
    def _resolve(self) -> Experiment:
        object.__setattr__(self, "judges", self._resolved(self.judges, "judges"))
        self._resolve_validation()
        self._define_learnt()
        for rule, place in ((self.grid, ()), *((rule, ("include", i)) for i, rule in enumerate(self.grid.include))):
            for index, generator in enumerate(rule.generator or ()):
                self._check_generator(generator, "grid", *place, "generator", index)
            for index, fidelity in enumerate(rule.fidelity or ()):
                if fidelity:
                    self._check_patch(fidelity.key, fidelity.min_size, *place, "fidelity", index)
            for index, discriminator in enumerate(rule.discriminator or ()):
                if discriminator.form != "none":
                    self._check_patch(discriminator.key, discriminator.min_size, *place, "discriminator", index)
        return self

    def _resolved(self, judges: list[JudgeSpec], *place: str | int) -> list[JudgeSpec]:
        found: list[JudgeSpec] = []
        for index, judge in enumerate(judges):
            resolved = parse_judge(judge, scale=self.super_resolution.border)
            if resolved.key in [other.key for other in found]:
                raise PlacedError(f"judge '{resolved.key}' is listed twice; keep one", *place, index)
            found.append(resolved)
        return found

    def _resolve_validation(self) -> None:
        sr = self.super_resolution
        if sr.validation:
            judges = self._resolved(sr.validation.judges, "super_resolution", "validation", "judges")
            validation = sr.validation.model_copy(update={"judges": judges})
            object.__setattr__(self, "super_resolution", sr.model_copy(update={"validation": validation}))
            return
        for name, spec in (("pretrain", sr.pretrain), ("finetune", sr.finetune)):
            if spec.keep == "best":
                raise PlacedError(
                    "keep: best needs a judge to say which; add super_resolution.validation with images and judges",
                    *("super_resolution", name, "keep"),
                )

    def _define_learnt(self) -> None:
        """Fill in what the measures called ``learnt:<name>`` are."""
        for name, learn in self.learn.items():
            if learn.dataset not in self.assessment.datasets:
                text = _unknown("FR set", learn.dataset, list(self.assessment.datasets), "assessment.datasets")
                raise PlacedError(text, "learn", name, "dataset")

        def defined(measures: list[Any] | None, *place: str | int) -> list[Any] | None:
            if measures is None:
                return None
            found = []
            for index, measure in enumerate(measures):
                if isinstance(measure, LearntDists):
                    if measure.name not in self.learn:
                        text = _unknown("learnt weights", measure.name, list(self.learn), "learn")
                        raise PlacedError(text, *place, index)
                    measure = measure.model_copy(update={"of": self.learn[measure.name].measure})
                found.append(measure)
            return found

        grid = {"fidelity": defined(self.grid.fidelity, "grid", "fidelity")}
        for kind in ("include", "exclude"):
            grid[kind] = [
                rule.model_copy(update={"fidelity": defined(rule.fidelity, "grid", kind, index, "fidelity")})
                for index, rule in enumerate(getattr(self.grid, kind))
            ]
        measures = defined(self.assessment.measures, "assessment", "measures")
        object.__setattr__(self, "grid", self.grid.model_copy(update=grid))
        object.__setattr__(self, "assessment", self.assessment.model_copy(update={"measures": measures}))

    def _check_generator(self, generator: GeneratorSpec, *place: str | int) -> None:
        sr = self.super_resolution
        if sr.scale not in generator.scales:
            has = ", ".join(f"×{scale}" for scale in generator.scales)
            raise PlacedError(f"'{generator.name}' has no ×{sr.scale}, only {has}", *place)
        unit = sr.scale * generator.side_multiple
        for name, spec in (("pretrain", sr.pretrain), ("finetune", sr.finetune)):
            if spec.patch % unit:
                near = max(unit, round(spec.patch / unit) * unit)
                raise PlacedError(
                    f"at ×{sr.scale} '{generator.name}' needs a patch that is a multiple of {unit} px, e.g. {near}; "
                    f"got {spec.patch}",
                    *("super_resolution", name, "patch"),
                )

    def _check_patch(self, key: str, need: int, *place: str | int) -> None:
        patch = self.super_resolution.finetune.patch
        if need > patch:
            raise PlacedError(
                f"'{key}' needs crops of at least {need} px, super_resolution.finetune.patch is {patch}", "grid", *place
            )

    def read_from(self, origin: Origin) -> Experiment:
        """Return the same experiment, which remembers where it was read."""
        copy = self.model_copy()
        copy._origin = origin
        return copy

    def error(self, place: Location, message: str) -> ExperimentError:
        """Return an error about the part at ``place``, which names file and line where they are known."""
        return ExperimentError(self._origin.message(place, message) if self._origin else located(place, message))


def _unknown(kind: str, name: str, known: list[str], section: str) -> str:
    hint = did_you_mean(name, known, f"{section} has {', '.join(known) or 'none'}")
    return f"unknown {kind} '{name}'; {hint}"
