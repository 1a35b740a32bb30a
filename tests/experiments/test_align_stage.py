"""The stage align: a model that the experiment trains is a judge in it; stopping, going on, and what is refused."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest
from safetensors.torch import load_file
from support.rated_images import COUNT, write_benchmark

from lopsided.analysis import analyse
from lopsided.analysis.report.alignments import section
from lopsided.analysis.statistics import where
from lopsided.common.errors import LopsidedError
from lopsided.experiments import ExperimentError, collect_tables, load_experiment, plan, run
from lopsided.experiments.results.contamination import contamination
from lopsided.experiments.stages.context import Context
from lopsided.experiments.store import Store
from lopsided.sr.trainer import StoppedError

EXPERIMENT = """\
name: aligned
data:
  train: {source: skimage, split: train}
  test: {photos: {images: {source: skimage, split: test}, crop: 64}}
super_resolution:
  pretrain: {steps: 2, batch: 1, patch: 32}
  finetune: {steps: 2, batch: 1, patch: 32}
grid: {generator: swinir-tiny, fidelity: none}
judges: [psnr]
align:
  tuned:
    model: {path: MODEL}
    method: sft
    preset: q-align
    loss: {kind: levels, target: two-level}
    data: [{benchmark: jsonl, path: train/own.jsonl, options: {benchmark: KonIQ-10k}}]
    split: {held_out: 0.3, near: null}
    optim: {rate: 1.0e-3, batch: 2, steps: 3}
    log_every: 1
    evaluate: {every: 2}
mllm:
  scorers: [{model: MODEL, preset: q-align}, {model: aligned:tuned, preset: q-align}]
  benchmarks: {own: {benchmark: jsonl, path: test/own.jsonl}}
