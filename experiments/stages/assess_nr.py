"""The stage assess_nr: which no-reference models an experiment has, what they need, and how a cell is computed."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd
from pydantic import SerializeAsAny, ValidationError

from ...common.errors import LopsidedError
from ...common.identity import identity
from ...common.images import upright_size
from ...common.origin import Location
from ...common.sources import ImageItem
from ...discriminators import DiscriminatorSpec
from ...discriminators.inputs import InputNormalisation
from ...iqa.manifest import FRDataset, NRDataset
from ...iqa.nr import (
    FeatureCache,
    FineTuned,
    NRSpec,
    Pretrained,
    SelfSupervised,
    Split,
    Splits,
    ZeroLabelSpec,
    evaluate_split,
)
from ...iqa.nr.initialisation import build_trunk
from ...iqa.nr.spec import CONV
from ...iqa.nr.splits import group
from ...sr.trainer import StoppedError
from ..schema.datasets import LabelledSet
from ..schema.errors import ExperimentError
from ..schema.experiment import Experiment
from ..schema.no_reference import NoReference
from .cell import Cell, only
from .cell_files import SCORES, read_table, write_table
from .context import Context
from .draft import Draft
from .stage import Stage
from .titles import assessed, network
from .train import DISCRIMINATOR, Finetune

PLACE = ("assessment", "no_reference")
SOURCE = ("generator", "fidelity", "discriminator", "gan_weight", "seed")


@dataclass(frozen=True)
class Adversary:
    """A discriminator that the experiment trains.

    Attributes:
        cell: the cell that trains it.
        spec: its definition.
    """

    cell: Cell
    spec: DiscriminatorSpec

    @property
    def seed(self) -> int:
        """The seed of its initial weights."""
        return self.cell.labels["seed"]

    @property
    def backbone(self) -> str | None:
        """The family of its trunk; None if it has no separate trunk."""
        return ZeroLabelSpec(discriminator=self.spec).backbone if self.spec.form in ("vanilla", "patch") else None


@dataclass(frozen=True)
class Trunk:
    """The part of a backbone that models use: the same for all initialisations that are compared."""

    backbone: str
    depth: int | None = None
    normalisation: InputNormalisation | None = None


@dataclass(frozen=True)
class Model:
    """A model from one start.

    Attributes:
        spec: the model; random weights take the place of a discriminator's.
        key: its name in tables, shared by all models that differ only in initialisation.
        initialisation: what it starts from.
        seed: of random weights, or None.
        source: the discriminator that it starts from.
        layers: each layer is probed alone.
    """

    spec: NRSpec | ZeroLabelSpec
    key: str
    initialisation: str
    seed: int | None = None
    source: Adversary | None = None
    layers: bool = False

    @property
    def weights(self) -> Any:
        """A key that is equal for models with the same image features."""
        return self.spec.backbone, self.initialisation, self.seed, self.source.cell.id if self.source else None


class AssessNR(Stage):
    """Train a no-reference model on the training part of one split, and score its test part.

    Attributes:
        model: the model. Where a discriminator comes in as input, its weights take the place of the random ones.
        discriminator: definition of the input discriminator, for a model that starts from its trunk.
        layers: probe each layer alone, in place of the whole.
        splits: how the set is divided.
        split: name of the one division.
    """

    stage: ClassVar[str] = "assess_nr"
    model: NRSpec | ZeroLabelSpec
    discriminator: DiscriminatorSpec | None = None
    layers: bool = False
    dataset: SerializeAsAny[LabelledSet]
    dataset_identity: str
    splits: Splits
    split: str

    def content(self) -> dict[str, Any]:
        """Model, images and the one split, however many there are; a discriminator's weights come in as an input."""
        return {
            "model": self.model.identity,
            "discriminator": self.discriminator.identity if self.discriminator else None,
            "layers": self.layers,
            "dataset": self.dataset_identity,
            # With more random splits, the first ones stay the same.
            "splits": self.splits.model_copy(update={"count": 1}).identity,
            "split": self.split,
        }

    def caches(self) -> tuple[str, ...]:
        """Those of the set."""
        return self.dataset.caches()

    def title(self, labels: Mapping[str, Any]) -> str:
        """The model, its start, the images and the split."""
        source = f" of {network(labels)}" if "fidelity" in labels else ""
        seed = "" if source or labels["seed"] is None else f" seed {labels['seed']}"
        return f"{self.row(labels)}{source}{seed} split {self.split}"

    def row(self, labels: Mapping[str, Any]) -> str:
        """The model, its start and the images: seeds and splits share a row."""
        return assessed(labels)

    @classmethod
    def plan(cls, draft: Draft) -> Iterator[Cell[Stage]]:
        """Plan the section ``assessment.no_reference``.

        Raises:
            ExperimentError: a set that cannot be read or shares an image with the training images, a model that
                cannot exist, or discriminators that are needed but not in the grid.
        """
        experiment = draft.experiment
        settings = experiment.assessment.no_reference
        if settings is None:
            return
        sets: dict[str, tuple[LabelledSet, str]] = {}
        for name in settings.fr_sets:
            sets[name] = experiment.assessment.datasets[name], draft.fr_identities[name]
        for name, rated in settings.datasets.items():
            with experiment.placed(*PLACE, "datasets", name):
                sets[name] = rated, rated.identity()
        models = list(_models(experiment, settings, draft.of(Finetune)))
        for name, (rated, content) in sets.items():
            if any(model.source for model in models):
                _refuse_seen(experiment, settings, name, rated, draft.train_items)
            common = {"dataset": rated, "dataset_identity": content, "splits": settings.splits}
            for _, alike in itertools.groupby(models, key=lambda model: model.weights):
                for split, model in itertools.product(settings.splits.names, list(alike)):
                    yield _cell(model, split, name, common)

    @classmethod
    def preflight(cls, pending: Sequence[Cell[Stage]], context: Context) -> None:
        """Open data sets, divide them, check the sizes of their images, and build what models start from."""
        specs = [cell.spec for cell in only(pending, cls)]
        needs: dict[str, tuple[AssessNR, int]] = {}
        built = set()
        for spec in specs:
            need = _min_size(spec.model)
            if need > needs.get(spec.dataset_identity, (spec, 0))[1]:
                needs[spec.dataset_identity] = spec, need
            if isinstance(spec.model, NRSpec) and isinstance(spec.model.initialisation, Pretrained):
                key = spec.model.trunk_identity, spec.model.n_stages
                if key not in built:
                    build_trunk(spec.model)
                    built.add(key)
        for spec, need in needs.values():
            dataset = _dataset(spec, context)
            _split(spec, dataset, context)
            for row in dataset.rows:
                width, height = upright_size(row.image_path)
                if min(width, height) < need:
                    raise ExperimentError(
                        f"assessment.no_reference: '{row.image_path}' is {width}×{height} px, at least {need} per side "
                        "are needed; leave it out, or lower crop or test_crop"
                    )

    def run(self, cell: Cell[Stage], folder: Path, context: Context) -> None:
        """Train and test the model, or a probe of each of its layers, and write one row per test image.

        The table is that of ``evaluate_split``, with the columns stage (index of the layer, NA for the whole) and
        train_references (how many references, or images without one, were learnt from).
        """
        dataset = _dataset(self, context)
        split = _split(self, dataset, context)
        model = _with_weights(cell, self, context)
        probes = [model]
        if self.layers and isinstance(model, NRSpec):
            probes = [_probe(model, stage) for stage in range(model.n_stages)]

        def progress(done: int, total: int, note: str) -> None:
            context.progress(done, total, f"split {split.name}: {note}")
            if context.stop():
                raise StoppedError(f"stopped in split {split.name}")

        features = _features(model, self, context)
        parts = [
            evaluate_split(
                probe, dataset, split, device=context.execution.device, features=features, progress=progress
            ).assign(stage=stage if self.layers else pd.NA)
            for stage, probe in enumerate(probes)
        ]
        groups = group(dataset)
        table = pd.concat(parts, ignore_index=True)
        table = table.assign(
            stage=table["stage"].astype("Int64"), train_references=len({groups[index] for index in split.train})
        )
        write_table(folder / SCORES, table)

    def rows(self, cell: Cell[Stage], folder: Path) -> dict[str, pd.DataFrame]:
        """One row per test image."""
        source = cell.inputs.get("finetune")
        scores = read_table(folder).assign(
            backbone=self.model.backbone,
            initialisation=cell.labels["initialisation"],
            source_cell=source.id if source else "",
            model=cell.labels["model"],
            model_id=identity({"model": self.model.identity, "source": source.id if source else None}),
            dataset=cell.labels["dataset"],
            dataset_id=self.dataset_identity,
            **{name: source.labels[name] if source else "" for name in ("generator", "fidelity", "discriminator")},
            gan_weight=source.labels["gan_weight"] if source else 0.0,
            seed=cell.labels["seed"],
        )
        return {"nr_scores": scores.astype({"seed": "Int64", "gan_weight": "float64"})}


