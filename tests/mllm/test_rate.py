# ruff: noqa: E501 (the table of faults reads best with one fault a line)
"""Rating with a real model: nothing is asked twice, nothing is lost, and what is found reaches tables and reports."""

from __future__ import annotations

import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from lopsided.analysis.result_tables import SCHEMAS
from lopsided.analysis.statistics.frames import where
from lopsided.cli import main as cli
from lopsided.common.errors import LopsidedError
from lopsided.experiments import plan
from lopsided.experiments.api import collect_tables, report, run
from lopsided.mllm.backends.backend import Backend, LevelLogits, Prompt
from lopsided.mllm.backends.meter import Meter
from lopsided.mllm.errors import MllmError
from lopsided.mllm.item import Item
from lopsided.mllm.rating import Run, rate
from lopsided.mllm.results import COLUMNS
from lopsided.mllm.scoring.presets import create_preset
from lopsided.mllm.scoring.scorer import Scorer
from lopsided.mllm.table import scores_table, storable

COUNT = 10


@pytest.fixture(scope="module")
def model(tiny_vlm: ModuleType) -> Path:
    return tiny_vlm.trained()


@pytest.fixture(scope="module")
def backend(model: Path) -> Backend:
    from lopsided.mllm.backends.transformers import TransformersBackend

    return TransformersBackend(model, batch_size=4)


