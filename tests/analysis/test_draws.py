"""Draws of random weights are one measure in every ranking, the mean of its draws."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pandas as pd
import pytest

from lopsided.analysis import StudyTables, analyse
from lopsided.analysis.asymmetry import compare_rankings, join
from lopsided.analysis.contrasts import contrast, weighted_contrast
from lopsided.analysis.draws import average_all, average_assessment, average_trained, name_means, summarise_draws
from lopsided.analysis.figures.style import family, pretty
from lopsided.analysis.gain import gains
from lopsided.analysis.power import needed_seeds
from lopsided.analysis.report.robustness import draw_blocks
from lopsided.analysis.result_tables import TABLES
from lopsided.analysis.statistics.assessment import assess
from lopsided.analysis.statistics.contrast import Estimate
from lopsided.analysis.statistics.variance_components import component
from lopsided.analysis.trained import trained_cells

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


def test_the_difference_in_srcc_has_the_jackknife_and_the_draws_in_its_error(study):
    mean = study.asymmetry.assessment.difference("ladder", MEAN, "nlpd")
    jackknife = study.assessment.mean_difference("ladder", DRAWS, ["nlpd"])
    of_draws = study.assessment.table.set_index("measure").loc[DRAWS, "srcc"].var(ddof=1) / 3
    assert (mean.value, mean.se) == pytest.approx((jackknife.value, (jackknife.se**2 + of_draws) ** 0.5))
    assert 2 <= mean.df < jackknife.df
    of_itself = study.asymmetry.assessment.difference("ladder", MEAN, MEAN)
    assert (of_itself.value, of_itself.se) == (0, 0)


def test_draws_are_in_the_error_of_a_gain(study):
    """The three true gains have a variance of 1.33, and those of seeds and images are far smaller."""
    trained = study.asymmetry.gains.trained["swinir_tiny"]
    weights = np.zeros(len(trained.keys))
    weights[[of.is_baseline for of in trained.keys].index(True)] = -1
    weights[[of.fidelity == MEAN for of in trained.keys].index(True)] = 1
    found, fixed = (weighted_contrast(of, weights).estimate for of in (trained, replace(trained, draws=[], _grids={})))
    single = [cell(study.gains, draw)["gain"] for draw in DRAWS]
    assert found.value == fixed.value
    assert found.draw_variance == pytest.approx(np.var(single, ddof=1) / 3)
    assert found.se**2 == pytest.approx(fixed.se**2 + np.var(single, ddof=1) / 3)
    assert 2 <= found.df < 3 < fixed.df
    assert fixed.draw_variance == pytest.approx(0, abs=1e-12)
    row = {"value": found.value, "n_seeds": found.n_seeds, "n_images": found.n_images, **found.columns("gain")}
    assert Estimate.of(row, "value", "gain").draw_variance == pytest.approx(found.draw_variance)
    assert needed_seeds(found, 1.0, 100) is None
    assert needed_seeds(fixed, 1.0, 100)


def test_each_gain_has_a_variance_of_its_own(study):
    """The mean of three unlike draws is far less sure than the others; differences have the sum of two variances."""
    trained, rows = study.asymmetry.gains.trained["swinir_tiny"], study.asymmetry.gains.table
    rows = rows[(rows["discriminator"] == "none") & (rows["fidelity"] != "none")]
    side = join(study.asymmetry.assessment, "ladder", rows, trained)
    judges = trained.panel(side.cells).judges
    found = dict(zip(side.measures, side.gain_variances(trained, judges), strict=True))
    assert found.pop(MEAN) > 20 * max(found.values())
    errors = [contrast(trained, [a], [b], judges).estimate.se ** 2 for a, b in combinations(side.cells, 2)]
    assert side.gain_variance(trained, judges) == pytest.approx(np.mean(errors) / 2)


def test_what_draws_share_in_two_settings_cancels_in_their_difference(study):
    trained = study.asymmetry.gains.trained["swinir_tiny"]
    a, b = (k for k, key in enumerate(trained.keys) if key.fidelity == MEAN)
    each = contrast(trained, [a], [trained.baseline]).estimate
    change = contrast(trained, [a], [b]).estimate
    assert change.draw_variance < each.draw_variance / 20


def test_draws_are_in_the_noise_of_spreads():
    """Without any other noise the noise of a group's mean is that of its draws, over the groups."""
    rng = np.random.default_rng(0)
    above = rng.normal(size=(3, 5))
    above -= above.mean(axis=0)
    above[:, 2:] = 0
    values = 1e-6 * rng.normal(size=(5, 4, 6)) + np.arange(5.0)[:, None, None]
    found = component(values, draws=[above])
    single = [of.var(ddof=1) / 3 for of in above.T]
    covariance = np.cov(above.T)[~np.eye(5, dtype=bool)].mean() / 3
    assert found.noise == pytest.approx(np.mean(single) - covariance, rel=1e-4)
    assert (found.df, component(values).df > 3) == (pytest.approx(2, rel=1e-3), True)
    assert found.low < component(values).low