# --- which models an experiment has -----------------------------------------------------------------------------------


def _cell(model: Model, split: str, dataset: str, common: dict[str, Any]) -> Cell:
    source, trunk = model.source, isinstance(model.spec, NRSpec)
    discriminator = source.spec if source and trunk else None
    spec = AssessNR(model=model.spec, discriminator=discriminator, layers=model.layers, split=split, **common)
    labels = {
        "measure": f"{model.key}{' layers' if model.layers else ''} from {model.initialisation}",
        "dataset": dataset,
        "model": model.key,
        "initialisation": model.initialisation,
        "seed": model.seed,
        **({name: source.cell.labels[name] for name in SOURCE} if source else {}),
    }
    return Cell(spec, {"finetune": source.cell} if source else {}, labels)


def _models(experiment: Experiment, settings: NoReference, trained: Iterable[Cell[Finetune]]) -> Iterator[Model]:
    """Yield every model: of each trunk, from each start, by each protocol; then the discriminators themselves."""
    adversaries = [
        Adversary(cell, cell.spec.discriminator) for cell in trained if cell.spec.discriminator.form != "none"
    ]
    # A trunk that never learns still has its random or pretrained weights.
    trunks = [found for found in adversaries if found.backbone and found.spec.trainable]
    backbones = settings.backbones or list(dict.fromkeys(str(found.backbone) for found in trunks))
    wanted = [found for found in trunks if found.backbone in backbones]
    if settings.start("discriminator") and not wanted:
        raise _missing(experiment, settings, "discriminator", settings.backbones)
    if settings.start("zero-label") and not adversaries:
        raise _missing(experiment, settings, "zero-label", None)
    if not backbones and not settings.start("zero-label"):
        raise experiment.error(PLACE, "no backbone to start from; name some in backbones")
    for backbone in backbones:
        of_trunk: dict[Trunk, list[Adversary]] = {}
        for found in wanted:
            if found.backbone == backbone:
                trunk = Trunk(backbone, found.spec.head_stage + 1, found.spec.input_normalisation)
                of_trunk.setdefault(trunk, []).append(found)
        for trunk, found in (of_trunk or {Trunk(backbone): []}).items():
            seeds = sorted({source.seed for source in found} or set(experiment.grid.seed if experiment.grid else [0]))
            yield from _of_trunk(experiment, settings, trunk, found, seeds)
    if settings.start("zero-label"):
        listed = settings.backbones
        yield from _zero_label(settings, [found for found in adversaries if not listed or found.backbone in listed])


