"""The stage assess_fr: one measure scores a full-reference set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd
from pydantic import SerializeAsAny

from ...iqa import evaluate_fr_group
from ...losses import MeasureGroup, MeasureSpec
from ...sr.trainer import StoppedError
from ..schema.datasets import FullReferenceSet
from .cell import Cell, only
from .cell_files import SCORES, read_table, write_table
from .context import Context
from .draft import Draft
from .learn_weights import planned_measure, weights_input
from .stage import Stage
from .titles import assessed
from .train import Finetune

PARTIAL = "scores.jsonl"


class AssessFR(Stage):
    """Score an FR set by one measure."""

    stage: ClassVar[str] = "assess_fr"
    version: ClassVar[int] = 2  # 2: smaller batches, which changes last bits
    announced: ClassVar[bool] = True
    measure: SerializeAsAny[MeasureSpec]
    dataset: SerializeAsAny[FullReferenceSet]
    dataset_identity: str

    def content(self) -> dict[str, Any]:
        """Measure and images."""
        return {"measure": self.measure.identity, "dataset": self.dataset_identity}

    def caches(self) -> tuple[str, ...]:
        """Those of the set."""
        return self.dataset.caches()

    def title(self, labels: Mapping[str, Any]) -> str:
        """The measure and the images."""
        return assessed(labels)

    @property
    def together(self) -> str:
        """The images: measures on the same images share decoding and, if they use one backbone, its passes."""
        return f"{self.stage} {self.dataset_identity}"

    @classmethod
    def plan(cls, draft: Draft) -> Iterator[Cell[Stage]]:
        """Assess the grid's measures, and those of the section ``assessment``, on every FR set."""
        assessment = draft.experiment.assessment
        measures: dict[str, MeasureSpec] = {}
        trained_with = [cell.spec.fidelity for cell in draft.of(Finetune) if cell.spec.fidelity]
        for measure in [*trained_with, *assessment.measures]:
            planned = planned_measure(measure, draft)
            measures.setdefault(planned.identity, planned)
        for name, dataset in assessment.datasets.items():
            identity = draft.fr_identities[name]
            for measure in measures.values():
                spec = cls(measure=measure, dataset=dataset, dataset_identity=identity)
                yield Cell(spec, weights_input(measure, draft), {"measure": measure.key, "dataset": name})

    @classmethod
    def preflight(cls, pending: Sequence[Cell[Stage]], context: Context) -> None:
        """Build the measures."""
        for measure in {cell.spec.measure.identity: cell.spec.measure for cell in only(pending, cls)}.values():
            context.measure(measure)

    def run(self, cell: Cell[Stage], folder: Path, context: Context) -> None:
        """Write one score per image; what an interrupted run has computed is kept."""
        _assess({cell: self}, {cell: folder}, context)

    @classmethod
    def run_together(cls, folders: Mapping[Cell[Stage], Path], context: Context) -> None:
        """Score the set by several measures at once."""
        _assess({cell: cell.spec for cell in only(folders, cls)}, folders, context)

    def rows(self, cell: Cell[Stage], folder: Path) -> dict[str, pd.DataFrame]:
        """One row per image."""
        scores = read_table(folder).assign(
            measure=self.measure.key,
            measure_id=self.measure.identity,
            dataset=cell.labels["dataset"],
            dataset_id=self.dataset_identity,
        )
        return {"fr_scores": scores}


def _assess(specs: Mapping[Cell[Any], AssessFR], folders: Mapping[Cell[Any], Path], context: Context) -> None:
    dataset = next(iter(specs.values())).dataset.open(context.store.cache)
    device = context.execution.device
    measures = {cell: context.measure(spec.measure, cell).to(device) for cell, spec in specs.items()}

    def progress(done: int, total: int, note: str) -> None:
        context.progress(done, total, note)
        if done < total and context.stop():
            raise StoppedError(f"stopped after {done} of {total} images")

    tables = evaluate_fr_group(
        MeasureGroup(list(measures.values())),
        dataset,
        device=device,
        progress=progress,
        partial={measure.spec.key: context.work(cell) / PARTIAL for cell, measure in measures.items()},
    )
    for cell, measure in measures.items():
        write_table(folders[cell] / SCORES, tables[measure.spec.key])
