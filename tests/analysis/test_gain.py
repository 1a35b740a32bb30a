import numpy as np
import pandas as pd
import pytest

from lopsided.analysis.errors import AnalysisError
from lopsided.analysis.gain import gains
from lopsided.analysis.trained import BY_IMAGE, BY_SEED, BY_SEED_AND_IMAGE

ONE = {"dists-vgg16": "vgg16;dists"}


@pytest.fixture(scope="module")
def scores(synthetic_tables):
    return synthetic_tables.sr_scores(synthetic_tables.EFFECTS)


@pytest.fixture(scope="module")
def found(scores):
    return gains(scores)


def cell(table, fidelity, discriminator):
    return table[(table["fidelity"] == fidelity) & (table["discriminator"] == discriminator)].iloc[0]


def signed(scores):
    """Signed scores by cell and judge (rows), seed and image (columns), with pandas alone."""
    wide = scores[scores["fidelity"] != "bicubic"].assign(sign=lambda t: np.where(t["higher_is_better"], 1, -1))
    wide = wide.assign(signed=wide["value"] * wide["sign"])
    return wide.pivot_table(index=["fidelity", "discriminator", "judge"], columns=["seed", "image"], values="signed")


def test_every_cell_but_the_baseline_and_bicubic(found):
    assert len(found.table) == 17
    assert "bicubic" not in set(found.table["fidelity"])
    assert not ((found.table["fidelity"] == "none") & (found.table["discriminator"] == "none")).any()
    assert (found.table["status"] == "ok").all()


def test_gain_by_hand(scores, found):
    """The unit is the SD of the seed × image interaction of the pixel-only cell, here by the residuals of a fit."""
    wide = signed(scores)
    baseline = wide.loc[("none", "none")]
    unit = {}
    for judge, row in baseline.iterrows():
        table = row.unstack()
        rows, columns = (pd.get_dummies(np.indices(table.shape)[axis].ravel()).to_numpy(float) for axis in (0, 1))
        left = np.linalg.lstsq(np.hstack([rows, columns]), table.to_numpy().ravel(), rcond=None)
        residual = table.to_numpy().ravel() - np.hstack([rows, columns]) @ left[0]
        unit[judge] = np.sqrt((residual**2).sum() / ((2 - 1) * (6 - 1)))
    independent = set(unit) - {"dists-vgg16", "lpips-vgg16"}
    assert found.judges.set_index("judge")["unit"].to_dict() == pytest.approx(unit)
    difference = {judge: (wide.loc[("dists-vgg16", "patch", judge)] - baseline.loc[judge]).mean() for judge in unit}
    row = cell(found.table, "dists-vgg16", "patch")
    of = set(row["judges"].split(";"))
    assert of == independent
    assert row["gain"] == pytest.approx(np.mean([difference[judge] / unit[judge] for judge in of]), abs=1e-12)
    raw = found.by_judge.set_index(["fidelity", "discriminator", "judge"])["raw_gain"]
    assert raw.loc["dists-vgg16", "patch"].to_dict() == pytest.approx(difference)


def test_the_unit_does_not_hang_on_other_cells(scores, found):
    """One bad cell moved all other gains by a quarter when the unit was pooled over cells."""
    bad = scores.copy()
    bad.loc[(bad["fidelity"] == "ms_ssim") & (bad["discriminator"] == "patch"), "value"] *= 5
    again = gains(bad)
    keys = [(f, d) for f, d in zip(found.table["fidelity"], found.table["discriminator"], strict=True)]
    for fidelity, discriminator in keys:
        if (fidelity, discriminator) != ("ms_ssim", "patch"):
            one, two = (cell(each.table, fidelity, discriminator)["gain"] for each in (found, again))
            assert one == pytest.approx(two, abs=1e-12)


def test_lower_is_better_is_turned_round(found):
    rows = found.by_judge[
        (found.by_judge["fidelity"] == "dists-vgg16-r") & (found.by_judge["discriminator"] == "patch")
    ]
    assert (rows["gain"] > 0).all()  # by judges of both directions


@pytest.mark.parametrize(("seeds", "images"), [(2, 6), (4, 12)])
def test_a_gain_of_known_size_lies_in_its_interval(synthetic_tables, seeds, images):
    """Coverage over 60 studies; the truth is the effect by the unit that the study measured."""
    inside = 0
    for seed in range(60):
        scores = synthetic_tables.sr_scores(
            {("dists-vgg16", "none"): 0.7},
            settings=(("none", 0.0),),
            measures=ONE,
            seeds=seeds,
            images=images,
            seed=seed,
        )
        found = gains(scores)
        row, units = found.table.iloc[0], found.judges.set_index("judge")["unit"]
        sd = {judge: sd for judge, (_, _, sd) in synthetic_tables.JUDGES.items()}
        truth = 0.7 * np.mean([sd[judge] / units[judge] for judge in row["judges"].split(";")])
        inside += row["gain_low"] <= truth <= row["gain_high"]
    assert inside >= 54


