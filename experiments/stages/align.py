"""The stage align: a multimodal LLM is trained to rate, and scorers of the section mllm use it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd

from ...iqa.manifest import hash_file
from ...mllm.align import Alignment, align, plan_alignment, read_log, require_libraries
from ...mllm.errors import MllmError
from ...sr.trainer import StoppedError
from ..schema.errors import ExperimentError
from ..schema.mllm import benchmark_content, model_files
from ..store import checked
from .cell import Cell, only
from .cell_files import damaged
from .context import Context
from .draft import Draft
from .stage import Stage

EVALUATION, LOG = "evaluation.csv", "log.jsonl"  # outputs that result tables are made of, with the next two
BEFORE, AFTER = "before.csv", "after.csv"
ALIGNED_MODEL = "model"  # the folder of the trained model among the outputs
CHECKPOINTS = "checkpoint-*"
TENSORBOARD = "tensorboard"


class Align(Stage):
    """Train a multimodal LLM to rate.

    Attributes:
        alignment: what is trained, on what and how.
        taught: the part of it that determines the outputs: model and data by their bytes.
    """

    stage: ClassVar[str] = "align"
    announced: ClassVar[bool] = True
    alignment: Alignment
    taught: dict[str, Any]

    def content(self) -> dict[str, Any]:
        """The settings, with model and data by their bytes."""
        return self.taught

    def title(self, labels: Mapping[str, Any]) -> str:
        """Its name and the method."""
        return f"{labels['measure']} by {self.alignment.method}"

    @classmethod
    def plan(cls, draft: Draft) -> Iterable[Cell[Align]]:
        """Train every entry of the section ``align``."""
        return alignment_cells(draft).values()

    @classmethod
    def preflight(cls, pending: Sequence[Cell[Stage]], context: Context) -> None:
        """Look for the libraries, and check data, prompts and answers."""
        for cell in only(pending, cls):
            require_libraries()
            context.once(f"taught {cell.id}", cell.spec.taught_images)

    def taught_images(self) -> frozenset[str]:
        """Return the SHA-256 of every image that is trained on.

        Raises:
            MllmError: data that cannot be trained on.
        """
        items = plan_alignment(self.alignment).split.train
        return frozenset(hash_file(path) for path in {path for item in items for path in item.images})

    def run(self, cell: Cell[Stage], folder: Path, context: Context) -> None:
        """Write the model, and everything else that an alignment leaves besides its checkpoints.

        Raises:
            StoppedError: it was asked to stop.
            MllmError: see :func:`~lopsided.mllm.align.align`.
        """
        work = context.work(cell)
        done = align(
            plan_alignment(self.alignment),
            work,
            device=context.execution.device,
            progress=lambda steps, total, note: context.progress(int(steps), total, note),
            stop=context.stop,
            identity=cell.id,
            curves=work.parent / TENSORBOARD,
        )
        if done.stopped:
            raise StoppedError("stopped with a checkpoint; the same command goes on")
        checkpoints = set(work.glob(CHECKPOINTS))
        for path in sorted(set(work.iterdir()) - checkpoints):
            path.rename(folder / path.name)

    def rows(self, cell: Cell[Stage], folder: Path) -> dict[str, pd.DataFrame]:
        """One row per benchmark, dimension and kind of ratings; and one per step and term of the log."""
        path, _ = checked(folder, EVALUATION)
        try:
            evaluation = pd.read_csv(path)
            for name in (LOG, BEFORE, AFTER) if len(evaluation) else (LOG,):
                checked(folder, name)
            logged = read_log(folder)
        except (OSError, ValueError, MllmError) as error:
            raise damaged(path, error) from None
        about = {"cell": cell.id, "alignment": cell.labels["measure"], "method": self.alignment.method}
        steps = logged["step"].max() if len(logged) else 0
        evaluation = evaluation.rename(columns={"set": "benchmark", "n": "n_valid", "of": "n"})
        step = [0 if ratings == "before" else steps for ratings in evaluation["ratings"]]
        return {"alignments": evaluation.assign(step=step, **about), "alignment_log": logged.assign(**about)}


def alignment_cells(draft: Draft) -> dict[str, Cell[Align]]:
    """Return the cells that train models, by the names that the section ``align`` gives.

    Raises:
        MllmError: data that are missing or do not verify.
    """
    return draft.once("alignments", lambda: _alignment_cells(draft))


def _alignment_cells(draft: Draft) -> dict[str, Cell[Align]]:
    cells = {}
    for name, alignment in draft.experiment.align.items():
        with draft.experiment.placed("align", name):
            cells[name] = Cell(Align(alignment=alignment, taught=_taught(alignment)), {}, {"measure": name})
    return cells


def _taught(alignment: Alignment) -> dict[str, Any]:
    """Return what determines the outputs of an alignment: settings without places, and bytes in their stead."""
    places: dict[str, Any] = {"benchmark": True, "path": True, "options": True, "strict": True}
    settings = alignment.model_dump(
        mode="json",
        exclude={
            "model": {"path"},
            "preset": True,
            "options": True,
            "data": {"__all__": places},
            "split": {"against"},
            "evaluate": {"benchmarks"},
            "save_every": True,
            "trackers": True,
        },
    )
    return {
        "settings": settings,
        "model": model_files(alignment.model.path),
        "preset": alignment.asked.identity,
        "data": [benchmark_content(data) for data in alignment.data],
        "against": [benchmark_content(benchmark) for benchmark in alignment.split.against],
        "evaluate": {name: benchmark_content(of) for name, of in alignment.evaluate.benchmarks.items()},
    }


def refuse_taught(scorer: str, taught: frozenset[str], rated: Mapping[str, str]) -> None:
    """Refuse a scorer that would rate images which it is trained on.

    Args:
        scorer: its name.
        taught: SHA-256 of the images that it is trained on.
        rated: names of what it would rate by their SHA-256.

    Raises:
        ExperimentError: some are the same files.
    """
    if twins := [name for sha256, name in rated.items() if sha256 in taught]:
        raise ExperimentError(
            f"'{scorer}' would rate {len(twins)} images that it is trained on, first '{twins[0]}'; put what it rates "
            "under split.against of its alignment, or take these images out of its data"
        )
