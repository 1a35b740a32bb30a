"""Draws of random weights are one measure in every ranking, the mean of its draws."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from lopsided.analysis import StudyTables, analyse
from lopsided.analysis.draws import average_assessment, average_cells, average_scores, name_means, summarise_draws
from lopsided.analysis.figures.style import family, pretty
from lopsided.analysis.gain import gains
from lopsided.analysis.report.robustness import draw_blocks
from lopsided.analysis.result_tables import TABLES
from lopsided.analysis.statistics.assessment import assess

DRAWS = ["dists-vgg16-r", "dists-vgg16-r@seed1", "dists-vgg16-r@seed2"]
MEAN = "dists-vgg16-r@3draws"
OTHERS = ["ms_ssim", "nlpd", "gmsd"]
SETTINGS = (("none", 0.0), ("patch", 0.1))
CELL = ["fidelity", "discriminator"]


@pytest.fixture(scope="module")
def tables(synthetic_tables):
    gained = {**dict.fromkeys(DRAWS, -1.0), "ms_ssim": 0.5, "nlpd": 0.0, "gmsd": 1.0}
    gained["dists-vgg16-r@seed2"] = -3.0
    fr = {**dict.fromkeys(DRAWS, 0.5), "ms_ssim": 2.0, "nlpd": 3.0, "gmsd": 1.0}
    effects = {(key, name): value for key, value in gained.items() for name, _ in SETTINGS}
    judges = {"musiq": ("musiq", True, 3.0), "niqe": ("niqe", False, 0.3), "maniqa": ("vit", True, 0.04)}
    families = {key: "form:dists" if key in DRAWS else f"form:{key}" for key in gained}
    return StudyTables(
        fr_scores=synthetic_tables.fr_scores(fr, references=6),
        sr_scores=synthetic_tables.sr_scores(
            effects, settings=SETTINGS, measures=families, judges=judges, seeds=3, images=6, noise=0.3
        ),
    )


@pytest.fixture(scope="module")
def means(tables):
    return name_means(tables.sr_scores["fidelity"], tables.fr_scores["measure"])


@pytest.fixture(scope="module")
def study(tables):
    return analyse(tables, n_boot=50)


def cell(gained, fidelity, discriminator="none"):
    found = gained.table
    return found[(found["fidelity"] == fidelity) & (found["discriminator"] == discriminator)].iloc[0]


def test_three_draws_are_one_measure_in_everything_that_ranks(study):
    found = {MEAN, *OTHERS}
    compared = study.asymmetry
    assert set(compared.points["measure"]) == found
    assert set(compared.settings["n"]) == set(compared.changes["n"]) == set(study.spreads["n_measures"]) == {4}
    assert set(compared.by_judge["n"]) == {4}
    assert len(compared.pairs) == 2 * 6
    influence = study.parts["influence"]
    assert set(influence.loc[influence["of"] == "measure", "left_out"]) == found
    assert set(study.parts["rank_probabilities"]["measure"]) == found
    assert set(study.parts["inversion_probabilities"]["first"]) == found
    assert not compared.settings["excluded"].any()


def test_cells_and_metrics_themselves_stay_draw_by_draw(study):
    assert set(study.gains.table["fidelity"]) == {"none", *DRAWS, *OTHERS}
    assert set(study.assessment.table["measure"]) == {*DRAWS, *OTHERS}


def test_gain_and_srcc_are_the_mean_over_draws(study):
    for discriminator, _ in SETTINGS:
        single = [cell(study.gains, draw, discriminator)["gain"] for draw in DRAWS]
        assert cell(study.asymmetry.gains, MEAN, discriminator)["gain"] == pytest.approx(np.mean(single))
    table = study.assessment.table.set_index("measure")["srcc"]
    point = study.asymmetry.points.set_index("measure").loc[MEAN].iloc[0]
    assert point["srcc"] == pytest.approx(table[DRAWS].mean())
    assert point["srcc_low"] <= point["srcc"] <= point["srcc_high"]


def test_the_difference_in_srcc_keeps_its_jackknife(study):
    mean = study.asymmetry.assessment.difference("ladder", MEAN, "nlpd")
    each = study.assessment.mean_difference("ladder", DRAWS, ["nlpd"])
    assert (mean.value, mean.se) == pytest.approx((each.value, each.se))


def test_the_spread_between_draws_is_shown(study):
    found = study.parts["draws"]
    assert list(found["side"]) == ["metric", "objective", "objective"]
    objective = found[found["discriminator"] == "patch"].iloc[0]
    single = [cell(study.gains, draw, "patch")["gain"] for draw in DRAWS]
    assert objective["sd"] == pytest.approx(np.std(single, ddof=1))
    assert (objective["lowest"], objective["highest"]) == pytest.approx((min(single), max(single)))
    assert len(draw_blocks(found)) == 1


def test_a_single_draw_is_left_as_it_is(tables):
    one = replace(tables, sr_scores=tables.sr_scores[~tables.sr_scores["fidelity"].isin(DRAWS[1:])])
    assert name_means(one.sr_scores["fidelity"], one.fr_scores["measure"]) == {}
    assert average_scores(one.sr_scores, {}) is one.sr_scores
    assessment = assess(one.fr_scores, n_boot=50)
    assert average_assessment(assessment, {}) is assessment


def test_a_seed_that_one_draw_lost_is_lost_for_the_mean(tables, means):
    scores = tables.sr_scores
    lost = (scores["fidelity"] == DRAWS[1]) & (scores["seed"] == 2) & (scores["discriminator"] == "patch")
    cells = pd.DataFrame(columns=list(TABLES["cells"].columns))
    cells.loc[0, ["stage", "status", "generator", "fidelity", "discriminator", "gan_weight", "seed"]] = [
        *("finetune", "diverged", "swinir_tiny", DRAWS[1], "patch", 0.1, 2)
    ]
    found = gains(average_scores(scores[~lost], means), average_cells(cells, means))
    assert (cell(found, MEAN, "patch")["n_lost"], cell(found, MEAN, "patch")["lost"]) == (1, "1 diverged")
    assert cell(found, MEAN, "none")["n_lost"] == 0


def test_a_score_that_is_not_ok_is_not_ok_for_the_mean(tables, means):
    scores = tables.sr_scores.copy()
    bad = (scores["fidelity"] == DRAWS[2]) & (scores["seed"] == 0) & (scores["image"] == "img0")
    scores.loc[bad & (scores["judge"] == "niqe") & (scores["discriminator"] == "none"), ["value", "status"]] = [
        float("nan"),
        "not_finite",
    ]
    averaged = average_scores(scores, means)
    assert averaged.loc[averaged["status"] != "ok", CELL].to_numpy().tolist() == [[MEAN, "none"]]
    assert cell(gains(averaged), MEAN)["judges_incomplete"] == "niqe"


def test_scores_of_other_measures_are_not_touched(tables, means):
    averaged = average_scores(tables.sr_scores, means)
    kept = tables.sr_scores[~tables.sr_scores["fidelity"].isin(DRAWS)].reset_index(drop=True)
    pd.testing.assert_frame_equal(averaged.head(len(kept)), kept)
    rest = averaged.iloc[len(kept) :]
    assert len(rest) == (tables.sr_scores["fidelity"] == DRAWS[0]).sum()
    assert set(rest["fidelity_id"]) == {"+".join(f"id-{draw}" for draw in DRAWS)}


def test_a_set_that_lacks_a_draw_has_no_mean(tables, means):
    scores = tables.fr_scores
    other = scores[scores["measure"] != DRAWS[2]].assign(dataset="other", dataset_id="id-other")
    found = average_assessment(assess(pd.concat([scores, other]), n_boot=50), means).table
    assert MEAN in set(found.loc[found["dataset"] == "ladder", "measure"])
    assert set(found.loc[found["dataset"] == "other", "measure"]) == set(OTHERS)


def test_a_draw_without_an_srcc_says_so_for_the_mean(tables, means):
    scores = tables.fr_scores.copy()
    scores.loc[(scores["measure"] == DRAWS[1]) & (scores.index % 7 == 0), ["score", "status"]] = [np.nan, "not_finite"]
    found = average_assessment(assess(scores, n_boot=50), means)
    status = found.table.set_index("measure").loc[MEAN, "status"]
    assert str(status).startswith(f"{DRAWS[1]}: ")
    assert ("ladder", MEAN) not in found.leave_one_out


def test_the_summary_leaves_out_sets_without_draws(tables, means):
    scores = tables.fr_scores
    other = scores[scores["measure"] == "ms_ssim"].assign(dataset="other", dataset_id="id-other")
    assessment = assess(pd.concat([scores, other]), n_boot=50)
    found = summarise_draws(assessment, gains(tables.sr_scores.head(0)), means)
    assert list(found["dataset"]) == ["ladder"]


def test_the_mean_has_a_name_for_people():
    assert pretty(MEAN) == "DISTS VGG-16-R (mean of 3 draws)"
    assert family(MEAN) == "DISTS"
