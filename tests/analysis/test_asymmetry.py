from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from lopsided.analysis.asymmetry import compare_rankings
from lopsided.analysis.components import compare_spreads
from lopsided.analysis.errors import AnalysisError
from lopsided.analysis.gain import gains
from lopsided.analysis.inversions import CROSS, HOLM
from lopsided.analysis.statistics.assessment import assess
from lopsided.analysis.statistics.multiplicity import holm

spearmanr: Any = stats.spearmanr  # scipy does not declare what it returns
# One family each, and judges that are independent of them all.
MEASURES = {"dists-vgg16": "a", "dists-resnet50": "b", "dists-vgg16-r": "c", "lpips-alexnet": "d", "ms_ssim": "e"}


@pytest.fixture(scope="module")
def tables(synthetic_tables):
    return synthetic_tables.study_tables(seeds=3, images=12, noise=0.4, measures=MEASURES)


@pytest.fixture(scope="module")
def sides(tables):
    return assess(tables.fr_scores, n_boot=200), gains(tables.sr_scores)


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
        assert row["p_method"] == "exact"
        assert row["critical_rho"] == 1.0


def test_all_points_of_a_setting_are_judged_by_one_panel(sides, found):
    """The panel holds no judge that is related to any of the measures."""
    for row in found.settings.to_dict("records"):
        assert set(row["judges"].split(";")) == {
            "psnr_y",
            "ssim_y",
            "lpips-vgg16",
            "musiq",
            "niqe",
            "clipiqa",
            "maniqa",
        }
    by_judge = sides[1].by_judge.set_index(["fidelity", "discriminator", "judge"])["gain"]
    point = found.points[(found.points["measure"] == "ms_ssim") & (found.points["discriminator"] == "patch")].iloc[0]
    expected = by_judge.loc["ms_ssim", "patch"][of(found.settings, "patch")["judges"].split(";")].mean()
    assert point["gain"] == pytest.approx(expected)


def test_the_trend_is_the_line_through_ranks(found):
    for row in found.settings.to_dict("records"):
        points = found.points[found.points["discriminator"] == row["discriminator"]]
        slope = np.polyfit(stats.rankdata(points["srcc"]), points["gain"], 1)[0]
        assert row["trend"] == pytest.approx(4 * slope)
        assert row["trend_low"] < row["trend"] < row["trend_high"]
    assert list(found.settings["trend_p_holm"]) == pytest.approx(list(holm(found.settings["trend_p"])))
    verdicts = found.settings.set_index("discriminator")[["trend_verdict"]].join(
        found.settings.set_index("discriminator")["trend"]
    )
    assert verdicts.loc["none", "trend_verdict"] == verdicts.loc["patch", "trend_verdict"] == "established"
    assert verdicts.loc["none", "trend"] > 0 > verdicts.loc["patch", "trend"]


def test_known_inversions_are_recovered(found):
    """No discriminator: gains follow quality, nothing is inverted. Patch: they run against it."""
    assert of(found.settings, "none")["n_discordant"] == 0
    patch = found.pairs[found.pairs["discriminator"] == "patch"]
    surely = patch[patch["verdict"] == "established"]
    pairs = {tuple(pair) for pair in surely[["better_metric", "worse_metric"]].to_numpy()}
    assert {("dists-vgg16", "dists-vgg16-r"), ("ms_ssim", "dists-vgg16-r"), ("dists-vgg16", "lpips-alexnet")} <= pairs
    assert of(found.settings, "patch")["n_established"] == len(pairs)
    assert of(found.settings, "patch")["n_pairs"] == 10
    for _, pair in found.pairs.iterrows():
        assert pair["srcc_difference"] >= 0
        assert pair["discordant"] == (pair["gain_difference"] < 0)
        assert pair["p_corrected"] >= pair["p"]
    assert not found.pairs.loc[~found.pairs["discordant"], "verdict"].isin(["established"]).any()


def test_the_correction_hangs_on_the_number_of_references_alone(synthetic_tables, sides, found):
    assert set(found.pairs["correction"]) == {CROSS}  # eight references
    many = assess(synthetic_tables.fr_scores(references=12), n_boot=50)
    pairs = compare_rankings(many, sides[1]).pairs
    assert set(pairs["correction"]) == {HOLM}
    np.testing.assert_allclose(pairs["p_corrected"], holm(pairs["p"]))


