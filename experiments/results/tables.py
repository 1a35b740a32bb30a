"""Collect the result tables of a plan from the store: tidy, one row per observation, every cell counted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

from ...analysis.result_tables import SCHEMAS, StudyTables
from ...analysis.stability import PREFIX
from ...common.files import atomic_path
from ...common.identity import identity
from ...discriminators import DiscriminatorSpec
from ...mllm.table import storable
from ..planning import Plan
from ..schema.errors import ExperimentError
from ..stages.assess_fr import AssessFR
from ..stages.assess_nr import AssessNR
from ..stages.cell import Cell
from ..stages.judge import JudgeImages
from ..stages.learn_weights import LearnWeights
from ..stages.rate import Rate, RateRestored, judge_id, rated_rows
from ..stages.train import Finetune
from ..store import Store
from .contamination import contamination

NO_DISCRIMINATOR = DiscriminatorSpec(form="none")
NAMES = ("generator", "fidelity", "discriminator", "gan_weight", "seed")


def collect(plan: Plan, store: Store) -> StudyTables:
    """Read the outputs of every done cell of ``plan``; cells that are not done are rows of ``cells`` all the same.

    Of an FR set that weights were learnt from, ``fr_scores`` has the references that were held out, for every measure,
    and calls the set ``<name> (held out)``; the scores of the others stay in the store.

    Raises:
        ExperimentError: an output of a done cell is missing or damaged.
    """
    cells, training, sr_scores, fr_scores, nr_scores = [], [], [], [], []
    mllm_scores: list[pd.DataFrame] = []
    held_out = _held_out(plan, store)
    for cell, status in plan.with_status(store):
        folder = store.folder(cell.stage, cell.id)
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
        if cell.stage in ("pretrain", "finetune") and status.state in ("done", "diverged"):
            training += _training_rows(cell, folder)
        if status.state != "done":
            continue
        if isinstance(cell.spec, JudgeImages):
            sr_scores.append(_sr_rows(cell, cell.spec, folder))
        elif isinstance(cell.spec, AssessFR):
            fr_scores.append(_fr_rows(cell, cell.spec, folder, held_out.get(cell.spec.dataset_identity)))
        elif isinstance(cell.spec, AssessNR):
            nr_scores.append(_nr_rows(cell, cell.spec, folder))
        elif isinstance(cell.spec, Rate):
            rated = _read(folder / "scores.parquet")
            mllm_scores.append(rated_rows(cell, rated))
            if isinstance(cell.spec, RateRestored):
                sr_scores.append(_judged_rows(cell, cell.spec, rated))
    return StudyTables(
        sr_scores=_joined("sr_scores", sr_scores),
        fr_scores=_joined("fr_scores", fr_scores),
        nr_scores=_joined("nr_scores", nr_scores),
        mllm_scores=storable(_joined("mllm_scores", mllm_scores)),
        training=pd.DataFrame(training, columns=list(SCHEMAS["training"])),
        cells=pd.DataFrame(cells, columns=list(SCHEMAS["cells"])).astype({"seed": "Int64", "gan_weight": "float64"}),
        contamination=contamination(plan),
    )


def save(tables: StudyTables, folder: Path, formats: tuple[str, ...] = ("parquet",)) -> list[Path]:
    """Write the tables as Parquet and/or CSV; returns the files."""
    written = []
    for name in SCHEMAS:
        table: pd.DataFrame = getattr(tables, name)
        for kind in formats:
            path = folder / f"{name}.{kind}"
            with atomic_path(path) as temporary:
                table.to_parquet(temporary, index=False) if kind == "parquet" else table.to_csv(temporary, index=False)
            written.append(path)
    return written


def _training_rows(cell: Cell, folder: Path) -> list[dict[str, Any]]:
    path = folder / "training.jsonl"
    try:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError) as error:
        raise ExperimentError(_damaged(path, error)) from None
    names = {name: cell.labels.get(name) for name in NAMES}
    if cell.stage == "pretrain":
        names |= {"fidelity": "none", "discriminator": "none", "gan_weight": 0.0}
    common = {"cell": cell.id, "stage": cell.stage, **names}
    if lines:
        lines.append({"step": lines[-1]["step"], **_summary(folder / "result.json")})
    return [
        {**common, "step": line["step"], "term": term, "value": value}
        for line in lines
        for term, value in line.items()
        if term != "step"
    ]


def _summary(path: Path) -> dict[str, float]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))["stability"]
    except (OSError, ValueError, KeyError) as error:
        raise ExperimentError(_damaged(path, error)) from None
    return {f"{PREFIX}{name}": value for name, value in found.items()}


def _sr_rows(cell: Cell, spec: JudgeImages, folder: Path) -> pd.DataFrame:
    judge = {
        "judge": spec.judge.key,
        "judge_id": spec.judge.identity,
        "judge_families": ";".join(sorted(spec.judge.families)),
    }
    return _read(folder / "scores.parquet").assign(**_restored_by(cell, spec.task.baseline), **judge)


def _judged_rows(cell: Cell, spec: RateRestored, rated: pd.DataFrame) -> pd.DataFrame:
    judge = {
        "judge": spec.scorer.key,
        "judge_id": judge_id(rated),
        "judge_families": ";".join(sorted(spec.scorer.families)),
    }
    scores = pd.DataFrame(
        {"image": rated["item"], **{name: rated[name] for name in ("value", "status", "higher_is_better")}}
    )
    return scores.assign(**_restored_by(cell, spec.task.baseline), **judge)


def _restored_by(cell: Cell, baseline: str) -> dict[str, Any]:
    """Return the columns that say what restored the images that a cell judges."""
    restored = cell.inputs["restore"]
    source = restored.inputs.get("finetune")
    trained = source.spec if source and isinstance(source.spec, Finetune) else None
    fidelity = trained.fidelity if trained else None
    return {
        "cell": source.id if source else restored.id,
        **{name: cell.labels[name] for name in NAMES},
        "fidelity_id": fidelity.identity if fidelity else ("none" if trained else baseline),
        "fidelity_families": ";".join(sorted(fidelity.families)) if fidelity else "",
        "discriminator_id": (trained.discriminator if trained else NO_DISCRIMINATOR).identity,
        "test_set": cell.labels["test_set"],
    }


def _held_out(plan: Plan, store: Store) -> dict[str, list[str]]:
    """Return, by the identity of the FR sets that weights were learnt from, the references that were held out."""
    found = {}
    for cell, status in plan.with_status(store):
        if isinstance(cell.spec, LearnWeights) and status.state == "done":
            path = store.folder(cell.stage, cell.id) / "result.json"
            try:
                result = json.loads(path.read_text(encoding="utf-8"))
                found[cell.spec.dataset_identity] = result["held_out_references"]
            except (OSError, ValueError, KeyError) as error:
                raise ExperimentError(_damaged(path, error)) from None
    return found


def _fr_rows(cell: Cell, spec: AssessFR, folder: Path, held_out: list[str] | None) -> pd.DataFrame:
    rows = _read(folder / "scores.parquet").assign(
        measure=spec.measure.key,
        measure_id=spec.measure.identity,
        dataset=cell.labels["dataset"],
        dataset_id=spec.dataset_identity,
    )
    if held_out is None:
        return rows
    unseen = rows[rows["reference"].isin(held_out)]
    return unseen.assign(dataset=f"{cell.labels['dataset']} (held out)")


def _nr_rows(cell: Cell, spec: AssessNR, folder: Path) -> pd.DataFrame:
    source = cell.inputs.get("finetune")
    model = identity({"model": spec.model.identity, "source": source.id if source else None})
    rows = _read(folder / "scores.parquet").assign(
        backbone=spec.model.backbone,
        initialisation=cell.labels["initialisation"],
        source_cell=source.id if source else "",
        model=cell.labels["model"],
        model_id=model,
        dataset=cell.labels["dataset"],
        dataset_id=spec.dataset_identity,
        **{name: source.labels[name] if source else "" for name in ("generator", "fidelity", "discriminator")},
        gan_weight=source.labels["gan_weight"] if source else 0.0,
        seed=cell.labels["seed"],
    )
    return rows.astype({"seed": "Int64", "gan_weight": "float64"})


def _read(path: Path) -> pd.DataFrame:
    try:
        return pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise ExperimentError(_damaged(path, error)) from None


def _damaged(path: Path, error: Exception) -> str:
    return f"'{path}' is missing or damaged ({error}); delete its folder and run again"


def _joined(name: str, parts: list[pd.DataFrame]) -> pd.DataFrame:
    columns = list(SCHEMAS[name])
    if not parts:
        return pd.DataFrame(columns=columns)
    table = pd.concat(parts, ignore_index=True)
    return table.reindex(columns=[*columns, *(column for column in table.columns if column not in columns)])