def test_seeds_that_differ_widen_the_interval(synthetic_tables):
    scores = synthetic_tables.sr_scores({}, settings=(("none", 0.0),), measures=ONE, seeds=4, images=12)
    lucky = (scores["fidelity"] == "dists-vgg16") & (scores["seed"] % 2 == 0)
    sign = np.where(scores["higher_is_better"], 1, -1)
    sd = scores["judge"].map({judge: sd for judge, (_, _, sd) in synthetic_tables.JUDGES.items()})
    moved = scores.assign(value=scores["value"] + lucky * 2 * sign * sd)
    width = [(row["gain_high"] - row["gain_low"]) for row in (gains(t).table.iloc[0] for t in (scores, moved))]
    assert width[1] > 2 * width[0]


def test_one_seed_gives_no_interval_and_a_unit_that_says_so(synthetic_tables):
    scores = synthetic_tables.sr_scores({}, settings=(("none", 0.0),), measures=ONE, seeds=1, images=30)
    found = gains(scores)
    row = found.table.iloc[0]
    assert row["status"] == "one seed"
    assert np.isfinite(row["gain"])
    assert np.isnan([row["gain_low"], row["p"], row["p_holm"]]).all()
    assert set(found.judges["unit_of"]) == {BY_IMAGE}
    assert set(gains(synthetic_tables.sr_scores({}, seeds=3, images=1)).judges["unit_of"]) == {BY_SEED}
    assert set(gains(synthetic_tables.sr_scores({})).judges["unit_of"]) == {BY_SEED_AND_IMAGE}


def test_without_the_pixel_only_cell_there_is_no_gain_but_no_error(scores):
    baseline = (scores["fidelity"] == "none") & (scores["discriminator"] == "none")
    found = gains(scores[~baseline]).table
    assert (found["status"] == "no pixel-only cell to compare with").all()
    assert found["gain"].isna().all()


def test_a_lost_pixel_only_seed_costs_that_seed_of_every_gain(synthetic_tables):
    scores = synthetic_tables.sr_scores(synthetic_tables.EFFECTS, seeds=3)
    baseline = (scores["fidelity"] == "none") & (scores["discriminator"] == "none")
    found = gains(scores[~(baseline & (scores["seed"] == 1))]).table
    assert (found["n_seeds"] == 2).all()
    assert (found["n_lost"] == 0).all()
    assert found["gain_low"].notna().all()


def test_a_judge_with_a_bad_score_is_left_out_of_the_cell_and_named(scores):
    bad = scores.copy()
    where = (bad["fidelity"] == "ms_ssim") & (bad["discriminator"] == "patch") & (bad["judge"] == "musiq")
    bad.loc[where & (bad["image"] == "img0"), ["value", "status"]] = [np.nan, "non-finite"]
    found = gains(bad)
    row = cell(found.table, "ms_ssim", "patch")
    assert (row["judges_incomplete"], row["n_not_ok"], row["status"]) == ("musiq", 2, "ok")
    assert "musiq" not in row["judges"].split(";")
    assert (found.table["judges_incomplete"] == "musiq").sum() == 1
    assert found.judges.set_index("judge").loc["musiq", "n_not_ok"] == 2
    mean = found.means[(found.means["fidelity"] == "ms_ssim") & (found.means["discriminator"] == "patch")]
    assert mean.set_index("judge")["mean"].isna().sum() == 1


def test_missing_scores_of_a_judge_leave_it_out(scores):
    gone = (scores["fidelity"] == "ms_ssim") & (scores["judge"] == "niqe") & (scores["image"] == "img3")
    row = cell(gains(scores[~gone]).table, "ms_ssim", "patch")
    assert (row["judges_incomplete"], row["n_missing"]) == ("niqe", 2)


def test_a_lost_seed_is_counted_and_the_rest_is_used(scores):
    lost = (scores["fidelity"] == "ms_ssim") & (scores["discriminator"] == "patch") & (scores["seed"] == 1)
    cells = pd.DataFrame(
        [("finetune", "diverged", "swinir_tiny", "ms_ssim", "patch", 0.1, 1)],
        columns=["stage", "status", "generator", "fidelity", "discriminator", "gan_weight", "seed"],
    )
    row = cell(gains(scores[~lost], cells).table, "ms_ssim", "patch")
    assert (row["n_lost"], row["lost"], row["n_seeds"], row["n_missing"]) == (1, "1 diverged", 1, 0)
    assert row["status"] == "one seed"
    unexplained = cell(gains(scores[~lost]).table, "ms_ssim", "patch")
    assert (unexplained["n_lost"], unexplained["lost"]) == (1, "")


