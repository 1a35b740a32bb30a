"""Cells that assess measures and judge images: computed together, resumed, and with references kept."""

import json
import os
import signal
import subprocess
import sys
import time
from typing import Any

import pandas as pd
import pytest
import torch
import yaml
from support.noisy_set import SIZES, count_passes, noisy_set

from lopsided.common.images import read_rgb, to_tensor, write_png
from lopsided.common.kept import Kept
from lopsided.common.sources import parse_source
from lopsided.experiments import ExperimentError, load_experiment, plan
from lopsided.experiments.planning import Plan
from lopsided.experiments.running import execute as executors
from lopsided.experiments.running.board import Board
from lopsided.experiments.running.progress import SilentReporter
from lopsided.experiments.running.work import work
from lopsided.experiments.schema import restoration
from lopsided.experiments.schema.execution import Execution
from lopsided.experiments.stages.assess_fr import AssessFR
from lopsided.experiments.stages.cell import Cell
from lopsided.experiments.stages.context import Context
from lopsided.experiments.stages.judge import JudgeImages
from lopsided.experiments.stages.restore import Restore
from lopsided.experiments.store import Store
from lopsided.iqa import evaluate_fr, fr, judges, parse_judge
from lopsided.iqa.manifest import FRDataset
from lopsided.losses import create_measure


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return noisy_set(tmp_path_factory.mktemp("set"))


@pytest.fixture(autouse=True)
def _two_images_a_batch(monkeypatch):
    monkeypatch.setitem(fr.BATCH_PIXELS, "cpu", 2 * 64 * 80)


@pytest.fixture
def passes(monkeypatch):
    return count_passes(monkeypatch)


def same(left, right):
    pd.testing.assert_frame_equal(left, right, check_exact=True)


# --- in experiments -------------------------------------------------------------------------------------------------

ASSESSED = ["l1", "ssim", "dists-squeezenet1_1-r", "lpips-squeezenet1_1-r", "gmsd"]
EXPERIMENT = {
    "name": "rated",
    "data": {
        "train": {"source": "skimage", "split": "train"},
        "test": {"a": {"images": {"source": "skimage", "split": "test"}}},
    },
    "super_resolution": {"pretrain": {"steps": 1, "patch": 32}, "finetune": {"steps": 1, "patch": 32}},
    "grid": {"fidelity": ["l1"]},
    "judges": ["psnr_y"],
}


def assessment(folder, path, measures=ASSESSED, **options):
    """The plan of the cells that assess measures on the set, without those that train."""
    datasets = {"rated": {"manifest": str(folder / "set.csv"), **options}}
    path.mkdir(parents=True, exist_ok=True)
    (path / "e.yaml").write_text(
        yaml.safe_dump(EXPERIMENT | {"assessment": {"datasets": datasets, "measures": measures}})
    )
    planned = plan(load_experiment(path / "e.yaml"))
    return Plan(planned.experiment, tuple(planned.of_stage("assess_fr")))


def execute(planned, root, reporter=None):
    store = Store(root)
    return store, executors.execute(planned, store, Execution(), reporter or SilentReporter())


def measure_of(cell):
    assert isinstance(cell.spec, AssessFR)
    return create_measure(cell.spec.measure)


def scores(store, cell):
    return pd.read_parquet(store.folder(cell.stage, cell.id) / "scores.parquet")


def test_cells_of_one_set_are_computed_together_and_stay_cells_of_their_own(folder, tmp_path, passes):
    planned = assessment(folder, tmp_path)
    store, summary = execute(planned, tmp_path / "store")
    assert (summary.done, summary.failed) == (5, [])
    assert sum(passes) == 2 * (3 + 15)  # references and images, for two kinds of pooling
    states = [store.status(cell.stage, cell.id) for cell in planned.cells]
    assert {status.together for status in states} == {5}
    assert sum(status.seconds or 0 for status in states) <= summary.seconds
    dataset = FRDataset(folder / "set.csv")
    for cell in planned.cells:
        folder_of_cell = store.folder(cell.stage, cell.id)
        assert {path.name for path in folder_of_cell.iterdir()} == {
            *("log.txt", "provenance.json", "scores.parquet", "spec.json", "status.json")
        }
        assert json.loads((folder_of_cell / "spec.json").read_text())["labels"] == dict(cell.labels)
        stored = scores(store, cell)
        same(stored, evaluate_fr(measure_of(cell), dataset).astype(stored.dtypes.to_dict()))


