from dataclasses import replace
from itertools import permutations
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from lopsided.analysis.asymmetry import compare_rankings, critical_rho, permutation_p
from lopsided.analysis.errors import AnalysisError
from lopsided.analysis.gain import CellKey, gains
from lopsided.analysis.statistics.assessment import assess

spearmanr: Any = stats.spearmanr  # scipy does not declare what it returns


@pytest.fixture(scope="module")
def sides(synthetic_tables):
    tables = synthetic_tables.study_tables(seeds=3, images=12)
    return assess(tables.fr_scores, n_boot=400), gains(tables.sr_scores, n_boot=400)


@pytest.fixture(scope="module")
def found(sides):
    return compare_rankings(*sides)


def of(table, discriminator):
    return table[table["discriminator"] == discriminator].iloc[0]


def test_rho_is_scipys_and_has_the_sign_put_in(found):
    for discriminator, rho in (("none", 1.0), ("vanilla", -0.5), ("patch", -0.9)):
        points = found.points[found.points["discriminator"] == discriminator]
        row = of(found.settings, discriminator)
        assert row["n"] == len(points) == 5
        assert row["rho"] == pytest.approx(spearmanr(points["srcc"], points["gain"]).statistic)
        assert row["rho"] == pytest.approx(rho, abs=0.21)
        assert row["rho_low"] <= row["rho"] <= row["rho_high"]
        assert row["p_method"] == "exact permutation"


def test_known_inversions_are_recovered(found):
    """No discriminator: gains follow quality, nothing is inverted. Patch: they run against it."""
    assert of(found.settings, "none")["n_discordant"] == 0
    patch = found.pairs[found.pairs["discriminator"] == "patch"]
    surely = {tuple(pair) for pair in patch.loc[patch["significant"], ["better_metric", "worse_metric"]].to_numpy()}
    assert {("dists-vgg16", "dists-vgg16-r"), ("ms_ssim", "dists-vgg16-r"), ("dists-vgg16", "lpips-alexnet")} <= surely
    assert of(found.settings, "patch")["n_significant"] == len(surely)
    assert of(found.settings, "patch")["n_pairs"] == 10
    # ms_ssim gained more than dists-vgg16 was made to: a discordant pair must be one in the data as well.
    for _, pair in found.pairs.iterrows():
        assert pair["srcc_difference"] >= 0
        assert pair["discordant"] == (pair["gain_difference"] < 0)


def test_an_inversion_is_sure_only_if_both_intervals_exclude_zero(synthetic_tables):
    tables = synthetic_tables.study_tables()
    found = compare_rankings(assess(tables.fr_scores, n_boot=400), gains(tables.sr_scores, n_boot=400)).pairs
    excluded = (found["srcc_difference_low"] > 0) & (found["gain_difference_high"] < 0)
    pd.testing.assert_series_equal(found["significant"], found["discordant"] & excluded, check_names=False)
    assert 0 < found["significant"].sum() < found["discordant"].sum()


def test_the_fall_of_rho_is_recovered(found):
    assert set(found.changes["discriminator"]) == {"vanilla", "patch"}
    row = of(found.changes, "patch")
    assert row["drop"] == pytest.approx(of(found.settings, "none")["rho"] - of(found.settings, "patch")["rho"])
    assert row["drop_low"] > 0
    assert row["probability"] > 0.99


def test_none_and_bicubic_are_no_measures(found):
    assert set(found.points["measure"]) == {
        "dists-vgg16",
        "dists-resnet50",
        "dists-vgg16-r",
        "lpips-alexnet",
        "ms_ssim",
    }


def test_different_ids_for_one_key_are_refused(sides):
    assessment, gained = sides
    table = assessment.table.assign(
        measure_id=assessment.table["measure_id"].where(assessment.table["measure"] != "ms_ssim", "older")
    )
    with pytest.raises(AnalysisError, match="ms_ssim: id older as a metric, id-ms_ssim as a fidelity term"):
        compare_rankings(replace(assessment, table=table), gained)


def test_unequal_resamples_are_refused(synthetic_tables, sides):
    with pytest.raises(AnalysisError, match="200, 400"):
        compare_rankings(assess(synthetic_tables.fr_scores(), n_boot=200), sides[1])


def test_measures_of_one_side_only_are_listed(synthetic_tables, sides):
    fr = synthetic_tables.fr_scores({"dists-vgg16": 3.0, "ms_ssim": 2.0, "lpips-alexnet": 1.0, "gmsd": 1.0})
    found = compare_rankings(assess(fr, n_boot=400), sides[1])
    row = of(found.settings, "none")
    assert row["n"] == 3
    assert "gmsd: not trained with" in row["excluded"]
    assert "dists-resnet50: not assessed" in row["excluded"]