analysis: {resamples: 100}
execution: {loader_threads: 0}
"""


@pytest.fixture(scope="module")
def model(tiny_vlm: ModuleType) -> Path:
    return tiny_vlm.trained()


@pytest.fixture
def experiment(model: Path, tiny_vlm: ModuleType, tmp_path: Path) -> Path:
    for name, seed in (("train", 11), ("test", 7)):
        (tmp_path / name).mkdir()
        write_benchmark(tmp_path / name, tiny_vlm, seed)
    path = tmp_path / "e.yaml"
    path.write_text(EXPERIMENT.replace("MODEL", str(model)), encoding="utf-8")
    return path


def without_restoring(experiment: Path, old: str, new: str) -> None:
    """Leave super-resolution out, and replace a part of the text."""
    text = experiment.read_text(encoding="utf-8").replace(old, new)
    experiment.write_text(text[: text.index("data:")] + text[text.index("align:") :], encoding="utf-8")


def changed(experiment: Path, *overrides: str) -> dict[str, str]:
    """Identities of cells by title."""
    return {cell.title: cell.id for cell in plan(load_experiment(experiment, overrides)).cells}


def test_what_an_aligned_scorer_depends_on(experiment: Path, model: Path) -> None:
    cells = plan(experiment).cells
    (aligned,) = [cell for cell in cells if cell.stage == "align"]
    assert aligned.title == "align tuned by sft"
    users = [cell for cell in cells if cell.inputs.get("model") is aligned]
    assert len(users) == 3  # restored images of both networks, and the benchmark
    assert cells.index(aligned) < min(map(cells.index, users))
    assert [cell.id for cell in pickle.loads(pickle.dumps(cells))] == [cell.id for cell in cells]  # as workers get them
    before = changed(experiment)
    same = changed(experiment, "align.tuned.save_every=7", "align.tuned.trackers=[]", "name=other")
    assert same == before
    for override in ("align.tuned.seed=1", "align.tuned.data.0.weight=2", "align.tuned.data.0.path=test/own.jsonl"):
        differ = {title for title, key in changed(experiment, override).items() if before[title] != key}
        assert differ == {aligned.title, *(cell.title for cell in users)}
    families = load_experiment(experiment).mllm.scorers[1].all_families  # pyright: ignore[reportOptionalMemberAccess]
    assert families == {f"backbone:{model.name}", "form:mllm", "data:koniq-10k", "data:unknown"}


def test_a_model_that_the_experiment_trains_judges_in_it(experiment: Path, model: Path, tmp_path: Path) -> None:
    pytest.importorskip("trl", reason="the extra 'align' is not installed")
    planned, store = plan(experiment), Store(tmp_path / "runs")
    (cell,) = planned.of_stage("align")
    done: list[int] = []
    context = Context(
        store, planned.experiment.execution, lambda step, _total, _note: done.append(step), lambda: done[-1] == 2
    )
    (tmp_path / "out").mkdir()
    with pytest.raises(StoppedError):
        cell.spec.run(cell, tmp_path / "out", context)
    assert (context.work(cell) / "checkpoint-2" / "complete.json").is_file()
    assert not list((tmp_path / "out").iterdir())

    summary = run(experiment, store=tmp_path / "runs")
    assert summary.ok, [reason for _, reason in summary.failed]
    folder = store.folder("align", cell.id)
    assert not (folder / "work").exists()
    assert [json.loads(line)["step"] for line in (folder / "log.jsonl").read_text().splitlines()] == [1, 2, 2, 3]
    outputs = json.loads((folder / "status.json").read_text())["outputs"]
    assert {"model/model.safetensors", "split.json", "evaluation.csv", "calibration.json"} <= outputs.keys()
    assert not any(name.startswith(("tensorboard", "checkpoint")) for name in outputs)
    before, after = (load_file(place / "model.safetensors") for place in (model, folder / "model"))
    assert any(not before[name].equal(after[name]) for name in before.keys() & after.keys())

    tables = collect_tables(experiment, store=tmp_path / "runs")
    first, second = (where(tables.sr_scores, judge=f"{name}/q-align") for name in (model.name, "tuned"))
    assert second["image"].tolist() == first["image"].tolist()
    assert second["status"].eq("ok").all()
    assert second["judge_id"].unique() != first["judge_id"].unique()
    assert second["value"].tolist() != first["value"].tolist()
    assert len(where(tables.mllm_scores, scorer="tuned/q-align", benchmark="own")) == COUNT + 1
    (rating,) = (c for c in planned.of_stage("rate") if c.labels.get("measure") == "tuned/q-align")
    read = json.loads((store.folder("rate", rating.id) / "status.json").read_text())["inputs"]["model"]
    assert read.keys() == {"model"}
    assert run(experiment, store=tmp_path / "runs").done == 0

    evaluated = pd.read_csv(folder / "evaluation.csv")
    assert (tables.alignments["cell"] == cell.id).all()
    assert dict(zip(tables.alignments["ratings"], tables.alignments["step"], strict=True)) == {"before": 0, "after": 3}
    assert tables.alignments["srcc"].tolist() == pytest.approx(evaluated["srcc"].tolist())
    logged = where(tables.alignment_log, term="eval/held-out/quality/read")
    assert logged["step"].tolist() == [2, 0, 3]  # what the log has, then before and after
    study = analyse(tables, n_boot=50)
    (changed_to,) = study.parts["alignment_changes"].to_dict("records")
    assert (changed_to["srcc_before"], changed_to["srcc_after"]) == tuple(tables.alignments["srcc"])
    assert changed_to["srcc_change"] == pytest.approx(changed_to["srcc_after"] - changed_to["srcc_before"])
    assert changed_to["loss"] == where(tables.alignment_log, term="loss").iloc[-1]["value"]
    assert changed_to["seconds"] > 0
    assert [type(block).__name__ for block in section(study).blocks] == ["Table", "Picture"]  # levels have no replies

    log = (folder / "log.jsonl").read_bytes()
    (folder / "log.jsonl").write_bytes(log.replace(b'"step":1', b'"step":7'))
    with pytest.raises(LopsidedError, match=r"log\.jsonl' is damaged"):
        collect_tables(experiment, store=tmp_path / "runs")
    (folder / "log.jsonl").write_bytes(log)

    (folder / "model" / "model.safetensors").write_bytes(b"other")
    status = store.folder("rate", rating.id) / "status.json"
    status.unlink()
    store.index.put("rate", rating.id, None)
    again = run(experiment, store=tmp_path / "runs")
    assert ["is damaged" in reason for _, reason in again.failed] == [True]


def test_a_scorer_is_refused_what_it_is_trained_on(experiment: Path, tmp_path: Path) -> None:
    pytest.importorskip("trl", reason="the extra 'align' is not installed")
    without_restoring(experiment, "path: test/own.jsonl", "path: train/own.jsonl")
    with pytest.raises(ExperimentError, match=r"'tuned/q-align' would rate . images that it is trained on, first"):
        run(experiment, store=tmp_path / "runs")


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("aligned:tuned", "aligned:tuend", "mllm.scorers[1].model: unknown alignment 'tuend'; did you mean 'tuned'?"),
        ("model: aligned:tuned,", "model: aligned:tuned, revision: main,", "is trained by the experiment and has no"),
        ("method: sft", "method: grpo", "align.tuned.rewards: grpo needs rewards"),
        ("steps: 3", "step: 3", "align.tuned.optim.step: unknown key 'step'; did you mean"),
    ],
)
def test_a_fault_is_named_with_its_place(experiment: Path, old: str, new: str, fault: str) -> None:
    experiment.write_text(experiment.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
    with pytest.raises(LopsidedError) as found:
        plan(experiment)
    assert fault in str(found.value)


def test_what_the_experiment_teaches_a_scorer_counts_as_contamination(experiment: Path) -> None:
    ladder = "ladder: {ladder: {source: {source: skimage, split: test}, size: 64, types: [jpeg], levels: [1]}}"
    without_restoring(experiment, "mllm:\n", f"assessment: {{datasets: {{{ladder}}}}}\nmllm:\n  fr_sets: [ladder]\n")
    found = contamination(plan(load_experiment(experiment, ["align.tuned.data.0.options.benchmark=ladder"])))
    assert dict(zip(found["subject"], found["finding"], strict=True)) == {
        f"{found['subject'][0]}": "unknown",
        "tuned/q-align": "trained on it",
    }