def test_a_measure_that_fails_does_not_take_the_others_with_it(folder, tmp_path):
    planned = assessment(folder, tmp_path, ["l1", "ms_ssim", "ssim"])  # ms_ssim needs larger images
    store, summary = execute(planned, tmp_path / "store")
    ((failed, reason),) = summary.failed
    assert failed.labels["measure"] == "ms_ssim"
    assert "ms_ssim needs at least" in reason
    assert summary.done == 2
    dataset = FRDataset(folder / "set.csv")
    for cell in planned.cells:
        if cell is not failed:
            assert scores(store, cell)["score"].equals(evaluate_fr(measure_of(cell), dataset)["score"])


def test_a_worker_takes_its_share_and_leaves_the_rest(folder, tmp_path):
    planned, store = assessment(folder, tmp_path), Store(tmp_path / "store")
    (tmp_path / "store" / "cells").mkdir(parents=True)
    context = Context(store, Execution())
    work(Board(planned.cells, store, 2), context, SilentReporter(), lambda: False)
    together = [store.status(cell.stage, cell.id).together for cell in planned.cells]
    assert together == [3, 3, 3, 1, 1]


def test_sets_are_assessed_one_by_one(folder, tmp_path):
    cells = [*assessment(folder, tmp_path / "a").cells, *assessment(folder, tmp_path / "b", split="test").cells]
    assert [cell.spec.together for cell in cells] == [cells[0].spec.together] * 5 + [cells[5].spec.together] * 5
    assert cells[0].spec.together != cells[5].spec.together


def test_a_stopped_assessment_is_resumed(folder, tmp_path):
    planned, store = assessment(folder, tmp_path, ["l1", "ssim"]), Store(tmp_path / "store")
    (tmp_path / "store" / "cells").mkdir(parents=True)
    steps, seen = [], []
    context = Context(store, Execution(), lambda *step: steps.append(step), lambda: len(steps) >= 3)
    work(Board(planned.cells, store), context, SilentReporter(), lambda: False)
    assert {store.status(cell.stage, cell.id).state for cell in planned.cells} == {"interrupted"}
    again = Context(store, Execution(), lambda *step: seen.append(step))
    work(Board(planned.cells, store), again, SilentReporter(), lambda: False)
    assert steps[-1][0] == 5
    assert seen[0][0] == 7
    assert {store.status(cell.stage, cell.id).state for cell in planned.cells} == {"done"}


CHILD = """
import sys, time
from pathlib import Path
from lopsided.experiments import load_experiment, plan
from lopsided.experiments.planning import Plan
from lopsided.experiments.running.progress import SilentReporter
from lopsided.experiments.running.execute import execute
from lopsided.experiments.schema.execution import Execution
from lopsided.experiments.store import Store
from lopsided.iqa import fr

class Slow(SilentReporter):
    def step(self, done, total, note):
        time.sleep(0.5)

fr.BATCH_PIXELS["cpu"] = 2 * 64 * 80
planned = plan(load_experiment(Path(sys.argv[1])))
cells = tuple(planned.of_stage("assess_fr"))
execute(Plan(planned.experiment, cells), Store(Path(sys.argv[2])), Execution(), Slow())
"""


def test_a_killed_assessment_goes_on_where_it_stopped(folder, tmp_path, passes):
    measures = ["l1", "dists-squeezenet1_1-r"]
    planned = assessment(folder, tmp_path, measures)
    whole, _ = execute(planned, tmp_path / "whole")
    root = tmp_path / "killed"
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(tmp_path / "e.yaml"), str(root)])
    files = [Store(root).folder(cell.stage, cell.id) / "work" / "scores.jsonl" for cell in planned.cells]
    limit = time.monotonic() + 300
    while not all(file.is_file() and file.read_bytes().count(b"\n") >= 5 for file in files):
        assert child.poll() is None
        assert time.monotonic() < limit
        time.sleep(0.02)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    kept = min(file.read_bytes().count(b"\n") - 1 for file in files)
    assert 4 <= kept < 15
    with files[1].open("ab") as file:
        file.write(b'{"image": "c')  # what a kill in the middle of a write leaves
    passes.clear()
    store, summary = execute(planned, root)
    assert (summary.done, summary.failed) == (2, [])
    assert 15 - kept <= sum(passes) <= 3 + 15 - kept  # images and references
    for cell in planned.cells:
        same(scores(store, cell), scores(whole, cell))
        assert not (store.folder(cell.stage, cell.id) / "work").exists()


