# ruff: noqa: E501 (the table of faults reads best with one fault per line)
"""The stage rate, with a real model: multimodal judges and measures in an experiment's tables and report."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
from support.rated_images import COUNT, Flaky, write_benchmark

from lopsided.analysis.statistics import where
from lopsided.common.errors import LopsidedError
from lopsided.experiments import collect_tables, plan, report, run
from lopsided.experiments.schema.mllm import LocalModel
from lopsided.mllm import TransformersBackend

EXPERIMENT = """\
name: judged
data:
  train: {source: skimage, split: train}
  test: {photos: {images: {source: skimage, split: test}, crop: 64}}
super_resolution:
  pretrain: {steps: 2, batch: 2, patch: 32}
  finetune: {steps: 2, batch: 2, patch: 32}
grid: {generator: swinir-tiny, fidelity: ssim}
judges: [psnr]
assessment:
  datasets:
    ladder:
      ladder: {source: {source: skimage, split: test}, size: 64, types: [jpeg, gaussian_noise], levels: [1, 5]}
mllm:
  scorers: [{model: MODEL, preset: q-align}]
  fr_sets: [ladder]
  benchmarks: {own: {benchmark: jsonl, path: BENCHMARK}}
analysis: {resamples: 100}
execution: {loader_threads: 0}
"""


@pytest.fixture(scope="module")
def model(tiny_vlm: ModuleType) -> Path:
    return tiny_vlm.trained()


@pytest.fixture(scope="module")
def benchmark(tiny_vlm: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_benchmark(tmp_path_factory.mktemp("benchmark"), tiny_vlm)


@pytest.fixture
def experiment(model: Path, benchmark: Path, tmp_path: Path) -> Path:
    path = tmp_path / "e.yaml"
    path.write_text(EXPERIMENT.replace("MODEL", str(model)).replace("BENCHMARK", str(benchmark)), encoding="utf-8")
    return path


def test_an_experiment_has_multimodal_judges_and_measures(experiment: Path, model: Path, tmp_path: Path) -> None:
    summary = run(experiment, store=tmp_path / "runs")
    assert summary.ok, [reason for _, reason in summary.failed]
    tables = collect_tables(experiment, store=tmp_path / "runs")
    key = f"{model.name}/q-align"
    judged, other = (where(tables.sr_scores, judge=judge) for judge in (key, "psnr"))
    names = ["cell", "fidelity", "fidelity_id", "discriminator_id", "test_set", "image", "seed"]
    assert judged.loc[:, names].to_numpy().tolist() == other.loc[:, names].to_numpy().tolist()
    assert set(judged["judge_families"]) == {f"backbone:{model.name};data:unknown;form:mllm"}
    assert judged["judge_id"].nunique() == 1
    assert judged["status"].eq("ok").all()
    rated = tables.mllm_scores
    assert set(rated["benchmark"]) == {"restored photos", "ladder", "own"}
    assert len(rated) == len(judged) + 6 * 2 * 2 + COUNT + 1
    assert not rated.duplicated(["scorer", "benchmark", "dimension", "item"]).any()
    ladder = where(rated, benchmark="ladder")
    assert ladder["target"].notna().all()
    assert ladder["reference"].nunique() == 6
    page = report(experiment, store=tmp_path / "runs").read_text(encoding="utf-8")
    assert key in page
    against = pd.read_parquet(tmp_path / "runs" / "experiments" / "judged" / "derived" / "judge_disagreement.parquet")
    assert against[["rater", "judge"]].to_numpy().tolist() == [[key, "psnr"]]
    assert "LLMs against other judges" in page
    assert (">the LLM prefers" in page) == bool(against["n_opposed"].iloc[0])
    assert run(experiment, store=tmp_path / "runs").done == 0


def test_repeated_ratings_of_restored_images_have_a_mean_and_a_spread(experiment: Path, tmp_path: Path) -> None:
    text = experiment.read_text(encoding="utf-8")
    hot = "preset: numeric, options: {temperature: 1, max_tokens: 8}}]\n  repeats: 4"
    text = text.replace("preset: q-align}]", hot).replace("  fr_sets: [ladder]\n", "")
    text = text[: text.index("  benchmarks:")] + text[text.index("analysis:") :]
    experiment.write_text(text, encoding="utf-8")
    summary = run(experiment, store=tmp_path / "runs")
    assert summary.ok, [reason for _, reason in summary.failed]
    tables = collect_tables(experiment, store=tmp_path / "runs")
    judged = tables.sr_scores.loc[tables.sr_scores["judge"] != "psnr"]
    replies = tables.mllm_scores
    assert len(judged) == where(tables.sr_scores, judge="psnr").shape[0]
    assert len(replies) == 4 * len(judged)
    assert set(judged["n_replies"]) == {4}
    first = judged.loc[judged["n_valid"] > 1].iloc[0]
    replies = replies.assign(image=replies["item"].str.replace(r"^.*/|#\d+$", "", regex=True))
    own = replies.loc[(replies["image"] == first["image"]) & (replies["status"] == "ok")]
    restored = own["item"].str.partition("/")[0]
    means = own.groupby(restored)["value"].agg(["mean", "std", "size"])
    found = means.loc[np.isclose(means["mean"], first["value"])]
    assert (np.isclose(found["std"], first["reply_sd"]) & (found["size"] == first["n_valid"])).any()
    assert judged["reply_sd"].max() > 0
    some = judged["n_valid"].between(1, 3)
    assert some.any()
    assert judged.loc[some, "status"].eq("partial").all()
    assert judged.loc[judged["n_valid"] == 4, "status"].eq("ok").all()
    assert judged.loc[judged["n_valid"] == 0, "value"].isna().all()
    experiment.write_text(text.replace("  repeats: 4", "  repeats: 4\n  least_valid: 0.5"), encoding="utf-8")
    assert run(experiment, store=tmp_path / "runs").done == 0  # nothing is asked anew
    halves = collect_tables(experiment, store=tmp_path / "runs").sr_scores
    halves = halves.loc[halves["judge"] != "psnr"]
    assert halves.loc[halves["n_valid"] >= 2, "status"].eq("ok").all()
    assert halves.loc[halves["n_valid"] == 1, "status"].eq("partial").all()
    assert "SD of replies to one image" in report(experiment, store=tmp_path / "runs").read_text(encoding="utf-8")


def test_raters_alone_have_a_report_of_themselves(experiment: Path, tmp_path: Path) -> None:
    text = experiment.read_text(encoding="utf-8")
    start, end = text.index("data:"), text.index("assessment:")
    text = text[:start] + text[end:].replace("preset: q-align}", "preset: q-align}, {model: MODEL, preset: numeric}")
    model = text[text.index("{model: ") + 8 : text.index(", preset")]
    experiment.write_text(text.replace("MODEL", model), encoding="utf-8")
    summary = run(experiment, store=tmp_path / "runs")
    assert summary.ok, [reason for _, reason in summary.failed]
    page = report(experiment, store=tmp_path / "runs").read_text(encoding="utf-8")
    assert "Which of these ranks images as their labels do?" in page
    assert "ranks first of 2 raters" in page
    for absent in ("Claims", "The asymmetry", "Measures as objectives", "pretraining", "Zhang"):
        assert absent not in page, absent


def test_a_cell_without_all_replies_fails_and_goes_on_where_it_was(
    experiment: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = experiment.read_text().replace("fr_sets: [ladder]", "restored: false").replace("\n    ladder:", "\n    l:")
    experiment.write_text(text)
    backend = TransformersBackend(model, batch_size=4)
    planned = plan(experiment)
    (cell,) = planned.of_stage("rate")
    only = type(planned)(planned.experiment, (cell,))
    monkeypatch.setattr(LocalModel, "backend", lambda self, device: Flaky(backend, drops=[2]))
    first = run(experiment, store=tmp_path / "runs", planned=only)
    assert [reason[:60] for _, reason in first.failed] == [
        "1 of 11 items have no reply, first 'image2': the line droppe"
    ]
    whole = Flaky(backend)
    monkeypatch.setattr(LocalModel, "backend", lambda self, device: whole)
    assert run(experiment, store=tmp_path / "runs", planned=only).done == 1
    assert whole.prompts == 1


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("preset: q-align", "preset: q-alin", "mllm.scorers[0]: unknown preset 'q-alin'; did you mean 'q-align'"),
        ("fr_sets: [ladder]", "fr_sets: [lader]", "mllm.fr_sets[0]: unknown FR set 'lader'; assessment.datasets has ladder"),
        ("benchmark: jsonl", "benchmark: json", "mllm.benchmarks.own.benchmark: unknown benchmark 'json'"),
        ("own.jsonl", "absent.jsonl", "mllm.benchmarks.own: "),
        ("preset: q-align}", "preset: letters}", "mllm: preset 'letters' does not rate images"),
        ("preset: q-align}", "preset: q-align, dimension: beauty}", "mllm.scorers[0]: preset q-align does not rate 'beauty'"),
        ("preset: q-align}", "preset: q-align, dtyp: x}", "mllm.scorers[0].dtyp: unknown key 'dtyp'; did you mean 'dtype'?"),
        ("preset: q-align}]", "preset: q-align}, {model: a/MODELS, preset: q-align}]", ""),
    ],
)  # fmt: skip
def test_a_fault_of_the_yaml_is_one_line(experiment: Path, old: str, new: str, message: str, model: Path) -> None:
    text = experiment.read_text(encoding="utf-8")
    assert text.count(old) == 1
    new = new.replace("a/MODELS", f"{model}/")
    experiment.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(LopsidedError) as caught:
        plan(experiment)
    assert (message or "two scorers are called") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_parts_of_a_benchmark_keep_their_names(experiment: Path, tmp_path: Path) -> None:
    cell = next(cell for cell in plan(experiment).of_stage("rate") if cell.labels.get("dataset") == "own")
    rated = pd.DataFrame({"benchmark": ["vr/KonIQ-10K", "vr/SPAQ"], "item": ["1.jpg", "1.jpg"]})
    for table, names in ((rated, ["own/KonIQ-10K", "own/SPAQ"]), (rated.head(1), ["own"])):
        table.to_parquet(tmp_path / "scores.parquet")
        assert cell.spec.rows(cell, tmp_path)["mllm_scores"]["benchmark"].tolist() == names


def test_identities_are_those_of_contents(experiment: Path, benchmark: Path, model: Path, tmp_path: Path) -> None:
    def ids() -> list[str]:
        return [cell.id for cell in plan(experiment).of_stage("rate")]

    before = ids()
    (tmp_path / "elsewhere").symlink_to(model)
    text = experiment.read_text(encoding="utf-8")
    experiment.write_text(text.replace(str(model), str(tmp_path / "elsewhere") + "/"), encoding="utf-8")
    assert ids() == before
    experiment.write_text(text.replace("preset: q-align", "preset: q-bench"), encoding="utf-8")
    assert not set(ids()) & set(before)
