"""``lopsided export``, and how both it and ``restore`` find a generator."""

import pytest
from support.command_line import invoke
from support.restoring import lively, store_with

from lopsided.experiments import find_generator
from lopsided.sr import load_exported
from lopsided.sr.export import read_metadata


@pytest.fixture(scope="module")
def swinir():
    return lively("swinir-tiny", 4)


@pytest.fixture
def store(swinir, tmp_path):
    return store_with(swinir, tmp_path / "runs")


def test_a_cell_is_found_by_its_id_its_folder_and_its_file(swinir, store):
    folder = store / "cells" / "finetune" / "c0ffee"
    for source in ("c0ffee", str(folder), folder):
        path, origin = find_generator(source, store)
        assert load_exported(path).digest == swinir.digest
        assert origin == {"stage": "finetune", "cell": "c0ffee"}
    path, origin = find_generator(str(folder / "generator.safetensors"), str(store))
    assert load_exported(path).digest == swinir.digest
    assert len(origin["sha256"]) == 64


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("d1e", "cell d1e is diverged"),
        ("beef", "cell beef is pending"),
        ("nosuch", "no file 'nosuch', and no cell with this ID in"),
        ("swinir-tiny", "give a file of its weights, with --generator-name swinir-tiny --scale N"),
        (".", "'.' is not a cell that trains a generator; finetune and pretrain cells are"),
    ],
)
@pytest.mark.parametrize("command", [("export", "{}", "x.pth"), ("restore", ".", "--output", "x", "--generator", "{}")])
def test_a_generator_that_is_not_there_is_named(store, command, source, message):
    shown = invoke(*(word.format(source) for word in command), "--store", store)
    assert (shown.status, shown.out) == (1, "")
    assert message in shown.err
    assert len(shown.err.splitlines()) == 1


def test_a_cell_is_exported_with_its_origin(swinir, store, tmp_path):
    first, second = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    shown = invoke("export", "c0ffee", first, "--store", store, "--licence", "CC0")
    assert (shown.status, shown.out) == (0, f"swinir-tiny ×4: {first}\n")
    assert invoke("export", first, second).status == 0
    for path in (first, second):
        stated = read_metadata(path)
        assert stated["training"] == {"stage": "finetune", "cell": "c0ffee"}
        assert stated["licence"] == "CC0"
        assert load_exported(path).digest == swinir.digest