def _of_trunk(
    experiment: Experiment, settings: NoReference, trunk: Trunk, sources: list[Adversary], seeds: list[int]
) -> Iterator[Model]:
    for start in settings.initialisations:
        weights: list[tuple[Any, int | None, Adversary | None]] = []
        if start.name == "random":
            weights = [({"name": "random", "seed": seed}, seed, None) for seed in seeds]
        elif start.name == "discriminator":
            weights = [({"name": "random"}, source.seed, source) for source in sources]
        elif isinstance(start, SelfSupervised):
            weights = [(start.model_copy(update={"seed": seed}), seed, None) for seed in seeds]
        elif isinstance(start, Pretrained) and trunk.backbone != CONV:
            weights = [(start, None, None)]
        for initialisation, seed, source in weights:
            for index, protocol in enumerate(settings.protocols):
                spec = _spec(experiment, settings, trunk, initialisation, protocol, ("protocols", index))
                yield Model(spec, _key(settings, trunk, protocol), start.name, seed, source)
            if settings.layers:
                spec = _spec(experiment, settings, trunk, initialisation, settings.probe, ("layers",))
                yield Model(spec, _key(settings, trunk, settings.probe), start.name, seed, source, layers=True)


def _zero_label(settings: NoReference, sources: list[Adversary]) -> Iterator[Model]:
    """Yield every trained discriminator as a metric, and each untrained one once per seed."""
    untrained = set()
    for source in sources:
        trained = ZeroLabelSpec(discriminator=source.spec, test_crop=settings.test_crop, test_grid=settings.test_grid)
        yield Model(trained, trained.key, "zero-label", source.seed, source)
        if (source.spec, source.seed) not in untrained:
            untrained.add((source.spec, source.seed))
            yield Model(trained.model_copy(update={"seed": source.seed}), trained.key, "random", source.seed)


