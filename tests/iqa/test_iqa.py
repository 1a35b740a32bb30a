"""Full-reference evaluation and judges, on real images."""

import csv
import math
from urllib.error import URLError

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy import stats
from support.paths import SHARED

from lopsided.common.errors import LopsidedError
from lopsided.common.images import read_rgb, to_tensor
from lopsided.common.sources import parse_source
from lopsided.iqa import create_judge, evaluate_fr, list_judges, parse_judge
from lopsided.iqa.judges import NO_REFERENCE, JudgeError, NoReferenceEntry
from lopsided.iqa.ladder import LadderSpec, build_ladder
from lopsided.iqa.manifest import FRDataset
from lopsided.losses import create_measure

LIVE = SHARED / "iqa" / "live_subset"


@pytest.fixture(scope="module")
def ladder(tmp_path_factory):
    source = parse_source({"source": "skimage", "split": "test"})
    spec = LadderSpec(source=source, size=64, types=("jpeg", "gaussian_noise"), levels=(1, 3, 5))
    return FRDataset(build_ladder(spec, tmp_path_factory.mktemp("ladder")))


# --- evaluation -----------------------------------------------------------------------------------------------------


def test_every_row_is_scored_once_in_the_data_sets_order(ladder):
    table = evaluate_fr(create_measure("psnr"), ladder)
    assert len(table) == len(ladder) == 6 * 2 * 3
    assert table["image"].tolist() == [row.image for row in ladder.rows]
    assert set(table["label_kind"]) == {"severity_grade"}
    assert not table["label_higher_is_better"].any()
    assert table["higher_is_better"].all()
    for row, score in zip(ladder.rows, table["score"], strict=True):
        error = (read_rgb(row.image_path).astype(float) - read_rgb(row.reference_path)) / 255
        assert score == pytest.approx(10 * math.log10(1 / ((error**2).mean() + 1e-8)), abs=1e-3)


@pytest.mark.parametrize("key", ["ssim", "dists-resnet50-r"])
def test_grouped_batches_equal_single_pairs(ladder, key):
    measure = create_measure(key)
    table = evaluate_fr(measure, ladder)
    for index in (0, 7, 35):
        row = ladder.rows[index]
        pair = (to_tensor(read_rgb(path)) for path in (row.image_path, row.reference_path))
        assert table["score"][index] == pytest.approx(measure.score(*pair).item(), rel=1e-4, abs=1e-6)


def test_progress_counts_every_image(ladder):
    seen = []
    evaluate_fr(create_measure("l1"), ladder, progress=lambda done, total, _: seen.append((done, total)))
    assert seen[-1] == (36, 36)


def test_non_finite_scores_are_rows_with_a_status(ladder, monkeypatch):
    measure = create_measure("l1")
    plain = measure._score
    monkeypatch.setattr(measure, "_score", lambda x, y: torch.where(plain(x, y) < 0.02, torch.nan, plain(x, y)))
    table = evaluate_fr(measure, ladder)
    bad = table["status"] != "ok"
    assert len(table) == 36
    assert 0 < bad.sum() < 36
    assert table["score"].isna().equals(bad)


def test_severity_grades_are_ranked_by_any_sound_measure(ladder):
    for key in ("gmsd", "dists-vgg16-r"):
        table = evaluate_fr(create_measure(key), ladder)
        for _, group in table.groupby(["reference", "distortion"]):
            assert group.sort_values("label")["score"].is_monotonic_increasing


def test_live_scores_equal_the_published_ones(tmp_path):
    """Real human-rated images: per-image scores against those published for these very pixels, and SRCC with DMOS."""
    if not LIVE.is_dir():
        pytest.skip("the LIVE subset is not beside the repository")
    with (LIVE / "live_subset.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))[::4]
    manifest = tmp_path / "manifest.csv"
    with manifest.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "reference", "distortion", "label", "label_kind", "label_higher_is_better"])
        for row in rows:
            writer.writerow([LIVE / row["file"], LIVE / row["ref"], row["dist_type"], row["dmos"], "dmos", "false"])
    dataset = FRDataset(manifest)
    psnr, fsim = (evaluate_fr(create_measure(key), dataset) for key in ("psnr", "fsim"))
    np.testing.assert_allclose(psnr["score"], [float(row["zsiqa_psnr"]) for row in rows], atol=2e-3)
    # The published column is half of 1 - FSIM.
    np.testing.assert_allclose((1 - fsim["score"]) / 2, [float(row["zsiqa_fsim"]) for row in rows], atol=1e-5)
    assert stats.spearmanr(-fsim["score"], fsim["label"]).statistic > 0.9  # type: ignore[attr-defined]