@pytest.fixture(scope="module")
def benchmark(tiny_vlm: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A JSONL of images with their brightness for a target; the last one shows what the first one does."""
    folder = tmp_path_factory.mktemp("benchmark")
    lines: list[dict[str, Any]] = []
    for n, image in enumerate(tiny_vlm.images(COUNT, seed=7)):
        image.save(folder / f"{n}.png")
        target = 1 + 4 * tiny_vlm.brightness(image)
        lines.append({"id": f"image{n}", "task": "rate", "images": f"{n}.png", "target": target, "scale": [1, 5]})
    lines.append({**lines[0], "id": "twin"})
    (folder / "own.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    return folder / "own.jsonl"


@pytest.fixture
def items(benchmark: Path) -> list[Item]:
    from lopsided.mllm.benchmarks import open_benchmark

    return list(open_benchmark("jsonl", benchmark).items)


class Flaky(Meter):
    """The real model behind a line that drops some prompts."""

    def __init__(self, backend: Backend, drops: Sequence[int] = ()) -> None:
        super().__init__(backend.name, lambda: backend)
        self.drops = set(drops)

    def level_logits(self, prompts: Sequence[Prompt], candidates: Sequence[str]) -> list[LevelLogits]:
        first = self.prompts
        found = super().level_logits(prompts, candidates)
        lost = LevelLogits(np.full(len(candidates), np.nan), failure="the line dropped")
        return [lost if first + n in self.drops else result for n, result in enumerate(found)]


def q_align(backend: Backend) -> Scorer:
    return Scorer(backend, create_preset("q-align"))


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def values(run: Run) -> list[float]:
    return [row["value"] for row in run.rows]


# --- running --------------------------------------------------------------------------------------------------------


def test_every_item_has_one_line_and_equal_ones_are_asked_once(
    backend: Backend, items: list[Item], tmp_path: Path
) -> None:
    meter = Flaky(backend)
    run = rate(q_align(meter), items, tmp_path / "r.jsonl")
    assert (run.asked, run.known, run.shared, len(run.rows)) == (COUNT, 0, 1, COUNT + 1)
    assert meter.prompts == COUNT
    assert [row["item"] for row in run.rows] == [item.id for item in items]
    found = lines(tmp_path / "r.jsonl")
    assert sorted(row["item"] for row in found) == sorted(item.id for item in items)
    assert all(sorted(row) == sorted(COLUMNS) for row in found)
    first, twin = run.rows[0], run.rows[-1]
    assert (twin["key"], twin["value"], twin["seconds"]) == (first["key"], first["value"], 0.0)
    assert {**run.statuses} == {"ok": COUNT + 1}


def test_a_second_run_asks_nothing_and_leaves_the_file_alone(
    backend: Backend, items: list[Item], tmp_path: Path
) -> None:
    first = rate(q_align(backend), items, tmp_path / "r.jsonl")
    before = (tmp_path / "r.jsonl").read_bytes()
    meter = Flaky(backend)
    again = rate(q_align(meter), items, tmp_path / "r.jsonl")
    assert (meter.prompts, again.asked, again.known) == (0, 0, COUNT + 1)
    assert again.rows == first.rows
    assert (tmp_path / "r.jsonl").read_bytes() == before


@pytest.mark.parametrize("cut", [1, 40, 10_000])
def test_a_torn_last_line_is_asked_again(backend: Backend, items: list[Item], tmp_path: Path, cut: int) -> None:
    whole = rate(q_align(backend), items[:3], tmp_path / "r.jsonl")
    data = (tmp_path / "r.jsonl").read_bytes()
    (tmp_path / "r.jsonl").write_bytes(data[: max(len(data) - cut, 20)])
    again = rate(q_align(backend), items[:3], tmp_path / "r.jsonl")
    assert again.asked == (1 if cut < 100 else 3)
    assert values(again) == pytest.approx(values(whole), abs=1e-5)
    assert len(lines(tmp_path / "r.jsonl")) == 3


def test_a_stopped_run_goes_on(backend: Backend, items: list[Item], tmp_path: Path) -> None:
    whole = rate(q_align(backend), items, tmp_path / "whole.jsonl")
    steps = iter([False, True])
    part = rate(q_align(backend), items, tmp_path / "r.jsonl", chunk=4, stop=lambda: next(steps))
    assert part.stopped
    assert part.asked == 4
    rest = rate(q_align(backend), items, tmp_path / "r.jsonl", chunk=4)
    assert (rest.asked, rest.known, rest.stopped) == (COUNT - 4, 5, False)
    assert values(rest) == pytest.approx(values(whole), abs=1e-5)


def test_large_images_are_held_one_by_one(
    backend: Backend, items: list[Item], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[int] = []
    rate(q_align(backend), items, tmp_path / "a.jsonl", progress=lambda done, total, name: steps.append(done))
    monkeypatch.setattr("lopsided.mllm.rating.MOST_PIXELS", 1)
    rate(q_align(backend), items, tmp_path / "b.jsonl", progress=lambda done, total, name: steps.append(done))
    assert steps == [COUNT + 1, *range(2, COUNT + 2)]  # the first two are equal


def test_what_failed_is_asked_again_and_only_that(backend: Backend, items: list[Item], tmp_path: Path) -> None:
    first = rate(q_align(Flaky(backend, drops=[0, 4])), items, tmp_path / "r.jsonl")
    assert [row["item"] for row in first.failed] == ["image0", "image4", "twin"]
    assert first.failed[0]["raw"] == "the line dropped"
    assert first.statuses == {"ok": COUNT - 2, "failed": 3}
    again = rate(q_align(meter := Flaky(backend, drops=[1])), items, tmp_path / "r.jsonl")
    assert (meter.prompts, again.asked, again.shared, again.known) == (2, 2, 1, COUNT - 2)
    assert [row["item"] for row in again.failed] == ["image4"]
    last = rate(q_align(backend), items, tmp_path / "r.jsonl")
    assert [row["attempt"] for row in last.rows] == [2, 1, 1, 1, 3, *[1] * 5, 2]
    assert last.statuses == {"ok": COUNT + 1}
    whole = rate(q_align(backend), items, tmp_path / "whole.jsonl")
    assert values(last) == pytest.approx(values(whole), abs=1e-5)


def test_a_kill_between_the_lines_of_equal_items_leaves_no_stale_failure(
    backend: Backend, items: list[Item], tmp_path: Path
) -> None:
    path, equal = tmp_path / "r.jsonl", [items[0], items[-1]]
    rate(q_align(Flaky(backend, drops=[0])), equal, path)
    rate(q_align(backend), equal, path)
    kept = path.read_text(encoding="utf-8").splitlines(keepends=True)
    assert [json.loads(line)["status"] for line in kept] == ["failed", "failed", "ok", "ok"]
    path.write_text("".join(kept[:-1]), encoding="utf-8")
    again = rate(q_align(backend), equal, path)
    assert (again.asked, again.known, again.statuses) == (0, 2, {"ok": 2})
    assert lines(path)[-1]["item"] == "twin"


def test_a_chunk_without_any_reply_ends_the_run_and_fresh_items_come_before_failed_ones(
    backend: Backend, items: list[Item], tmp_path: Path
) -> None:
    with pytest.raises(MllmError, match=r"none of 4 items got a reply, the last because: the line dropped; 6 more"):
        rate(q_align(Flaky(backend, drops=range(4))), items, tmp_path / "r.jsonl", chunk=4)
    with pytest.raises(MllmError, match="none of 3 items"):
        rate(q_align(Flaky(backend, drops=range(6, 9))), items, tmp_path / "r.jsonl", chunk=3)
    held = [row["item"] for row in lines(tmp_path / "r.jsonl") if row["status"] == "ok"]
    assert held == [f"image{n}" for n in range(4, 10)]


def test_an_image_that_cannot_be_read_fails_until_it_can(backend: Backend, items: list[Item], tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(items[1].images[0].read_bytes()[:200])
    shown = [items[0], Item(benchmark="own", dimension="quality", id="broken", task="rate", images=(broken,))]
    first = rate(q_align(backend), shown, tmp_path / "r.jsonl")
    assert first.statuses == {"ok": 1, "failed": 1}
    assert "broken.png" in first.failed[0]["raw"]
    broken.write_bytes(items[1].images[0].read_bytes())
    again = rate(q_align(backend), shown, tmp_path / "r.jsonl")
    assert (again.asked, again.known, again.statuses) == (1, 1, {"ok": 2})


def test_a_new_target_or_name_needs_no_new_question(backend: Backend, items: list[Item], tmp_path: Path) -> None:
    rate(q_align(backend), items[:2], tmp_path / "r.jsonl")
    other = Item(benchmark="own", dimension="quality", id="image0", task="rate", images=items[0].images, target=3.5)
    run = rate(q_align(backend), [other, items[1]], tmp_path / "r.jsonl")
    assert (run.asked, run.rows[0]["target"]) == (0, 3.5)
    asked = Item(benchmark="own", dimension="quality", id="image0", task="rate", images=items[0].images, question="?")
    assert rate(q_align(backend), [asked], tmp_path / "r.jsonl").asked == 1


def test_results_of_another_scorer_are_not_mixed_in(backend: Backend, items: list[Item], tmp_path: Path) -> None:
    rate(q_align(backend), items[:1], tmp_path / "r.jsonl")
    before = (tmp_path / "r.jsonl").read_bytes()
    with pytest.raises(MllmError, match=r"holds results of .*q-align .* and this scorer is .*; give another folder"):
        rate(Scorer(backend, create_preset("q-bench")), items[:1], tmp_path / "r.jsonl")
    with pytest.raises(MllmError, match="as it was"):
        rate(q_align(backend), items[:1], tmp_path / "s.jsonl", remembered="0123456789ab")
    assert (tmp_path / "r.jsonl").read_bytes() == before


def test_damage_and_other_writers_are_refused(backend: Backend, items: list[Item], tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    rate(q_align(backend), items[:2], path)
    with path.open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(MllmError, match="being written by another run"):
            rate(q_align(backend), items[:2], path)
    first, second = path.read_text(encoding="utf-8").splitlines()
    path.write_text(f"{first[:50]}\n{second}\n", encoding="utf-8")
    with pytest.raises(MllmError, match=r"line 1 of '.*' is damaged; remove it"):
        rate(q_align(backend), items[:2], path)
    with pytest.raises(MllmError, match="used twice, first own / quality / image0"):
        rate(q_align(backend), [items[0], items[0]], tmp_path / "s.jsonl")


def test_tasks_share_a_file_and_a_table(backend: Backend, items: list[Item], tmp_path: Path) -> None:
    common: dict[str, Any] = {"benchmark": "own", "dimension": "IQA", "images": items[0].images}
    asked = [
        Item(**common, id="letters", task="answer", question="How bright?", options=("dark", "bright"), target="B"),
        Item(**common, id="words", task="open", question="What is it?", target="grey"),
    ]
    run = rate(Scorer(backend, create_preset("letters", max_tokens=3)), asked, tmp_path / "r.jsonl")
    table = storable(scores_table(asked, run.rows))
    assert table["target"].tolist() == ["B", "grey"]
    assert table["n_options"].tolist() == [2, 0]
    assert set(table["choice"].dropna()) <= {"A", "B"}
    table.to_parquet(tmp_path / "t.parquet")


# --- the command ----------------------------------------------------------------------------------------------------


def invoke(*arguments: object) -> tuple[int, str, BaseException | None]:
    result = CliRunner().invoke(cli.app, ["rate", *map(str, arguments)])
    return result.exit_code, " ".join(result.output.split()), result.exception


def test_the_command_rates_a_benchmark_and_does_nothing_the_second_time(
    model: Path, benchmark: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ("jsonl", benchmark, "--model", model, "--preset", "q-align", "--batch", 4, "--to", tmp_path)
    code, text, _ = invoke(*command, "--prices", 2, 8)
    assert code == 0, text
    assert re.search(rf"{COUNT + 1} items: {COUNT + 1} ok; {COUNT} asked, 0 known before, 1 equal", text)
    assert re.search(r"items/s, \d+ tokens read and 0 written, \S+ at the prices given", text)
    meta = json.loads((tmp_path / "meta.json").read_text())
    (once,) = meta["runs"]
    assert once["cost"] == pytest.approx(once["prompt_tokens"] * 2e-6)
    assert 0 < once["batch_invariance"]["max_log_probability_difference"] < 1e-4
    assert meta["scorer_id"] == lines(tmp_path / "results.jsonl")[0]["scorer_id"]
    ratings = pd.read_parquet(tmp_path / "ratings.parquet")
    assert ratings["srcc"].iloc[0] > 0.9
    assert (tmp_path / "ratings.csv").is_file()
    table = pd.read_parquet(tmp_path / "mllm_scores.parquet")
    assert len(table) == COUNT + 1
    assert set(SCHEMAS["mllm_scores"]) <= set(table)

    from lopsided.experiments.schema.mllm import LocalModel

    def refuse(*_: object) -> None:
        raise AssertionError("the model was loaded")

    monkeypatch.setattr(LocalModel, "backend", refuse)
    before = {path: path.read_bytes() for path in (tmp_path / "results.jsonl", tmp_path / "meta.json")}
    code, text, error = invoke(*command)
    assert code == 0, error
    assert f"0 asked, {COUNT + 1} known before" in text
    assert all(path.read_bytes() == data for path, data in before.items())
    with pytest.raises(AssertionError, match="the model was loaded"):
        raise invoke(*command[:-1], tmp_path / "new")[2] or AssertionError


def test_a_folder_of_images_is_rated_without_targets(model: Path, benchmark: Path, tmp_path: Path) -> None:
    command = ("--images", benchmark.parent, "--model", model, "--preset", "q-align", "--to", tmp_path, "--limit", 3)
    code, text, _ = invoke(*command, "--dimension", "aesthetics")
    assert code == 0
    assert "3 items: 3 ok; 3 asked" in text
    table = pd.read_parquet(tmp_path / "mllm_scores.parquet")
    assert table["item"].tolist() == ["0.png", "1.png", "2.png"]
    assert set(table["dimension"]) == {"aesthetics"}
    assert not (tmp_path / "ratings.csv").exists()
    _, _, error = invoke("jsonl", benchmark, *command[2:])
    assert "holds results of images, not of jsonl" in str(error)


def test_answers_and_words_get_the_metrics_of_their_own(model: Path, benchmark: Path, tmp_path: Path) -> None:
    listed: list[dict[str, Any]] = []
    for n in range(6):
        shown = {"images": f"{n}.png", "dimension": "IQA"}
        options = ["dark", "dim", "light", "bright"]
        listed.append({**shown, "id": f"a{n}", "task": "answer", "question": "How bright?", "options": options})
        listed[-1] |= {"target": "ABCD"[n % 4], "groups": {"category": "even" if n % 2 == 0 else "odd"}}
        groups = {"dish": f"d{n // 3}", "country": "Japan", "context": ("alone", "street", "landmark")[n % 3]}
        listed.append({**shown, "id": f"o{n}", "task": "open", "question": "Whence?", "groups": groups})
    path = benchmark.with_name("mixed.jsonl")
    path.write_text("\n".join(map(json.dumps, listed)), encoding="utf-8")
    code, text, error = invoke("jsonl", path, "--model", model, "--preset", "letters", "--to", tmp_path)
    assert code == 0, error
    assert "accuracy_valid" in text
    table = pd.read_parquet(tmp_path / "mllm_scores.parquet")
    answers = where(table, task="answer")
    right = float((answers["choice"] == answers["target"]).mean())
    assert pd.read_csv(tmp_path / "choices.csv")["accuracy"].iloc[0] == pytest.approx(right)
    assert pd.read_csv(tmp_path / "choices_by_category.csv")["category"].tolist() == ["even", "odd"]
    for name in ("answers", "entropy", "retention", "drift"):
        assert len(pd.read_parquet(tmp_path / f"{name}.parquet")), name
    assert pd.read_csv(tmp_path / "statuses.csv")["n"].sum() == 12


def test_a_killed_run_loses_nothing_and_doubles_nothing(
    model: Path, backend: Backend, tiny_vlm: ModuleType, tmp_path: Path
) -> None:
    listed = []
    for n, image in enumerate(tiny_vlm.images(60, seed=9)):
        image.save(tmp_path / f"{n}.png", compress_level=0)
        listed.append({"id": f"{n}", "task": "rate", "images": f"{n}.png"})
    (tmp_path / "many.jsonl").write_text("\n".join(map(json.dumps, listed)))
    command = ["rate", "jsonl", str(tmp_path / "many.jsonl"), "--model", str(model), "--preset", "q-align"]
    command += ["--batch", "1", "--to", str(tmp_path / "out")]
    results = tmp_path / "out" / "results.jsonl"
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    process = subprocess.Popen([sys.executable, "-m", "lopsided", *command], env=environment, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not (results.exists() and results.read_bytes().count(b"\n") >= 10):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.wait()
    held = results.read_bytes().count(b"\n")
    assert 10 <= held < 60
    with results.open("ab") as file:  # and the line in hand was half written
        file.write(b'{"attempt":1,"bench')
    code, text, error = invoke(*command[1:])
    assert code == 0, error
    assert f"{60 - held} asked, {held} known before" in text
    found = lines(results)
    assert sorted(int(row["item"]) for row in found) == list(range(60))
    from lopsided.mllm.benchmarks import open_benchmark

    whole = rate(q_align(backend), open_benchmark("jsonl", tmp_path / "many.jsonl").items, tmp_path / "whole.jsonl")
    resumed = {row["item"]: row["value"] for row in found}
    assert [resumed[row["item"]] for row in whole.rows] == pytest.approx(values(whole), abs=1e-4)


def test_a_served_model_is_asked_for_what_failed_and_then_not_at_all(
    model: Path, benchmark: Path, tmp_path: Path
) -> None:
    from support import model_servers as servers
    from transformers import AutoModelForImageTextToText, AutoProcessor

    network = AutoModelForImageTextToText.from_pretrained(model, dtype="float32").eval()
    with (
        servers.ChatServer(network, AutoProcessor.from_pretrained(model)) as chat,
        servers.FaultProxy(chat.url) as proxy,
    ):
        proxy.script = lambda key, attempt: "400" if int(key, 16) % 3 == 0 else ""
        command = ("jsonl", benchmark, "--server", proxy.url, "--model", "lab/tiny-vlm", "--preset", "q-align")
        command += ("--prefix", "continue", "--logprobs", "chat", "--to", tmp_path)
        code, text, error = invoke(*command)
        failing = sum(1 for key in proxy.seen if int(key, 16) % 3 == 0)
        assert 0 < failing < COUNT
        assert isinstance(error, SystemExit)
        assert code == 1
        assert "the same command asks them again" in text
        assert sum(proxy.seen.values()) == COUNT
        proxy.script = lambda key, attempt: ""
        code, text, _ = invoke(*command)
        assert code == 0
        assert f"{failing} asked" in text
        assert sum(proxy.seen.values()) == COUNT + failing
    code, text, _ = invoke(*command)  # the server is gone
    assert code == 0
    assert "0 asked" in text
    ratings = pd.read_parquet(tmp_path / "ratings.parquet")
    assert ratings["n_valid"].iloc[0] == COUNT + 1
    assert ratings["srcc"].iloc[0] > 0.9


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"--preset": "q-alin"}, "unknown preset 'q-alin'; did you mean 'q-align'"),
        ({"--option": "steps=3"}, "steps"),
        ({"--option": "steps"}, "--option steps: give KEY=VALUE"),
        ({"--dtype": "float8"}, "--dtype: "),
        ({"--dimension": "quality"}, "--dimension is for --images"),
        ({"--images": "there"}, "give BENCHMARK and PATH, or --images DIR, not both"),
        ({"--model": "./nowhere"}, "./nowhere is not a folder"),
        ({"--server": "nowhere"}, "'nowhere' is not the address of a server"),
    ],
)
def test_a_fault_is_one_line(
    model: Path, benchmark: Path, tmp_path: Path, change: dict[str, str], message: str
) -> None:
    given = {"--model": model, "--preset": "q-align", "--to": tmp_path / "o", **change}
    code, _, error = invoke("jsonl", benchmark, *(part for pair in given.items() for part in pair))
    assert code == 1
    assert isinstance(error, LopsidedError)
    assert message in str(error)
    assert "\n" not in str(error)
    assert not (tmp_path / "o" / "results.jsonl").exists()
    _, _, error = invoke("--to", tmp_path, "--model", model, "--preset", "q-align")
    assert "give BENCHMARK and PATH, or --images DIR" in str(error)


# --- experiments ----------------------------------------------------------------------------------------------------

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
    assert set(judged["judge_families"]) == {f"mllm:{model.name}"}
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
    assert run(experiment, store=tmp_path / "runs").done == 0


def test_a_cell_without_all_replies_fails_and_goes_on_where_it_was(
    experiment: Path, backend: Backend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lopsided.experiments.schema.mllm import LocalModel

    text = experiment.read_text().replace("fr_sets: [ladder]", "restored: false").replace("\n    ladder:", "\n    l:")
    experiment.write_text(text)
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
