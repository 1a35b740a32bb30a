"""No-reference models: correlations over splits, and tests between initialisations that keep what they promise."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from lopsided.analysis import figures
from lopsided.analysis.errors import AnalysisError
from lopsided.analysis.figures.no_reference_forest import model_name
from lopsided.analysis.no_reference import NO_SEED, Design, assess_nr, estimate
from lopsided.analysis.result_tables import SCHEMAS
from lopsided.analysis.statistics.assessment import holm

INITIALISATIONS = ("random", "pretrained", "discriminator", "zero-label")


@pytest.fixture(scope="module")
def scores(synthetic_tables):
    return synthetic_tables.nr_scores(stages=(0, 1))


@pytest.fixture(scope="module")
def found(scores):
    return assess_nr(scores)


def arm(table, kind, stage=None):
    chosen = table["stage"].isna() if stage is None else table["stage"] == stage
    return table[chosen & (table["initialisation"] == kind)].iloc[0]


def difference(found, a, b, stage=None):
    table = found.differences
    chosen = table["stage"].isna() if stage is None else table["stage"] == stage
    return table[chosen & (table["a"] == a) & (table["b"] == b)].iloc[0]


# --- values ---------------------------------------------------------------------------------------------------------


def test_every_value_of_a_split_is_scipys(scores, found):
    assert len(found.splits) == (3 * (2 + 2 + 1) + 2) * 6
    for row in found.splits.sample(20, random_state=0).to_dict("records"):
        of = scores[(scores["initialisation"] == row["initialisation"]) & (scores["split"] == row["split"])]
        of = of[of["stage"].isna() if pd.isna(row["stage"]) else of["stage"] == row["stage"]]
        of = of[of["seed"].isna() if pd.isna(row["seed"]) else of["seed"] == row["seed"]]
        assert (row["n"], row["n_references"]) == (len(of), 5)
        for name, independent in (("srcc", stats.spearmanr), ("krcc", stats.kendalltau), ("plcc", stats.pearsonr)):
            assert row[name] == pytest.approx(independent(of["score"], of["label"])[0], abs=1e-12)


def test_a_value_is_the_median_over_splits_of_means_over_seeds(found):
    for kind in INITIALISATIONS:
        row = arm(found.table, kind)
        splits = found.splits[(found.splits["initialisation"] == kind) & found.splits["stage"].isna()]
        for name in ("srcc", "krcc", "plcc"):
            assert row[name] == pytest.approx(splits.groupby("split")[name].mean().median())
            assert row[f"{name}_low"] < row[name] < row[f"{name}_high"] <= 1
        assert (row["n_splits"], row["n_seeds"], row["n_references"]) == (6, 1 if kind == "pretrained" else 2, 17)


def test_the_corrected_t_test_by_hand(scores):
    """One seed: difference, t = mean / √(s²·(1/J + n_test/n_train)), J − 1 degrees of freedom."""
    found = assess_nr(scores[(scores["seed"] != 1) & scores["stage"].isna()])
    row = difference(found, "discriminator", "random")
    wide = found.splits.pivot_table(index="split", columns="initialisation", values="srcc")
    d = wide["discriminator"] - wide["random"]
    se = np.sqrt(d.var(ddof=1) * (1 / 6 + 5 / 15))
    assert row["difference"] == pytest.approx(d.mean())
    assert row["p"] == pytest.approx(2 * stats.t.sf(abs(d.mean()) / se, 5))
    assert row["difference_high"] - d.mean() == pytest.approx(stats.t.ppf(0.975, 5) * se)
    assert row["p"] > stats.ttest_1samp(d, 0)[1]


def test_unknown_training_sets_err_towards_wide_intervals(scores, found):
    """17 of the 20 references are tested in some split, so 5/12 stands for 5/15."""
    unknown = assess_nr(scores.drop(columns="train_references"))
    row, known = (difference(of, "pretrained", "random") for of in (unknown, found))
    assert row["difference"] == known["difference"]
    assert row["difference_low"] < known["difference_low"]


def test_seeds_add_their_variance_by_hand():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(3, 8)) + 4 * rng.normal(size=(3, 1))
    design = Design({}, 0.25, None, 0, 0, True)
    splits = values.mean(axis=0).var(ddof=1) * (1 / 8 + 0.25)
    seeds = values.mean(axis=1).var(ddof=1) / 3
    freedom = (splits + seeds) ** 2 / (splits**2 / 7 + seeds**2 / 2)
    found = estimate(values, np.empty((3, 0)), design, 0.95)
    half = stats.t.ppf(0.975, freedom) * np.sqrt(splits + seeds)
    assert (found.value, found.low) == pytest.approx((values.mean(), values.mean() - half))
    assert freedom < 2.5  # seeds that differ leave little to go by, whatever the number of splits
    one = estimate(values[:1], np.empty((1, 0)), design, 0.95)
    assert one.high - one.low < found.high - found.low


# --- comparisons ----------------------------------------------------------------------------------------------------


def test_initialisations_of_one_model_are_compared_and_nothing_else(found):
    whole = found.differences[found.differences["stage"].isna()]
    assert sorted(zip(whole["a"], whole["b"], strict=True)) == [
        ("discriminator", "pretrained"),
        ("discriminator", "random"),
        ("pretrained", "random"),
        ("zero-label", "chance"),
        ("zero-label", "discriminator"),
    ]
    assert (whole["model"] == ["vgg16/linear"] * 3 + ["vgg16/zero-label", "vgg16/linear"]).all()
    probes = found.differences[found.differences["stage"] == 1]
    assert sorted(zip(probes["a"], probes["b"], strict=True)) == [
        ("discriminator", "pretrained"),
        ("discriminator", "random"),
        ("pretrained", "random"),
    ]


def test_effects_that_were_put_in_are_found(found):
    assert difference(found, "pretrained", "random")["difference_low"] > 0
    assert difference(found, "discriminator", "random")["difference_low"] > 0
    assert difference(found, "discriminator", "pretrained")["difference_high"] < 0
    assert difference(found, "zero-label", "discriminator")["difference"] < 0
    for stage in (None, 0):
        of = found.differences
        of = of[of["stage"].isna()] if stage is None else of[of["stage"].notna()]
        np.testing.assert_allclose(of["p_holm"], holm(of["p"]))


def test_discriminators_of_unlike_settings_are_unlike_sources(scores):
    other = scores[scores["initialisation"] == "discriminator"].assign(gan_weight=0.5, model_id="other")
    found = assess_nr(pd.concat([scores, other], ignore_index=True))
    rows = found.differences[(found.differences["a"] == "discriminator") & found.differences["stage"].isna()]
    assert sorted(zip(rows["gan_weight"], rows["b"], strict=True)) == [
        (0.0, "pretrained"),
        (0.0, "random"),
        (0.5, "pretrained"),
        (0.5, "random"),
    ]
    without = scores.drop(columns=["discriminator", "seed", "stage"])[scores["stage"].isna()]
    without = without[(without["initialisation"] != "random") | (without["model_id"] == "random0.0None")]
    found = assess_nr(without)
    assert (found.table["n_seeds"] == 1).all()
    assert set(found.table.loc[found.table["initialisation"] == "discriminator", "discriminator"]) == {"cell0", "cell1"}


def test_seeds_are_paired_with_their_own_twins(scores):
    """A seed that is easy for both is no difference; pairing seed 0 with seed 1 would make it one."""
    plain = scores[scores["stage"].isna() & scores["initialisation"].isin(["random", "discriminator"])]
    twin = plain[plain["initialisation"] == "random"]
    twin = twin.assign(initialisation="discriminator", source_cell=lambda t: "cell" + t["seed"].astype(str))
    found = assess_nr(pd.concat([plain[plain["initialisation"] == "random"], twin.assign(discriminator="patch")]))
    row = difference(found, "discriminator", "random")
    assert (row["difference"], row["difference_low"], row["difference_high"], row["p"]) == (0, 0, 0, 1)
    alone = assess_nr(plain[(plain["initialisation"] == "random") | (plain["seed"] == 1)])
    row = difference(alone, "discriminator", "random")
    assert (row["n_seeds"], row["n_unpaired_seeds"], row["status"]) == (1, 1, "ok")
    apart = plain[plain["seed"] == (plain["initialisation"] == "random").astype(int)]
    row = difference(assess_nr(apart), "discriminator", "random")
    assert row["status"] == "no seed in common"
    assert np.isnan(row["p"])


def test_two_datasets_are_two_families(scores):
    one = assess_nr(scores)
    two = assess_nr(pd.concat([scores, scores.assign(dataset="again")], ignore_index=True))
    np.testing.assert_allclose(
        two.differences.loc[two.differences["dataset"] == "rated", "p_holm"], one.differences["p_holm"]
    )


# --- one official split ---------------------------------------------------------------------------------------------


def test_one_split_is_resampled_by_reference(synthetic_tables):
    scores = synthetic_tables.nr_scores(splits=1, references=80, seeds=1)
    found = assess_nr(scores, n_boot=1000)
    row = difference(found, "pretrained", "random")
    assert row["difference_low"] > 0
    shuffled = scores.assign(reference=scores["image"])  # as if every image were a scene of its own
    iid = difference(assess_nr(shuffled, n_boot=1000), "pretrained", "random")
    assert row["difference"] == iid["difference"]
    assert row["difference_high"] - row["difference_low"] != pytest.approx(
        iid["difference_high"] - iid["difference_low"]
    )
    empty = assess_nr(scores.assign(reference=""), n_boot=1000)
    assert difference(empty, "pretrained", "random")["p"] == iid["p"]
    one = assess_nr(scores[scores["reference"] == scores["reference"].iloc[0]], n_boot=100)
    assert one.table["srcc"].notna().all()
    assert one.table["srcc_low"].isna().all()


def test_splits_that_test_the_same_images_have_no_interval(scores):
    same = scores[scores["split"] == "0"].drop(columns="train_references")
    found = assess_nr(pd.concat([same, same.assign(split="again")], ignore_index=True))
    assert found.table["srcc"].notna().all()
    assert found.table["srcc_low"].isna().all()
    assert found.differences["p"].isna().all()


# --- coverage -------------------------------------------------------------------------------------------------------


def simulated(rng, splits, references=40, images=4, features=6):
    """SRCC differences of two least-squares models of equal worth, ``(splits,)``."""
    offset = rng.normal(0, 0.7, (references, 1))
    label = (rng.normal(size=(references, images)) + offset).ravel()
    of = np.repeat(np.arange(references), images)
    seen = [label[:, None] + rng.normal(0, 2, (len(label), features)) for _ in range(2)]
    values = []
    for _ in range(splits):
        test = np.isin(of, rng.permutation(references)[: references // 5])
        found = []
        for x in seen:
            weights = np.linalg.lstsq(x[~test], label[~test], rcond=None)[0]
            found.append(stats.spearmanr(x[test] @ weights, label[test])[0])
        values.append(found[0] - found[1])
    return np.array(values)


def test_the_corrected_test_keeps_its_level_and_the_naive_one_does_not():
    """Two models of equal worth over 10 splits of 80 : 20; 200 simulations have a standard error of 1.5 % at 5 %."""
    design = Design({}, 0.25, None, 0, 0, True)
    rng, wrong, naive = np.random.default_rng(0), 0, 0
    for _ in range(200):
        values = simulated(rng, 10)
        wrong += estimate(values[None], np.empty((1, 0)), design, 0.95).p < 0.05
        naive += np.asarray(stats.ttest_1samp(values, 0))[1] < 0.05
    assert wrong / 200 < 0.09
    assert naive / 200 > 0.15


@pytest.mark.parametrize("seeds", [2, 5])
def test_intervals_over_few_seeds_cover(seeds):
    """Seeds that matter as much as splits do; the interval is of the mean over all seeds and splits."""
    design = Design({}, 0.25, None, 0, 0, True)
    rng, held, blind = np.random.default_rng(1), 0, 0
    for _ in range(300):
        shared = rng.normal(0, 0.2**0.5, (1, 1))  # splits correlate by n_test / n
        values = (
            shared + rng.normal(0, 0.8**0.5, (1, 10)) + rng.normal(0, 0.6, (seeds, 1)) + rng.normal(0, 0.3, (seeds, 10))
        )
        found = estimate(values, np.empty((seeds, 0)), design, 0.95)
        held += found.low <= 0 <= found.high
        one = estimate(values.mean(axis=0, keepdims=True), np.empty((1, 0)), design, 0.95)
        blind += one.low <= 0 <= one.high
    assert held / 300 > 0.92
    assert blind < held


# --- what is refused, and what gets a status ------------------------------------------------------------------------


def test_incomplete_rows_give_a_status_and_no_value(scores):
    bad = scores.copy()
    first = (bad["initialisation"] == "pretrained") & bad["stage"].isna() & (bad["split"] == "2")
    bad.loc[bad.index[first][:3], ["score", "status"]] = [np.nan, "non-finite"]
    gone = (bad["initialisation"] == "random") & (bad["seed"] == 1) & bad["stage"].isna() & (bad["split"] == "4")
    found = assess_nr(bad[~gone])
    assert arm(found.table, "pretrained")["status"] == "1 of 6 runs, first split 2: 3 not ok of 25 scores"
    assert arm(found.table, "random")["status"] == "1 of 12 runs, first seed 1, split 4: 25 missing of 25 scores"
    for kind in ("pretrained", "random"):
        assert np.isnan(arm(found.table, kind)["srcc"])
        row = difference(found, "discriminator", kind)
        assert row["status"].startswith(f"{kind}: 1 of ")
        assert np.isnan([row["difference"], row["p"], row["p_holm"]]).all()
    assert arm(found.table, "discriminator")["status"] == "ok"
    assert (found.table["status"] != "ok").sum() == 2
    constant = scores.assign(score=scores["score"].where(scores["initialisation"] != "random", 1.0))
    status = arm(assess_nr(constant).table, "random")["status"]
    assert status == "12 of 12 runs, first seed 0, split 0: all scores equal 1"


def test_tables_that_cannot_be_trusted_are_refused(scores):
    with pytest.raises(AnalysisError, match="repeated row"):
        assess_nr(pd.concat([scores, scores.head(1)]))
    with pytest.raises(AnalysisError, match="score that is not finite"):
        assess_nr(scores.assign(score=scores["score"].where(scores.index != 7)))
    with pytest.raises(AnalysisError, match="2 values of label_higher_is_better"):
        assess_nr(scores.assign(label_higher_is_better=scores.index % 2 == 0))
    with pytest.raises(AnalysisError, match="2 values of model_id"):
        assess_nr(scores.assign(model_id=(scores.index % 2).astype(str)))


def test_an_empty_table_gives_empty_tables():
    found = assess_nr(pd.DataFrame(columns=list(SCHEMAS["nr_scores"])))
    assert [len(table) for table in (found.splits, found.table, found.differences)] == [0, 0, 0]
    assert NO_SEED not in found.table.columns


def test_the_same_table_gives_the_same_numbers_in_any_order(scores):
    one, two = assess_nr(scores), assess_nr(scores.sample(frac=1, random_state=3))
    for name in ("splits", "table", "differences"):
        pd.testing.assert_frame_equal(getattr(one, name), getattr(two, name))


# --- the figure -----------------------------------------------------------------------------------------------------


def test_the_forest_shows_every_arm_under_its_model_and_says_why_one_has_no_value(scores):
    bad = scores.assign(
        status=scores["status"].where(scores["initialisation"] != "pretrained", "diverged"),
        score=scores["score"].where(scores["initialisation"] != "pretrained"),
    )
    weak = scores[scores["initialisation"] == "discriminator"].assign(gan_weight=0.5, model_id="weak")
    found = assess_nr(pd.concat([bad, weak], ignore_index=True))
    axis = figures.no_reference_forest(found.table, found.splits)
    assert [label.get_text() for label in axis.get_yticklabels()] == [
        "VGG-16, linear",
        "pretrained",
        "discriminator: patch VGG-16, weight 0",
        "discriminator: patch VGG-16, weight 0.5",
        "random",
        "VGG-16, zero label",
        "zero-label: patch VGG-16, weight 0",
    ]
    assert "6 of 6 runs, first split 0: 25 not ok of 25 scores" in [text.get_text() for text in axis.texts]
    dots = sorted(float(np.ravel(line.get_xdata())[0]) for line in axis.lines if line.get_marker() == "o")
    whole = found.table[found.table["stage"].isna()]
    assert dots == sorted(whole.loc[whole["status"] == "ok", "srcc"])
    ticks = [line for line in axis.lines if line.get_marker() == "|"]
    assert {np.size(line.get_xdata()) for line in ticks} == {6}
    empty = figures.no_reference_forest(found.table.head(0), found.splits)
    assert [text.get_text() for text in empty.texts] == ["no no-reference model was assessed"]


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("squeezenet1_1/linear-probe", "SqueezeNet 1.1, linear probe"),
        ("vgg16/fine-tuned+1a2b/first-3-stages", "VGG-16, fine tuned +1a2b, first 3 stages"),
        ("patch-vgg16-r/zero-label", "patch VGG-16-R, zero label"),
    ],
)
def test_models_are_named_as_people_write_them(key, name):
    assert model_name(key) == name
