"""The stage ``rate``: multimodal LLMs rate restored images, data sets and benchmarks."""

from __future__ import annotations

import shutil
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd
from pydantic import SerializeAsAny

from ...common.families import joined
from ...common.files import write_json
from ...common.identity import identity
from ...iqa.manifest import FRRow, hash_file
from ...mllm import Backend, Item, ReplyJudge, Scorer, rate, repeated, scores_table, storable
from ...mllm.metrics import repeat_spread
from ...sr.tasks import Bicubic, Degradation
from ...sr.trainer import StoppedError
from ..schema.datasets import LabelledSet
from ..schema.errors import ExperimentError
from ..schema.mllm import BenchmarkSettings, LocalModel, ServedModel, benchmark_content
from ..schema.restoration import TestSet
from .align import ALIGNED_MODEL, Align, alignment_cells, refuse_taught
from .cell import Cell, only
from .cell_files import SCORES, read_table, write_table
from .context import Context
from .draft import Draft
from .restore import IMAGES, Restore, restored_by
from .stage import Stage
from .titles import assessed, restored_set

RESULTS = "results.jsonl"


class Rate(Stage):
    """Rate images by one scorer.

    Attributes:
        scorer: the model and how it is asked.
        asked: the part of the scorer that determines the results.
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
    def items(self, cell: Cell[Stage], context: Context) -> tuple[Item, ...]:
        """Return what is rated, once the cell's inputs are there."""

    def pictures(self, cell: Cell[Stage], context: Context) -> dict[str, str]:
        """Return what it looks at, names by SHA-256, before any input of the cell is there."""
        return {hash_file(path): item.id for item in self.items(cell, context) for path in item.images}

    def title(self, labels: Mapping[str, Any]) -> str:
        """The model and the images."""
        return assessed(labels)

    @classmethod
    def plan(cls, draft: Draft) -> Iterator[Cell[Stage]]:
        """Plan the section ``mllm`` scorer by scorer, so that one model at a time is in memory.

        Raises:
            ExperimentError: a model or a benchmark that is missing or does not verify.
        """
        experiment = draft.experiment
        mllm = experiment.mllm
        if mllm is None:
            return
        sets: dict[str, tuple[LabelledSet, str]] = {}
        for index, name in enumerate(mllm.fr_sets):
            if name not in experiment.assessment.datasets:
                known = ", ".join(experiment.assessment.datasets) or "none"
                raise experiment.error(
                    ("mllm", "fr_sets", index), f"unknown FR set '{name}'; assessment.datasets has {known}"
                )
            sets[name] = experiment.assessment.datasets[name], draft.fr_identities[name]
        for name, dataset in mllm.datasets.items():
            with experiment.placed("mllm", "datasets", name):
                sets[name] = dataset, dataset.identity()
        benchmarks = {}
        for name, benchmark in mllm.benchmarks.items():
            with experiment.placed("mllm", "benchmarks", name):
                benchmarks[name] = benchmark_content(benchmark)
        trained = alignment_cells(draft)
        for index, scorer in enumerate(mllm.scorers):
            with experiment.placed("mllm", "scorers", index):
                common: dict[str, Any] = {"scorer": scorer, "asked": scorer.content()}
                model = {"model": trained[scorer.aligned]} if scorer.aligned else {}
            for restored in draft.of(Restore) if mllm.restored else ():
                of = {"test": restored.spec.test, "task": restored.spec.task}
                spec = RateRestored(**of, repeats=mllm.repeats, least_valid=mllm.least_valid, **common)
                yield Cell(spec, {"restore": restored, **model}, {**restored.labels, "judge": scorer.key})
            for name, (dataset, content) in sets.items():
                spec = RateDataset(dataset=dataset, dataset_identity=content, **common)
                yield Cell(spec, model, {"measure": scorer.key, "dataset": name})
            for name, benchmark in mllm.benchmarks.items():
                spec = RateBenchmark(benchmark=benchmark, benchmark_identity=benchmarks[name], **common)
                yield Cell(spec, model, {"measure": scorer.key, "dataset": name})

    @classmethod
    def preflight(cls, pending: Sequence[Cell[Stage]], context: Context) -> None:
        """Ask every model for its identity: it loads, or its server answers.

        One that the experiment trains is not there yet; it must not rate what it is trained on.
        """
        cells = only(pending, cls)
        there = [cell for cell in cells if not cell.spec.scorer.aligned]
        for settings in {identity(cell.spec.asked): cell.spec.scorer for cell in there}.values():
            _ = _scorer(settings, context).identity
        for cell in cells:
            if cell.spec.scorer.aligned:
                alignment = cell.input("model", Align)
                taught = context.once(f"taught {alignment.id}", alignment.spec.taught_images)
                refuse_taught(cell.spec.scorer.key, taught, cell.spec.pictures(cell, context))

    def run(self, cell: Cell[Stage], folder: Path, context: Context) -> None:
        """Write one row per item; what an interrupted run has is kept in ``work``.

        Raises:
            StoppedError: it was asked to stop.
            ExperimentError: items without a reply; the next run asks those again.
            MllmError: see :func:`~lopsided.mllm.rate`.
        """
        settings = self.scorer
        if settings.aligned:
            settings = settings.model_copy(update={"model": str(context.input(cell, "model", ALIGNED_MODEL))})
        scorer, items = _scorer(settings, context), self.items(cell, context)
        unfinished = context.work(cell) / RESULTS
        done = rate(scorer, items, unfinished, chunk=self.scorer.chunk, progress=context.progress, stop=context.stop)
        if done.stopped:
            raise StoppedError(f"stopped after {len(done.rows)} of {len(items)} items; the same command goes on")
        if done.failed:
            first = done.failed[0]
            raise ExperimentError(
                f"{len(done.failed)} of {len(items)} items have no reply, first '{first['item']}': {first['raw']}; the "
                "same command asks them again"
            )
        write_table(folder / SCORES, storable(scores_table(items, done.rows)))
        write_json(folder / "scorer.json", {"scorer": scorer.definition(), "backend": scorer.backend.definition()})
        shutil.copyfile(unfinished, folder / RESULTS)

    def rows(self, cell: Cell[Stage], folder: Path) -> dict[str, pd.DataFrame]:
        """One row per item, by the names of the experiment.

        Parts of a benchmark, such as the data sets of UniPercept-Bench, keep their names after the benchmark's name.
        """
        rated = read_table(folder).assign(scorer=self.scorer.key)
        whole = cell.labels["dataset"]
        if rated["benchmark"].nunique() == 1:
            return {"mllm_scores": rated.assign(benchmark=whole)}
        parts = [f"{whole}/{part.rpartition('/')[2]}" for part in rated["benchmark"]]
        return {"mllm_scores": rated.assign(benchmark=parts)}