def test_the_fall_of_rho_needs_intervals_that_do_not_overlap(synthetic_tables, found):
    assert set(found.changes["discriminator"]) == {"vanilla", "patch"}
    row = of(found.changes, "patch")
    assert row["rho_without"] == pytest.approx(of(found.settings, "none")["rho"])
    assert row["rho_with"] == pytest.approx(of(found.settings, "patch")["rho"])
    assert (row["verdict"] == "agree less") == (row["rho_without_low"] > row["rho_with_high"])
    assert row["trend_change"] == pytest.approx(
        of(found.settings, "patch")["trend"] - of(found.settings, "none")["trend"], abs=0.35
    )
    assert row["trend_change_p_holm"] < 0.05
    # The order turned round without noise on either side.
    exact = synthetic_tables.study_tables(seeds=3, images=12, noise=0.05, measures=MEASURES)
    qualities = dict(zip(MEASURES, (6.0, 3.0, 0.4, 1.2, 4.5), strict=True))
    sure = assess(synthetic_tables.fr_scores(qualities, references=40), n_boot=50)
    assert of(compare_rankings(sure, gains(exact.sr_scores)).changes, "patch")["verdict"] == "agree less"


def test_none_and_bicubic_are_no_measures(found):
    assert set(found.points["measure"]) == set(MEASURES)


def test_every_judge_is_compared_over_the_measures_it_is_independent_of(synthetic_tables, sides):
    """With the families of the synthetic tables, a VGG judge does not judge DISTS on VGG."""
    rows = compare_rankings(sides[0], gains(synthetic_tables.sr_scores(synthetic_tables.EFFECTS))).by_judge
    assert len(rows) == 3 * len(synthetic_tables.JUDGES)
    vgg = rows[(rows["judge"] == "lpips-vgg16") & (rows["discriminator"] == "patch")].iloc[0]
    # It shares VGG with one and LPIPS with the other.
    assert vgg["excluded"] == "dists-vgg16;lpips-alexnet"
    assert vgg["n"] == 3
    np.testing.assert_allclose(rows["trend_p_holm"], holm(rows["trend_p"]))


def test_no_common_judge_is_a_status(sides, tables):
    families = {"a": "x", "b": "y", "c": "z", "d": "x", "e": "y"}
    scores = tables.sr_scores.assign(
        fidelity_families=tables.sr_scores["fidelity_families"].replace(families),
        judge_families=tables.sr_scores["judge"].map(lambda judge: "xyz"[len(judge) % 3]),
    )
    found = compare_rankings(sides[0], gains(scores))
    assert set(found.settings["status"]) == {"no independent judge of all 5 measures"}
    assert found.settings["trend_p"].isna().all()
    assert found.pairs["p"].notna().any()


def test_different_ids_for_one_key_are_refused(sides):
    assessment, gained = sides
    table = assessment.table.assign(
        measure_id=assessment.table["measure_id"].where(assessment.table["measure"] != "ms_ssim", "older")
    )
    with pytest.raises(AnalysisError, match="ms_ssim: id older as a metric, id-ms_ssim as a fidelity term"):
        compare_rankings(replace(assessment, table=table), gained)


def test_measures_of_one_side_only_are_listed(synthetic_tables, sides):
    fr = synthetic_tables.fr_scores({"dists-vgg16": 3.0, "ms_ssim": 2.0, "lpips-alexnet": 1.0, "gmsd": 1.0})
    row = of(compare_rankings(assess(fr, n_boot=50), sides[1]).settings, "none")
    assert row["n"] == 3
    assert row["excluded"] == "dists-resnet50, dists-vgg16-r: not assessed; gmsd: not trained with"


def test_too_few_measures_is_a_status(synthetic_tables, sides):
    fr = synthetic_tables.fr_scores({"dists-vgg16": 3.0, "ms_ssim": 2.0})
    found = compare_rankings(assess(fr, n_boot=50), sides[1])
    assert (found.settings["status"] == "too few measures").all()
    assert (found.changes["status"] == "too few measures").all()
    assert found.settings["rho"].isna().all()
    assert (found.settings["n_pairs"] == 1).all()


def test_few_references_or_one_seed_are_no_test(synthetic_tables, sides):
    two = compare_rankings(assess(synthetic_tables.fr_scores(references=2), n_boot=50), sides[1])
    assert set(two.pairs["status"]) == {"too few references"}
    assert two.pairs["p"].isna().all()
    assert two.settings["rho"].notna().all()
    assert two.settings["rho_low"].isna().all()
    one = gains(synthetic_tables.sr_scores(synthetic_tables.EFFECTS, seeds=1, measures=MEASURES))
    found = compare_rankings(sides[0], one)
    assert set(found.pairs["status"]) == {"one seed"}
    assert set(found.settings["trend_verdict"]) == {"undecided"}
    assert found.settings["rho"].notna().all()


def test_two_seeds_never_establish(synthetic_tables, sides):
    two = gains(synthetic_tables.sr_scores(synthetic_tables.EFFECTS, seeds=2, images=12, noise=0.1, measures=MEASURES))
    found = compare_rankings(sides[0], two)
    assert (found.pairs["p_corrected"] < 0.05).any()
    assert set(found.pairs["verdict"]) <= {"suggested", "undecided"}
    assert set(found.settings["trend_verdict"]) <= {"suggested", "undecided"}