# --- judging --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def restored(folder, tmp_path_factory):
    """A store with three restored versions of the photographs a, b and c, and cells that stand for them."""
    root = tmp_path_factory.mktemp("judged")
    for name in SIZES:
        write_png(root / "originals" / f"{name}.png", read_rgb(folder / f"{name}.png"))
    source = parse_source({"folder": str(root / "originals")})
    identity = source.identity(source.items())
    common: dict[str, Any] = {"scale": 2, "test": restoration.TestSet(images=source), "test_identity": identity}
    store, cells = Store(root / "store"), []
    for level in range(3):
        other: dict[str, Any] = common | {"test_identity": f"{level}"}
        before = Cell(Restore(**other, generator=None))
        cell = Cell(Restore(**common, generator=None), {"finetune": before})
        for name in SIZES:
            image = read_rgb(folder / f"{name}{level}.png")
            write_png(store.folder("restore", cell.id) / "images" / f"{name}.png", image)
        cells.append(cell)
    return store, common, cells


def judged(restored, key, context, out):
    _, common, cells = restored
    judge = parse_judge(key, scale=2)
    tables = []
    for index, cell in enumerate(cells):
        spec = JudgeImages(**common, judge=judge)
        spec.run(Cell(spec, {"restore": cell}), out / f"{index}", context)
        tables.append(pd.read_parquet(out / f"{index}" / "scores.parquet"))
    return tables


@pytest.mark.parametrize("key", ["dists-squeezenet1_1-r", "ssim"])
@pytest.mark.parametrize("limit", [1 << 30, 0, 1_000_000])
def test_references_are_judged_from_once_and_no_bit_changes(restored, folder, tmp_path, passes, key, limit):
    context = Context(restored[0], Execution(), references=Kept(limit))
    judge = context.judge(parse_judge(key, scale=2))
    passes.clear()
    tables = judged(restored, key, context, tmp_path)
    assert context.references.size <= limit
    if "dists" in key:
        # Beside nine restored images: all references anew, each once, or only a and b anew, which do not fit.
        assert sum(passes) - 9 == {0: 9, 1 << 30: 3, 1_000_000: 3 * 2 + 1}[limit]
    for level, table in enumerate(tables):
        assert table["image"].tolist() == list(SIZES)
        # As they were judged before: images of one size together, references anew.
        for names in (["a", "b"], ["c"]):
            images = torch.cat([to_tensor(read_rgb(folder / f"{name}{level}.png")) for name in names])
            references = torch.cat([to_tensor(read_rgb(folder / f"{name}.png")) for name in names])
            expected = judge.score(images, references).tolist()
            assert table.set_index("image").loc[names, "value"].tolist() == expected


def test_judges_without_references_keep_none(restored, tmp_path, monkeypatch):
    """The models' weights are not here, so a network of a line stands for one; all around it is real."""

    class Brightness(torch.nn.Module):
        def forward(self, images):
            return images.mean((1, 2, 3))

    monkeypatch.setattr(judges, "pyiqa_network", lambda _: Brightness())
    context = Context(restored[0], Execution())
    tables = judged(restored, {"judge": "brisque", "crop": 0}, context, tmp_path)
    assert context.references.size == 0
    image = read_rgb(restored[0].folder("restore", restored[2][1].id) / "images" / "c.png")
    assert tables[1]["value"][2] == pytest.approx(image.mean() / 255, rel=1e-5)


# --- official splits ------------------------------------------------------------------------------------------------


def test_a_split_that_a_set_does_not_have_is_one_clear_error(folder, tmp_path):
    with pytest.raises(ExperimentError, match=r"assessment\.datasets\.rated.*no image is in split 'validation'"):
        assessment(folder, tmp_path, split="validation")
    with pytest.raises(ExperimentError, match="'train', 'validation' or 'test'"):
        assessment(folder, tmp_path, split="tset")


def test_a_split_of_an_experiment_is_a_set_of_its_own(folder, tmp_path):
    whole, test = (assessment(folder, tmp_path, **options).cells[0].spec for options in ({}, {"split": "test"}))
    assert isinstance(test, AssessFR)
    assert isinstance(whole, AssessFR)
    assert test.dataset_identity == FRDataset(folder / "set.csv", split="test").identity != whole.dataset_identity
