"""The stage judge: one judge scores the restored images of one cell."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch

from ...common.families import joined
from ...common.images import read_rgb, to_tensor
from ...iqa import JudgeSpec
from ...iqa.fr import batch_pixels
from ...losses import Reference
from ...sr.images import Pair
from .cell import Cell, only
from .cell_files import SCORES, read_table, write_table
from .context import Context
from .draft import Draft
from .pictures import TestImagesStage, check_judged_sizes
from .restore import IMAGES, Restore, restored_by
from .stage import Stage
from .titles import restored_set


class JudgeImages(TestImagesStage):
    """Score the restored images of one cell by one judge."""

    stage: ClassVar[str] = "judge"
    version: ClassVar[int] = 2  # 2: batches of a bounded size, which changes last bits
    judge: JudgeSpec

    def content(self) -> dict[str, Any]:
        """The judge and the references."""
        return {"judge": self.judge.identity, **super().content()}

    def title(self, labels: Mapping[str, Any]) -> str:
        """What is judged, and by whom."""
        return f"{restored_set(labels)} {self.row(labels)}"

    def row(self, labels: Mapping[str, Any]) -> str:
        """The judge."""
        return f"by {labels['judge']}"

    @classmethod
    def plan(cls, draft: Draft) -> Iterator[Cell[Stage]]:
        """Plan judge by judge, each on all restored images, so that a judge's network stays in memory."""
        for judge in draft.experiment.judges or ():
            for restored in draft.of(Restore):
                of = restored.spec
                spec = cls(scale=of.scale, task=of.task, test=of.test, test_identity=of.test_identity, judge=judge)
                yield Cell(spec, {"restore": restored}, {**restored.labels, "judge": judge.key})

    @classmethod
    def preflight(cls, pending: Sequence[Cell[Stage]], context: Context) -> None:
        """Build the judges, and compare the sizes of the images with what they need."""
        for spec in {(cell.spec.judge.identity, cell.spec.pictures): cell.spec for cell in only(pending, cls)}.values():
            context.judge(spec.judge)
            check_judged_sizes(spec.judge, spec.pairs(context), "data.test.*.crop")

    def run(self, cell: Cell[Stage], folder: Path, context: Context) -> None:
        """Write one score per image."""
        originals = self.pairs(context)
        images = context.input(cell, "restore", IMAGES)
        judge = context.judge(self.judge)
        rows: list[dict[str, Any]] = []
        # Images of one size go through the judge together, as many as fit.
        device = context.execution.device
        for size in sorted({pair.hr.shape for pair in originals}):
            group = [pair for pair in originals if pair.hr.shape == size]
            count = max(1, batch_pixels(device) // (size[0] * size[1]))
            for batch in (group[start : start + count] for start in range(0, len(group), count)):
                restored = torch.cat([to_tensor(read_rgb(images / f"{pair.name}.png")) for pair in batch])
                values = judge.score(restored.to(device), self._references(batch, context)).tolist()
                rows += [_scored(pair.name, value) for pair, value in zip(batch, values, strict=True)]
                context.progress(len(rows), len(originals), self.judge.key)
        order = {pair.name: index for index, pair in enumerate(originals)}
        rows.sort(key=lambda row: order[row["image"]])
        write_table(folder / SCORES, pd.DataFrame(rows).assign(higher_is_better=not judge.lower_is_better))

    def rows(self, cell: Cell[Stage], folder: Path) -> dict[str, pd.DataFrame]:
        """One row per image."""
        judge = {
            "judge": self.judge.key,
            "judge_id": self.judge.identity,
            "judge_families": joined(self.judge.families),
        }
        return {"sr_scores": read_table(folder).assign(**restored_by(cell), **judge)}

    def _references(self, batch: list[Pair], context: Context) -> Reference:
        """Return what the judge computes from the references, which are the same for every restored cell."""

        def prepare() -> Reference:
            references = torch.cat([to_tensor(pair.hr) for pair in batch])
            return context.judge(self.judge).prepare(references.to(context.execution.device))

        names = " ".join(pair.name for pair in batch)
        return context.references.get(f"{self.judge.identity} {self.pictures} {names}", prepare)


def _scored(image: str, value: float) -> dict[str, Any]:
    finite = bool(np.isfinite(value))
    return {"image": image, "value": value if finite else float("nan"), "status": "ok" if finite else "non-finite"}
