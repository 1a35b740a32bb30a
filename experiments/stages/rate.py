"""The stage ``rate``: multimodal LLMs rate restored images, data sets and benchmarks; from its cells to its rows."""

from __future__ import annotations

import contextlib
from abc import abstractmethod
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd
from pydantic import SerializeAsAny

from ...common.errors import LopsidedError
from ...common.files import atomic_path, write_json
from ...common.identity import identity
from ...iqa.ladder import build_ladder
from ...iqa.manifest import FRDataset, FRRow, NRDataset, hash_file
from ...mllm.backends.backend import Backend
from ...mllm.item import Item
from ...mllm import rate
from ...mllm.scoring.scorer import Scorer
from ...mllm.table import scores_table, storable
from ...sr.tasks import Bicubic, Degradation
from ...sr.trainer import StoppedError
from ..schema.datasets import FRManifest, FRPublished, LadderSet, RatedManifest, RatedPublished
from ..schema.errors import ExperimentError
from ..schema.experiment import Experiment
from ..schema.mllm import BenchmarkSettings, LocalModel, ServedModel
from ..schema.restoration import TestSet
from .cell import Cell, CellSpec
from .context import Context
from .restore import Restore

RESULTS, SCORES = "results.jsonl", "scores.parquet"


class Rate(CellSpec):
    """Rate images by one scorer.

    Attributes:
        scorer: the model and how it is asked.
        asked: what of that determines the results.
    """

    stage: ClassVar[str] = "rate"
    scorer: LocalModel | ServedModel
    asked: dict[str, Any]

    def content(self) -> dict[str, Any]:
        """The scorer, and what it rates."""
        return {"scorer": self.asked, **self.rated()}

    @abstractmethod
    def rated(self) -> dict[str, Any]:
        """Return what is rated, as JSON."""

    @abstractmethod
    def items(self, cell: Cell, context: Context) -> tuple[Item, ...]:
        """Return what is rated, once the cell's inputs are there."""


class RateRestored(Rate):
    """Judge the restored images of one cell."""

    test: TestSet
    task: SerializeAsAny[Degradation] = Bicubic()

    def rated(self) -> dict[str, Any]:
        """The dimension; the images come in as an input."""
        return {"dimension": self.scorer.rated}

    def items(self, cell: Cell, context: Context) -> tuple[Item, ...]:
        """The restored images; nobody has rated them."""
        folder = context.input(cell, "restore") / "images"
        common: dict[str, Any] = {"benchmark": "restored", "dimension": self.scorer.rated, "task": "rate"}
        return tuple(
            Item(**common, id=image.name, images=(folder / f"{image.name}.png",)) for image in self.test.images.items()
        )


class RateDataset(Rate):
    """Rate the images of a labelled set without looking at references."""

    dataset: LadderSet | FRManifest | FRPublished | RatedManifest | RatedPublished
    dataset_identity: str

    def rated(self) -> dict[str, Any]:
        """The images and the dimension."""
        return {"dataset": self.dataset_identity, "dimension": self.scorer.rated}

    def items(self, cell: Cell, context: Context) -> tuple[Item, ...]:
        """The distorted images with their labels."""
        if isinstance(self.dataset, LadderSet):
            found: FRDataset | NRDataset = FRDataset(build_ladder(self.dataset.ladder, context.store.cache))
        else:
            found = self.dataset.open()
        return tuple(
            Item(
                benchmark=str(cell.labels["dataset"]),
                dimension=self.scorer.rated,
                id=row.image,
                task="rate",
                images=(row.image_path,),
                target=row.label,
                scale=found.labels.scale,
                higher_is_better=found.label_higher_is_better,
                reference=row.reference if isinstance(row, FRRow) else "",
                groups={"distortion": row.distortion},
            )
            for row in found.rows
        )


class RateBenchmark(Rate):
    """Rate the items of a benchmark, or answer its questions."""

    benchmark: BenchmarkSettings
    benchmark_identity: str

    def rated(self) -> dict[str, Any]:
        """Questions, labels and images."""
        return {"benchmark": self.benchmark_identity}

    def items(self, cell: Cell, context: Context) -> tuple[Item, ...]:  # noqa: ARG002 - nothing of the store
        """The benchmark's items."""
        return self.benchmark.open().items