# --- judges ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pair(ladder):
    row = ladder.rows[1]
    return tuple(to_tensor(read_rgb(path)) for path in (row.image_path, row.reference_path))


def test_a_judge_is_its_measure_on_the_cropped_image(pair):
    judge = create_judge("psnr_y", scale=4)
    assert judge.spec.crop == 4
    inner = [x[..., 4:-4, 4:-4] for x in pair]
    assert judge.score(*pair).item() == create_measure("psnr_y").score(*inner).item()
    assert create_judge({"judge": "psnr_y", "crop": 0}, scale=4).score(*pair).item() != judge.score(*pair).item()


def test_preprocessing_is_part_of_a_judges_identity():
    identities = {parse_judge("ssim", scale=2).identity, parse_judge("ssim", scale=4).identity}
    assert len(identities) == 2
    assert parse_judge({"judge": "ssim", "crop": 4}, scale=2).identity in identities


def test_directions_and_families_are_the_measures():
    for key in ("gmsd", "psnr_y", "dists-vgg16-r"):
        judge, measure = create_judge(key, scale=4), create_measure(key)
        assert judge.lower_is_better == measure.lower_is_better
        assert judge.spec.families == measure.spec.families
        assert judge.spec.key == key


def test_no_reference_models_say_what_they_are_made_of():
    assert parse_judge("musiq", scale=4).families == {
        *("backbone:vit", "backbone:resnet", "form:nr-regression", "data:imagenet", "data:koniq-10k"),
    }
    assert parse_judge("brisque", scale=4).families == {"form:nr-scene-statistics", "data:live"}
    for key in NO_REFERENCE:
        assert any(family.startswith("form:nr-") for family in parse_judge(key, scale=4).families)
    with pytest.raises(LopsidedError, match="'vgg16' is not a family; write backbone:"):
        NoReferenceEntry(frozenset({"vgg16"}))


def test_every_no_reference_key_parses_and_takes_no_options():
    for key in NO_REFERENCE:
        assert parse_judge(key, scale=4).measure is None
        assert key in list_judges()
    with pytest.raises(ValidationError, match="takes no options"):
        parse_judge({"judge": "musiq", "options": {"backbone": "vgg16"}}, scale=4)


def test_learned_judges_without_weights_say_so(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))

    def unreachable(*_args, **_kwargs):  # the machine's network must not decide this test
        raise URLError("no network")

    monkeypatch.setattr("torch.hub.urlopen", unreachable)
    with pytest.raises(LopsidedError, match="cannot download the weights of 'musiq'"):
        create_judge("musiq", scale=4)


def test_images_too_small_after_cropping_are_refused(pair):
    with pytest.raises(JudgeError, match=r"needs sides of 48 px after cropping 10 px from each border, got 64×64"):
        create_judge({"judge": "vif", "crop": 10}, scale=4).score(*pair)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("psnr-y", "did you mean 'psnr_y'"),
        ({"judge": "dists", "options": {"backbon": "vgg16-r"}}, "did you mean 'backbone'"),
        ({"judge": "ssim", "crop": -1}, "greater than or equal to 0"),
    ],
)
def test_unknown_judges_suggest_the_nearest(value, message):
    with pytest.raises(ValidationError, match=message):
        parse_judge(value, scale=4)


def test_batches_judge_as_single_images(ladder):
    rows = ladder.rows[:4]
    images = torch.cat([to_tensor(read_rgb(row.image_path)) for row in rows])
    references = torch.cat([to_tensor(read_rgb(row.reference_path)) for row in rows])
    for key in ("nlpd", "fsim"):
        judge = create_judge(key, scale=4)
        together = judge.score(images, references)
        alone = [judge.score(images[i : i + 1], references[i : i + 1]).item() for i in range(4)]
        np.testing.assert_allclose(together, alone, rtol=1e-4)
