"""The stage learn_weights: alpha and beta of a DISTS are learnt from an FR set."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from pydantic import SerializeAsAny

from ...common.files import write_json
from ...common.identity import identity
from ...common.sources import ImageSource
from ...iqa.learn import learn_from_dataset, needs_textures, split_references, texture_items
from ...losses import MeasureSpec
from ...losses.dists import DistsSpec
from ...losses.learn_weights import LearningSpec
from ..schema.datasets import FullReferenceSet
from ..schema.measures import LearntDists
from ..store import checked
from .cell import Cell, only
from .cell_files import damaged
from .context import ALPHA_BETA, Context
from .draft import Draft
from .stage import Stage
from .titles import assessed

RESULT = "result.json"


class LearnWeights(Stage):
    """Learn alpha and beta of a DISTS from an FR set."""

    stage: ClassVar[str] = "learn_weights"
    measure: DistsSpec
    dataset: SerializeAsAny[FullReferenceSet]
    dataset_identity: str
    learning: LearningSpec
    textures: ImageSource | None
    textures_identity: str | None

    def content(self) -> dict[str, Any]:
        """The measure with uniform weights, images, recipe and seeds; textures if the recipe uses them."""
        return {
            "measure": self.measure.identity,
            "dataset": self.dataset_identity,
            "learning": self.learning.identity,
            "textures": self.textures_identity,
        }

    def caches(self) -> tuple[str, ...]:
        """Those of the set."""
        return self.dataset.caches()

    def title(self, labels: Mapping[str, Any]) -> str:
        """The measure and the images."""
        return assessed(labels)

    @classmethod
    def plan(cls, draft: Draft) -> Iterable[Cell[LearnWeights]]:
        """Learn every entry of the section ``learn``."""
        return learning_cells(draft).values()

    @classmethod
    def preflight(cls, pending: Sequence[Cell[Stage]], context: Context) -> None:
        """Build the measures, open the data sets and divide them."""
        for cell in only(pending, cls):
            spec = cell.spec
            context.measure(spec.measure)
            dataset = spec.dataset.open(context.store.cache)
            split_references(dataset, spec.learning.held_out, spec.learning.split_seed)

    def run(self, cell: Cell[Stage], folder: Path, context: Context) -> None:  # noqa: ARG002 - it has no inputs
        """Write the weights and the record of how they were learnt."""
        learnt = learn_from_dataset(
            self.measure,
            self.dataset.open(context.store.cache),
            self.learning,
            textures=self.textures,
            device=context.execution.device,
            progress=context.progress,
        )
        learnt.save(folder / ALPHA_BETA)
        write_json(folder / RESULT, learnt.record())


def learning_cells(draft: Draft) -> dict[str, Cell[LearnWeights]]:
    """Return the cells that learn weights, by the names that the section ``learn`` gives.

    Raises:
        ExperimentError: weights learnt from one FR set hold out different references.
    """
    return draft.once("learning", lambda: _learning_cells(draft))


def _learning_cells(draft: Draft) -> dict[str, Cell[LearnWeights]]:
    experiment = draft.experiment
    cells: dict[str, Cell[LearnWeights]] = {}
    splits: dict[str, tuple[str, float, int]] = {}
    for name, learn in experiment.learn.items():
        dataset_identity = draft.fr_identities[learn.dataset]
        other, *split = splits.setdefault(dataset_identity, (name, learn.held_out, learn.split_seed))
        if split != [learn.held_out, learn.split_seed]:
            # Measures are compared on images that none of them has learnt from.
            raise experiment.error(
                ("learn", name),
                f"'{name}' and '{other}' learn from one FR set but hold out different references; give them the same "
                "held_out and split_seed",
            )
        with experiment.placed("learn", name, "textures"):
            items = texture_items(learn.textures) if needs_textures(learn) else None
        spec = LearnWeights(
            measure=learn.measure,
            dataset=experiment.assessment.datasets[learn.dataset],
            dataset_identity=dataset_identity,
            learning=learn.learning,
            textures=learn.textures,
            textures_identity=identity([item.sha256 for item in items]) if items else None,
        )
        key = LearntDists(name=name, of=learn.measure).key
        cells[name] = Cell(spec, {}, {"measure": key, "dataset": learn.dataset})
    return cells


def planned_measure(measure: MeasureSpec, draft: Draft) -> MeasureSpec:
    """Return the measure, a learnt one with the cell that learns its weights."""
    if isinstance(measure, LearntDists):
        return measure.model_copy(update={"cell": learning_cells(draft)[measure.name].id})
    return measure


def weights_input(measure: MeasureSpec | None, draft: Draft) -> dict[str, Cell[LearnWeights]]:
    """Return the input of a cell that uses the measure: none, unless its weights are learnt."""
    return {"weights": learning_cells(draft)[measure.name]} if isinstance(measure, LearntDists) else {}


def held_out_references(folder: Path) -> list[str]:
    """Return the held-out references of a done cell: its weights were not learnt from them.

    Raises:
        ExperimentError: the record is missing or damaged.
    """
    path, _ = checked(folder, RESULT)
    try:
        return json.loads(path.read_text(encoding="utf-8"))["held_out_references"]
    except (OSError, ValueError, KeyError) as error:
        raise damaged(path, error) from None
