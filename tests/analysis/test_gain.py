import numpy as np
import pandas as pd
import pytest

from lopsided.analysis.errors import AnalysisError
from lopsided.analysis.gain import CellKey, gains
from lopsided.analysis.no_reference import t_estimate
from lopsided.analysis.statistics.bootstrap import draw_counts, percentile_interval

ONE = {"dists-vgg16": "vgg16;dists"}


@pytest.fixture(scope="module")
def scores(synthetic_tables):
    return synthetic_tables.sr_scores(synthetic_tables.EFFECTS)


@pytest.fixture(scope="module")
def found(scores):
    return gains(scores, n_boot=500)


def cell(table, fidelity, discriminator):
    return table[(table["fidelity"] == fidelity) & (table["discriminator"] == discriminator)].iloc[0]


def test_every_cell_but_the_baseline_and_bicubic(found):
    assert len(found.table) == 17
    assert "bicubic" not in set(found.table["fidelity"])
    assert not ((found.table["fidelity"] == "none") & (found.table["discriminator"] == "none")).any()
    assert (found.table["status"] == "ok").all()


def test_gain_by_hand(scores, found):
    """Recomputed with pandas alone: signed difference, judge SD pooled within cells, mean over independent judges."""
    wide = scores[scores["fidelity"] != "bicubic"].assign(sign=lambda t: np.where(t["higher_is_better"], 1, -1))
    wide = wide.assign(signed=wide["value"] * wide["sign"])
    wide = wide.pivot_table(index=["fidelity", "discriminator", "judge"], columns=["seed", "image"], values="signed")
    baseline = wide.loc[("none", "none")]
    sums = {judge: [] for judge in baseline.index}
    difference = {}
    for key, row in wide.iterrows():
        if key[:2] != ("none", "none"):
            difference[key] = row - baseline.loc[key[2]]
            sums[key[2]].append(difference[key].var(ddof=1))
    sd = {judge: np.sqrt(np.mean(variances)) for judge, variances in sums.items()}
    independent = set(sd) - {"dists-vgg16", "lpips-vgg16"}
    expected = np.mean([difference["dists-vgg16", "patch", judge].mean() / sd[judge] for judge in independent])
    row = cell(found.table, "dists-vgg16", "patch")
    assert row["gain"] == pytest.approx(expected, abs=1e-12)
    assert row["judges_related"] == "dists-vgg16;lpips-vgg16"
    assert row["n_judges"] == 6


def test_lower_is_better_is_turned_round(found):
    rows = found.by_judge[
        (found.by_judge["fidelity"] == "dists-vgg16-r") & (found.by_judge["discriminator"] == "patch")
    ]
    assert (rows["gain"] > 0).all()  # by judges of both directions


def test_a_gain_of_known_size_lies_in_its_interval(synthetic_tables):
    """Coverage of a 95 % interval over 40 studies; few seeds, so a little less than 95 % is expected."""
    inside = 0
    for seed in range(40):
        scores = synthetic_tables.sr_scores(
            {("dists-vgg16", "none"): 0.7}, settings=(("none", 0.0),), measures=ONE, seeds=4, images=12, seed=seed
        )
        row = gains(scores, n_boot=300, seed=seed).table.iloc[0]
        # The judge SD is estimated too, which moves the truth by its own small error.
        inside += row["gain_low"] <= 0.7 <= row["gain_high"]
    assert inside >= 33


def test_no_gain_is_found_where_there_is_none(synthetic_tables):
    wrong = 0
    for seed in range(40):
        scores = synthetic_tables.sr_scores({}, settings=(("none", 0.0),), measures=ONE, seeds=4, images=12, seed=seed)
        row = gains(scores, n_boot=300).table.iloc[0]
        wrong += row["gain_low"] > 0 or row["gain_high"] < 0
    assert wrong <= 7


