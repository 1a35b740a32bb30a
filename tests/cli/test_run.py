"""``lopsided run``, in processes of its own: runs, resumption, faults of the world, exit statuses."""

import json
import re
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from PIL import Image
from support.command_line import invoke, lopsided, sets, started, wait_for
from support.smoke import PART, SMOKE, cell_of, cells, modified

from lopsided.experiments import Store
from lopsided.experiments import run as run_experiment
from lopsided.experiments.running.progress import SilentReporter

pytestmark = pytest.mark.slow


def test_a_run_computes_everything_and_writes_a_report_with_the_numbers(base):
    store, result = base
    count = len(cells())
    assert f"{count} computed, 0 cached of {count} cells" in result.stdout
    report = store / "experiments" / "smoke" / "report.html"
    assert f"report: {report}" in result.stdout
    html = re.sub(r"data:[^\"]*", "", report.read_text(encoding="utf-8"))  # without the figures
    assessment = pd.read_parquet(store / "experiments" / "smoke" / "derived" / "assessment.parquet")
    assert len(assessment) == 3
    scores = pd.read_parquet(store / "experiments" / "smoke" / "tables" / "sr_scores.parquet")
    assert len(scores) == 8 * 3 * 6  # settings with bicubic × judges × images
    assert scores["status"].eq("ok").all()
    bicubic = scores[scores["fidelity"].eq("bicubic") & scores["judge"].eq("psnr_y")]["value"].mean()
    for number in [*assessment["srcc"].map("{:.2f}".format), f"{bicubic:.2f}"]:
        assert number in html, number
    assert "severity grade" in html
    assert "MOS" not in html


def test_a_second_run_computes_nothing_and_touches_nothing(base):
    store, _ = base
    before = modified(store)
    result = lopsided("run", SMOKE, "--store", store)
    assert f"0 computed, {len(cells())} cached of {len(cells())} cells" in result.stdout
    assert modified(store) == before


def test_an_unknown_executor_is_named_with_those_that_exist(tmp_path):
    shown = invoke("run", SMOKE, "--store", tmp_path / "runs", "--executor", "slrum")
    assert (shown.status, shown.out) == (1, "")
    assert shown.err == "error: --executor: unknown executor 'slrum'; did you mean 'slurm'?\n"
    assert not (tmp_path / "runs").exists()


def test_a_dry_run_shows_the_plan_and_writes_nothing(tmp_path):
    of = (SMOKE, "--store", tmp_path / "runs", "--only", "pretrain", *sets(["grid.seed=[0,1]"]))
    dry, planned = invoke("run", *of, "--workers", "2", "--dry-run"), invoke("plan", *of)
    assert (dry.status, dry.out) == (0, planned.out)
    assert "2 new, 0 cached of 2 cells" in dry.out
    assert not (tmp_path / "runs").exists()


# --- interruption ---------------------------------------------------------------------------------------------------


