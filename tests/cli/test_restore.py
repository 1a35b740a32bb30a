"""``lopsided restore``: a folder restored, what fails named, and what was interrupted continued."""

import re
import subprocess

import pytest
from support.command_line import invoke, lopsided, started, wait_for
from support.paths import ROOT
from support.restoring import broken_set, lively, photograph, save, store_with

from lopsided.common.images import read_layers
from lopsided.sr import export_generator, load_exported, restore_folder


@pytest.fixture(scope="module")
def swinir():
    return lively("swinir-tiny", 4)


@pytest.fixture(scope="module")
def exported(swinir, tmp_path_factory):
    path = tmp_path_factory.mktemp("generator") / "x4.safetensors"
    export_generator(path, swinir)
    return path


def test_it_restores_reports_and_fails_as_it_should(exported, tmp_path):
    photos = broken_set(tmp_path / "photos")
    arguments = ("restore", photos, "--generator", exported, "--output", tmp_path / "out", "--tile", 32)
    result = lopsided(*arguments, "--overlap", 16, status=1)
    assert result.stdout.strip() == "restored 2, skipped 0, failed 1 of 3; other files left alone: 1"
    (line,) = result.stderr.strip().splitlines()
    assert line.startswith(f"failed: {photos / 'sub' / 'broken.jpg'}: corrupt or truncated image, 300 bytes")
    # The same command continues; another setting is an error in one line.
    (photos / "sub" / "broken.jpg").unlink()
    again = invoke(*arguments, "--overlap", 16)
    assert again.status == 0
    assert "restored 0, skipped 2, failed 0 of 2" in again.out
    other = invoke(*arguments, "--overlap", 8)
    assert other.status == 1
    assert other.err.startswith(f"error: '{tmp_path / 'out'}' was made with overlap 16")
    assert len(other.err.splitlines()) == 1


def test_an_image_above_the_limit_says_how_to_raise_it_and_is_then_restored_in_tiles(exported, tmp_path):
    photo = save(tmp_path / "photo.png", photograph(40, 52))
    command = ("restore", photo, "--generator", exported, "--output", tmp_path / "out", "--tile", 32, "--overlap", 16)
    shown = invoke(*command, LOPSIDED_MAX_PIXELS=2000)
    assert shown.status == 1
    assert "52×40 pixels, 2,080 in all, above the limit of 2,000" in shown.text
    assert "set the environment variable LOPSIDED_MAX_PIXELS=2080" in shown.text
    assert "corrupt" not in shown.text
    shown = invoke(*command, LOPSIDED_MAX_PIXELS=2080)
    assert (shown.status, shown.err) == (0, "")
    assert read_layers(tmp_path / "out" / "photo.png").shape == (160, 208, 3)


def test_it_takes_a_cell_by_its_id(swinir, tmp_path):
    store = store_with(swinir, tmp_path / "runs")
    photo = save(tmp_path / "photo.png", photograph(9, 12))
    shown = invoke("restore", photo, "--generator", "c0ffee", "--store", store, "--output", tmp_path / "out")
    assert (shown.status, shown.err) == (0, "")
    assert read_layers(tmp_path / "out" / "photo.png").shape == (36, 48, 3)


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--device", "gpu", "device 'gpu' is unknown; known: cpu, cuda"),
        ("--precision", "fp64", "precision 'fp64': must be one of fp32, bf16, fp16"),
        ("--alpha", "lose", "alpha 'lose': must be one of keep, drop, refuse"),
        ("--tile", "4", "tile 4: must be at least 8"),
        ("--generator-name", "swinir-tinny", "states that its generator is swinir-tiny, not swinir-tinny"),
    ],
)
def test_a_wrong_setting_is_one_line_that_says_what_is_right(exported, tmp_path, option, value, message):
    photo = save(tmp_path / "photo.png", photograph(9, 12))
    shown = invoke("restore", photo, "--generator", exported, "--output", tmp_path / "out", option, value)
    assert shown.status == 1
    (line,) = shown.err.splitlines()
    assert message in line


def test_a_killed_process_leaves_no_half_written_file(exported, tmp_path):
    for index in range(12):
        save(tmp_path / "in" / f"{index:02}.png", photograph(40, 40))
    out = tmp_path / "out"
    arguments = ("restore", tmp_path / "in", "--generator", exported, "--output", out)
    process = started(*arguments, stdout=subprocess.DEVNULL)
    wait_for(lambda: len(list(out.glob("[0-9]*.png"))) >= 2, process)
    process.kill()
    process.wait()
    done = sorted(out.glob("[0-9]*.png"))
    assert 2 <= len(done) < 12
    for path in done:
        assert read_layers(path).shape == (160, 160, 3)
    summary = restore_folder(tmp_path / "in", out, load_exported(exported))
    assert (summary.restored, summary.skipped) == (12 - len(done), len(done))


def test_every_option_of_the_how_to_exists():
    how_to = (ROOT / "docs" / "restore.md").read_text(encoding="utf-8")
    known = invoke("restore", "--help").out + invoke("export", "--help").out
    options = set(re.findall(r"`(--[a-z-]+)", how_to))
    assert options
    for option in options:
        assert option in known, option