def rate_cells(experiment: Experiment, restored: list[Cell], fr_identities: dict[str, str]) -> Iterator[Cell]:
    """Yield the cells of the section ``mllm``: scorer by scorer, so that one model at a time is in memory.

    Args:
        experiment: what is planned.
        restored: the cells that restore images.
        fr_identities: identity of every FR set by name.

    Raises:
        ExperimentError: a model or a benchmark that is not there or is not as it should be.
    """
    mllm = experiment.mllm
    if mllm is None:
        return
    sets: dict[str, Any] = {
        name: (experiment.assessment.datasets.get(name), fr_identities.get(name)) for name in mllm.fr_sets
    }
    for index, name in enumerate(mllm.fr_sets):
        if name not in fr_identities:
            known = ", ".join(fr_identities) or "none"
            raise experiment.error(
                ("mllm", "fr_sets", index), f"unknown FR set '{name}'; assessment.datasets has {known}"
            )
    benchmarks = {}
    for name, dataset in mllm.datasets.items():
        with _placed(experiment, "mllm", "datasets", name):
            sets[name] = dataset, dataset.open().identity
    for name, benchmark in mllm.benchmarks.items():
        with _placed(experiment, "mllm", "benchmarks", name):
            found = benchmark.open()
            images = [[hash_file(path) for path in item.images] for item in found.items]
            benchmarks[name] = identity({"benchmark": found.identity, "images": images})
    for index, scorer in enumerate(mllm.scorers):
        with _placed(experiment, "mllm", "scorers", index):
            common: dict[str, Any] = {"scorer": scorer, "asked": scorer.content()}
        for cell in restored if mllm.restored else ():
            if isinstance(cell.spec, Restore):
                spec = RateRestored(test=cell.spec.test, task=cell.spec.task, **common)
                yield Cell(spec, {"restore": cell}, {**cell.labels, "judge": scorer.key})
        for name, (dataset, content) in sets.items():
            spec = RateDataset(dataset=dataset, dataset_identity=content, **common)
            yield Cell(spec, {}, {"measure": scorer.key, "dataset": name})
        for name, benchmark in mllm.benchmarks.items():
            spec = RateBenchmark(benchmark=benchmark, benchmark_identity=benchmarks[name], **common)
            yield Cell(spec, {}, {"measure": scorer.key, "dataset": name})


@contextlib.contextmanager
def _placed(experiment: Experiment, *place: str | int) -> Iterator[None]:
    """Say of an error in which part of the experiment it arose."""
    try:
        yield
    except (LopsidedError, OSError) as error:
        raise experiment.error(place, str(error)) from None


def check_scorers(cells: Iterable[Cell], context: Context) -> None:
    """Make sure that every model of the cells can be asked, before hours of training are spent.

    Raises:
        LopsidedError: a model that cannot be loaded, a server that does not answer.
    """
    scorers = {identity(cell.spec.asked): cell.spec.scorer for cell in cells if isinstance(cell.spec, Rate)}
    for settings in scorers.values():
        scorer = _scorer(settings, context)
        _ = scorer.identity


def rate_images(cell: Cell, spec: Rate, folder: Path, context: Context) -> None:
    """Rate the images of a cell; what an interrupted run has is kept in ``work``.

    Raises:
        StoppedError: it was asked to stop.
        ExperimentError: items without a reply; the next run asks those again.
        MllmError: see :func:`~lopsided.mllm.rate`.
    """
    scorer, items = _scorer(spec.scorer, context), spec.items(cell, context)
    unfinished = folder / "work" / RESULTS
    run = rate(scorer, items, unfinished, chunk=spec.scorer.chunk, progress=context.progress, stop=context.stop)
    if run.stopped:
        raise StoppedError(f"stopped after {len(run.rows)} of {len(items)} items; the same command goes on")
    if run.failed:
        first = run.failed[0]
        raise ExperimentError(
            f"{len(run.failed)} of {len(items)} items have no reply, first '{first['item']}': {first['raw']}; the "
            "same command asks them again"
        )
    table = storable(scores_table(items, run.rows))
    with atomic_path(folder / SCORES) as temporary:
        table.to_parquet(temporary, index=False)
    write_json(folder / "scorer.json", {"scorer": scorer.definition(), "backend": scorer.backend.definition()})
    unfinished.replace(folder / RESULTS)


def rated_rows(cell: Cell, rated: pd.DataFrame) -> pd.DataFrame:
    """Return a done cell's rows of ``mllm_scores``, by the names of the experiment.

    Items of restored images are told apart by the cell that restored them; parts of a benchmark, such as the data sets
    of UniPercept's, keep their names after that of the whole.
    """
    rated = rated.assign(scorer=cell.spec.scorer.key if isinstance(cell.spec, Rate) else "")
    if isinstance(cell.spec, RateRestored):
        restored = cell.inputs["restore"].id
        items = [f"{restored}/{image}" for image in rated["item"]]
        return rated.assign(benchmark=f"restored {cell.labels['test_set']}", item=items)
    whole = cell.labels["dataset"]
    if rated["benchmark"].nunique() == 1:
        return rated.assign(benchmark=whole)
    return rated.assign(benchmark=[f"{whole}/{part.rpartition('/')[2]}" for part in rated["benchmark"]])


def judge_id(rated: pd.DataFrame) -> str:
    """Return the identity of a judge: the scorer as it was found to be, and what it rated the images for."""
    first = rated.iloc[0]
    return identity({"kind": "judge", "scorer": first["scorer_id"], "dimension": first["dimension"]})


def _scorer(settings: LocalModel | ServedModel, context: Context) -> Scorer:
    """Return the scorer; its model stays in memory until another one is asked for."""
    kept: dict[str, Backend] = context.once("mllm", dict)
    key = identity(settings.model_dump(mode="json", exclude={"preset", "options", "dimension"}))
    if key not in kept:
        kept.clear()
        kept[key] = settings.backend(context.execution.device)
    return Scorer(kept[key], settings.asked)