def test_interrupted_and_killed_training_resumes_to_the_same_bits(store, tmp_path):
    steps = ["super_resolution.finetune.steps=50", "grid.discriminator=patch", "execution.checkpoint_every=5"]
    overrides = [*PART, *steps]
    arguments = ("run", SMOKE, "--store", store, "--no-report")
    uninterrupted = Path(shutil.copytree(store, tmp_path / "uninterrupted"))
    twin_process = started("run", SMOKE, "--store", uninterrupted, "--no-report", overrides=overrides)
    cell = cell_of(overrides, fidelity="ssim", discriminator="patch")
    folder = store / "cells" / "finetune" / cell.id
    work = folder / "work"

    # Ctrl-C: checkpoints, says what to do, exits with 130.
    process = started(*arguments, overrides=overrides)
    wait_for(lambda: list(work.glob("step-*.json")), process)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 130, output + errors
    assert "the same command resumes" in errors
    assert "Traceback" not in errors
    assert Store(store).status("finetune", cell.id).state == "interrupted"
    stopped_at = max(int(path.stem.removeprefix("step-")) for path in work.glob("step-*.json"))
    assert 5 <= stopped_at < 50

    # kill -9, in the same cell, after it has gone on from there.
    process = started(*arguments, overrides=overrides)
    wait_for(
        lambda: [path for path in work.glob("step-*.json") if int(path.stem.removeprefix("step-")) > stopped_at],
        process,
    )
    process.kill()
    process.communicate(timeout=60)
    assert not (folder / "status.json").exists()
    killed_at = max(int(path.stem.removeprefix("step-")) for path in work.glob("step-*.json"))
    assert stopped_at < killed_at < 50
    logged = [json.loads(line) for line in (work / "history.jsonl").read_text().splitlines()]

    result = lopsided(*arguments, overrides=overrides)
    assert " 0 cached" not in result.stdout
    history = [json.loads(line) for line in (folder / "training.jsonl").read_text().splitlines()]
    assert [row["step"] for row in history] == list(range(5, 51, 5))
    # Timings are never twice the same: equal ones were not computed again.
    kept = [row for row in logged if row["step"] <= killed_at]
    assert kept
    assert history[: len(kept)] == kept
    assert f"stopped after step {stopped_at}" in (folder / "log.txt").read_text()
    assert not work.exists()

    output, errors = twin_process.communicate(timeout=120)
    assert twin_process.returncode == 0, output + errors
    twin = uninterrupted / "cells" / "finetune" / cell.id
    for name in ("generator.safetensors", "discriminator.safetensors"):
        assert (folder / name).read_bytes() == (twin / name).read_bytes(), name
    whole = [json.loads(line) for line in (twin / "training.jsonl").read_text().splitlines()]
    assert [{**row, "seconds": 0} for row in history] == [{**row, "seconds": 0} for row in whole]


def test_a_second_interrupt_stops_at_once(store):
    overrides = [*PART, "super_resolution.finetune.steps=100000", "super_resolution.finetune.log_every=100000"]
    cell = cell_of(overrides, fidelity="none")
    process = started("run", SMOKE, "--store", store, overrides=overrides)
    wait_for((store / "cells" / "finetune" / cell.id / "work").exists, process)
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "the same command resumes" in errors
    assert "Traceback" not in errors


# --- faults of the world --------------------------------------------------------------------------------------------


def test_a_full_disk_fails_the_cell_with_one_clear_message_and_another_run_completes_the_rest_only(store):
    """A limit on the size of files makes the very writes fail that a full disk makes fail; a second seed is added."""
    overrides = [*PART, "grid.seed=[0,1]", "grid.discriminator=none"]
    before = {path: at for path, at in modified(store).items() if path.is_file()}
    result = lopsided("run", SMOKE, "--store", store, overrides=overrides, limit=100_000, status=1)
    (line,) = result.stderr.strip().splitlines()
    assert line.startswith("failed: pretrain swinir-tiny seed 1: a file would exceed the limit on file sizes")
    assert line.endswith("run again")
    assert "1 failed" in result.stdout
    old = {cell.id for cell in cells()}
    new = [cell for cell in cells(overrides) if cell.id not in old]
    record = json.loads((store / "cells" / "pretrain" / new[0].id / "status.json").read_text())
    assert record["state"] == "failed"
    assert "limit on file sizes" in record["reason"]
    assert before.items() <= modified(store).items()

    total = len(cells(overrides))
    again = lopsided("run", SMOKE, "--store", store, "--no-report", overrides=overrides)
    assert f"{len(new)} computed, {total - len(new)} cached of {total} cells" in again.stdout
    assert before.items() <= modified(store).items()