def test_rules_without_a_p_suggest_at_most_with_two_seeds(synthetic_tables):
    effects = {(m, d): e for m in synthetic_tables.MEASURES for d, e in (("none", 0), ("vanilla", 3), ("patch", 6))}
    spread = compare_spreads(gains(synthetic_tables.sr_scores(effects, seeds=2, images=12, measures=MEASURES)))
    assert set(spread["verdict"]) == {"setting dominates (suggested)"}
    exact = synthetic_tables.sr_scores(synthetic_tables.EFFECTS, seeds=2, images=12, noise=0.05, measures=MEASURES)
    qualities = dict(zip(MEASURES, (6.0, 3.0, 0.4, 1.2, 4.5), strict=True))
    sure = assess(synthetic_tables.fr_scores(qualities, references=40), n_boot=50)
    assert of(compare_rankings(sure, gains(exact)).changes, "patch")["verdict"] == "agree less (suggested)"


def test_a_measure_with_a_lost_seed_is_left_out_and_ranked_worst(tables, sides):
    scores = tables.sr_scores
    lost = (scores["fidelity"] == "dists-vgg16") & (scores["discriminator"] == "patch") & (scores["seed"] == 1)
    found = compare_rankings(sides[0], gains(scores[~lost]))
    row = of(found.settings, "patch")
    assert (row["n"], row["n_lost"]) == (4, 1)
    assert "dists-vgg16: lost seeds: 1" in row["excluded"]
    points = found.points[found.points["discriminator"] == "patch"].set_index("measure")
    srcc = sides[0].table.set_index("measure")["srcc"]
    gain = points["gain"].reindex(srcc.index).fillna(points["gain"].min() - 1)
    assert row["rho_lost_worst"] == pytest.approx(spearmanr(srcc, gain).statistic)
    pairs = found.pairs[(found.pairs["discriminator"] == "patch")]
    with_it = pairs.query("better_metric == 'dists-vgg16' or worse_metric == 'dists-vgg16'")
    assert set(with_it["n_lost"]) == {1}
    # What survives and what is trimmed must agree: the pair is never surer than with its survivors alone.
    whole = (
        compare_rankings(*sides)
        .pairs.set_index(["discriminator", "better_metric", "worse_metric"])["gain_p"]
        .sort_index()
    )
    unsure = np.abs(with_it["gain_p"].to_numpy(float) - 0.5)
    assert np.isfinite(unsure).all()
    assert unsure.max() < np.abs(np.asarray(whole.loc["patch", "dists-vgg16"], dtype=float) - 0.5).max()
    # The change of ρ is over the measures of both, so none is compared with five against four.
    assert of(found.changes, "patch")["n"] == 4


def test_spreads_have_their_noise_subtracted(sides, tables, synthetic_tables):
    gained = sides[1]
    row = compare_spreads(gained).iloc[0]
    assert (row["n_measures"], row["n_settings"], row["scope"]) == (5, 3, "all settings")
    table = gained.table[gained.table["fidelity"] != "none"]
    grid = table.pivot(index="fidelity", columns="discriminator", values="gain")
    # At this little noise the SDs of means are hardly more than those of the true values.
    assert row["sd_setting"] == pytest.approx(grid.mean(axis=0).std(), rel=0.15)
    nothing = compare_spreads(gains(synthetic_tables.sr_scores({}, seeds=3, images=12)))
    assert (nothing["sd_setting_low"] == 0).all()
    assert (nothing["verdict"] == "undecided").all()


def test_a_dominant_setting_is_found(synthetic_tables):
    effects = {(m, d): e for m in synthetic_tables.MEASURES for d, e in (("none", 0), ("vanilla", 3), ("patch", 6))}
    spread = compare_spreads(gains(synthetic_tables.sr_scores(effects, seeds=3, images=12, measures=MEASURES)))
    assert (spread["verdict"] == "setting dominates").all()
    assert (spread["ratio_low"] > 1).all()


def test_an_incomplete_measure_is_left_out_of_the_spreads_and_named(tables):
    scores = tables.sr_scores
    gone = (scores["fidelity"] == "ms_ssim") & (scores["discriminator"] == "patch")
    row = compare_spreads(gains(scores[~gone])).iloc[0]
    assert (row["n_measures"], row["n_settings"], row["left_out"]) == (4, 3, "ms_ssim")


def test_no_rows_no_error(sides):
    assessment, gained = sides
    nothing = compare_rankings(replace(assessment, table=assessment.table.head(0)), gained)
    assert nothing.settings.empty
    assert isinstance(nothing.pairs, pd.DataFrame)
