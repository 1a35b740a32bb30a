"""The stage import_fr: scores of a full-reference measure that somebody else published, with their labels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd
from pydantic import SerializeAsAny

from ...losses import MeasureSpec
from ..schema.errors import ExperimentError
from ..schema.imported import ImportedSet
from .cell import Cell
from .cell_files import SCORES, read_table, write_table
from .context import Context
from .draft import Draft
from .stage import Stage
from .titles import assessed


class ImportFR(Stage):
    """Take over the published scores of one measure on one set."""

    stage: ClassVar[str] = "import_fr"
    key: str
    measure: SerializeAsAny[MeasureSpec]
    dataset: ImportedSet
    dataset_identity: str

    def content(self) -> dict[str, Any]:
        """Measure, origin and labels, and the scores themselves."""
        scores = self.dataset.read(self.key)["score"].tolist()
        return {"measure": self.measure.identity, "dataset": self.dataset_identity, "scores": scores}

    def title(self, labels: Mapping[str, Any]) -> str:
        """The measure and the set."""
        return assessed(labels)

    @classmethod
    def plan(cls, draft: Draft) -> Iterator[Cell[Stage]]:
        """Import every table that the section ``assessment`` names."""
        for name, dataset in draft.experiment.assessment.imported.items():
            with draft.experiment.placed("assessment", "imported", name):
                identity = dataset.identity()
                for key, measure in dataset.measures.items():
                    spec = cls(key=key, measure=measure, dataset=dataset, dataset_identity=identity)
                    cell = Cell(spec, labels={"measure": measure.key, "dataset": imported_name(name)})
                    _ = cell.id  # reads the table, so that what is wrong with it is placed
                    yield cell

    def run(self, cell: Cell[Stage], folder: Path, context: Context) -> None:
        """Write one score per image, if the measure can have such scores."""
        measure = context.measure(self.measure)
        table = self.dataset.read(self.key)
        low, high = (float("nan") if end is None else end for end in measure.value_range)
        if outside := table.loc[(table["score"] < low) | (table["score"] > high), "score"].tolist():
            raise ExperimentError(
                f"{cell.labels['dataset']}: an imported score of '{self.key}' is {outside[0]:g}, and it can only be "
                f"within {measure.value_range}; set `times` and `plus`"
            )
        write_table(
            folder / SCORES,
            table.assign(
                distortion="",
                level=None,
                label_kind=self.dataset.label_kind,
                label_higher_is_better=self.dataset.label_higher_is_better,
                higher_is_better=not measure.lower_is_better,
                status="ok",
            ),
        )

    def rows(self, cell: Cell[Stage], folder: Path) -> dict[str, pd.DataFrame]:
        """One row per image; the column ``imported_from`` says whose numbers they are."""
        scores = read_table(folder).assign(
            measure=self.measure.key,
            measure_id=self.measure.identity,
            dataset=cell.labels["dataset"],
            dataset_id=self.dataset_identity,
            imported_from=self.dataset.origin,
        )
        return {"fr_scores": scores}


def imported_name(name: str) -> str:
    """Return what tables, figures and reports call an imported set."""
    return f"{name} (imported)"
