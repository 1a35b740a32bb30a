"""Assessment of many images by many measures: the same bits alone, together and after an interruption."""

import csv
import json
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from support.noisy_set import count_passes, noisy_set

from lopsided.common.errors import SourceError
from lopsided.common.images import read_rgb
from lopsided.common.lines import sealed
from lopsided.iqa import evaluate_fr, evaluate_fr_group, fr
from lopsided.iqa.datasets import open_dataset
from lopsided.iqa.manifest import FRDataset, NRDataset
from lopsided.iqa.partial import PartialScores
from lopsided.losses import MeasureError, MeasureGroup, create_measure, parse_measure

SHALLOW = {"measure": "dists", "backbone": "squeezenet1_1-r", "layers": ["relu1", "fire4"], "pooling": "max"}
MEASURES = [
    *("l1", "ssim", "nlpd", "vif", SHALLOW, "style-squeezenet1_1-r", "lpips-squeezenet1_1-r", "dists-resnet18-r"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return noisy_set(tmp_path_factory.mktemp("set"))


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
    return count_passes(monkeypatch)


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


@pytest.mark.parametrize(
    "torn",
    [
        *(b"", b'{"image": "b1.p', b'{"image":"b1.png","score":0.1,"sha256":"0123456', b"\0\0\0\n", b"[]\n"),
        *(b'{"image":"b1.png","score":0.1}\n', b'{"image":"b1.png","score":0.1,"sha256":"0123456789ab"}\n'),
        sealed({"image": "b1.png", "score": 0.1}),  # of something else
    ],
)
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


def test_an_edited_or_damaged_score_is_noticed_and_computed_again(dataset, tmp_path, caplog):
    measure, path = create_measure("l1"), tmp_path / "scores.jsonl"
    expected = evaluate_fr(measure, dataset, partial=path)
    lines = path.read_bytes().splitlines(keepends=True)
    for number, old, new in ((2, b'"score":0.', b'"score":7.'), (5, b'"image":"', b'"image":"x'), (9, b",", b";")):
        damaged = list(lines)
        damaged[number - 1] = lines[number - 1].replace(old, new, 1)
        assert damaged != lines
        path.write_bytes(b"".join(damaged))
        caplog.clear()
        same(evaluate_fr(measure, dataset, partial=path), expected)
        (record,) = caplog.records
        assert record.getMessage().startswith(f"line {number} of '{path}' is damaged (")
        assert set(path.read_bytes().splitlines(keepends=True)) == set(lines)  # a batch that is repeated, twice


def test_a_score_of_another_file_is_noticed(dataset, tmp_path, caplog):
    one, other = (tmp_path / key for key in ("l1", "l2"))
    expected = evaluate_fr(create_measure("l1"), dataset, partial=one)
    evaluate_fr(create_measure("l2"), dataset, partial=other)
    header, *_ = one.read_bytes().splitlines(keepends=True)
    one.write_bytes(b"".join([header, *other.read_bytes().splitlines(keepends=True)[1:]]))
    same(evaluate_fr(create_measure("l1"), dataset, partial=one), expected)
    assert "line 2" in caplog.text


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


def test_a_split_that_a_set_does_not_have_is_one_clear_error(folder):
    with pytest.raises(SourceError, match="no image is in split 'validation'; splits of this set: test, train"):
        FRDataset(folder / "set.csv", split="validation")


def test_measures_that_take_no_such_image_say_so(dataset):
    with pytest.raises(MeasureError, match="ms_ssim needs at least"):
        evaluate_fr_group(MeasureGroup(["l1", "ms_ssim"]), dataset)
