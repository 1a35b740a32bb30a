"""Learning weights as a stage: what an experiment may say, what depends on what, and which images count."""

import json
import re
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from PIL import Image

from lopsided.common.images import read_rgb, to_tensor
from lopsided.experiments import ExperimentError, load_experiment, plan, run
from lopsided.experiments.api import collect_tables
from lopsided.experiments.running.progress import SilentReporter
from lopsided.experiments.schema.measures import LearntDists
from lopsided.experiments.store import Store
from lopsided.losses import DISTS

TRAINING = {"steps": 2, "batch": 1, "patch": 32}
SHORT = {"name": "pairwise", "steps": 20, "scale": "learnt"}
KEY = "dists-squeezenet1_1-r"
TUNED = f"{KEY}+tuned"


def ladder(folder):
    return {
        "ladder": {"source": {"folder": folder}, "size": 48, "types": ["jpeg", "gaussian_noise"], "levels": [1, 3, 5]}
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Photographs, and an experiment that learns weights from some of them."""
    root = tmp_path_factory.mktemp("experiment")
    rng = np.random.default_rng(0)
    for name in ("train/a", "test/b", "learn/c", "learn/d", "learn/e", "learn/f", "textures/g"):
        path = root / f"{name}.png"
        path.parent.mkdir(exist_ok=True)
        small = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(small).resize((64, 64), Image.Resampling.BICUBIC).save(path)
    experiment = {
        "name": "tiny",
        "data": {"train": {"folder": "train"}, "test": {"photos": {"images": {"folder": "test"}}}},
        "super_resolution": {"pretrain": TRAINING, "finetune": TRAINING},
        "learn": {"tuned": {"measure": KEY, "dataset": "learning", "recipe": SHORT, "held_out": 0.5}},
        "grid": {"fidelity": [KEY, "learnt:tuned"], "seed": [0]},
        "judges": ["psnr_y"],
        "assessment": {"datasets": {"learning": ladder("learn"), "other": ladder("test")}, "measures": ["ssim"]},
        "analysis": {"resamples": 100},
    }
    (root / "e.yaml").write_text(yaml.safe_dump(experiment, sort_keys=False, default_flow_style=None, width=300))
    return root


def ids(folder, *overrides) -> dict[str, Any]:
    """Cells by identity."""
    return {cell.id: cell for cell in plan(load_experiment(folder / "e.yaml", overrides)).cells}


def labelled(cells, stage):
    return {cell.labels["measure"]: cell for cell in cells.values() if cell.stage == stage}


def users(cells):
    """(stage, measure) of the cells that need learnt weights."""
    return {
        (cell.stage, cell.labels.get("measure", cell.labels.get("fidelity")))
        for cell in cells.values()
        if "weights" in cell.inputs
    }


# --- the plan -------------------------------------------------------------------------------------------------------


def test_weights_are_learnt_once_and_needed_by_what_uses_them_only(folder):
    cells = ids(folder)
    learning = [cell for cell in cells.values() if cell.stage == "learn_weights"]
    assert [cell.labels for cell in learning] == [{"measure": TUNED, "dataset": "learning"}]
    assert users(cells) == {("finetune", TUNED), ("assess_fr", TUNED)}
    assert all(cell.inputs["weights"] is learning[0] for cell in cells.values() if "weights" in cell.inputs)
    order = list(cells)
    assert all(
        order.index(source.id) < order.index(key) for key, cell in cells.items() for source in cell.inputs.values()
    )


def test_the_measure_has_one_identity_as_loss_and_as_metric(folder):
    cells = ids(folder)
    fidelity = next(c.spec.fidelity for c in cells.values() if c.stage == "finetune" and c.labels["fidelity"] == TUNED)
    assert fidelity.identity == labelled(cells, "assess_fr")[TUNED].spec.measure.identity
    assert fidelity.identity != labelled(cells, "assess_fr")[KEY].spec.measure.identity
    assert fidelity.families == {"backbone:squeezenet", "form:dists", "data:ladder"}


def test_learning_changes_no_cell_that_does_not_use_it(folder):
    without = ids(folder, "learn={}", f"grid.fidelity=[{KEY}]")
    assert without.keys() < ids(folder).keys()
    assert not users(without)


@pytest.mark.parametrize(
    ("override", "same"),
    [
        ("learn.tuned.seed=1", False),
        ("learn.tuned.split_seed=1", False),
        ("learn.tuned.held_out=0.25", False),
        ("learn.tuned.recipe.steps=30", False),
        ("learn.tuned.recipe=mos", False),
        ("learn.tuned.measure=dists-alexnet-r", False),
        ("learn.tuned.measure={measure: dists, backbone: squeezenet1_1-r, pooling: max}", False),
        ("assessment.datasets.learning.ladder.levels=[1, 2]", False),
        ("learn.tuned.textures={folder: textures}", True),  # which pairs do not look at
        ("learn.tuned.measure={measure: dists, backbone: squeezenet1_1-r}", True),
        ("name=another", True),
    ],
)
def test_the_identity_of_the_measure_is_that_of_how_it_was_learnt(folder, override, same):
    changed = ids(folder, override)
    found = next(iter(labelled(changed, "learn_weights").values())).id in ids(folder)
    assert found == same
    assert users(changed) & {("finetune", TUNED)} or "alexnet" in override or "max" in override
    assert (set(changed) == set(ids(folder))) == same


def test_textures_count_where_the_recipe_looks_at_them(folder):
    mos = "learn.tuned.recipe={name: mos, texture_crop: 32}"
    keys = [mos, f"{mos[:-1]}, texture_weight: 0}}"]
    for override, counts in zip(keys, (True, False), strict=True):
        with_textures = ids(folder, override, "learn.tuned.textures={folder: textures}")
        assert (with_textures.keys() != ids(folder, override).keys()) == counts


def test_the_name_enters_no_identity(folder):
    renamed = ids(
        folder,
        f"learn={{other: {{measure: {KEY}, dataset: learning, recipe: {json.dumps(SHORT)}, held_out: 0.5}}}}",
        f"grid.fidelity=[{KEY}, 'learnt:other']",
    )
    assert list(renamed) == list(ids(folder))


def test_rules_of_the_grid_know_learnt_measures(folder):
    cells = ids(folder, "grid.exclude=[{fidelity: 'learnt:tuned'}]", "assessment.measures=['learnt:tuned']")
    assert users(cells) == {("assess_fr", TUNED)}
    included = ids(folder, "grid.fidelity=[ssim]", "grid.include=[{fidelity: 'learnt:tuned', seed: 3}]")
    assert {c.labels["seed"] for c in included.values() if c.stage == "finetune" and "weights" in c.inputs} == {3}


# --- faults ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "path", "text"),
    [
        ("learnt:tuned", "learnt:tund", "grid.fidelity[1]", "unknown learnt weights 'tund'; did you mean 'tuned'?"),
        ("[ssim]", "[learnt:x]", "assessment.measures[0]", "unknown learnt weights 'x'; learn has tuned"),
        (
            "dataset: learning",
            "dataset: lerning",
            "learn.tuned.dataset",
            "unknown FR set 'lerning'; did you mean 'learning'?",
        ),
        ("measure: dists-", "measure: dist-", "learn.tuned.measure", "did you mean 'dists-squeezenet1_1-r'?"),
        (f"measure: {KEY}", "measure: ssim", "learn.tuned.measure", "weights can be learnt for a DISTS only"),
        (
            f"measure: {KEY}",
            "measure: dists",
            "learn.tuned.measure",
            "'dists' has weights already (alpha_beta: published)",
        ),
        (f"measure: {KEY}", "measure: learnt:tuned", "learn.tuned.measure", "'learnt:tuned' is learnt already"),
        (
            "name: pairwise",
            "name: pairwize",
            "learn.tuned.recipe",
            "unknown recipe 'pairwize'; did you mean 'pairwise'?",
        ),
        ("steps: 20", "stps: 20", "learn.tuned.recipe.stps", "unknown key 'stps'; did you mean 'steps'?"),
        ("held_out: 0.5", "held_out: 1", "learn.tuned.held_out", "must be below 1"),
        ("held_out: 0.5", "heldout: 0.5", "learn.tuned.heldout", "unknown key 'heldout'; did you mean 'held_out'?"),
    ],
)
def test_a_fault_is_one_line_that_names_place_value_and_way_out(folder, tmp_path, old, new, path, text):
    written = (folder / "e.yaml").read_text()
    assert old in written, "the case replaces nothing"
    file = tmp_path / "e.yaml"
    file.write_text(written.replace(old, new, 1))
    with pytest.raises(ExperimentError) as caught:
        load_experiment(file)
    line = str(caught.value)
    assert "\n" not in line
    assert line.startswith(f"{file}:")
    assert f": {path}: " in line
    assert text in line
    number = int(line.removeprefix(f"{file}:").partition(":")[0])
    assert new in file.read_text().splitlines()[number - 1]


def test_weights_from_one_set_must_hold_out_the_same_references(folder):
    second = f"learn.second={{measure: {KEY}, dataset: learning, recipe: mos, held_out: 0.25}}"
    with pytest.raises(
        ExperimentError, match=r"learn\.second: 'second' and 'tuned' learn from one FR set but hold out"
    ):
        ids(folder, second)


def test_a_measure_outside_an_experiment_is_refused():
    loose = LearntDists(name="tuned")
    with pytest.raises(ExperimentError, match="only defined inside an experiment"):
        _ = loose.key
    with pytest.raises(ExperimentError, match="before the experiment is planned"):
        _ = loose.identity
    with pytest.raises(ExperimentError, match="from its store"):
        loose.build()


def test_a_split_without_held_out_references_is_found_before_anything_is_computed(folder, tmp_path):
    with pytest.raises(Exception, match=r"held_out 0\.1 of 4 references holds none out"):
        run(folder / "e.yaml", store=tmp_path, overrides=["learn.tuned.held_out=0.1"], reporter=SilentReporter())
    assert not list(tmp_path.glob("cells/*/*/status.json"))


# --- the run --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def store(folder):
    summary = run(folder / "e.yaml", store=folder / "runs", reporter=SilentReporter())
    assert summary.ok
    assert summary.skipped == 0
    return Store(folder / "runs")


@pytest.fixture(scope="module")
def learning(folder, store):
    cell = next(iter(labelled(ids(folder), "learn_weights").values()))
    return store.folder(cell.stage, cell.id)


def test_a_second_run_computes_nothing(folder, store):
    again = run(folder / "e.yaml", store=store.root, reporter=SilentReporter())
    assert (again.done, again.cached) == (0, len(ids(folder)))


def test_the_assessed_measure_is_dists_with_the_weights_of_the_cell(folder, store, learning):
    cells = [
        c for c in ids(folder).values() if c.stage == "assess_fr" and c.labels == {"measure": TUNED, "dataset": "other"}
    ]
    row = pd.read_parquet(store.folder("assess_fr", cells[0].id) / "scores.parquet").iloc[3]
    root = next(path for path in store.cache.glob("ladder-*") if (path / row["image"]).exists())
    measure = DISTS(cells[0].spec.measure.with_weights(learning / "alpha_beta.safetensors"))
    score = measure.score(*(to_tensor(read_rgb(root / row[name])) for name in ("image", "reference")))
    # 1 minus a sum near 1: batches of other sizes round its last float32 digits, 1e-5 of so small a score.
    assert float(score) == pytest.approx(row["score"], abs=3e-7)
    uniform = torch.full_like(measure.get_buffer("alpha"), 0.5 / len(measure.get_buffer("alpha")))
    assert not torch.allclose(measure.get_buffer("alpha"), uniform, rtol=1e-3)


def test_a_set_that_was_learnt_from_is_assessed_on_held_out_references_by_every_measure(folder, store, learning):
    scores = collect_tables(folder / "e.yaml", store=store.root).fr_scores
    result = json.loads((learning / "result.json").read_text())
    assert set(scores["dataset"]) == {"learning (held out)", "other"}
    held_out = scores[scores["dataset"] == "learning (held out)"]
    assert set(held_out["reference"]) == set(result["held_out_references"])
    assert held_out.groupby("measure").size().to_dict() == dict.fromkeys((KEY, TUNED, "ssim"), 12)
    assert not set(result["held_out_references"]) & set(result["train_references"])


def test_the_held_out_result_of_the_cell_is_what_the_assessment_finds(folder, store, learning):
    from lopsided.analysis.statistics.assessment import assess

    table = assess(collect_tables(folder / "e.yaml", store=store.root).fr_scores, n_boot=100).table
    found = table[table["dataset"] == "learning (held out)"].set_index("measure")["srcc"]
    stated = json.loads((learning / "result.json").read_text())["results"]["held_out"]
    assert found[KEY] == pytest.approx(stated["uniform"]["srcc"], abs=0.02)  # ties of nearly equal scores
    assert found[TUNED] == pytest.approx(stated["learnt"]["srcc"], abs=0.02)


def test_without_its_learning_a_set_is_assessed_whole(folder, store):
    overrides = ["learn={}", f"grid.fidelity=[{KEY}]"]
    scores = collect_tables(folder / "e.yaml", store=store.root, overrides=overrides).fr_scores
    assert scores.groupby(["dataset", "measure"]).size().to_dict()["learning", KEY] == 24


def test_a_failed_learning_is_reported_and_what_needs_it_is_skipped(folder, tmp_path):
    overrides = ["learn.tuned.recipe.learning_rate=1e9"]
    summary = run(folder / "e.yaml", store=tmp_path, overrides=overrides, reporter=SilentReporter())
    ((cell, reason),) = summary.failed
    assert cell.stage == "learn_weights"
    assert re.fullmatch(r"the loss is not finite at step \d; lower the learning rate", reason)
    assert summary.skipped == 1 + 1 + 1 + 2  # finetune, restore, judge, assess_fr on two sets