def test_a_trend_that_rests_on_unlike_draws_is_not_established(tables):
    """Two draws train as well as the others, one trains badly: SD 6, and a mean of −3.5 that seeds do not move."""
    scores = tables.sr_scores.copy()
    moved = scores["fidelity"] == DRAWS[2]
    scores.loc[moved, "value"] += np.where(scores.loc[moved, "higher_is_better"], -1, 1) * 20.0
    study = analyse(replace(tables, sr_scores=scores), n_boot=50)
    assert not study.asymmetry.settings["trend_verdict"].isin(["established"]).any()
    gained = study.asymmetry.gains
    fixed = {name: replace(of, draws=[], _grids={}) for name, of in gained.trained.items()}
    before = compare_rankings(study.asymmetry.assessment, replace(gained, trained=fixed), each_judge=False)
    assert (before.settings["trend_verdict"] == "established").all()


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
    trained = trained_cells(one.sr_scores)
    assert average_all(trained) == trained
    assessment = assess(one.fr_scores, n_boot=50)
    assert average_assessment(assessment, {}) is assessment


def test_a_seed_that_one_draw_lost_is_lost_for_the_mean(tables, means):
    scores = tables.sr_scores
    lost = (scores["fidelity"] == DRAWS[1]) & (scores["seed"] == 2) & (scores["discriminator"] == "patch")
    cells = pd.DataFrame(columns=list(TABLES["cells"].columns))
    cells.loc[0, ["stage", "status", "generator", "fidelity", "discriminator", "gan_weight", "seed"]] = [
        *("finetune", "diverged", "swinir_tiny", DRAWS[1], "patch", 0.1, 2)
    ]
    found = gains(scores[~lost], cells, means=means)
    assert (cell(found, MEAN, "patch")["n_lost"], cell(found, MEAN, "patch")["lost"]) == (1, "1 diverged")
    assert cell(found, MEAN, "none")["n_lost"] == 0


def test_a_score_that_is_not_ok_is_not_ok_for_the_mean(tables, means):
    scores = tables.sr_scores.copy()
    bad = (scores["fidelity"] == DRAWS[2]) & (scores["seed"] == 0) & (scores["image"] == "img0")
    scores.loc[bad & (scores["judge"] == "niqe") & (scores["discriminator"] == "none"), ["value", "status"]] = [
        float("nan"),
        "not_finite",
    ]
    row = cell(gains(scores, means=means), MEAN)
    assert (row["judges_incomplete"], row["n_not_ok"]) == ("niqe", 1)


def test_cells_of_other_measures_are_not_touched(tables, means):
    trained = trained_cells(tables.sr_scores)["swinir_tiny"]
    averaged = average_trained(trained, means)
    assert averaged.keys == sorted(averaged.keys)
    for number, key in enumerate(averaged.keys):
        if key.fidelity != MEAN:
            np.testing.assert_array_equal(averaged.values[number], trained.values[trained.index(key)])
    gained = gains(tables.sr_scores, means=means).table.set_index("fidelity")["fidelity_id"]
    assert set(gained[[MEAN]]) == {"+".join(f"id-{draw}" for draw in DRAWS)}


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
    found = summarise_draws(assessment.table, gains(tables.sr_scores.head(0)).table, means)
    assert list(found["dataset"]) == ["ladder"]


def test_the_mean_has_a_name_for_people():
    assert pretty(MEAN) == "DISTS VGG-16-R (3 draws)"
    assert family(MEAN) == "DISTS"
