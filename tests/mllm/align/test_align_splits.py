"""Splits: nothing that is evaluated on is trained on."""

import json

import numpy as np
import pytest
from PIL import Image
from skimage import data

from lopsided.mllm import Item, MllmError
from lopsided.mllm.align.splits import split_items


def item(name, images=(), reference="", benchmark="train"):
    return Item(benchmark=benchmark, dimension="IQA", id=name, task="rate", images=images, reference=reference)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Four photographs, and altered copies of the first two."""
    folder = tmp_path_factory.mktemp("photos")
    pictures = {name: Image.fromarray(getattr(data, name)()[:256, :256]) for name in ("astronaut", "coffee", "cat")}
    for name, picture in pictures.items():
        picture.save(folder / f"{name}.png")
    pictures["astronaut"].save(folder / "encoded.jpg", quality=20)
    pictures["coffee"].resize((90, 120), Image.Resampling.BICUBIC).save(folder / "resized.png")
    (folder / "copied.png").write_bytes((folder / "cat.png").read_bytes())
    Image.fromarray(np.full((40, 40, 3), 100, np.uint8)).save(folder / "even.png")
    Image.fromarray(np.full((50, 50, 3), 180, np.uint8)).save(folder / "other_even.png")
    return folder


def test_a_planted_duplicate_is_refused_and_the_rest_is_kept(photos):
    train = [item(n, (photos / n,)) for n in ("encoded.jpg", "resized.png", "copied.png", "even.png")]
    against = [
        item(n, (photos / n,), benchmark="test") for n in ("astronaut.png", "coffee.png", "cat.png", "other_even.png")
    ]
    split = split_items(train, held_out=0, against=against)
    assert [kept.id for kept in split.train] == ["even.png"]
    assert [(r.item.split(" / ")[2], r.finding, r.of.split(" / ")[2]) for r in split.refused] == [
        ("encoded.jpg", "near-duplicate", "astronaut.png"),
        ("resized.png", "near-duplicate", "coffee.png"),
        ("copied.png", "same file", "cat.png"),
    ]
    assert split.record()["counts"] == {"near-duplicate": 2, "same file": 1}
    json.dumps(split.record())
    files_only = split_items(train, held_out=0, against=against, near=None)
    assert [refused.finding for refused in files_only.refused] == ["same file"]


def test_a_reference_is_on_one_side_only():
    items = [item(f"{n}", reference=f"lamp{n // 5}") for n in range(100)]
    split = split_items(items, held_out=0.2, seed=3)
    sides = [{i.reference for i in side} for side in (split.train, split.held_out)]
    assert len(sides[1]) == 4
    assert not sides[0] & sides[1]
    more = split_items([*items, item("new", reference="lamp99")], held_out=0.2, seed=3)
    moved = {i.id for i in more.held_out} & {i.id for i in split.train}
    assert len(moved) <= 5  # of the one reference that the larger share admits
    assert split_items(items, held_out=0.2, seed=4).held_out != split.held_out


def test_a_reference_of_an_evaluation_benchmark_is_refused_under_any_benchmark():
    split = split_items([item("1", reference="I04"), item("2")], held_out=0, against=[item("x", (), "I04", "test")])
    assert [(r.item, r.finding) for r in split.refused] == [("train / IQA / 1", "same reference")]


def test_near_duplicates_of_held_out_items_are_refused(photos):
    names = ("astronaut.png", "encoded.jpg", "coffee.png", "resized.png", "cat.png", "copied.png")
    split = split_items([item(n, (photos / n,)) for n in names], held_out=0.34)
    assert len(split.held_out) == 3
    pairs = {frozenset(names[n : n + 2]) for n in (0, 2, 4)}
    for pair in pairs:
        trained = {i.id for i in split.train} & pair
        assert not trained or not {i.id for i in split.held_out} & pair


def test_nothing_left_is_an_error(photos):
    twin = item("a", (photos / "cat.png",))
    with pytest.raises(MllmError, match=r"nothing is left to train on.*same file"):
        split_items([twin], against=[item("b", (photos / "copied.png",), benchmark="test")])
    with pytest.raises(MllmError, match="share must be"):
        split_items([twin], held_out=1)