def test_a_cell_of_which_nothing_is_left_is_a_row(scores):
    lost = (scores["fidelity"] == "ms_ssim") & (scores["discriminator"] == "patch")
    cells = pd.DataFrame(
        [("finetune", "diverged", "swinir_tiny", "ms_ssim", "patch", 0.1, seed) for seed in (0, 1)],
        columns=["stage", "status", "generator", "fidelity", "discriminator", "gan_weight", "seed"],
    )
    found = gains(scores[~lost], cells).table
    assert len(found) == 17
    row = cell(found, "ms_ssim", "patch")
    assert (row["status"], row["n_lost"]) == ("no seed left: 2 diverged", 2)


def test_a_judge_without_spread_is_excluded_and_counted(scores):
    flat = scores.assign(value=scores["value"].where(scores["judge"] != "niqe", 4.2))
    found = gains(flat)
    assert found.judges.set_index("judge").loc["niqe", "status"] == "no spread"
    assert (found.table["judges_no_unit"] == "niqe").all()
    assert found.table["gain"].notna().all()


def test_no_independent_judge_no_gain(scores):
    alone = scores[scores["judge"].isin(["dists-vgg16", "lpips-vgg16"])]
    row = cell(gains(alone).table, "dists-vgg16", "none")
    assert row["status"] == "no independent judge"
    assert np.isnan(row["gain"])
    assert row["n_judges"] == 0


def test_a_measure_is_not_its_own_judge_even_without_families(scores):
    bare = scores.assign(judge_families="", fidelity_families="")
    row = cell(gains(bare).table, "dists-vgg16", "none")
    assert row["judges_related"] == "dists-vgg16"


def test_independence_is_by_backbone_and_form_and_can_be_relaxed(scores):
    named = scores.assign(
        fidelity_families=scores["fidelity"].map({"dists-vgg16": "backbone:vgg;form:dists"}).fillna(""),
        judge_families=scores["judge"]
        .map(
            {"lpips-vgg16": "backbone:vgg;form:lpips", "dists-vgg16": "backbone:vgg;form:dists", "psnr_y": "form:pixel"}
        )
        .fillna("form:other"),
    )
    related = {
        kinds: set(cell(gains(named, independence=kinds).table, "dists-vgg16", "none")["judges_related"].split(";"))
        for kinds in (("backbone", "form"), ("form",), ("backbone",), ())
    }
    # The pixel-only cell is a pixel measure's own kind.
    assert related["backbone", "form"] == {"dists-vgg16", "lpips-vgg16", "psnr_y"}
    assert related["form",] == {"dists-vgg16", "psnr_y"}
    assert related["backbone",] == {"dists-vgg16", "lpips-vgg16"}
    assert related[()] == {"dists-vgg16"}
    with pytest.raises(AnalysisError, match="independence by shape is not known: choose from backbone, form, data"):
        gains(named, independence=("shape",))


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
        gains(change(scores))


def test_generators_are_kept_apart_and_no_rows_is_no_error(synthetic_tables, scores, found):
    other = synthetic_tables.sr_scores({}, generator="rrdb", seed=9)
    both = gains(pd.concat([scores, other]))
    assert both.table.groupby("generator").size().to_dict() == {"rrdb": 17, "swinir_tiny": 17}
    assert cell(both.table[both.table["generator"] == "rrdb"], "dists-vgg16-r", "patch")["gain"] < 1
    assert gains(scores.head(0)).table.empty
    pd.testing.assert_frame_equal(gains(scores).table, found.table)


def test_a_gain_for_judges_like_these_is_trimmed_and_less_sure(found):
    """Six judges or more: the lowest and the highest fifth are left out, and judges count as random."""
    row = cell(found.table, "dists-vgg16-r", "patch")
    by_judge = found.by_judge.set_index(["fidelity", "discriminator", "judge"])["gain"].loc["dists-vgg16-r", "patch"]
    values = np.sort(by_judge[row["judges"].split(";")])
    assert len(values) >= 6
    assert row["general"] == pytest.approx(values[1:-1].mean())
    assert row["general_low"] < row["general"] < row["general_high"]
    left = [np.delete(values, k).mean() for k in range(len(values))]
    assert (row["without_one_low"], row["without_one_high"]) == pytest.approx((min(left), max(left)))
