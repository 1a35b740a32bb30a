"""The grid and the plan: which cells there are, in which order, and what their identities depend on."""

import itertools

import numpy as np
import pytest
import yaml
from PIL import Image
from support.paths import ROOT

from lopsided.experiments import ExperimentError, load_experiment, plan
from lopsided.experiments.schema.axes import Grid
from lopsided.experiments.schema.errors import PlacedError
from lopsided.experiments.schema.grid import expand

TRAINING = {"steps": 20, "batch": 2, "patch": 32}


def points(**axes):
    """Rows (generator, fidelity, discriminator, gan_weight, seed, why) of a grid."""
    return [(*point.labels.values(), point.why) for point in expand(Grid.model_validate(axes))]


def trained(**axes):
    """(fidelity, discriminator, gan_weight, seed) of a grid without what was added as a baseline."""
    return [row[1:5] for row in points(**axes) if row[5] == "grid"]


# --- the grid -------------------------------------------------------------------------------------------------------


def test_the_product_of_the_axes_in_their_order():
    axes = {
        "fidelity": ["ssim", "gmsd"],
        "discriminator": ["vanilla", "patch"],
        "gan_weight": [0.1, 0.2],
        "seed": [1, 0],
    }
    assert trained(**axes) == list(itertools.product(*axes.values()))


def test_gan_weight_collapses_without_a_discriminator():
    found = trained(fidelity="ssim", discriminator=["none", "patch"], gan_weight=[0.1, 0.2])
    assert found == [("ssim", "none", 0.0, 0), ("ssim", "patch", 0.1, 0), ("ssim", "patch", 0.2, 0)]


def test_one_baseline_for_each_generator_and_seed():
    found = points(generator=["swinir-tiny", "swinir-small"], fidelity=["ssim", "gmsd"], seed=[0, 1])
    assert [row for row in found if row[5] == "baseline"] == [
        (generator, "none", "none", 0.0, seed, "baseline")
        for generator in ("swinir-tiny", "swinir-small")
        for seed in (0, 1)
    ]
    assert len(found) == 4 + 8


def test_a_baseline_that_is_in_the_grid_is_not_added_again():
    found = points(fidelity=["none", "ssim"], seed=[0, 1])
    assert [row[5] for row in found] == ["grid"] * 4
    partly = points(fidelity="ssim", seed=[0, 1], include=[{"fidelity": "none", "seed": 1}])
    assert [row[4] for row in partly if row[5] == "baseline"] == [0]


def test_seeds_that_only_an_include_brings_have_baselines_too():
    found = points(fidelity="ssim", seed=0, include=[{"seed": [7]}])
    assert {row[4] for row in found if row[5] == "baseline"} == {0, 7}


def test_include_takes_the_grids_values_for_axes_it_leaves_out():
    found = trained(
        fidelity=["ssim", "gmsd"], discriminator="patch", gan_weight=0.1, seed=[0, 1], include=[{"gan_weight": [0.5]}]
    )
    assert found[4:] == [(f, "patch", 0.5, s) for f in ("ssim", "gmsd") for s in (0, 1)]


def test_what_include_repeats_is_there_once():
    assert trained(fidelity=["ssim", "gmsd"], include=[{"fidelity": "gmsd"}, {"seed": 0}]) == trained(
        fidelity=["ssim", "gmsd"]
    )


def test_exclude_matches_on_all_the_axes_it_names_and_any_value_of_the_others():
    found = trained(
        fidelity=["ssim", "gmsd"],
        discriminator=["none", "patch"],
        seed=[0, 1],
        exclude=[{"fidelity": "ssim", "discriminator": "patch"}],
    )
    assert found == [
        (f, d, 0.01 if d == "patch" else 0.0, s)
        for f, d, s in itertools.product(("ssim", "gmsd"), ("none", "patch"), (0, 1))
        if (f, d) != ("ssim", "patch")
    ]


def test_exclude_takes_out_what_include_put_in():
    found = trained(fidelity="ssim", include=[{"seed": [1, 2]}], exclude=[{"seed": 2}])
    assert [row[3] for row in found] == [0, 1]


def test_exclude_cannot_take_out_a_baseline():
    found = points(fidelity=["none", "ssim"], exclude=[{"fidelity": "none"}])
    assert [(row[1], row[5]) for row in found] == [("none", "baseline"), ("ssim", "grid")]


