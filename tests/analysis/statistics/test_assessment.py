from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from lopsided.analysis.errors import AnalysisError
from lopsided.analysis.statistics.assessment import assess, holm
from lopsided.analysis.statistics.logistic import fit_logistic

SCIPY: dict[str, Any] = {"srcc": stats.spearmanr, "krcc": stats.kendalltau, "plcc": stats.pearsonr}


@pytest.fixture(scope="module")
def scores(synthetic_tables):
    return synthetic_tables.fr_scores()


@pytest.fixture(scope="module")
def found(scores):
    return assess(scores, n_boot=400)


def test_values_are_scipys_and_plus_means_agreement(scores, found):
    assert (found.table["status"] == "ok").all()
    for _, row in found.table.iterrows():
        of_measure = scores[scores["measure"] == row["measure"]]
        same = of_measure["higher_is_better"].iloc[0] == of_measure["label_higher_is_better"].iloc[0]
        sign = 1 if same else -1
        for name, independent in SCIPY.items():
            expected = sign * independent(of_measure["score"], of_measure["label"]).statistic
            assert row[name] == pytest.approx(expected, abs=1e-12)
            assert row[f"{name}_low"] < row[name] < row[f"{name}_high"]
        assert row["srcc"] > 0
    assert found.table["n"].eq(160).all()
    assert found.table["n_references"].eq(8).all()


def test_resamples_draw_whole_references(synthetic_tables):
    """Images copied within their reference add rows but no evidence: the interval must stay as it is."""
    scores = synthetic_tables.fr_scores({"a": 1.0})
    copies = [scores.assign(image=scores["image"] + str(copy)) for copy in range(4)]
    once, often = (assess(table, n_boot=400).table.iloc[0] for table in (scores, pd.concat(copies)))
    assert often["n"] == 4 * once["n"]
    for column in ("srcc_low", "srcc_high", "plcc_low", "plcc_high"):
        assert often[column] == pytest.approx(once[column], abs=1e-9)


def test_quality_order_is_recovered(synthetic_tables, found):
    quality = {key: quality for key, (_, quality) in synthetic_tables.MEASURES.items()}
    ordered = found.table.sort_values("srcc", ascending=False)["measure"].tolist()
    assert ordered == sorted(quality, key=lambda key: -quality[key])


def test_differences_are_paired(scores):
    """Two measures that differ by a hair on the same images: each interval is wide, that of the difference is not."""
    one = scores[scores["measure"] == "lpips-alexnet"]
    noise = np.random.default_rng(0).normal(0, 0.02, len(one))
    two = one.assign(measure="twin", measure_id="id-twin", score=one["score"] + noise)
    found = assess(pd.concat([one, two]), n_boot=400)
    own = (found.table["srcc_high"] - found.table["srcc_low"]).min()
    row = found.differences.iloc[0]
    assert row["difference_high"] - row["difference_low"] < 0.2 * own
    assert row["difference"] >= 0


def test_p_values_are_corrected_over_the_pairs(found):
    pairs = found.differences
    assert len(pairs) == 10
    np.testing.assert_allclose(pairs["p_holm"], holm(pairs["p"]))
    far = pairs[(pairs["measure_a"] == "dists-vgg16") & (pairs["measure_b"] == "dists-vgg16-r")].iloc[0]
    assert far["p_holm"] < 0.01
    assert far["win_probability"] == 1.0


def test_holm_by_hand():
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.5]), [0.04, 0.09, 0.09, 0.5])
    np.testing.assert_allclose(holm([0.6, 0.7]), [1.0, 1.0])
    assert holm([]).size == 0


def test_no_difference_is_found_between_equals(synthetic_tables):
    """The test of a difference holds its level: equal measures are told apart in about 5 % of data sets."""
    p = [
        assess(synthetic_tables.fr_scores({"a": 1.0, "b": 1.0}, seed=seed, references=12), n_boot=200).differences["p"][
            0
        ]
        for seed in range(40)
    ]
    assert np.mean(np.array(p) < 0.05) <= 0.15


