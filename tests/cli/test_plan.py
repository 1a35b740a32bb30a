"""``lopsided plan``: what is new, what is cached, and why."""

import json
import re

import pytest
from PIL import Image
from support.command_line import invoke
from support.smoke import PART, SMOKE, cell_of, cells

MORE = ["grid.seed=[0,1]"]


def rows(shown):
    return [line.split() for line in shown.out.splitlines()]


def test_an_extended_grid_is_new_and_the_rest_cached(base):
    store, _ = base
    total, more = len(cells()), len(cells(MORE))
    shown = invoke("plan", SMOKE, "--store", store, "--set", *MORE)
    assert (shown.status, shown.err) == (0, "")
    assert f"{more - total} new, {total} cached of {more} cells in '{store}'" in shown.out
    assert rows(shown)[0] == ["stage", "cells", "state", "why"]
    assert ["finetune", "swinir-tiny", "ssim", "none", "seed", "0", "cached"] in rows(shown)
    (pretrained,) = [cell.id for cell in cells() if cell.stage == "pretrain"]
    assert f"pretrain swinir-tiny seed 1 new seed 1 (not 0); nearest: {pretrained}".split() in rows(shown)
    assert [
        "finetune",
        "swinir-tiny",
        "ssim",
        "none",
        "seed",
        "1",
        "new",
        "needs",
        "pretrain,",
        "which",
        "is",
        "new",
    ] in rows(shown)
    assert re.search(
        r"as finished ones did, the new ones will take about \d+ (s|min) of one worker and \d+ MiB\n", shown.out
    )
    assert ["judge", "by", "psnr_y", "×8", "cached"] in rows(shown)


def test_a_part_of_a_plan(tmp_path):
    shown = invoke("plan", SMOKE, "--store", tmp_path, "--only", "pretrain", "--only", "assess_fr", "--skip", "gmsd")
    assert [row[0] for row in rows(shown)[1:-1]] == ["pretrain", "assess_fr", "assess_fr"]
    assert "3 new, 0 cached of 3 cells" in shown.out
    wrong = invoke("plan", SMOKE, "--store", tmp_path, "--only", "pretain")
    assert wrong.err == "error: no cell is called 'pretain'; did you mean 'pretrain'?\n"


def test_every_cell_has_a_row_if_asked_for(tmp_path):
    shown = invoke("plan", SMOKE, "--store", tmp_path, "--all")
    assert len(rows(shown)) == 1 + len(cells()) + 1
    assert [row[:2] for row in rows(shown)[1:-1]] == [[cell.stage, cell.id] for cell in cells()]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("second", ["grid.seed=[1]", " grid.seed =[1]"])
def test_two_values_for_one_key_are_refused(tmp_path, second):
    shown = invoke("plan", SMOKE, "--store", tmp_path, "--set", "grid.seed=[0]", "--set", second)
    assert shown.status == 1
    assert shown.err == "error: --set grid.seed is given twice, as '[0]' and as '[1]'; keep one\n"


def test_what_failed_or_diverged_says_why(tmp_path):
    for fidelity, state, reason in (("none", "failed", "no [red]disk\x1b[2J"), ("ssim", "diverged", "NaN at step 3")):
        folder = tmp_path / "cells" / "finetune" / cell_of(PART, fidelity=fidelity, discriminator="none").id
        folder.mkdir(parents=True)
        (folder / "status.json").write_text(json.dumps({"state": state, "reason": reason}))
    shown = invoke("plan", SMOKE, "--store", tmp_path, *(word for part in PART for word in ("--set", part)))
    lines = shown.out.splitlines()
    assert lines[0].split() == ["stage", "cells", "state", "why"]
    (failed,) = [line for line in lines if " failed " in line]
    assert failed.rstrip().endswith("will be tried again: no [red]disk\\x1b[2J")
    (diverged,) = [line for line in lines if " diverged " in line]
    assert diverged.rstrip().endswith("NaN at step 3")


def test_a_rated_image_above_the_limit_of_pixels_is_one_line(tmp_path):
    Image.new("RGB", (60, 40)).save(tmp_path / "a.png")
    header = "image,reference,distortion,label,label_kind,label_higher_is_better"
    (tmp_path / "m.csv").write_text(f"{header}\na.png,a.png,blur,1,mos,true\n")
    override = f"assessment.datasets={{mine: {{manifest: {tmp_path / 'm.csv'}}}}}"
    shown = invoke("plan", SMOKE, "--store", tmp_path / "s", "--set", override, LOPSIDED_MAX_PIXELS=2399)
    assert shown.status == 1
    assert len(shown.err.splitlines()) == 1
    assert "a.png: 60×40 pixels, 2,400 in all, above the limit of 2,399" in shown.err


def test_an_error_of_the_file_is_one_line_with_its_place(tmp_path):
    path = tmp_path / "e.yaml"
    path.write_text(SMOKE.read_text().replace("\njudges:", "\njudgs:"))
    shown = invoke("plan", path)
    assert (shown.status, shown.out) == (1, "")
    assert shown.err == f"error: {path}:24: judgs: unknown key 'judgs'; did you mean 'judges'?\n"
