"""Who has learnt from what it is assessed on: by known training sets, by equal files and by equal pictures."""

import numpy as np
import pytest
from PIL import Image
from support.paths import ROOT, SHARED

from lopsided.common.sources import FolderSource, SkimageSource
from lopsided.experiments import load_experiment, plan
from lopsided.experiments.results.contamination import contamination
from lopsided.iqa.contamination import (
    canonical,
    overlap_by_content,
    overlap_by_name,
    pictures_of_dataset,
    pictures_of_items,
)
from lopsided.iqa.manifest import FRDataset
from lopsided.losses import parse_measure

QUICKSTART = ROOT / "experiments" / "quickstart.yaml"


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("KonIQ-10k", "koniq-10k"),
        ("koniq10k", "koniq-10k"),
        ("KADID", "kadid-10k"),
        ("LIVE-C", "live-challenge"),
        ("CLIVE", "live-challenge"),
        ("LIVE release 2", "live"),
        ("TID2013", "tid2013"),
        ("my own set", "myownset"),
    ],
)
def test_data_sets_are_known_by_the_names_papers_give_them(written, name):
    assert canonical(written) == name


@pytest.mark.parametrize(
    ("measure", "dataset", "finding"),
    [
        ("dists", "kadid-10k", "trained on it"),
        ("dists", "tid2013", "none known"),
        ("dists-vgg16-r", "kadid-10k", "none known"),
        ("lpips-squeeze", "bapps", "trained on it"),
        ("topiq_fr", "KADID", "trained on it"),
        ({"measure": "pyiqa", "metric": "ckdn"}, "kadid-10k", "unknown"),
        ({"measure": "pyiqa", "metric": "ahiq"}, "pipal", "trained on it"),
        ({"measure": "pyiqa", "metric": "ahiq", "options": {"pretrained": False}}, "pipal", "unknown"),
        ("ssim", None, "none known"),
        ("dists", None, "unknown"),
    ],
)
def test_learned_measures_declare_their_training_sets(measure, dataset, finding):
    assert overlap_by_name(parse_measure(measure).trained_on, dataset).finding == finding


def test_sets_of_the_same_photographs_share_references():
    found = overlap_by_name(("TID2008",), "tid2013")
    assert found.finding == "shares references"
    assert "tid2008" in found.detail


def saved(folder, name, pixels):
    folder.mkdir(exist_ok=True)
    Image.fromarray(pixels).save(folder / name)


