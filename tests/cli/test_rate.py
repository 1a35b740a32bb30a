"""The command rate, with a real model: what it prints and writes, and how it continues after a kill."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd
import pytest
from support import model_servers as servers
from support.command_line import invoke, started, wait_for
from support.rated_images import COUNT, lines, q_align, write_benchmark

from lopsided.analysis.result_tables import SCHEMAS
from lopsided.analysis.statistics import where
from lopsided.experiments import LocalModel
from lopsided.mllm import TransformersBackend, open_benchmark, rate


@pytest.fixture(scope="module")
def model(tiny_vlm: ModuleType) -> Path:
    return tiny_vlm.trained()


@pytest.fixture(scope="module")
def benchmark(tiny_vlm: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_benchmark(tmp_path_factory.mktemp("benchmark"), tiny_vlm)


def command_rate(*arguments: object) -> tuple[int, str, str]:
    shown = invoke("rate", *arguments)
    return shown.status, shown.text, shown.err


def test_the_command_rates_a_benchmark_and_does_nothing_the_second_time(
    model: Path, benchmark: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ("jsonl", benchmark, "--model", model, "--preset", "q-align", "--batch", 4, "--to", tmp_path)
    code, text, _ = command_rate(*command, "--prices", 2, 8)
    assert code == 0, text
    assert re.search(rf"{COUNT + 1} items: {COUNT + 1} ok; {COUNT} asked, 0 known before, 1 equal", text)
    assert re.search(r"items/s, \d+ tokens read and 0 written, \S+ at the prices given", text)
    assert re.search(r"; median candidate mass (0\.[5-9]\d|1\.00)", text)
    assert "warning" not in text
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

    def refuse(*_: object) -> None:
        raise AssertionError("the model was loaded")

    monkeypatch.setattr(LocalModel, "backend", refuse)
    before = {path: path.read_bytes() for path in (tmp_path / "results.jsonl", tmp_path / "meta.json")}
    code, text, error = command_rate(*command)
    assert code == 0, error
    assert f"0 asked, {COUNT + 1} known before" in text
    assert all(path.read_bytes() == data for path, data in before.items())
    assert "the model was loaded" in command_rate(*command[:-1], tmp_path / "new")[2]


def test_a_folder_of_images_is_rated_without_targets(model: Path, benchmark: Path, tmp_path: Path) -> None:
    command = ("--images", benchmark.parent, "--model", model, "--preset", "q-align", "--to", tmp_path, "--limit", 3)
    code, text, _ = command_rate(*command, "--dimension", "aesthetics")
    assert code == 0
    assert "3 items: 3 ok; 3 asked" in text
    table = pd.read_parquet(tmp_path / "mllm_scores.parquet")
    assert table["item"].tolist() == ["0.png", "1.png", "2.png"]
    assert set(table["dimension"]) == {"aesthetics"}
    assert not (tmp_path / "ratings.csv").exists()
    _, _, error = command_rate("jsonl", benchmark, *command[2:])
    assert "holds results of images, not of jsonl" in error


def test_images_of_sub_folders_are_rated_and_the_best_and_worst_are_shown(
    model: Path, tiny_vlm: ModuleType, tmp_path: Path
) -> None:
    for n, image in enumerate(tiny_vlm.images(13, seed=1)):
        path = tmp_path / "photos" / ("", "cats", "cats/.hidden")[n % 3] / f"{n // 3}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path)
    common = ("--model", model, "--preset", "q-align", "--to", tmp_path / "out")
    code, text, error = command_rate("--images", tmp_path / "photos", *common)
    assert code == 0, error
    scores = pd.read_csv(tmp_path / "out" / "scores.csv").rename(columns={"image": "item"})
    assert scores["item"].tolist() == [*(f"{n}.png" for n in range(5)), *(f"cats/{n}.png" for n in range(4))]
    best_first = scores.sort_values("value", ascending=False, kind="stable")
    shown = re.findall(r"(\S+\.png) +(\d+\.\d+)", text)
    expected = zip(best_first["item"], best_first["value"], strict=True)
    assert shown == [(name, f"{value:.3f}") for name, value in expected]
    assert "scores.csv" in text


def test_a_folder_without_images_is_named_without_advice_for_yaml(model: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    common = ("--model", model, "--preset", "q-align", "--to", tmp_path / "out")
    for folder, seen in (("empty", "no file in it or its sub-folders ends in .png"), ("Empty", "names differ in case")):
        code, _, error = command_rate("--images", tmp_path / folder, *common)
        assert code == 1
        assert seen in error
        assert "pattern" not in error


def test_a_broken_image_is_a_row_and_a_sample_is_drawn_by_its_seed(
    model: Path, benchmark: Path, tiny_vlm: ModuleType, tmp_path: Path
) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for n, image in enumerate(tiny_vlm.images(5, seed=2)):
        image.save(photos / f"{n}.png")
    (photos / "broken.png").write_bytes(b"no picture")
    common = ("--images", photos, "--model", model, "--preset", "q-align")
    code, text, error = command_rate(*common, "--sort", "name", "--to", tmp_path / "all")
    assert code == 1
    assert "broken.png: " in error
    assert "1 item has no reply" in error
    assert re.findall(r"(\S+\.png) +\d", text) == [f"{n}.png" for n in range(5)]
    scores = pd.read_csv(tmp_path / "all" / "mllm_scores.csv").set_index("item")
    assert scores["status"].to_dict() == {**{f"{n}.png": "ok" for n in range(5)}, "broken.png": "failed"}
    drawn = []
    for seed in (1, 1, 2, 3):
        to = tmp_path / f"sample{len(drawn)}"
        command_rate(*common, "--limit", 2, "--shuffle-seed", seed, "--to", to)
        drawn.append(tuple(pd.read_csv(to / "mllm_scores.csv")["item"]))
    assert drawn[0] == drawn[1]
    assert len(set(drawn)) > 1
    assert "--shuffle-seed draws a sample" in command_rate(*common, "--shuffle-seed", 1, "--to", tmp_path)[2]


def test_kept_replies_are_read_again_without_the_model(
    model: Path, benchmark: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    common = ("jsonl", benchmark, "--model", model, "--preset", "numeric", "--option", "high=100")
    assert command_rate(*common, "--to", tmp_path / "first")[0] == 0

    def refuse(*_: object) -> None:
        raise AssertionError("the model was loaded")

    monkeypatch.setattr(LocalModel, "backend", refuse)
    again = ("--reparse", tmp_path / "first", "--to")
    code, text, error = command_rate(*common, *again, tmp_path / "same")
    assert code == 0, error
    assert f"0 of {COUNT + 1} replies are read otherwise" in text
    values = [pd.read_csv(tmp_path / name / "mllm_scores.csv")["value"].tolist() for name in ("first", "same")]
    assert values[0] == values[1]
    assert "0 asked" in command_rate(*common, "--to", tmp_path / "same")[1]
    code, text, _ = command_rate(*common, "--option", "parser=cogip", *again, tmp_path / "other")
    assert code == 0
    changes = pd.read_csv(tmp_path / "other" / "changes.csv", dtype=str)
    assert set(changes["after"]) == {"unparsable"}  # it reads numbers with a decimal point only
    assert f"{len(changes)} of {COUNT + 1} replies are read otherwise" in text
    assert "scorer: " in text
    for arguments, message in (
        ((*common, *again, tmp_path / "same"), "holds results already"),
        ((*common[:4], "--preset", "cogip", *again, tmp_path / "new"), "replies to other prompts"),
        ((*common, "--max-pixels", 99, *again, tmp_path / "new"), "model or settings differ"),
        ((*common, "--reparse", tmp_path / "none", "--to", tmp_path / "new"), "has no finished run"),
    ):
        assert message in command_rate(*arguments)[2]


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
    code, text, error = command_rate("jsonl", path, "--model", model, "--preset", "letters", "--to", tmp_path)
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


def test_a_killed_run_loses_nothing_and_doubles_nothing(model: Path, tiny_vlm: ModuleType, tmp_path: Path) -> None:
    listed = []
    for n, image in enumerate(tiny_vlm.images(60, seed=9)):
        image.save(tmp_path / f"{n}.png", compress_level=0)
        listed.append({"id": f"{n}", "task": "rate", "images": f"{n}.png"})
    (tmp_path / "many.jsonl").write_text("\n".join(map(json.dumps, listed)))
    command = ["rate", "jsonl", tmp_path / "many.jsonl", "--model", model, "--preset", "q-align"]
    command += ["--batch", "1", "--to", tmp_path / "out"]
    results = tmp_path / "out" / "results.jsonl"
    process = started(*command, stdout=subprocess.DEVNULL)
    wait_for(lambda: results.exists() and results.read_bytes().count(b"\n") >= 10, process)
    process.kill()
    process.wait()
    held = results.read_bytes().count(b"\n")
    assert 10 <= held < 60
    with results.open("ab") as file:  # and the line in hand was half written
        file.write(b'{"attempt":1,"bench')
    code, text, error = command_rate(*command[1:])
    assert code == 0, error
    assert f"{60 - held} asked, {held} known before" in text
    found = lines(results)
    assert sorted(int(row["item"]) for row in found) == list(range(60))
    whole = rate(
        q_align(TransformersBackend(model, batch_size=4)),
        open_benchmark("jsonl", tmp_path / "many.jsonl").items,
        tmp_path / "whole.jsonl",
    )
    resumed = {row["item"]: row["value"] for row in found}
    assert [resumed[row["item"]] for row in whole.rows] == pytest.approx([row["value"] for row in whole.rows], abs=1e-4)


def test_a_served_model_is_asked_for_what_failed_and_then_not_at_all(
    model: Path, benchmark: Path, tmp_path: Path
) -> None:
    from transformers import AutoModelForImageTextToText, AutoProcessor

    network = AutoModelForImageTextToText.from_pretrained(model, dtype="float32").eval()
    with (
        servers.ChatServer(network, AutoProcessor.from_pretrained(model)) as chat,
        servers.FaultProxy(chat.url) as proxy,
    ):
        proxy.script = lambda key, attempt: "400" if int(key, 16) % 3 == 0 else ""
        command = ("jsonl", benchmark, "--server", proxy.url, "--model", "lab/tiny-vlm", "--preset", "q-align")
        command += ("--prefix", "continue", "--logprobs", "chat", "--to", tmp_path)
        code, text, _ = command_rate(*command)
        failing = sum(1 for key in proxy.seen if int(key, 16) % 3 == 0)
        assert 0 < failing < COUNT
        assert code == 1
        assert "the same command asks again" in text
        assert sum(proxy.seen.values()) == COUNT
        proxy.script = lambda key, attempt: ""
        code, text, _ = command_rate(*command)
        assert code == 0
        assert f"{failing} asked" in text
        assert sum(proxy.seen.values()) == COUNT + failing
    code, text, _ = command_rate(*command)  # the server is gone
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
        ({"--option": "steps"}, "--option steps: write it as KEY=VALUE"),
        ({"--dtype": "float8"}, "--dtype: "),
        ({"--dimension": "quality"}, "--dimension is for --images"),
        ({"--images": "there"}, "give BENCHMARK and PATH, or --images FOLDER, not both"),
        ({"--model": "./nowhere"}, "./nowhere is not a folder"),
        ({"--server": "nowhere"}, "'nowhere' is not the address of a server"),
    ],
)
def test_a_fault_is_one_line(
    model: Path, benchmark: Path, tmp_path: Path, change: dict[str, str], message: str
) -> None:
    given = {"--model": model, "--preset": "q-align", "--to": tmp_path / "o", **change}
    code, _, error = command_rate("jsonl", benchmark, *(part for pair in given.items() for part in pair))
    assert code == 1
    assert message in error
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "o" / "results.jsonl").exists()
    _, _, error = command_rate("--to", tmp_path, "--model", model, "--preset", "q-align")
    assert "give BENCHMARK and PATH, or --images FOLDER" in error


def test_where_no_reply_has_a_value_the_first_is_shown(model: Path, benchmark: Path, tmp_path: Path) -> None:
    options = ("--preset", "numeric", "--option", "high=0.5", "--limit", 3)  # the model writes numbers up to 100
    code, text, _ = command_rate("jsonl", benchmark, "--model", model, *options, "--to", tmp_path)
    assert code == 0
    assert re.search(r"warning: no reply has a value; the first, out_of_range: \d+; take another preset", text)


def test_a_low_candidate_mass_is_a_warning(
    model: Path, benchmark: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lopsided.cli.rate.LOW_MASS", 1.1)
    code, text, _ = command_rate("jsonl", benchmark, "--model", model, "--preset", "q-align", "--to", tmp_path)
    assert code == 0
    assert re.search(r"warning: the candidates have \S+ of the probability: .* take another preset", text)


def test_repetitions_draw_replies_of_their_own_and_levels_do_not_differ(
    model: Path, benchmark: Path, tmp_path: Path
) -> None:
    common = ("jsonl", benchmark, "--model", model, "--limit", 6, "--repeat", 3)
    code, text, error = command_rate(*common, "--preset", "q-align", "--to", tmp_path / "levels")
    assert code == 0, error
    assert "asked 3 times: 6 of 6 questions got the same answer each time" in text
    hot = ("--preset", "numeric", "--option", "temperature=1", "--option", "max_tokens=8")
    code, text, error = command_rate(*common, *hot, "--to", tmp_path / "hot")
    assert code == 0, error
    spread = pd.read_csv(tmp_path / "hot" / "repeats.csv")
    assert spread["n"].tolist() == [3] * 6
    assert not spread["same"].all()
    scores = pd.read_csv(tmp_path / "hot" / "mllm_scores.csv").set_index("item")
    values = scores.loc[["image0", "image0#2", "image0#3"], "value"].dropna()
    row = spread.set_index("item").loc["image0"]
    assert row["n_valid"] == len(values)
    assert row["mean"] == pytest.approx(values.mean())
    assert set(scores.loc["image0#2", ["reference"]]) == set(scores.loc["image0", ["reference"]])
    again = command_rate(*common, *hot, "--to", tmp_path / "hot")[1]
    assert "0 asked, 18 known before" in again