@pytest.mark.parametrize(
    ("axes", "text"),
    [
        ({"fidelity": ["ssim", "ssim"]}, "ssim is given twice"),
        ({"fidelity": "ssim", "seed": [0, 0]}, "0 is given twice"),
        ({"fidelity": ["dists-vgg16-r", {"measure": "dists", "backbone": {"name": "vgg16-r"}}]}, "is given twice"),
    ],
)
def test_a_value_given_twice_is_refused_however_it_is_written(axes, text):
    with pytest.raises(ValueError, match=text):
        trained(**axes)


@pytest.mark.parametrize(
    ("exclude", "index", "text"),
    [
        ([{"seed": 0}, {"fidelity": "fsim"}], 1, "matches no cell"),
        ([{"seed": 1}, {"seed": 1}], 1, "matches no cell"),
        ([{"seed": [0, 1]}], 0, "leaves no cell"),
    ],
)
def test_excludes_that_do_nothing_or_leave_nothing(exclude, index, text):
    with pytest.raises(PlacedError, match=text) as caught:
        points(fidelity="ssim", seed=[0, 1], exclude=exclude)
    assert caught.value.place == ("grid", "exclude", index)


# --- the plan -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Photographs, an experiment over them, and nothing else."""
    root = tmp_path_factory.mktemp("experiment")
    rng = np.random.default_rng(0)
    for name in ("train/a", "train/b", "test/c", "test/d"):
        path = root / f"{name}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(path)
    experiment = {
        "name": "tiny",
        "data": {"train": {"folder": "train"}, "test": {"photos": {"images": {"folder": "test"}}}},
        "super_resolution": {"pretrain": TRAINING, "finetune": TRAINING},
        "grid": {"fidelity": ["ssim", "gmsd"], "discriminator": ["none", "patch"], "seed": [0]},
        "judges": ["psnr_y", "nlpd"],
        "assessment": {
            "datasets": {"l": {"ladder": {"source": {"folder": "test"}, "size": 32, "types": ["jpeg"], "levels": [1]}}},
            "measures": ["fsim"],
        },
    }
    (root / "e.yaml").write_text(yaml.safe_dump(experiment))
    return root


def ids(folder, *overrides):
    """Cells by identity."""
    return {cell.id: cell for cell in plan(load_experiment(folder / "e.yaml", overrides)).cells}


def counts(cells):
    stages = [cell.stage for cell in cells]
    return {stage: stages.count(stage) for stage in dict.fromkeys(stages)}


def test_counts_of_a_plan(folder):
    # 4 points and the baseline; bicubic is restored and judged beside them; 3 measures are assessed.
    assert counts(ids(folder).values()) == {"pretrain": 1, "finetune": 5, "restore": 6, "judge": 12, "assess_fr": 3}


def test_inputs_come_before_their_users_and_identities_are_unique(folder):
    cells = plan(load_experiment(folder / "e.yaml", ["grid.seed=[0,1]"])).cells
    seen = set()
    for cell in cells:
        assert {source.id for source in cell.inputs.values()} <= seen
        assert cell.id not in seen
        seen.add(cell.id)
    users = {"finetune": {"pretrain"}, "judge": {"restore"}}
    for cell in cells:
        assert set(cell.inputs) == users.get(cell.stage, set(cell.inputs))


def test_planning_twice_gives_the_same_identities(folder):
    assert list(ids(folder)) == list(ids(folder))


def test_another_seed_adds_its_own_cells_and_changes_none(folder):
    before, after = ids(folder), ids(folder, "grid.seed=[0,1]")
    assert before.keys() < after.keys()
    added = [cell for key, cell in after.items() if key not in before]
    assert counts(added) == {"pretrain": 1, "finetune": 5, "restore": 5, "judge": 10}
    assert {cell.labels["seed"] for cell in added} == {1}


def test_another_judge_adds_judging_only(folder):
    before, after = ids(folder), ids(folder, "judges=[psnr_y,nlpd,gmsd]")
    assert before.keys() < after.keys()
    assert counts(cell for key, cell in after.items() if key not in before) == {"judge": 6}


@pytest.mark.parametrize(
    "override",
    [
        "name=another",
        "title=Another",
        "description=Words",
        "execution={threads: 2, device: cuda, checkpoint_every: 7}",
        "analysis={resamples: 500, seed: 3}",
    ],
)
def test_names_execution_and_analysis_enter_no_identity(folder, override):
    assert list(ids(folder)) == list(ids(folder, override))