def test_seeds_that_differ_widen_the_interval(synthetic_tables):
    scores = synthetic_tables.sr_scores({}, settings=(("none", 0.0),), measures=ONE, seeds=4, images=12)
    lucky = (scores["fidelity"] == "dists-vgg16") & (scores["seed"] % 2 == 0)
    sign = np.where(scores["higher_is_better"], 1, -1)
    sd = scores["judge"].map({judge: sd for judge, (_, _, sd) in synthetic_tables.JUDGES.items()})
    moved = scores.assign(value=scores["value"] + lucky * 2 * sign * sd)
    width = [
        (row["gain_high"] - row["gain_low"]) for row in (gains(t, n_boot=300).table.iloc[0] for t in (scores, moved))
    ]
    assert width[1] > 2 * width[0]


def test_resamples_are_shared_by_cells(scores):
    """A cell that copies another one's scores differs from it by 0 in every resample."""
    copy = scores[(scores["fidelity"] == "ms_ssim") & (scores["discriminator"] == "none")]
    copy = copy.assign(fidelity="twin", fidelity_id="id-twin", cell=copy["cell"] + "twin")
    found = gains(pd.concat([scores, copy]), n_boot=100)
    one, two = (found.replicates[CellKey("swinir_tiny", key, "none", 0.0)] for key in ("ms_ssim", "twin"))
    np.testing.assert_array_equal(one, two)


def test_replicates_are_means_over_drawn_seeds_and_images(synthetic_tables):
    """With one seed, the replicates are those of an ordinary bootstrap of image means."""
    scores = synthetic_tables.sr_scores({}, settings=(("none", 0.0),), measures=ONE, seeds=1, images=30)
    found = gains(scores, n_boot=2000)
    replicates = found.replicates[CellKey("swinir_tiny", "dists-vgg16", "none", 0.0)]
    row = found.table.iloc[0]
    assert row["n_seeds"] == 1
    assert replicates.mean() == pytest.approx(row["gain"], abs=0.02)
    assert replicates.std() == pytest.approx(1 / np.sqrt(30 * row["n_judges"]), rel=0.35)


def test_missing_baseline_is_named(scores):
    baseline = (scores["fidelity"] == "none") & (scores["discriminator"] == "none")
    with pytest.raises(AnalysisError, match="generator swinir_tiny have no pixel-only score"):
        gains(scores[~baseline])
    gone = baseline & (scores["seed"] == 1) & (scores["image"] == "img2") & (scores["judge"] == "niqe")
    with pytest.raises(AnalysisError, match="seed 1, test_set tiny, image img2, judge niqe"):
        gains(scores[~gone])


def test_a_score_that_is_not_ok_is_counted_and_voids_the_gain(scores):
    bad = scores.copy()
    where = (bad["fidelity"] == "ms_ssim") & (bad["discriminator"] == "patch") & (bad["judge"] == "musiq")
    bad.loc[where & (bad["image"] == "img0"), ["value", "status"]] = [np.nan, "non-finite"]
    found = gains(bad, n_boot=50)
    row = cell(found.table, "ms_ssim", "patch")
    assert np.isnan(row["gain"])
    assert row["status"] == "2 not ok of 84 scores"
    assert row["n_not_ok"] == 2
    assert CellKey("swinir_tiny", "ms_ssim", "patch", 0.1) not in found.replicates
    assert found.table["status"].eq("ok").sum() == 16
    assert found.judges.set_index("judge").loc["musiq", "n_not_ok"] == 2
    mean = found.means[(found.means["fidelity"] == "ms_ssim") & (found.means["discriminator"] == "patch")]
    assert mean.set_index("judge")["mean"].isna().sum() == 1


def test_a_bad_baseline_score_counts_against_every_cell(scores):
    bad = scores.copy()
    where = (bad["fidelity"] == "none") & (bad["discriminator"] == "none") & (bad["judge"] == "musiq")
    bad.loc[where & (bad["image"] == "img0") & (bad["seed"] == 0), ["value", "status"]] = [np.nan, "non-finite"]
    found = gains(bad, n_boot=50)
    assert found.table["n_not_ok"].eq(1).all()
    assert found.table["gain"].isna().all()
    assert found.judges.set_index("judge").loc["musiq", "status"] == "no complete cell"


