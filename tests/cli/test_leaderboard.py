"""The command leaderboard, on ratings of a real model: order, ties, failed replies, and the page."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
from support.browser import OVER_THE_EDGE, TWICE, opened
from support.command_line import invoke

from lopsided.mllm import MllmError, compare_runs

COUNT = 60


@pytest.fixture(scope="module")
def runs(tiny_vlm: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rate procedural images whose brightness is the label: two presets that tie, one that is worse, one that fails."""
    folder = tmp_path_factory.mktemp("leaderboard")
    rng = np.random.default_rng(0)
    listed: list[dict[str, Any]] = []
    for n, image in enumerate(tiny_vlm.images(COUNT, seed=11)):
        image.save(folder / f"{n}.png")
        target = 1 + 4 * tiny_vlm.brightness(image) + rng.normal(0, 0.2)
        listed.append({"id": f"i{n}", "task": "rate", "images": f"{n}.png", "target": float(np.clip(target, 1, 5))})
        listed[-1] |= {
            "scale": [1, 5],
            "reference": f"scene{n // 3}",
            "groups": {"distortion": ("haze", "dusk")[n % 2]},
        }
    (folder / "own.jsonl").write_text("\n".join(map(json.dumps, listed)), encoding="utf-8")
    for name, options in {
        "q-align": (),
        "q-align-unit": (),
        "numeric": (),
        "hot": ("--preset", "numeric", "--option", "temperature=1", "--option", "max_tokens=8"),
    }.items():
        options = options or ("--preset", name)
        common = ("jsonl", folder / "own.jsonl", "--model", tiny_vlm.trained(), "--to", folder / name)
        shown = invoke("rate", *common, *options)
        assert shown.status == 0, shown.err
    return folder


def test_the_known_order_is_found_and_a_planted_tie_is_not_separated(runs: Path) -> None:
    board = compare_runs([runs / name for name in ("hot", "numeric", "q-align-unit", "q-align")])
    table = board.table.assign(preset=[name.rpartition("/")[2] for name in board.table["scorer"]])
    places = {row["preset"]: (row["rank_low"], row["rank_high"]) for row in table.to_dict("records")}
    assert places["q-align"] == places["q-align-unit"] == (1, 2)
    assert places["numeric"] == (3, 3)
    assert places["numeric[max_tokens=8,temperature=1]"] == (4, 4)
    tie = board.tests.iloc[0]
    assert {tie["scorer_a"], tie["scorer_b"]} == set(table["scorer"].iloc[:2])
    assert (tie["difference"], tie["p_holm"]) == (pytest.approx(0, abs=1e-12), 1)
    assert len(board.tests) == 6
    assert (board.tests["p_holm"] >= board.tests["p"]).all()


def test_a_scorer_gains_nothing_by_replies_without_a_value(runs: Path) -> None:
    table = compare_runs([runs / "hot", runs / "numeric"]).table.set_index("n_valid")
    assert COUNT in table.index  # numeric
    hot = table.loc[table.index < COUNT].iloc[0]
    assert hot["srcc"] < hot["srcc_valid"]
    assert hot["srcc_low"] < hot["srcc"] < hot["srcc_high"]
    numeric = table.loc[COUNT]
    assert numeric["srcc"] == numeric["srcc_valid"]
    own = pd.read_parquet(runs / "numeric" / "ratings.parquet").iloc[0]
    assert (numeric["srcc"], numeric["srcc_low"]) == (pytest.approx(own["srcc"]), pytest.approx(own["srcc_low"]))


def test_the_command_prints_and_writes_all_forms(runs: Path, tmp_path: Path) -> None:
    files = {ending: tmp_path / f"board.{ending}" for ending in ("csv", "latex", "html")}
    options = [part for ending, path in files.items() for part in (f"--{ending}", path)]
    shown = invoke("leaderboard", *(runs / name for name in ("q-align", "q-align-unit", "numeric", "hot")), *options)
    assert shown.status == 0, shown.err
    assert re.search(r"1–2 +q-align ", shown.text)
    assert "Undecided: the tests do not tell q-align and q-align-unit apart" in shown.text
    assert len(pd.read_csv(files["csv"])) == 4
    assert r"\begin{tabular}" in files["latex"].read_text(encoding="utf-8")
    page = files["html"].read_text(encoding="utf-8")
    assert page.count("data:image/jpeg;base64,") >= 4
    assert 'src="http' not in page
    assert "read as</dt><dd>unparsable" in page
    assert "own: quality, by distortion" in page
    assert "Residuals of quality" in page
    for width in (1400, 390):
        with opened(files["html"], width) as (view, complaints):
            assert complaints == []
            assert view.evaluate(OVER_THE_EDGE) == []
            assert view.evaluate(TWICE) == []


def test_what_cannot_be_compared_is_refused(runs: Path, tmp_path: Path) -> None:
    for folders, message in (
        ([runs / "numeric"], "two folders"),
        ([runs / "numeric", runs / "numeric"], "that another folder holds"),
        ([runs / "numeric", tmp_path], "is no folder of ratings"),
    ):
        with pytest.raises(MllmError, match=message):
            compare_runs(folders)
    meta = json.loads((runs / "hot" / "meta.json").read_text(encoding="utf-8"))
    meta["benchmark"]["identity"] = "another"
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / "meta.json").write_text(json.dumps(meta), encoding="utf-8")
    (copy / "mllm_scores.parquet").write_bytes((runs / "hot" / "mllm_scores.parquet").read_bytes())
    with pytest.raises(MllmError, match="compare runs of the same benchmark"):
        compare_runs([runs / "numeric", copy])