def test_a_failing_cell_stops_nothing_else_and_divergence_is_a_result(store):
    overrides = [*PART, "super_resolution.finetune.discriminator_learning_rate=1e9", "grid.fidelity=[ssim,gmsd]"]
    overrides += ["super_resolution.finetune.gamma=0.4"]  # to train anew
    failing = cell_of(overrides, fidelity="ssim", discriminator="none")
    obstacle = store / "cells" / "finetune" / failing.id / "work"
    obstacle.parent.mkdir(parents=True)
    obstacle.write_text("a file where a folder has to be")
    result = lopsided("run", SMOKE, "--store", store, overrides=overrides, status=1)
    # Trained, restored and judged: pixel-only and GMSD; with the discriminator, SSIM and GMSD diverge.
    assert "6 computed, 3 cached, 2 diverged, 1 failed, 6 skipped of 18 cells" in result.stdout
    (line,) = result.stderr.strip().splitlines()
    assert line.startswith("failed: finetune swinir-tiny ssim none seed 0: ")
    assert str(obstacle) in line

    obstacle.unlink()
    result = lopsided("run", SMOKE, "--store", store, overrides=overrides)
    assert "3 computed, 9 cached, 2 diverged, 4 skipped of 18 cells" in result.stdout
    folder = store / "cells" / "finetune" / cell_of(overrides, fidelity="ssim", discriminator="patch").id
    record = json.loads((folder / "status.json").read_text())
    assert record["state"] == "diverged"
    assert "at step" in record["reason"]
    assert (folder / "training.jsonl").exists()
    assert not (folder / "generator.safetensors").exists()
    shown = invoke("status", SMOKE, "--store", store, *sets(overrides)).out
    rows = {line.split()[0]: line.split()[1:] for line in shown.splitlines() if line}
    assert rows["finetune"][:2] == ["3", "2"]
    assert record["reason"] in shown
    assert "diverged" in (store / "experiments" / "smoke" / "report.html").read_text(encoding="utf-8")
    counts = pd.read_parquet(store / "experiments" / "smoke" / "derived" / "counts.parquet")
    assert counts[(counts["group"] == "finetune") & (counts["status"] == "diverged")]["count"].tolist() == [2]


@pytest.fixture
def folders(tmp_path):
    """An experiment over two folders of photographs."""
    rng = np.random.default_rng(0)
    for name in ("train/a", "train/b", "test/c"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(tmp_path / f"{name}.png")
    experiment = yaml.safe_load(SMOKE.read_text())
    experiment["data"] = {"train": {"folder": "train"}, "test": {"photos": {"images": {"folder": "test"}}}}
    path = tmp_path / "e.yaml"
    path.write_text(yaml.safe_dump(experiment))
    return path


def test_a_corrupt_training_image_is_named_before_anything_is_computed(folders, tmp_path):
    bad = tmp_path / "train" / "b.png"
    bad.write_bytes(bad.read_bytes()[:2000])
    result = lopsided("run", folders, "--store", tmp_path / "runs", overrides=PART, status=1)
    (line,) = result.stderr.strip().splitlines()
    assert line.startswith(f"error: {bad}: corrupt or truncated image, 2000 bytes")
    assert not (tmp_path / "runs" / "cells").exists()


def test_a_damaged_input_is_named_with_the_way_out(store):
    overrides = [*PART, "super_resolution.finetune.steps=9", "grid.discriminator=none", "grid.fidelity=none"]
    (pretrain,) = [cell for cell in cells(overrides) if cell.stage == "pretrain"]
    weights = store / "cells" / "pretrain" / pretrain.id / "generator.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    ((cell, reason),) = run_experiment(SMOKE, store=store, overrides=overrides, reporter=SilentReporter()).failed
    assert cell.stage == "finetune"
    assert reason.startswith(f"'{weights}' is damaged: ")
    assert f"found 1000 bytes; 'lopsided verify {store} --repair' sets it back" in reason


def test_missing_weights_are_named_in_seconds_before_any_training(tmp_path):
    began = time.monotonic()
    result = lopsided(
        "run",
        SMOKE,
        "--store",
        tmp_path / "runs",
        overrides=[*PART, "grid.fidelity=dists-vgg16"],
        status=1,
        LOPSIDED_WEIGHTS=tmp_path / "none",
        TORCH_HOME=tmp_path / "empty",
        # Nothing listens there: what a machine without a network finds out at once.
        https_proxy="http://127.0.0.1:9",
        HTTPS_PROXY="http://127.0.0.1:9",
    )
    assert time.monotonic() - began < 30
    (line,) = result.stderr.strip().splitlines()
    assert "vgg16-397923af.pth" in line
    assert "LOPSIDED_WEIGHTS" in line
    assert "vgg16-r" in line
    assert not (tmp_path / "runs" / "cells").exists()


def test_a_device_that_is_not_here_is_named_before_anything_is_computed(tmp_path):
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    store = tmp_path / "runs"
    result = lopsided("run", SMOKE, "--store", store, overrides=["execution.device=cuda"], status=1)
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: device 'cuda' cannot be used: ")
    assert not (store / "cells").exists()