def test_test_sets_and_fr_sets_are_known_by_content_not_by_name(folder):
    renamed = ids(folder, "data.test={other: {images: {folder: test}}}")
    assert renamed.keys() == ids(folder).keys()
    assert {cell.labels["test_set"] for cell in renamed.values() if cell.stage == "restore"} == {"other"}


def test_places_enter_no_identity(folder, tmp_path):
    moved = tmp_path / "elsewhere"
    for path in folder.rglob("*.*"):
        copy = moved / path.relative_to(folder)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    assert list(ids(moved)) == list(ids(folder))


@pytest.mark.parametrize(
    ("override", "unchanged"),
    [
        ("super_resolution.finetune.discriminator_learning_rate=0.5", {"none"}),
        ("super_resolution.finetune.objective=hinge", {"none"}),
        ("grid.gan_weight=0.5", {"none"}),
    ],
)
def test_numbers_of_the_adversarial_term_concern_adversarial_cells_only(folder, override, unchanged):
    before, after = ids(folder), ids(folder, override)
    kept = [cell for key, cell in before.items() if key in after]
    lost = [cell for key, cell in before.items() if key not in after]
    assert {cell.labels.get("discriminator", "none") for cell in kept} == unchanged
    assert {cell.labels["discriminator"] for cell in lost} == {"patch"}
    assert len(before) == len(after)


@pytest.mark.parametrize("key", ["fidelity_weight=0.5", "gradient_matching=false"])
def test_numbers_of_the_fidelity_term_leave_pixel_cells_alone(folder, key):
    before, after = ids(folder), ids(folder, f"super_resolution.finetune.{key}")
    kept = {cell.labels["fidelity"] for key, cell in before.items() if key in after and cell.stage == "finetune"}
    assert kept == {"none"}


def test_pretraining_numbers_change_everything_trained_and_nothing_else(folder):
    before, after = ids(folder), ids(folder, "super_resolution.pretrain.steps=21")
    kept = [cell for key, cell in before.items() if key in after]
    assert counts(kept) == {"restore": 1, "judge": 2, "assess_fr": 3}
    assert all(cell.labels["fidelity"] == "bicubic" for cell in kept if cell.stage == "restore")


@pytest.mark.parametrize(
    ("name", "kept"), [("train/a", {"restore", "judge", "assess_fr"}), ("test/c", {"pretrain", "finetune"})]
)
def test_identities_follow_the_bytes_of_the_images(folder, name, kept):
    before = ids(folder)
    path = folder / f"{name}.png"
    original = path.read_bytes()
    try:
        path.write_bytes(original + b"\0")  # the same pixels, but other bytes
        after = ids(folder)
    finally:
        path.write_bytes(original)
    same = [cell for key, cell in before.items() if key in after]
    assert {cell.stage for cell in same} == kept
    assert {cell.labels["fidelity"] for cell in same if cell.stage == "restore"} <= {"bicubic"}
    assert len(before) == len(after)


def test_renaming_an_image_file_changes_identities(folder):
    """Tables name images by their files, so a renamed file is another result."""
    before = ids(folder)
    path = folder / "test/c.png"
    renamed = path.rename(folder / "test/z.png")
    try:
        after = ids(folder)
    finally:
        renamed.rename(path)
    assert not [cell for key, cell in before.items() if key in after and cell.stage == "judge"]


def test_a_file_in_train_and_test_is_refused(folder):
    with pytest.raises(ExperimentError, match=r"2 file\(s\) are in both the training set and test set 'photos'"):
        ids(folder, "data.train.folder=test")


def test_two_grids_share_their_common_cells(folder):
    one, other = ids(folder, "grid.fidelity=[ssim]"), ids(folder, "grid.fidelity=[gmsd]")
    assert counts(one[key] for key in one.keys() & other.keys()) == {
        "pretrain": 1,
        "finetune": 1,  # the baseline
        "restore": 2,
        "judge": 4,
        "assess_fr": 1,
    }
    assert set(one) | set(other) == set(ids(folder))


def test_shipped_quickstart_plans():
    cells = plan(load_experiment(ROOT / "experiments" / "quickstart.yaml")).cells
    assert {cell.stage for cell in cells} == {"pretrain", "finetune", "restore", "judge", "assess_fr"}
