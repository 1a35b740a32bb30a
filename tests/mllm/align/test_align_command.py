"""``lopsided align`` from its file to a model that rates, and what it leaves in its folder."""

import json
from pathlib import Path

import pandas as pd
import pytest
import yaml
from PIL import Image

pytest.importorskip("trl", reason="the extra 'align' is not installed")

from support import tiny_vlm
from support.command_line import invoke

from lopsided.mllm import Scorer, TransformersBackend, create_preset
from lopsided.mllm.align import load_calibration, read_log
from lopsided.mllm.errors import MllmError


def test_a_model_is_trained_evaluated_calibrated_and_usable(tiny, rated, tmp_path):
    settings = {
        "model": str(tiny),
        "method": "sft",
        "preset": "q-align",
        "data": [{"benchmark": "jsonl", "path": rated("mine", 60, 11)}],
        "split": {"held_out": 0.5, "near": None},
        "loss": {"kind": "levels", "fidelity": 0.5},
        "optim": {"rate": 1e-3, "batch": 8, "steps": 3},
        "lora": {"rank": 4, "parts": ["language", "projector"]},
        "evaluate": {"every": 2, "benchmarks": {"other": {"benchmark": "jsonl", "path": rated("other", 6, 12)}}},
        "log_every": 1,
    }
    (tmp_path / "a.yaml").write_text(yaml.safe_dump(settings))
    out = tmp_path / "out"
    shown = invoke("align", tmp_path / "a.yaml", "--to", out)
    assert shown.status == 0, shown.err
    assert "held-out, quality, after" in shown.out
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    (evaluated,) = [line for line in lines if "eval/other/quality/srcc" in line]
    assert evaluated["step"] == 2
    assert evaluated["eval/held-out/quality/read"] == 1
    table = pd.read_csv(out / "evaluation.csv").set_index(["set", "ratings"])
    assert set(table.loc["held-out"].index) == {
        *("before", "after", "after, other half", "after, other half, isotonic", "after, other half, temperature"),
    }
    assert set(table.loc["other"].index) == {"before", "after", "after, isotonic", "after, temperature"}
    known = table.loc[("held-out", "after")]
    assert 0.5 < known["srcc_low"] < known["srcc"] < known["srcc_high"] < 1
    assert known["srcc"] > 0.9
    before = table.loc[("held-out", "before")]
    assert known["srcc_change"] == pytest.approx(known["srcc"] - before["srcc"], abs=1e-12)
    assert before.filter(like="srcc_change").isna().all()
    assert table.loc[("held-out", "after, other half"), "n"] == 15
    assert [one.kind for one in load_calibration(out, "quality")] == ["isotonic", "temperature"]
    assert any((out / "runs").iterdir())
    # The saved model, adapters merged, rates as the one in memory did.
    after = pd.read_csv(out / "after.csv").query("set == 'other'")
    backend = TransformersBackend(out / "model", dtype="float32")
    ratings = Scorer(backend, create_preset("q-align")).rate(tiny_vlm.images(6, 12), dimension="quality")
    assert [rating.value for rating in ratings] == pytest.approx(after["value"].tolist(), abs=1e-4)


@pytest.mark.parametrize("method", ["grpo", "dpo"])
def test_ratings_and_questions_are_trained_together(tiny, rated, tmp_path, method):
    question = {"task": "answer", "question": "How bright?", "options": ["dark", "bright"], "target": "B"}
    data = [rated("ratings", 6, 21), rated("questions", 6, 22, scale=None, **question)]
    settings = {
        "model": str(tiny),
        "method": method,
        "preset": "numeric",
        "data": [{"benchmark": "jsonl", "path": path} for path in data],
        "split": {"held_out": 0, "near": None},
        "optim": {"rate": 1e-4, "batch": 16 if method == "grpo" else 4, "steps": 2},
        "evaluate": {"every": 1, "benchmarks": {"other": {"benchmark": "jsonl", "path": rated("other", 3, 12)}}},
        "log_every": 1,
        "trackers": [],
    }
    if method == "grpo":
        settings["rewards"] = [{"kind": "thurstone"}, {"kind": "binary", "weight": 2}]
        settings["generation"] = {"replies": 4, "max_tokens": 4}
    (tmp_path / "a.yaml").write_text(yaml.safe_dump(settings))
    shown = invoke("align", tmp_path / "a.yaml", "--to", tmp_path / "out")
    assert shown.status == 0, shown.err
    last = [json.loads(line) for line in (tmp_path / "out" / "log.jsonl").read_text().splitlines()][-1]
    expected = (
        {"rewards/thurstone/mean", "rewards/binary/mean", "status/ok"} if method == "grpo" else {"rewards/margins"}
    )
    assert expected <= last.keys()
    log = read_log(tmp_path / "out")
    replies = log.loc[log["text"] != ""]
    assert sorted(set(replies["step"])) == [0, 1, 2]
    assert set(replies["term"]) == {f"replies/other/quality/{n}" for n in range(3)}
    after = pd.read_csv(tmp_path / "out" / "after.csv", dtype=str)
    assert replies.loc[replies["step"] == 2, "text"].tolist() == after["reply"].tolist()
    (tmp_path / "out" / "before.csv").write_text("no table of ratings")
    with pytest.raises(MllmError, match=r"before\.csv is damaged"):
        read_log(tmp_path / "out")


def test_an_image_that_the_model_cannot_take_is_named_before_training(tiny, rated, tmp_path):
    path = Path(rated("odd", 6, 2))
    Image.new("RGB", (3000, 2)).save(path.with_name("odd-3.png"))
    data = [{"benchmark": "jsonl", "path": str(path)}]
    settings = {"model": str(tiny), "method": "sft", "preset": "numeric", "data": data}
    (tmp_path / "a.yaml").write_text(yaml.safe_dump(settings | {"split": {"held_out": 0, "near": None}}))
    shown = invoke("align", tmp_path / "a.yaml", "--to", tmp_path / "out")
    assert shown.status == 1
    assert "odd-3.png: the processor of" in shown.err
    assert "refuses 3000 × 2 pixels" in shown.err
    assert "Warning" not in shown.err