def test_a_lost_seed_is_counted_and_voids_the_gain(scores):
    lost = (scores["fidelity"] == "ms_ssim") & (scores["discriminator"] == "patch") & (scores["seed"] == 1)
    row = cell(gains(scores[~lost], n_boot=50).table, "ms_ssim", "patch")
    assert row["status"] == "42 missing of 84 scores"
    assert row["n_missing"] == 48
    assert np.isnan(row["gain"])


def test_a_judge_without_spread_is_excluded_and_counted(scores):
    flat = scores.assign(value=scores["value"].where(scores["judge"] != "niqe", 4.2))
    found = gains(flat, n_boot=50)
    assert found.judges.set_index("judge").loc["niqe", "status"] == "no spread"
    assert (found.table["judges_no_spread"] == "niqe").all()
    assert cell(found.table, "dists-vgg16", "none")["n_judges"] == 5
    assert found.table["gain"].notna().all()


def test_no_independent_judge_no_gain(scores):
    alone = scores[scores["judge"].isin(["dists-vgg16", "lpips-vgg16"])]
    row = cell(gains(alone, n_boot=50).table, "dists-vgg16", "none")
    assert row["status"] == "no independent judge"
    assert np.isnan(row["gain"])
    assert row["n_judges"] == 0


def test_a_measure_is_not_its_own_judge_even_without_families(scores):
    bare = scores.assign(judge_families="", fidelity_families="")
    row = cell(gains(bare, n_boot=50).table, "dists-vgg16", "none")
    assert row["judges_related"] == "dists-vgg16"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: pd.concat([t, t.tail(1)]), "1 repeated row"),
        (lambda t: t.assign(judge_id=t["judge_id"].where(t.index > 0, "other")), "2 values of judge_id"),
        (lambda t: t.assign(value=t["value"].where(t.index > 0, np.inf)), "status ok .* not finite"),
    ],
)
def test_tables_that_contradict_themselves_are_refused(scores, change, said):
    with pytest.raises(AnalysisError, match=said):
        gains(change(scores), n_boot=10)


def test_generators_are_kept_apart_and_no_rows_is_no_error(synthetic_tables, scores, found):
    other = synthetic_tables.sr_scores({}, generator="rrdb", seed=9)
    both = gains(pd.concat([scores, other]), n_boot=100)
    assert both.table.groupby("generator").size().to_dict() == {"rrdb": 17, "swinir_tiny": 17}
    assert cell(both.table[both.table["generator"] == "rrdb"], "dists-vgg16-r", "patch")["gain"] < 1
    assert gains(scores.head(0)).table.empty
    pd.testing.assert_frame_equal(gains(scores, n_boot=500).table, found.table)


@pytest.mark.parametrize(
    ("spread", "seeds", "plain", "widened", "both"),
    [
        (0.0, 2, (0.93, 1), (0.985, 1), (0.93, 0.99)),  # seeds alike: widening for them is waste
        (1.0, 2, (0.4, 0.75), (0.5, 0.82), (0.84, 1)),  # seeds unlike: and not enough
        (1.0, 5, (0.78, 0.92), (0.88, 0.98), (0.9, 1)),
    ],
)
def test_what_intervals_over_few_seeds_hold(spread, seeds, plain, widened, both):
    """Why gains are not widened for seeds: 200 simulations; benchmarks/resampling.py has the full ones."""
    rng, held = np.random.default_rng(0), np.zeros(3)
    for _ in range(200):
        values = rng.normal(0, spread, (seeds, 1)) + rng.normal(0, 0.5, 40) + rng.normal(0, 0.5, (seeds, 40))
        drawn = ((draw_counts(seeds, 300, rng) @ values) * draw_counts(40, 300, rng)).sum(axis=1) / values.size
        parts = [(float(values.mean(axis=a).var(ddof=1)) / n, n - 1) for a, n in ((0, 40), (1, seeds))]
        t = t_estimate(float(values.mean()), parts, 0.95)
        pairs = (percentile_interval(drawn), percentile_interval(drawn, n_clusters=seeds), (t.low, t.high))
        held += [low <= 0 <= high for low, high in pairs]
    for found, (low, high) in zip(held / 200, (plain, widened, both), strict=True):
        assert low <= found <= high
