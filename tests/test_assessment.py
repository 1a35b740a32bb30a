from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from lopsided.analysis.assessment import assess, holm
from lopsided.analysis.errors import AnalysisError

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


def test_a_bad_or_missing_score_gives_a_status_and_no_value(scores):
    bad = scores.copy()
    bad.loc[bad.index[3], ["score", "status"]] = [np.nan, "non-finite"]
    bad = bad.drop(bad.index[bad["measure"] == "ms_ssim"][:2])
    table = assess(bad, n_boot=50).table.set_index("measure")
    assert table.loc["dists-vgg16", "status"] == "1 not ok of 160 scores"
    assert table.loc["ms_ssim", "status"] == "2 missing of 160 scores"
    assert table.loc[["dists-vgg16", "ms_ssim"], ["srcc", "krcc", "plcc"]].isna().all(axis=None)
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
    ],
)
def test_tables_that_contradict_themselves_are_refused(scores, change, said):
    with pytest.raises(AnalysisError, match=said):
        assess(change(scores), n_boot=10)


def test_same_seed_same_result_and_no_rows_no_error(scores, found):
    pd.testing.assert_frame_equal(assess(scores, n_boot=400).table, found.table)
    assert assess(scores.head(0)).table.empty