def _spec(
    experiment: Experiment, settings: NoReference, trunk: Trunk, start: Any, protocol: Any, place: Location
) -> NRSpec:
    try:
        spec = NRSpec(
            backbone=trunk.backbone,
            initialisation=start,
            protocol=protocol,
            depth=trunk.depth,
            input_normalisation=trunk.normalisation,
            **_common(settings),
        )
        _ = spec.trunk_identity  # looks for files of weights
    except ValidationError as error:
        text = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise experiment.error((*PLACE, *place), text) from None
    except LopsidedError as error:
        raise experiment.error((*PLACE, "initialisations"), str(error)) from None
    return spec


def _common(settings: NoReference) -> dict[str, Any]:
    return {name: getattr(settings, name) for name in ("statistics", "test_crop", "test_grid", "seed")}


def _key(settings: NoReference, trunk: Trunk, protocol: Any) -> str:
    """Return a model's name: the name of the same model with the whole backbone, and the part that this model uses."""
    whole = NRSpec(backbone=trunk.backbone, protocol=protocol, **_common(settings))
    part = f"/first-{trunk.depth}-stages" if trunk.depth not in (None, whole.depth) else ""
    inputs = trunk.normalisation not in (None, whole.input_normalisation)
    return f"{whole.key}{part}" + (f"/{trunk.normalisation}-inputs" if inputs else "")


def _missing(experiment: Experiment, settings: NoReference, name: str, backbones: list[str] | None) -> ExperimentError:
    index = [start.name for start in settings.initialisations].index(name)
    kind = f"trunk of {' or '.join(backbones)}" if backbones else "discriminator"
    return experiment.error(
        (*PLACE, "initialisations", index),
        f"the grid trains no {kind}; add one to grid.discriminator, or leave '{name}' out",
    )


def _refuse_seen(
    experiment: Experiment, settings: NoReference, name: str, rated: LabelledSet, train: list[ImageItem]
) -> None:
    """Refuse a set with an image, or a reference, that discriminators are trained on."""
    seen = {item.sha256 for item in train}
    if twins := [path for path, sha256 in rated.originals().items() if sha256 in seen]:
        place = ("fr_sets", settings.fr_sets.index(name)) if name in settings.fr_sets else ("datasets", name)
        raise experiment.error(
            (*PLACE, *place),
            f"{len(twins)} image(s) of '{name}' are in the training set too, e.g. '{twins[0]}': discriminators have "
            "seen them; remove them from one",
        )


# --- what a cell needs ------------------------------------------------------------------------------------------------


def _min_size(model: NRSpec | ZeroLabelSpec) -> int:
    own = model.discriminator.min_size if isinstance(model, ZeroLabelSpec) else model.min_size
    crop = model.protocol.crop if isinstance(model, NRSpec) and isinstance(model.protocol, FineTuned) else 0
    return max(own, crop, model.test_crop or 0)


def _dataset(spec: AssessNR, context: Context) -> FRDataset | NRDataset:
    """Return the rated images, making a ladder in the store's cache if it is not there yet."""
    return context.once(f"rated {spec.dataset_identity}", lambda: spec.dataset.open(context.store.cache))


def _split(spec: AssessNR, dataset: FRDataset | NRDataset, context: Context) -> Split:
    key = f"splits {spec.splits.identity} of {spec.dataset_identity}"
    drawn = context.once(key, lambda: {split.name: split for split in spec.splits.draw(dataset)})
    return drawn[spec.split]


def _with_weights(cell: Cell, spec: AssessNR, context: Context) -> NRSpec | ZeroLabelSpec:
    """Return the model, with the weights of the input discriminator if it has one."""
    if "finetune" not in cell.inputs:
        return spec.model
    file = context.input(cell, "finetune", DISCRIMINATOR)
    if isinstance(spec.model, ZeroLabelSpec):
        return spec.model.model_copy(update={"weights": str(file)})
    start = {"name": "discriminator", "discriminator": spec.discriminator, "weights": str(file)}
    return NRSpec.model_validate({**dict(spec.model), "initialisation": start})


def _probe(model: NRSpec, stage: int) -> NRSpec:
    return NRSpec.model_validate({**dict(model), "stages": stage})


def _features(model: NRSpec | ZeroLabelSpec, spec: AssessNR, context: Context) -> FeatureCache:
    """Return the features of these weights on this set; only the last are kept: cells that share them run in a row."""
    trunk = model.trunk_identity if isinstance(model, NRSpec) else model.identity
    start = model.initialisation if isinstance(model, NRSpec) else None
    key = (spec.dataset_identity, trunk, spec.split if isinstance(start, SelfSupervised) else "")
    make: Callable[[], dict[Any, FeatureCache]] = dict
    held = context.once("features of no-reference models", make)
    if key not in held:
        held.clear()
        held[key] = FeatureCache()
    return held[key]