def test_mapped_values_are_those_of_the_fits(scores, found):
    for _, row in found.table.iterrows():
        of_measure = scores[scores["measure"] == row["measure"]]
        up = {"score_higher_is_better": bool(of_measure["higher_is_better"].iloc[0]), "label_higher_is_better": False}
        four, five = (fit_logistic(of_measure["score"], of_measure["label"], n, **up) for n in (4, 5))
        assert row["plcc_logistic4"] == pytest.approx(four.plcc, abs=1e-9)
        assert row["plcc_logistic5"] == pytest.approx(five.plcc, abs=1e-9)
        assert row["rmse"] == pytest.approx(four.rmse, abs=1e-9)
        assert (row["logistic4_status"], row["logistic5_status"]) == (four.status, five.status)
        assert row["plcc_logistic4"] > row["plcc"] - 1e-3
    assert found.table[["outlier_ratio", "concordance"]].isna().all(axis=None)
    assert found.table["n_significant_pairs"].eq(0).all()


def test_unsure_labels_give_outliers_and_concordance(scores):
    """Levels 1 … 5 with an error of 0.4: only levels two apart or more are told apart (1.96 · √2 · 0.4 = 1.11)."""
    one = scores[scores["measure"] == "ms_ssim"].assign(label_std=0.8, votes=4, label_std_of="votes")
    row = assess(one, n_boot=50).table.iloc[0]
    label, score = one["label"].to_numpy(), one["score"].to_numpy()
    far = label[:, None] - label >= 2  # lower labels are better here
    expected = (((score[None, :] > score[:, None]) + 0.5 * (score[None, :] == score[:, None]))[far]).mean()
    assert row["n_significant_pairs"] == far.sum() == 6 * 32 * 32
    assert row["concordance"] == pytest.approx(expected)
    fit = fit_logistic(score, label, 4)
    assert row["outlier_ratio"] == (np.abs(fit(score) - label) > 0.8).mean()
    of_the_mean = assess(one.assign(label_std_of="mean"), n_boot=50).table.iloc[0]
    assert of_the_mean["n_significant_pairs"] == 3 * 32 * 32  # 1.96 · √2 · 0.8 = 2.2


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t.assign(label_std=t["label_std"].mask(t["reference"] == "ref0")), "20 of 160 labels have no"),
        (lambda t: t.assign(votes=t["votes"].mask(t["reference"] == "ref0")), "unknown for 20 of 160 labels"),
        (lambda t: t.assign(label_std_of=None), "label_std_of is unknown"),
        (lambda t: t.drop(columns=["label_std"]), "160 of 160 labels have no"),
    ],
)
def test_unknown_certainty_is_a_status_and_no_number(scores, change, said):
    one = scores[scores["measure"] == "ms_ssim"].assign(label_std=0.8, votes=4, label_std_of="votes")
    row = assess(change(one), n_boot=50).table.iloc[0]
    assert said in row["label_error_status"]
    assert np.isnan([row["concordance"], row["outlier_ratio"]]).all()
    assert np.isfinite(row["rmse"])


def test_ranks_over_references_are_friedmans(scores, found):
    def within(rows):
        return abs(SCIPY["srcc"](rows["score"], rows["label"]).statistic)

    by_reference = scores.groupby(["reference", "measure"])[["score", "label"]].apply(within).unstack()
    ranks = found.ranks[found.ranks["over"] == "references"].set_index("measure")
    expected = stats.friedmanchisquare(*by_reference.to_numpy().T)
    assert ranks["friedman_chi2"].unique() == pytest.approx(expected.statistic)
    assert ranks["friedman_p"].unique() == pytest.approx(expected.pvalue)
    means = by_reference.rank(axis=1, ascending=False).mean()
    pd.testing.assert_series_equal(ranks["mean_rank"].sort_index(), means.sort_index(), check_names=False)
    assert ranks["n_blocks"].eq(8).all()
    assert ranks["n_left_out"].eq(0).all()
    assert ranks["critical_difference"].unique() == pytest.approx(2.728 * np.sqrt(5 * 6 / (6 * 8)), rel=1e-3)