def test_too_few_measures_is_a_status(synthetic_tables, sides):
    found = compare_rankings(
        assess(synthetic_tables.fr_scores({"dists-vgg16": 3.0, "ms_ssim": 2.0}), n_boot=400), sides[1]
    )
    assert (found.settings["status"] == "too few measures").all()
    assert (found.changes["status"] == "too few measures").all()
    assert found.settings["rho"].isna().all()
    assert (found.settings["n_pairs"] == 1).all()


def test_a_cell_without_gain_leaves_its_measure_out(synthetic_tables, sides):
    tables = synthetic_tables.study_tables(seeds=3, images=12)
    scores = tables.sr_scores
    where = (scores["fidelity"] == "ms_ssim") & (scores["discriminator"] == "patch") & (scores["judge"] == "niqe")
    scores.loc[where, ["value", "status"]] = [np.nan, "non-finite"]
    found = compare_rankings(sides[0], gains(scores, n_boot=400))
    assert of(found.settings, "patch")["n"] == 4
    assert "ms_ssim: 36 not ok" in of(found.settings, "patch")["excluded"]
    # The change of rho is over the measures of both, so none is compared with five against four.
    assert of(found.changes, "patch")["n"] == 4


@pytest.mark.parametrize("n", [4, 5, 6])
def test_exact_p_equals_enumeration_by_scipy(n):
    rng = np.random.default_rng(n)
    a, o = rng.normal(size=n), rng.integers(0, 3, n).astype(float)  # ties on one side
    o[0], o[1] = 0, 1
    observed = spearmanr(a, o).statistic
    null = [abs(spearmanr(a, np.array(order)).statistic) for order in permutations(o)]
    p, method = permutation_p(a, o)
    assert method == "exact permutation"
    assert p == pytest.approx(np.mean(np.array(null) >= abs(observed) - 1e-9))


def test_beyond_eight_measures_the_t_approximation_is_scipys():
    rng = np.random.default_rng(0)
    a, o = rng.normal(size=10), rng.normal(size=10)
    p, method = permutation_p(a, o)
    assert method == "t approximation"
    assert p == pytest.approx(spearmanr(a, o).pvalue)


def test_critical_rho():
    assert critical_rho(6) == pytest.approx(0.886, abs=5e-4)
    assert critical_rho(5) == 1.0
    assert np.isnan(critical_rho(4))
    assert np.isnan(critical_rho(2))
    assert critical_rho(8) == pytest.approx(0.738, abs=5e-4)
    assert spearmanr(range(12), range(12)).statistic > critical_rho(12) == pytest.approx(0.576, abs=5e-4)


def test_spread_by_hand(sides, found):
    table = sides[1].table
    grid = table[table["fidelity"] != "none"].pivot(index="fidelity", columns="discriminator", values="gain")
    row = found.spread[found.spread["scope"] == "all settings"].iloc[0]
    assert row["sd_fidelity"] == pytest.approx(np.sqrt((grid.std(axis=0) ** 2).mean()))
    assert row["sd_setting"] == pytest.approx(np.sqrt((grid.std(axis=1) ** 2).mean()))
    assert row["ratio"] == pytest.approx(row["sd_setting"] / row["sd_fidelity"])
    assert (row["n_fidelities"], row["n_settings"]) == (5, 3)
    assert row["ratio_low"] <= row["ratio"] <= row["ratio_high"]


def test_spread_finds_what_matters(synthetic_tables):
    effects = {(m, d): e for m in synthetic_tables.MEASURES for d, e in (("none", 0), ("vanilla", 3), ("patch", 6))}
    spread = compare_rankings(
        assess(synthetic_tables.fr_scores(), n_boot=100), gains(synthetic_tables.sr_scores(effects), n_boot=100)
    ).spread
    assert (spread["ratio_low"] > 2).all()
    assert (spread["probability"] == 1).all()


def test_replicates_of_the_two_sides_are_drawn_apart(synthetic_tables):
    """As many references as images must not make both sides draw the same counts."""
    fr = assess(synthetic_tables.fr_scores(references=6), n_boot=500).replicates["ladder", "ms_ssim"]
    sr = gains(synthetic_tables.sr_scores({}, seeds=1, images=6), n_boot=500).replicates
    assert abs(np.corrcoef(fr, sr[CellKey("swinir_tiny", "ms_ssim", "none", 0.0)])[0, 1]) < 0.15


def test_no_rows_no_error(sides):
    assessment, gained = sides
    nothing = compare_rankings(replace(assessment, table=assessment.table.head(0)), gained)
    assert nothing.settings.empty
    assert isinstance(nothing.pairs, pd.DataFrame)