@pytest.fixture
def rated(tmp_path):
    """Two references with one distorted image each."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "rated"
    lines = ["image,reference,distortion,label,label_kind,label_higher_is_better"]
    for n in range(2):
        reference = rng.integers(0, 256, (24, 32, 3), dtype=np.uint8)
        saved(folder, f"r{n}.png", reference)
        saved(folder, f"d{n}.png", reference // 2)
        lines.append(f"d{n}.png,r{n}.png,dim,{n},mos,true")
    (folder / "m.csv").write_text("\n".join(lines) + "\n")
    return folder


def trained_with(folder):
    return pictures_of_items(FolderSource(folder=folder).items())


def test_a_reference_in_another_file_format_is_recognised(rated, tmp_path):
    with Image.open(rated / "r1.png") as image:
        saved(tmp_path / "train", "other_name.bmp", np.array(image))
    found = overlap_by_content(trained_with(tmp_path / "train"), pictures_of_dataset(FRDataset(rated / "m.csv")))
    assert (found.finding, found.n_shared, found.n) == ("shares references", 1, 2)


def test_a_reference_that_exif_turns_is_recognised(rated, tmp_path):
    """The same photograph, stored lying on its side: its size in the file is another one."""
    pixels = np.asarray(Image.open(rated / "r0.png"))
    lying, upright = tmp_path / "lying" / "a.png", tmp_path / "upright" / "a.png"
    for path in (lying, upright):
        path.parent.mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.rot90(pixels)).save(lying, exif=exif)
    Image.fromarray(pixels).save(upright)
    sets = [pictures_of_items(FolderSource(folder=path.parent).items()) for path in (lying, upright)]
    assert overlap_by_content(*sets).finding == "shares references"


def test_an_equal_distorted_file_is_recognised(rated, tmp_path):
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "x.png").write_bytes((rated / "d0.png").read_bytes())
    found = overlap_by_content(trained_with(tmp_path / "train"), pictures_of_dataset(FRDataset(rated / "m.csv")))
    assert (found.finding, found.n_shared, found.n) == ("shares files", 1, 4)


def test_pictures_of_equal_size_and_other_pixels_share_nothing(rated, tmp_path):
    saved(tmp_path / "train", "x.png", np.zeros((24, 32, 3), np.uint8))
    found = overlap_by_content(trained_with(tmp_path / "train"), pictures_of_dataset(FRDataset(rated / "m.csv")))
    assert (found.finding, found.n_shared) == ("none known", 0)


def test_the_splits_of_the_embedded_photographs_share_nothing():
    splits = ("train", "test", "assess")
    train, test, assess = (pictures_of_items(SkimageSource(split=split).items()) for split in splits)
    for one, other in ((train, test), (train, assess), (test, assess)):
        assert overlap_by_content(one, other).finding == "none known"
    assert overlap_by_content(train, train).n_shared == 8


def matrix(*overrides):
    found = contamination(plan(load_experiment(QUICKSTART, list(overrides))))
    return {(row["subject"], row["dataset"]): row for row in found.to_dict("records")}


def test_every_measure_judge_and_the_training_images_have_a_row_for_every_data_set(rated):
    found = matrix(f"assessment.datasets.kadid.manifest={rated / 'm.csv'}", "assessment.measures=[lpips-squeeze]")
    subjects = {subject for subject, _ in found}
    expected = {"lpips-squeeze", "dists-squeezenet1_1-r", "psnr_y", "training images", "test images of photographs"}
    assert expected <= subjects
    assert set(found) == {(subject, dataset) for subject in subjects for dataset in ("ladder", "kadid")}
    assert {row["finding"] for row in found.values()} == {"none known"}


def test_a_ladder_of_training_photographs_is_found_out():
    found = matrix("assessment.datasets.ladder.ladder.source.split=train")["training images", "ladder"]
    assert (found["finding"], found["n_shared"], found["n"]) == ("shares references", 8, 8)


def test_a_ladder_of_test_photographs_is_found_out():
    override = "assessment.datasets.ladder.ladder.source.split=test"
    found = matrix(override)["test images of photographs", "ladder"]
    assert (found["role"], found["finding"], found["n_shared"], found["n"]) == (
        "test images",
        "shares references",
        6,
        6,
    )


@pytest.mark.parametrize("path", sorted((ROOT / "experiments").glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_experiments_assess_on_photographs_that_they_do_not_test_on(path):
    if path.stem.startswith("asymmetry") and not SHARED.is_dir():
        pytest.skip("the photographs of the study are not there")
    found = contamination(plan(load_experiment(path))).query("role == 'test images'")
    shared = set(found.loc[found["finding"] != "none known", "dataset"])
    assert shared == ({"ladder"} if path.stem == "discriminator_reuse" else set())


def test_weights_learnt_in_the_experiment_are_told_from_foreign_ones(rated):
    learn = {"measure": "dists-vgg16-r", "dataset": "ladder"}
    found = matrix(
        *(f"learn.tuned.{key}={value}" for key, value in learn.items()),
        "assessment.measures=['learnt:tuned']",
        f"assessment.datasets.own.manifest={rated / 'm.csv'}",
    )
    assert found["dists-vgg16-r+tuned", "ladder"]["finding"] == "other references of it"
    assert found["dists-vgg16-r+tuned", "own"]["finding"] == "unknown"  # of which origin `own` is, nobody has said


def test_multimodal_llms_are_known_by_the_name_of_their_weights(rated):
    found = matrix(
        f"assessment.datasets.kadid.manifest={rated / 'm.csv'}",
        "mllm.scorers=[{model: q-future/one-align, preset: q-align}, {model: someone/general-7b, preset: q-bench}]",
        "mllm.fr_sets=[kadid]",
    )
    assert found["one-align/q-align", "kadid"]["finding"] == "trained on it"
    assert found["one-align/q-align", "ladder"]["finding"] == "none known"
    assert found["general-7b/q-bench", "kadid"]["finding"] == "unknown"