def test_ranks_over_data_sets_need_every_measure_on_two(synthetic_tables):
    sets = [
        synthetic_tables.fr_scores({"a": 3.0, "b": 1.0, "c": 0.3}, seed=seed, references=4).assign(
            dataset=f"set{seed}", dataset_id=f"id{seed}"
        )
        for seed in range(3)
    ]
    lost = sets[2].assign(status=sets[2]["status"].where(sets[2]["measure"] != "c", "non-finite"))
    lost.loc[lost["measure"] == "c", "score"] = np.nan
    found = assess(pd.concat([*sets[:2], lost]), n_boot=50)
    ranks = found.ranks[found.ranks["over"] == "data sets"].set_index("measure")
    assert ranks["mean_rank"].to_dict() == {"a": 1, "b": 2, "c": 3}
    assert ranks[["n_blocks", "n_left_out"]].drop_duplicates().to_numpy().tolist() == [[2, 1]]
    assert assess(sets[0], n_boot=50).ranks["over"].unique().tolist() == ["references"]


def test_a_reference_without_an_order_is_left_out_and_counted(scores):
    first = (scores["reference"] == "ref0") & (scores["measure"] == "ms_ssim")
    found = assess(scores.assign(score=scores["score"].mask(first, 0.0)), n_boot=50)
    assert found.ranks[["n_blocks", "n_left_out"]].drop_duplicates().to_numpy().tolist() == [[7, 1]]


def test_a_bad_or_missing_score_gives_a_status_and_no_value(scores):
    bad = scores.copy()
    bad.loc[bad.index[3], ["score", "status"]] = [np.nan, "non-finite"]
    bad = bad.drop(bad.index[bad["measure"] == "ms_ssim"][:2])
    table = assess(bad, n_boot=50).table.set_index("measure")
    assert table.loc["dists-vgg16", "status"] == "1 not ok of 160 scores"
    assert table.loc["ms_ssim", "status"] == "2 missing of 160 scores"
    values = ["srcc", "krcc", "plcc", "plcc_logistic4", "plcc_logistic5", "rmse"]
    assert table.loc[["dists-vgg16", "ms_ssim"], values].isna().all(axis=None)
    assert table.loc["ms_ssim", "logistic4_status"] == "2 missing of 160 scores"
    assert len(table) == 5
    assert assess(bad, n_boot=50).differences["measure_a"].isin(["dists-resnet50", "lpips-alexnet"]).all()


def test_a_constant_measure_gives_a_status(scores):
    flat = scores.assign(score=scores["score"].where(scores["measure"] != "ms_ssim", 0.5))
    assert assess(flat, n_boot=50).table.set_index("measure").loc["ms_ssim", "status"] == "all scores equal 0.5"


def test_one_reference_has_no_interval(synthetic_tables):
    table = assess(synthetic_tables.fr_scores(references=1), n_boot=50).table
    assert table["srcc"].notna().all()
    assert table["srcc_low"].isna().all()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: pd.concat([t, t.head(2)]), "2 repeated row"),
        (lambda t: t.assign(measure_id=t["measure_id"].where(t.index > 0, "other")), "2 values of measure_id"),
        (lambda t: t.assign(dataset_id=t["dataset_id"].where(t.index > 0, "other")), "2 values of dataset_id"),
        (lambda t: t.assign(label=t["label"].where(t.index > 0, 9.0)), "2 values of label"),
        (lambda t: t.assign(score=t["score"].where(t.index > 0, np.nan)), "status ok .* not finite"),
        (lambda t: t.assign(label_std=np.arange(len(t))), "5 values of label_std"),
        (lambda t: t.assign(label_std=-1.0, label_std_of="mean"), "160 of 160 label_std are below 0"),
    ],
)
def test_tables_that_contradict_themselves_are_refused(scores, change, said):
    with pytest.raises(AnalysisError, match=said):
        assess(change(scores), n_boot=10)


def test_same_seed_same_result_and_no_rows_no_error(scores, found):
    pd.testing.assert_frame_equal(assess(scores, n_boot=400).table, found.table)
    nothing = assess(scores.head(0))
    assert nothing.table.empty
    assert nothing.ranks.empty
