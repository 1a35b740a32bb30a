"""Assessment of many images by many measures: the same bits alone, together, after a kill and from kept references."""

import csv
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import skimage.data
import torch
import yaml

from lopsided.backbones import FeatureExtractor
from lopsided.common.errors import SourceError
from lopsided.common.images import read_rgb, to_tensor, write_png
from lopsided.common.kept import Kept, tensor_bytes
from lopsided.common.sources import parse_source
from lopsided.experiments import ExperimentError, load_experiment, plan
from lopsided.experiments.planning import Plan
from lopsided.experiments.running import execute as executors
from lopsided.experiments.running.progress import SilentReporter
from lopsided.experiments.schema.execution import Execution
from lopsided.experiments.schema.restoration import TestSet
from lopsided.experiments.stages.assess_fr import AssessFR
from lopsided.experiments.stages.cell import Cell
from lopsided.experiments.stages.context import Context
from lopsided.experiments.stages.judge import JudgeImages
from lopsided.experiments.stages.restore import Restore
from lopsided.experiments.store import Store
from lopsided.iqa import evaluate_fr, evaluate_fr_group, fr, judges, parse_judge
from lopsided.iqa.datasets import open_dataset
from lopsided.iqa.manifest import FRDataset, NRDataset
from lopsided.iqa.partial import PartialScores
from lopsided.losses import MeasureError, MeasureGroup, create_measure, parse_measure

