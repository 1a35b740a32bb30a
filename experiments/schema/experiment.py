"""The typed experiment: everything that its YAML file can contain."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from pydantic import (
    Field,
    PrivateAttr,
    field_validator,
    model_validator,
)

from ...common.errors import LopsidedError
from ...common.families import Kind
from ...common.fields import COUNT, Settings
from ...common.origin import Location, Origin, located
from ...common.sources import ImageSource
from ...discriminators import DiscriminatorSpec
from ...iqa import JudgeSpec, parse_judge
from ...losses import MeasureSpec
from ...losses.learn_weights import LearningSpec
from ...mllm.align import Alignment
from ...sr import GeneratorSpec
from .axes import Grid, Seed
from .datasets import FRSet
from .diagnose import Diagnose
from .errors import ExperimentError, LocatedError, PlacedError, unknown
from .execution import Execution
from .imported import ImportedSet
from .measures import AssessedMeasure, LearntDists, LearntMeasure
from .mllm import LocalModel, Mllm
from .no_reference import NoReference
from .restoration import Data, JudgeAxis, SuperResolution


class Optimization(NamedTuple):
    """The sections that belong together: what is trained, on what, and who judges it."""

    data: Data
    super_resolution: SuperResolution
    grid: Grid
    judges: list[JudgeSpec]


class Assessment(Settings):
    """Measures as full-reference metrics, and no-reference models."""

    datasets: dict[str, FRSet] = Field(default={}, description="FR sets by name.")
    measures: list[AssessedMeasure] = Field(
        default=[], description="Measures to assess besides the grid's fidelity measures."
    )
    imported: dict[str, ImportedSet] = Field(
        default={}, description="Published scores of FR sets whose images are not at hand, by name; docs/assessment.md."
    )
    no_reference: NoReference | None = Field(default=None, description="No-reference models; default: none.")

    @model_validator(mode="after")
    def _rated_sets_exist(self) -> Assessment:
        if both := sorted(self.imported.keys() & self.datasets.keys()):
            raise PlacedError(
                f"'{both[0]}' is the name of a set in `datasets` too; choose another", "imported", both[0]
            )
        if (nr := self.no_reference) is None:
            return self
        for index, name in enumerate(nr.fr_sets):
            if name not in self.datasets:
                text = unknown("FR set", name, list(self.datasets), "assessment.datasets")
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


class Analysis(Settings):
    """How intervals are computed, and which judges count; no cell depends on it."""

    resamples: int = Field(default=2000, ge=100, le=COUNT, description="Bootstrap resamples.")
    seed: Seed = Field(default=0, description="Seed of the bootstrap.")
    independence: tuple[Kind, ...] = Field(
        default=("backbone", "form"),
        description="What a judge must not share with what it judges; []: any judge counts. See docs/judges.md.",
        json_schema_extra={"uniqueItems": True},
    )

    @field_validator("independence")
    @classmethod
    def _once_each(cls, kinds: tuple[Kind, ...]) -> tuple[Kind, ...]:
        if len(set(kinds)) < len(kinds):
            raise ValueError(f"{', '.join(kinds)}: give each of them once")
        return kinds


class Experiment(Settings):
    """One experiment: data, training, grid and judges; or assessment, multimodal LLMs or diagnostics alone."""

    name: str = Field(
        description="Names the folder of its results.",
        json_schema_extra={"pattern": r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$"},
    )
    title: str = Field(default="", description="Headline of the report; default: the name.")
    description: str = Field(default="", description="What the experiment is for; printed in the report.")
    data: Data | None = Field(
        default=None, description="Images of the super-resolution side. Train and test must not share a file."
    )
    super_resolution: SuperResolution | None = Field(
        default=None, description="Task and training of the super-resolvers."
    )
    learn: dict[str, Learn] = Field(
        default={}, description="Weights of DISTS to learn, by name; the measure `learnt:<name>` uses them."
    )
    grid: Grid | None = Field(
        default=None,
        description="The axes; every combination of their values is trained. Missing pixel-only baselines are added.",
    )
    judges: list[JudgeAxis] | None = Field(default=None, min_length=1, description="Judges of restored images.")
    assessment: Assessment = Assessment()
    align: dict[str, Alignment] = Field(
        default={},
        description="Multimodal LLMs to train, by name; the scorer's model `aligned:<name>` is one; docs/alignment.md.",
    )
    mllm: Mllm | None = Field(default=None, description="Multimodal LLMs as judges and measures; docs/rating.md.")
    diagnose: Diagnose | None = Field(
        default=None, description="Diagnostics of measures as objectives; docs/diagnostics.md. Default: none."
    )
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

    @property
    def optimization(self) -> Optimization | None:
        """What is trained and judged; None: this experiment only assesses, rates or diagnoses."""
        if self.data and self.super_resolution and self.grid and self.judges:
            return Optimization(self.data, self.super_resolution, self.grid, self.judges)
        return None

    @property
    def optimized(self) -> Optimization:
        """What is trained and judged.

        Raises:
            ExperimentError: nothing is.
        """
        if self.optimization is None:
            raise ExperimentError("an experiment without data has no training images; give images here")
        return self.optimization

    @model_validator(mode="after")
    def _resolve(self) -> Experiment:
        self._require_something()
        self._check_raters()
        if wanted := self.optimization:
            object.__setattr__(self, "judges", self._resolved(wanted.judges, "judges"))
            self._resolve_validation(wanted.super_resolution)
        self._define_learnt()
        self._define_aligned()
        if wanted := self.optimization:
            _check_grid(wanted)
        return self

    def _require_something(self) -> None:
        missing = [name for name in Optimization._fields if getattr(self, name) is None]
        if missing and len(missing) < len(Optimization._fields):
            together = "data, super_resolution, grid and judges are given together, or none of them"
            raise PlacedError(f"'{missing[0]}' is missing: {together}")
        asked = self.assessment.measures or self.assessment.imported or self.assessment.no_reference
        if missing and not (asked or self.mllm or self.diagnose):
            raise PlacedError(
                "asks for nothing; give data, super_resolution, grid and judges, or assessment.measures with "
                "assessment.datasets, or mllm; see docs/experiments.md"
            )

    def _check_raters(self) -> None:
        if (mllm := self.mllm) is None:
            return
        trains = self.optimization is not None
        if not (trains or mllm.fr_sets or mllm.datasets or mllm.benchmarks):
            raise PlacedError("has nothing to rate; give fr_sets, datasets or benchmarks", "mllm")
        if not trains and "restored" in mllm.model_fields_set and mllm.restored:
            raise PlacedError("nothing is restored without data, super_resolution, grid and judges", "mllm", "restored")
        for scorer in mllm.scorers:
            if not scorer.rated and ((trains and mllm.restored) or mllm.fr_sets or mllm.datasets):
                raise PlacedError(
                    f"preset '{scorer.preset}' does not rate images; say `restored: false` and leave data sets out",
                    "mllm",
                )

    def _resolved(self, judges: list[JudgeSpec], *place: str | int) -> list[JudgeSpec]:
        found: list[JudgeSpec] = []
        border = self.super_resolution.border if self.super_resolution else 0
        for index, judge in enumerate(judges):
            resolved = parse_judge(judge, scale=border)
            if resolved.key in [other.key for other in found]:
                raise PlacedError(f"judge '{resolved.key}' is listed twice; keep one", *place, index)
            found.append(resolved)
        return found

    def _resolve_validation(self, sr: SuperResolution) -> None:
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
        """Fill in the definition of every measure called ``learnt:<name>``."""
        for name, learn in self.learn.items():
            if learn.dataset not in self.assessment.datasets:
                text = unknown("FR set", learn.dataset, list(self.assessment.datasets), "assessment.datasets")
                raise PlacedError(text, "learn", name, "dataset")

        def defined(measures: list[Any] | None, *place: str | int) -> list[Any] | None:
            if measures is None:
                return None
            found = []
            for index, measure in enumerate(measures):
                if isinstance(measure, LearntDists):
                    if measure.name not in self.learn:
                        text = unknown("learnt weights", measure.name, list(self.learn), "learn")
                        raise PlacedError(text, *place, index)
                    learn = self.learn[measure.name]
                    data = self.assessment.datasets[learn.dataset].origin(learn.dataset) or learn.dataset
                    measure = measure.model_copy(update={"of": learn.measure, "data": data})
                found.append(measure)
            return found

        if self.grid:
            grid = {"fidelity": defined(self.grid.fidelity, "grid", "fidelity")}
            for kind in ("include", "exclude"):
                grid[kind] = [
                    rule.model_copy(update={"fidelity": defined(rule.fidelity, "grid", kind, index, "fidelity")})
                    for index, rule in enumerate(getattr(self.grid, kind))
                ]
            object.__setattr__(self, "grid", self.grid.model_copy(update=grid))
        measures = defined(self.assessment.measures, "assessment", "measures")
        object.__setattr__(self, "assessment", self.assessment.model_copy(update={"measures": measures}))

    def _define_aligned(self) -> None:
        """Tell every scorer whose model is called ``aligned:<name>`` how it is trained."""
        if self.mllm is None:
            return
        scorers = []
        for index, scorer in enumerate(self.mllm.scorers):
            if isinstance(scorer, LocalModel) and scorer.aligned is not None:
                if scorer.aligned not in self.align:
                    text = unknown("alignment", scorer.aligned, list(self.align), "align")
                    raise PlacedError(text, "mllm", "scorers", index, "model")
                scorer = scorer.trained_by(self.align[scorer.aligned])
            scorers.append(scorer)
        object.__setattr__(self, "mllm", self.mllm.model_copy(update={"scorers": scorers}))

    def read_from(self, origin: Origin) -> Experiment:
        """Return the same experiment, which remembers where it was read."""
        copy = self.model_copy()
        copy._origin = origin
        return copy

    def error(self, place: Location, message: str) -> ExperimentError:
        """Return an error about the part at ``place``, which names file and line where they are known."""
        return LocatedError(self._origin.message(place, message) if self._origin else located(place, message))

    @contextlib.contextmanager
    def placed(self, *place: str | int) -> Iterator[None]:
        """Attach the place in the YAML to an error that the block raises."""
        try:
            yield
        except LocatedError:
            raise
        except (LopsidedError, OSError) as error:
            raise self.error(place, str(error)) from None


def _check_grid(of: Optimization) -> None:
    for rule, place in ((of.grid, ()), *((rule, ("include", i)) for i, rule in enumerate(of.grid.include))):
        for index, weight in enumerate(rule.gan_weight or ()):
            if of.super_resolution.finetune.hold_adversarial_share and weight >= 1:
                raise PlacedError(
                    f"with hold_adversarial_share it is a share and must be below 1, got {weight:g}",
                    *("grid", *place, "gan_weight", index),
                )
        for index, generator in enumerate(rule.generator or ()):
            _check_generator(of.super_resolution, generator, "grid", *place, "generator", index)
        for index, fidelity in enumerate(rule.fidelity or ()):
            if fidelity:
                _check_patch(of.super_resolution, fidelity, *place, "fidelity", index)
        for index, discriminator in enumerate(rule.discriminator or ()):
            if discriminator.form != "none":
                _check_patch(of.super_resolution, discriminator, *place, "discriminator", index)


def _check_generator(sr: SuperResolution, generator: GeneratorSpec, *place: str | int) -> None:
    if sr.scale not in generator.scales:
        has = ", ".join(f"×{scale}" for scale in generator.scales)
        raise PlacedError(f"'{generator.name}' has no ×{sr.scale}, only {has}", *place)
    if not sr.pretrain.steps and generator.weights is None:
        raise PlacedError(
            f"must be at least 1, got 0: '{generator.name}' has no `weights` to start from",
            *("super_resolution", "pretrain", "steps"),
        )
    unit = sr.scale * generator.side_multiple(sr.scale)
    for name, spec in (("pretrain", sr.pretrain), ("finetune", sr.finetune)):
        if spec.patch % unit:
            near = max(unit, round(spec.patch / unit) * unit)
            raise PlacedError(
                f"at ×{sr.scale} '{generator.name}' needs a patch that is a multiple of {unit} px, e.g. {near}; "
                f"got {spec.patch}",
                *("super_resolution", name, "patch"),
            )


def _check_patch(sr: SuperResolution, of: MeasureSpec | DiscriminatorSpec, *place: str | int) -> None:
    if of.min_size > (patch := sr.finetune.patch):
        raise PlacedError(
            f"'{of.key}' needs crops of at least {of.min_size} px, super_resolution.finetune.patch is {patch}",
            *("grid", *place),
        )
