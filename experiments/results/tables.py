"""Collect the result tables of a plan from the store: tidy, one row per observation, every cell counted."""

from __future__ import annotations

from collections import defaultdict

import pandas as pd

from ...analysis import SCHEMAS, StudyTables
from ...mllm import storable
from ..planning import Plan
from ..stages.cell_files import NAMES
from ..stages.learn_weights import LearnWeights, held_out_references
from ..store import Store
from .contamination import contamination


def collect(plan: Plan, store: Store) -> StudyTables:
    """Read the outputs of every done cell of ``plan``; cells that are not done are rows of ``cells`` too.

    If weights were learnt from an FR set, ``fr_scores`` has only its held-out references, for every measure, and calls
    the set ``<name> (held out)``; the scores of the other references stay in the store.

    Raises:
        ExperimentError: an output of a done cell is missing or damaged.
    """
    cells = []
    parts: dict[str, list[pd.DataFrame]] = defaultdict(list)
    for cell, status in plan.with_status(store):
        cells.append(
            {
                "cell": cell.id,
                "stage": cell.stage,
                "status": status.state,
                "reason": status.reason,
                "experiment": plan.experiment.name,
                **{name: cell.labels.get(name) for name in (*NAMES, "judge", "measure", "dataset")},
                "seconds": status.seconds,
                "peak_memory_mb": status.peak_memory_mb,
            }
        )
        if status.state in cell.spec.has_rows:
            for name, rows in cell.spec.rows(cell, store.folder(cell.stage, cell.id)).items():
                parts[name].append(rows)
    held_out = _held_out(plan, store)
    parts["fr_scores"] = [_unseen(scores, held_out) for scores in parts["fr_scores"]]
    parts["contamination"] = [contamination(plan)]
    table = pd.DataFrame(cells, columns=list(SCHEMAS["cells"]))
    parts["cells"] = [table.astype({"seed": "Int64", "gan_weight": "float64"})]
    tables = {name: _joined(name, parts[name]) for name in SCHEMAS}
    return StudyTables(**{**tables, "mllm_scores": storable(tables["mllm_scores"])})


def _held_out(plan: Plan, store: Store) -> dict[str, list[str]]:
    """Return the held-out references of each FR set that weights were learnt from, by the set's identity."""
    return {
        cell.spec.dataset_identity: held_out_references(store.folder(cell.stage, cell.id))
        for cell in plan.of(LearnWeights)
        if store.status(cell.stage, cell.id).state == "done"
    }


def _unseen(scores: pd.DataFrame, held_out: dict[str, list[str]]) -> pd.DataFrame:
    """Return the scores of a cell, without the references that the experiment learnt weights from."""
    learnt_from = scores["dataset_id"].iloc[0] if len(scores) else None
    if learnt_from not in held_out:
        return scores
    unseen = scores[scores["reference"].isin(held_out[learnt_from])]
    return unseen.assign(dataset=scores["dataset"].iloc[0] + " (held out)")


def _joined(name: str, parts: list[pd.DataFrame]) -> pd.DataFrame:
    columns = list(SCHEMAS[name])
    if not parts:
        return pd.DataFrame(columns=columns)
    table = pd.concat(parts, ignore_index=True)
    return table.reindex(columns=[*columns, *(column for column in table.columns if column not in columns)])
