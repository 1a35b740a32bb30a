"""Validation in experiments: what the YAML may say, what enters identities, and which weights are kept."""

import json

import pandas as pd
import pytest
import yaml
from PIL import Image

from lopsided.common.errors import LopsidedError
from lopsided.common.images import read_rgb
from lopsided.common.sources import parse_source
from lopsided.experiments import ExperimentError, load_experiment, plan, run
from lopsided.experiments.api import collect_tables
from lopsided.experiments.running.progress import SilentReporter
from lopsided.experiments.store import Store
from lopsided.sr.checkpoint import read_tensors

TRAINING = {"steps": 12, "batch": 2, "patch": 32, "log_every": 4, "learning_rate": 2e-3, "ema": 0.5}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Photographs in three folders, and an experiment that validates."""
    root = tmp_path_factory.mktemp("experiment")
    items = parse_source({"source": "skimage", "split": "test"}).items()
    for name, item in zip(("train/a", "train/b", "validation/c", "test/d"), items, strict=False):
        path = root / f"{name}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(read_rgb(item.path)[100:228, 100:228]).save(path)
    experiment = {
        "name": "validated",
        "data": {"train": {"folder": "train"}, "test": {"photos": {"images": {"folder": "test"}}}},
        "super_resolution": {
            "pretrain": TRAINING,
            "finetune": {**TRAINING, "keep": "best"},
            "validation": {"images": {"folder": "validation"}, "every": 5, "judges": ["psnr_y", "ssim"], "top": 2},
        },
        "grid": {"fidelity": ["ssim"], "discriminator": ["patch"], "seed": [0]},
        "judges": ["psnr_y"],
    }
    (root / "e.yaml").write_text(yaml.safe_dump(experiment, sort_keys=False, default_flow_style=None, width=300))
    return root


def trained(planned):
    return {cell.id: cell for stage in ("pretrain", "finetune") for cell in planned.of_stage(stage)}


def planned(folder, *overrides):
    return plan(load_experiment(folder / "e.yaml", overrides))


def test_the_best_weights_are_kept_recorded_and_used(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(folder)
    summary = run("e.yaml", store=tmp_path, reporter=SilentReporter())
    assert summary.ok
    assert summary.failed == []
    store = Store(tmp_path)
    for cell in planned(folder).of_stage("finetune"):
        made = store.folder(cell.stage, cell.id)
        result = json.loads((made / "result.json").read_text())
        rows = [json.loads(line) for line in (made / "training.jsonl").read_text().splitlines()]
        scores = {row["step"]: row["validation/psnr_y"] for row in rows if "validation/psnr_y" in row}
        assert list(scores) == [5, 10, 12]
        ranked = sorted(scores, key=lambda step: -scores[step])[:2]
        assert [(found["step"], found["psnr_y"]) for found in result["best"]] == [(s, scores[s]) for s in ranked]
        assert sorted(path.name for path in (made / "top").iterdir()) == [
            f"step-{step:09d}.safetensors" for step in sorted(ranked)
        ]
        kept, about = read_tensors(made / "generator.safetensors")
        best, of_best = read_tensors(made / "top" / f"step-{ranked[0]:09d}.safetensors")
        assert all((kept[name] == best[name]).all() for name in best)
        assert about == of_best
        assert (about["generator"], about["scale"], about["step"]) == ("swinir-tiny", 4, ranked[0])
    training = collect_tables("e.yaml", store=tmp_path).training
    assert isinstance(training, pd.DataFrame)
    assert {"validation/psnr_y", "validation/ssim"} <= set(training["term"])
    assert training["value"].notna().all()


def test_validation_is_part_of_what_a_training_is(folder, monkeypatch):
    monkeypatch.chdir(folder)
    base = set(trained(planned(folder)))
    for override in ("every=6", "top=1", "judges=[ssim]", "crop=64"):
        assert base.isdisjoint(trained(planned(folder, f"super_resolution.validation.{override}"))), override
    without = ("super_resolution.validation=null", "super_resolution.finetune.keep=last")
    assert base.isdisjoint(trained(planned(folder, *without)))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["super_resolution.validation=null"],
            "super_resolution.finetune.keep: keep: best needs a judge to say which; "
            "add super_resolution.validation with images and judges",
        ),
        (["super_resolution.validation.images={folder: train}"], "2 file(s) are in both the training set and the"),
        (["super_resolution.validation.images={folder: test}"], "both the validation images and test set 'photos'"),
        (["super_resolution.validation.judges=[psnr_y, psnr_y]"], "judges[1]: judge 'psnr_y' is listed twice"),
        (["super_resolution.validation.judges=[psnr_z]"], "did you mean 'psnr_y'?"),
    ],
)
def test_a_validation_that_would_mislead_is_refused(folder, monkeypatch, overrides, message):
    monkeypatch.chdir(folder)
    with pytest.raises(LopsidedError) as caught:
        planned(folder, *overrides)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_images_too_small_for_a_judge_are_found_before_training(folder, monkeypatch, tmp_path):
    monkeypatch.chdir(folder)
    overrides = ["super_resolution.validation.judges=[ms_ssim]"]
    with pytest.raises(ExperimentError, match=r"judge 'ms_ssim' needs images of at least .*validation\.crop"):
        run("e.yaml", store=tmp_path, overrides=overrides, reporter=SilentReporter())