SHALLOW = {"measure": "dists", "backbone": "squeezenet1_1-r", "layers": ["relu1", "fire4"], "pooling": "max"}
MEASURES = [
    *("l1", "ssim", "nlpd", "vif", SHALLOW, "style-squeezenet1_1-r", "lpips-squeezenet1_1-r", "dists-resnet18-r"),
]
SIZES = {"a": (64, 80), "b": (64, 80), "c": (72, 64)}
HEADER = ["image", "reference", "distortion", "label", "split", "label_kind", "label_higher_is_better"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three photographs of two sizes with five noisy copies each, not in the order of their references."""
    folder, rng = tmp_path_factory.mktemp("set"), np.random.default_rng(0)
    rows = []
    for name, (height, width) in SIZES.items():
        reference = skimage.data.astronaut()[100 : 100 + height, 100 : 100 + width].copy()
        write_png(folder / f"{name}.png", reference)
        for level in range(5):
            noisy = reference + rng.normal(0, 4 * level + 2, reference.shape)
            write_png(folder / f"{name}{level}.png", np.clip(noisy, 0, 255).round().astype(np.uint8))
            split = {"c": "test", "b": ""}.get(name, "train")
            rows.append([f"{name}{level}.png", f"{name}.png", "noise", 5 - level, split, "mos", "true"])
    with (folder / "set.csv").open("w", newline="") as file:
        csv.writer(file).writerows([HEADER, *(rows[i] for i in rng.permutation(len(rows)))])
    return folder


@pytest.fixture(scope="module")
def dataset(folder):
    return FRDataset(folder / "set.csv")


@pytest.fixture(scope="module")
def group():
    return MeasureGroup(MEASURES)


@pytest.fixture(autouse=True)
def _two_images_a_batch(monkeypatch):
    monkeypatch.setitem(fr.BATCH_PIXELS, "cpu", 2 * 64 * 80)


@pytest.fixture
def passes(monkeypatch):
    """The number of images of every pass through a backbone; self-tests on building do not count."""
    sizes, forward = [], FeatureExtractor.forward

    def counted(self, images):
        if any(abs(images.shape[-2] - height) <= 4 for height, _ in SIZES.values()):  # judges crop 2 px
            sizes.append(len(images))
        return forward(self, images)

    monkeypatch.setattr(FeatureExtractor, "forward", counted)
    return sizes


def same(left, right):
    pd.testing.assert_frame_equal(left, right, check_exact=True)


# --- several measures at once ---------------------------------------------------------------------------------------


def test_a_measure_gives_the_same_bits_alone_and_among_others(dataset, group):
    together = evaluate_fr_group(group, dataset)
    assert list(together) == [parse_measure(measure).key for measure in MEASURES]
    for measure in MEASURES:
        alone = create_measure(measure)
        same(evaluate_fr(alone, dataset), together[alone.spec.key])


def test_built_measures_in_a_group_are_not_built_again_and_share_passes(dataset, passes):
    built = [create_measure(key) for key in ("dists-alexnet-r", "lpips-alexnet-r")]
    # One pass to share: both with the backbone's own pooling.
    built[0] = create_measure({"measure": "dists", "backbone": "alexnet-r", "pooling": "max"})
    group = MeasureGroup(built)
    assert list(group.measures.values()) == built
    passes.clear()
    evaluate_fr_group(group, dataset)
    # Per reference of five images: the reference itself, then batches of 2, 2 and 1 (c too).
    assert sorted(passes) == [1] * 6 + [2] * 6


def test_every_file_is_decoded_once_and_beside_the_computation(dataset, monkeypatch):
    seen = []

    def reading(path):
        seen.append((Path(path).name, threading.current_thread() is threading.main_thread()))
        return read_rgb(path)

    monkeypatch.setattr(fr, "read_rgb", reading)
    evaluate_fr_group(MeasureGroup(["l1", "psnr"]), dataset)
    assert sorted(name for name, _ in seen) == sorted(path.name for path in dataset.manifest.parent.glob("*.png"))
    assert not any(main for _, main in seen)


def test_the_next_batch_is_decoded_while_one_is_computed(dataset, monkeypatch):
    order = []
    monkeypatch.setattr(fr, "read_rgb", lambda path: order.append("read") or read_rgb(path))
    measure = create_measure("l1")
    plain = measure._score

    def slow(images, references):
        order.append("begin")
        time.sleep(0.05)
        order.append("end")
        return plain(images, references)

    monkeypatch.setattr(measure, "_score", slow)
    evaluate_fr(measure, dataset)
    assert "begin read" in " ".join(order)


def test_a_score_that_is_not_finite_is_one_row_of_one_measure(dataset, monkeypatch):
    group = MeasureGroup(["l1", "psnr", "ssim"])
    bad, plain = group.measures["psnr"], group.measures["psnr"]._score
    monkeypatch.setattr(
        bad, "_score", lambda x, y: torch.where(plain(x, y) < 30, torch.tensor([torch.inf]), plain(x, y))
    )
    tables = evaluate_fr_group(group, dataset)
    assert {len(table) for table in tables.values()} == {15}
    wrong = tables["psnr"]["status"].eq("non-finite")
    assert 0 < wrong.sum() < 15
    assert tables["psnr"]["score"].isna().equals(wrong)
    assert tables["l1"]["status"].eq("ok").all()
    finite = evaluate_fr(create_measure("psnr"), dataset)
    assert tables["psnr"]["score"][~wrong].tolist() == finite["score"][~wrong].tolist()


def test_progress_counts_every_image_once(dataset):
    seen = []
    evaluate_fr_group(MeasureGroup(["l1", "psnr"]), dataset, progress=lambda *step: seen.append(step))
    assert [done for done, _, _ in seen] == [2, 4, 5, 7, 9, 10, 12, 14, 15]
    assert {total for _, total, _ in seen} == {15}


# --- going on -------------------------------------------------------------------------------------------------------


class EnoughError(Exception):
    """Ends an evaluation."""


def interrupted(measure, dataset, path, after):
    def progress(done, _total, _note):
        if done >= after:
            raise EnoughError

    with pytest.raises(EnoughError):
        evaluate_fr(measure, dataset, progress=progress, partial=path)


@pytest.mark.parametrize("torn", [b"", b'{"image": "b1.p', b'{"image": "b1.png", "score": 0.1', b"\0\0\0\n", b"[]\n"])
def test_an_interrupted_evaluation_goes_on_and_equals_an_uninterrupted_one(dataset, tmp_path, passes, torn):
    measure, path = create_measure("dists-squeezenet1_1-r"), tmp_path / "work" / "partial.jsonl"
    interrupted(measure, dataset, path, after=7)
    with path.open("ab") as file:
        file.write(torn)
    passes.clear()
    table = evaluate_fr(measure, dataset, partial=path)
    assert sum(passes) == 2 + 15 - 7  # two references were not done
    same(table, evaluate_fr(measure, dataset))
    rows = [json.loads(line) for line in path.read_text().splitlines()[1:]]
    assert sorted(row["image"] for row in rows) == sorted(row.image for row in dataset.rows)
    passes.clear()
    same(evaluate_fr(measure, dataset, partial=path), table)
    assert passes == []


def test_scores_of_other_measures_images_or_batches_are_thrown_away(dataset, folder, tmp_path, monkeypatch):
    path, measure = tmp_path / "partial.jsonl", create_measure("l1")
    expected = evaluate_fr(measure, dataset)
    train = FRDataset(folder / "set.csv", split="train")
    others = [(create_measure("l2"), dataset, 64), (measure, train, 2 * 64 * 80), (measure, dataset, 64)]
    for other, images, pixels in others:
        path.unlink(missing_ok=True)
        with monkeypatch.context() as patch:
            patch.setitem(fr.BATCH_PIXELS, "cpu", pixels)
            evaluate_fr(other, images, partial=path)
        damaged = path.read_text().replace('"score": 0.', '"score": 7.')  # would show if it were used
        path.write_text(damaged)
        same(evaluate_fr(measure, dataset, partial=path), expected)


def test_measures_of_a_group_may_have_come_to_different_images(dataset, tmp_path):
    group, paths = MeasureGroup(["l1", "ssim"]), {key: tmp_path / key for key in ("l1", "ssim")}
    interrupted(group.measures["l1"], dataset, paths["l1"], after=9)
    interrupted(group.measures["ssim"], dataset, paths["ssim"], after=4)
    for key, table in evaluate_fr_group(group, dataset, partial=paths).items():
        same(table, evaluate_fr(group.measures[key], dataset))


def test_scores_survive_the_file_bit_for_bit(tmp_path):
    values = {"a": 0.1 + 0.2, "b": float(np.float32(1 / 3)), "ü\n": 1e-300, "nan": float("nan"), "inf": float("inf")}
    with PartialScores(tmp_path / "p", {"of": 1}) as scores:
        scores.add(values)
    with PartialScores(tmp_path / "p", {"of": 1}) as again:
        assert {k: v for k, v in again.scores.items() if v == v} == {k: values[k] for k in ("a", "b", "ü\n")}
        assert set(again.scores) == set(values)
    with PartialScores(tmp_path / "p", {"of": 2}) as other:
        assert other.scores == {}


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
    executors._work(list(planned.cells), context, SilentReporter(), lambda: False, 0.0, 2)
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
    executors._work(list(planned.cells), context, SilentReporter(), lambda: False, 0.0, 1)
    assert {store.status(cell.stage, cell.id).state for cell in planned.cells} == {"interrupted"}
    again = Context(store, Execution(), lambda *step: seen.append(step))
    executors._work(list(planned.cells), again, SilentReporter(), lambda: False, 0.0, 1)
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
    common: dict[str, Any] = {"scale": 2, "test": TestSet(images=source), "test_identity": identity}
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


def test_what_is_kept_stays_within_its_bound_and_the_oldest_goes():
    kept, made = Kept(100), []

    def make(name, size):
        return lambda: made.append(name) or {"x": [torch.zeros(size, dtype=torch.uint8)]}

    for name, size in (("a", 40), ("b", 60), ("a", 40), ("c", 50), ("a", 40), ("b", 60), ("huge", 101), ("b", 60)):
        assert tensor_bytes(kept.get(name, make(name, size))) == size
        assert kept.size <= 100
    assert made == ["a", "b", "c", "b", "huge"]


def test_a_view_counts_as_what_it_keeps_alive_and_only_once():
    whole = torch.zeros(1000)
    assert tensor_bytes((whole[:2], {"again": whole[3:]})) == 4000


# --- official splits ------------------------------------------------------------------------------------------------


def test_a_split_is_the_set_that_lists_nothing_else(folder, dataset, tmp_path):
    test = FRDataset(folder / "set.csv", split="test")
    assert [row.image for row in test.rows] == [row.image for row in dataset.split("test")]
    with (folder / "set.csv").open() as file:
        header, *rows = csv.reader(file)
    with (folder / "other.csv").open("w", newline="") as file:
        csv.writer(file).writerows([header, *(row for row in rows if row[4] == "test")])
    assert test.identity == FRDataset(folder / "other.csv").identity
    assert len({test.identity, dataset.identity, FRDataset(folder / "set.csv", split="train").identity}) == 3
    opened = open_dataset("manifest", folder / "set.csv", split="test")
    assert opened.identity == test.identity
    nothing = NRDataset(folder / "set.csv", split="train")
    assert {row.split for row in nothing.rows} == {"train"}


def test_scores_of_a_split_are_those_of_the_whole_set(folder, dataset):
    measure = create_measure("dists-squeezenet1_1-r")
    whole = evaluate_fr(measure, dataset)
    part = evaluate_fr(measure, FRDataset(folder / "set.csv", split="test"))
    same(part, whole[whole["reference"] == "c.png"].reset_index(drop=True))


def test_a_split_that_a_set_does_not_have_is_one_clear_error(folder, tmp_path):
    with pytest.raises(SourceError, match="no image is in split 'validation'; splits of this set: test, train"):
        FRDataset(folder / "set.csv", split="validation")
    with pytest.raises(ExperimentError, match=r"assessment\.datasets\.rated.*no image is in split 'validation'"):
        assessment(folder, tmp_path, split="validation")
    with pytest.raises(ExperimentError, match="'train', 'validation' or 'test'"):
        assessment(folder, tmp_path, split="tset")


def test_a_split_of_an_experiment_is_a_set_of_its_own(folder, tmp_path):
    whole, test = (assessment(folder, tmp_path, **options).cells[0].spec for options in ({}, {"split": "test"}))
    assert isinstance(test, AssessFR)
    assert isinstance(whole, AssessFR)
    assert test.dataset_identity == FRDataset(folder / "set.csv", split="test").identity != whole.dataset_identity


def test_measures_that_take_no_such_image_say_so(dataset):
    with pytest.raises(MeasureError, match="ms_ssim needs at least"):
        evaluate_fr_group(MeasureGroup(["l1", "ms_ssim"]), dataset)