class RateRestored(Rate):
    """Judge the restored images of one cell."""

    test: TestSet
    task: SerializeAsAny[Degradation] = Bicubic()
    repeats: int = 1
    least_valid: float = 1.0  # decides what is made of the replies, which it does not change

    def title(self, labels: Mapping[str, Any]) -> str:
        """What is judged, and by which model."""
        return f"{restored_set(labels)} {self.row(labels)}"

    def row(self, labels: Mapping[str, Any]) -> str:
        """The model."""
        return f"by {labels['judge']}"

    def rated(self) -> dict[str, Any]:
        """The dimension, and how often it is asked for; the images come in as an input."""
        return {"dimension": self.scorer.rated, **({"repeats": self.repeats} if self.repeats > 1 else {})}

    def pictures(self, cell: Cell[Stage], context: Context) -> dict[str, str]:  # noqa: ARG002 - nothing of the store
        """The originals of the restored images."""
        return {image.sha256: image.name for image in self.test.images.items()}

    def items(self, cell: Cell[Stage], context: Context) -> tuple[Item, ...]:
        """The restored images; nobody has rated them."""
        folder = context.input(cell, "restore", IMAGES)
        common: dict[str, Any] = {"benchmark": "restored", "dimension": self.scorer.rated, "task": "rate"}
        names = [image.name for image in self.test.images.items()]
        return tuple(
            repeated([Item(**common, id=name, images=(folder / f"{name}.png",)) for name in names], self.repeats)
        )

    def rows(self, cell: Cell[Stage], folder: Path) -> dict[str, pd.DataFrame]:
        """One row per reply, as ratings; and one per image, as a judge's scores: the mean of the valid replies.

        A mean of a smaller share of the replies than ``least_valid`` has the status "partial": it is shown, and takes
        no part in comparisons.

        In the table of ratings, the name of an item includes the cell that restored it.
        """
        rated = read_table(folder).assign(scorer=self.scorer.key)
        items = [f"{cell.inputs['restore'].id}/{image}" for image in rated["item"]]
        ratings = rated.assign(benchmark=f"restored {cell.labels['test_set']}", item=items)
        judge = {
            "judge": self.scorer.key,
            "judge_id": _judge_id(rated),
            "judge_families": joined(self.scorer.all_families),
        }
        scores = pd.DataFrame(
            {"image": rated["item"], **{name: rated[name] for name in ("value", "status", "higher_is_better")}}
        )
        if self.repeats > 1:
            spread = repeat_spread(rated).set_index("item")
            scores = scores.loc[scores["image"].isin(spread.index)].set_index("image")
            scores["value"] = spread["mean"]
            enough = (spread["status"] == "partial") & (spread["n_valid"] / spread["n"] >= self.least_valid)
            scores["status"] = spread["status"].mask(enough, "ok")
            scores = scores.assign(
                reply_sd=spread["sd"], n_replies=spread["n"], n_valid=spread["n_valid"]
            ).reset_index()
        return {"mllm_scores": ratings, "sr_scores": scores.assign(**restored_by(cell), **judge)}


class RateDataset(Rate):
    """Rate the images of a labelled set without looking at references."""

    dataset: SerializeAsAny[LabelledSet]
    dataset_identity: str

    def rated(self) -> dict[str, Any]:
        """The images and the dimension."""
        return {"dataset": self.dataset_identity, "dimension": self.scorer.rated}

    def caches(self) -> tuple[str, ...]:
        """Those of the set."""
        return self.dataset.caches()

    def items(self, cell: Cell[Stage], context: Context) -> tuple[Item, ...]:
        """The distorted images with their labels."""
        found = self.dataset.open(context.store.cache)
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

    def items(self, cell: Cell[Stage], context: Context) -> tuple[Item, ...]:  # noqa: ARG002 - nothing of the store
        """The benchmark's items."""
        return self.benchmark.open().items


def _judge_id(rated: pd.DataFrame) -> str:
    """Return the identity of a judge: the scorer that its rows name, and the dimension that it rated."""
    first = rated.iloc[0]
    return identity({"kind": "judge", "scorer": first["scorer_id"], "dimension": first["dimension"]})


def _scorer(settings: LocalModel | ServedModel, context: Context) -> Scorer:
    """Return the scorer; its model stays in memory until another one is asked for."""
    kept: dict[str, tuple[Backend, ReplyJudge | None]] = context.once("mllm", dict)
    key = identity(settings.model_dump(mode="json", exclude={"preset", "options", "dimension", "families"}))
    if key not in kept:
        kept.clear()
        device = context.execution.device
        kept[key] = settings.backend(device), settings.judge(device)
    backend, judge = kept[key]
    return Scorer(backend, settings.asked, judge)
