"""``lopsided weights``: listing, fetching and verifying files of weights."""

import hashlib
import json

import pytest
import torch
from safetensors.torch import save_file
from support.command_line import invoke
from support.paths import SHARED
from support.publisher import forget_weights, publishing

from lopsided.backbones import BackboneSpec, build_extractor, list_backbones
from lopsided.backbones import files as weights_files
from lopsided.backbones.files import WeightsFile, register_file, registered_files
from lopsided.backbones.known_answers import STORED
from lopsided.backbones.weights import published
from lopsided.losses.dists import PUBLISHED

WEIGHTS = SHARED / "weights"


@pytest.fixture
def publisher():
    with publishing() as server:
        yield server


@pytest.fixture(autouse=True)
def nothing_here(tmp_path, monkeypatch):
    forget_weights(monkeypatch, tmp_path)


def test_list_names_every_file_and_hashes_none(tmp_path, monkeypatch):
    register_file(WeightsFile("extra/net.pth", "https://example.org/net.pth", "0" * 64, "MIT", "a test"))
    monkeypatch.setenv("LOPSIDED_WEIGHTS", str(tmp_path))
    (tmp_path / "vgg16-397923af.pth").write_bytes(b"not the weights")
    monkeypatch.setattr(weights_files, "sha256_file", None)
    shown = invoke("weights", "list")
    assert shown.status == 0
    for name in list_backbones():
        assert name.endswith("-r") or name in shown.text
    assert "backbone, CC BY 4.0 (Visual Geometry Group, Oxford)" in shown.text
    assert "squeezenet1_1.safetensors, no address" in shown.text
    assert "a test, MIT not here extra/net.pth, example.org" in shown.text
    assert "vgg16 backbone, BSD-3-Clause (torchvision) on disk vgg16-397923af.pth, download.pytorch.org" in shown.text


def test_losses_register_their_files():
    assert PUBLISHED in registered_files()
    assert f"{PUBLISHED.purpose}, {PUBLISHED.licence}" in invoke("weights", "list").text


def test_fetch_from_a_mirror_verifies_and_says_how_to_pin(publisher, tmp_path, monkeypatch):
    state = build_extractor(BackboneSpec(name="dinov2_vits14-r")).trunk.state_dict()
    name = "vit_small_patch14_dinov2.lvd142m.safetensors"
    save_file(state, tmp_path / "served")
    body = (tmp_path / "served").read_bytes()
    publisher.files |= {f"/{name}": body, "/vgg16-397923af.pth": b"another file"}
    monkeypatch.setenv("LOPSIDED_MIRROR", publisher.url)
    folder = tmp_path / "offline"
    shown = invoke("weights", "fetch", "dinov2_vits14", "vgg16", "--to", folder)
    assert shown.status == 1
    digest = hashlib.sha256(body).hexdigest()
    assert f"fetched: dinov2_vits14: SHA-256 {digest}, loads, no known answer stored {folder / name}" in shown.text
    assert f"{{name: dinov2_vits14, weights: {folder / name}}}" in shown.text
    assert (
        f"failed: vgg16: weights vgg16-397923af.pth cannot be downloaded from {publisher.url}/vgg16-397923af.pth"
        in shown.text
    )
    assert "(what arrived is another file: its SHA-256 starts with" in shown.text
    assert shown.out.endswith("1 fetched, 0 already here, 1 failed\n")
    assert [path.name for path in folder.iterdir()] == [name]
    shown = invoke("weights", "fetch", "dinov2_vits14", "--to", folder)
    assert shown.status == 0
    assert shown.text.endswith("0 fetched, 1 already here, 0 failed")
    monkeypatch.setenv("LOPSIDED_WEIGHTS", str(folder))
    assert invoke("weights", "verify", "dinov2_vits14").status == 0


def test_verify_counts_what_it_was_given(tmp_path, monkeypatch):
    monkeypatch.setattr(weights_files.FILES, "_entries", {})  # packages may bring files of their own
    save_file({"alpha": torch.ones(3)}, tmp_path / "good.safetensors")
    digest = hashlib.sha256((tmp_path / "good.safetensors").read_bytes()).hexdigest()
    register_file(WeightsFile("good.safetensors", sha256=digest))
    monkeypatch.setenv("LOPSIDED_WEIGHTS", str(tmp_path))
    files = len(published()) + 1
    shown = invoke("weights", "verify")
    assert shown.status == 0
    assert f"1 verified, 0 wrong, {files - 1} not here" in shown.text
    (tmp_path / "vgg16-397923af.pth").write_bytes(b"not the weights")
    shown = invoke("weights", "verify")
    assert shown.status == 1
    assert "wrong: vgg16: " in shown.text
    assert f"1 verified, 1 wrong, {files - 2} not here" in shown.text


@pytest.mark.parametrize(
    ("names", "status", "said"),
    [
        (["vgg16"], 1, "not here: vgg16 0 verified, 0 wrong, 1 not here"),
        (["squeezenet1_1-r"], 0, "verified: squeezenet1_1-r: loads, known answer right 1 verified"),
        (["vgg16-397923af.pth", "vgg16"], 1, "1 not here"),
    ],
)
def test_verify_by_name(names, status, said):
    shown = invoke("weights", "verify", *names)
    assert shown.status == status
    assert said in shown.text


def test_unknown_names_suggest_the_nearest_and_twins_are_not_fetched():
    assert "did you mean 'vgg16'" in invoke("weights", "verify", "vgg61").err
    shown = invoke("weights", "fetch", "vgg16-r")
    assert shown.status == 1
    assert "drawn from a seed" in shown.text


def test_answers_are_recorded_where_none_is_and_left_where_one_is(tmp_path):
    file = tmp_path / "answers.json"
    assert invoke("weights", "verify", "squeezenet1_1-r", "--record", file).status == 0
    known = json.loads(file.read_text())["squeezenet1_1"]["random-v1:0"]
    for stage, numbers in json.loads(STORED.read_text())["squeezenet1_1"]["random-v1:0"].items():
        assert known[stage] == pytest.approx(numbers, rel=1e-3, abs=1e-3)
    file.write_text('{"squeezenet1_1": {"random-v1:0": {}}}')
    invoke("weights", "verify", "squeezenet1_1-r", "alexnet-r", "--record", file)
    answers = json.loads(file.read_text())
    assert list(answers) == ["alexnet", "squeezenet1_1"]
    assert answers["squeezenet1_1"] == {"random-v1:0": {}}
    file.write_text("{")
    shown = invoke("weights", "verify", "squeezenet1_1-r", "--record", file)
    assert shown.status == 1
    assert "cannot read the known answers" in shown.text


@pytest.mark.skipif(not WEIGHTS.is_dir(), reason="no folder of pretrained weights beside the project")
def test_verify_real_files(monkeypatch):
    monkeypatch.setenv("LOPSIDED_WEIGHTS", str(WEIGHTS))
    shown = invoke("weights", "verify", "vgg19_blocks3", "googlenet_bvlc", "squeezenet1_1.safetensors")
    assert shown.status == 0
    assert shown.text.count("digest right, loads, known answer right") == 3
    assert shown.text.endswith("3 verified, 0 wrong, 0 not here")
