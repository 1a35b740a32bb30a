"""Metrics of multimodal LLMs: published numbers, scipy and closed forms; counts that add up whatever fails."""

import gzip
import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from support.paths import SHARED

from lopsided.analysis.errors import AnalysisError
from lopsided.analysis.statistics import where
from lopsided.common.errors import LopsidedError
from lopsided.mllm.benchmarks.questions import reply
from lopsided.mllm.item import Item
from lopsided.mllm.metrics.choices import choice_accuracy
from lopsided.mllm.metrics.contexts import (
    DESTINATIONS,
    answer_entropy,
    context_accuracy,
    drift,
    entropy,
    paired_drop,
    read_answers,
    retention,
)
from lopsided.mllm.metrics.intervals import Bootstrap, ratio
from lopsided.mllm.metrics.ratings import AS_MEAN, AS_WORST, READINGS, VALID, domain_averages, rating_metrics
from lopsided.mllm.metrics.statuses import status_shares
from lopsided.mllm.table import join_items

OUTPUTS = SHARED / "mllm" / "qbench_iqa_outputs"
FEW = Bootstrap(n_boot=200)
# SRCC and PLCC that Q-Bench's own notebook printed for these very outputs.
PUBLISHED = {
    ("llava_v1.5", "koniq"): (0.448, 0.460),
    ("llava_v1.5", "livec"): (0.445, 0.481),
    ("llava_v1.5", "agi"): (0.664, 0.754),
    ("qwen-vl", "livec"): (0.504, 0.532),
    ("qwen-vl", "agi"): (0.617, 0.686),
    ("internlm_xcomposer_vl", "livec"): (0.619, 0.678),
    ("internlm_xcomposer_vl", "agi"): (0.734, 0.777),
    ("clip_vit_l14", "livec"): (0.307, 0.308),
    ("clip_vit_l14", "agi"): (0.436, 0.458),
}


def results(items, outcomes, scorer="s", higher_is_better=True):
    """The rows that a run leaves: one per item, each outcome a dict of value, choice, status and raw."""
    rows = []
    for item, outcome in zip(items, outcomes, strict=True):
        empty = {"value": None, "choice": None, "status": "ok", "raw": ""}
        names = {
            "scorer": scorer,
            "scorer_id": f"{scorer}-id",
            "benchmark": item.benchmark,
            "dimension": item.dimension,
        }
        rows.append(
            {**names, "item": item.id, "reference": item.cluster, "target": item.target}
            | {"higher_is_better": higher_is_better}
            | empty
            | outcome
        )
    return pd.DataFrame(rows)


def rated(targets, *, references=None, dimension="IQA", benchmark="b", higher_is_better=True):
    references = references or [""] * len(targets)
    return [
        Item(
            benchmark=benchmark,
            dimension=dimension,
            id=str(n),
            task="rate",
            images=(Path(f"{n}.png"),),
            target=target,
            reference=reference,
            higher_is_better=higher_is_better,
        )
        for n, (target, reference) in enumerate(zip(targets, references, strict=True))
    ]


def ratings(items, values, **more):
    """The joined table; None is a refusal."""
    outcomes = [{"value": v} if v is not None else {"status": "refused"} for v in values]
    return join_items(results(items, outcomes, **more), items)


def only(table, **equal):
    for column, value in equal.items():
        table = table[table[column] == value]
    assert len(table) == 1
    return table.iloc[0]


# ------------------------------------------------------------------------------------------------------------- ratings
@pytest.mark.skipif(not OUTPUTS.is_dir(), reason="Q-Bench's published outputs are not here")
@pytest.mark.parametrize(("model", "name"), PUBLISHED)
def test_published_correlations_are_reproduced(model, name):
    text = gzip.decompress((OUTPUTS / model / f"{name}.jsonl.gz").read_bytes()).decode()
    entries = json.loads("[" + text.replace("}{", "},{") + "]")
    items = rated([float(entry["gt_score"]) for entry in entries])
    good, poor = (np.array([entry[f"logit_{word}"] for entry in entries]) for word in ("good", "poor"))
    table = ratings(items, list(1 / (1 + np.exp((poor - good) / 100))))
    row = only(rating_metrics(table, bootstrap=Bootstrap(n_boot=2)), reading=VALID)
    assert (row["n"], row["n_valid"], row["status"]) == (len(entries), len(entries), "ok")
    srcc, plcc = PUBLISHED[model, name]
    # InternLM says 23 different things, multiples of 0.5: in the published numbers rounding errors of the softmax
    # break those ties.
    tied = len(set(good - poor)) < 30
    assert row["srcc"] == pytest.approx(srcc, abs=2e-3 if tied else 6e-4)
    assert row["plcc"] == pytest.approx(plcc, abs=6e-4)


@pytest.fixture(scope="module")
def noisy():
    rng = np.random.default_rng(0)
    targets = rng.integers(10, 50, 120) / 10
    references = [f"r{n // 6}" for n in range(120)]
    values = [
        None if n % 10 == 3 else float(t + e)
        for n, (t, e) in enumerate(zip(targets, rng.normal(0, 0.7, 120), strict=True))
    ]
    return rated(list(targets), references=references), values


def test_valid_ratings_are_compared_as_scipy_does(noisy):
    items, values = noisy
    row = only(rating_metrics(ratings(items, values), same_scale=True, bootstrap=FEW), reading=VALID)
    x, y = np.array([(v, item.target) for item, v in zip(items, values, strict=True) if v is not None]).T
    assert (row["n"], row["n_valid"], row["n_references"]) == (120, 108, 20)
    assert row["srcc"] == pytest.approx(stats.spearmanr(x, y)[0])
    assert row["krcc"] == pytest.approx(stats.kendalltau(x, y)[0])
    assert row["plcc"] == pytest.approx(stats.pearsonr(x, y)[0])
    assert row["plcc_logistic"] >= row["plcc"] - 1e-9
    assert (row["mae"], row["mse"]) == (pytest.approx(np.abs(x - y).mean()), pytest.approx(((x - y) ** 2).mean()))
    for name in ("srcc", "krcc", "plcc", "mae", "mse"):
        assert row[f"{name}_low"] < row[name] < row[f"{name}_high"]


def test_failures_are_imputed_as_the_reading_says(noisy):
    items, values = noisy
    table = rating_metrics(ratings(items, values), bootstrap=FEW)
    y = np.array([item.target for item in items])
    said = np.array([v for v in values if v is not None])
    worst = [
        v if v is not None else (said.min() if t > np.median(y) else said.max()) for v, t in zip(values, y, strict=True)
    ]
    mean = [v if v is not None else said.mean() for v in values]
    srcc = {reading: only(table, reading=reading)["srcc"] for reading in READINGS}
    assert srcc[AS_MEAN] == pytest.approx(stats.spearmanr(mean, y)[0])
    assert srcc[AS_WORST] == pytest.approx(stats.spearmanr(worst, y)[0])
    assert srcc[AS_WORST] < srcc[AS_MEAN] < srcc[VALID]
    assert set(table["n"]) == {120}
    assert set(table["n_valid"]) == {108}


@pytest.mark.parametrize(("scorer_up", "people_up"), [(True, False), (False, True), (False, False)])
def test_directions_change_no_sign_and_no_reading(scorer_up, people_up, noisy):
    items, values = noisy
    plain = rating_metrics(ratings(items, values), bootstrap=FEW)
    turned = rated(
        [t.target if people_up else -t.target for t in items],
        references=[t.reference for t in items],
        higher_is_better=people_up,
    )
    negated = [v if v is None or scorer_up else -v for v in values]
    table = rating_metrics(ratings(turned, negated, higher_is_better=scorer_up), bootstrap=FEW)
    for name in ("srcc", "srcc_low", "krcc", "plcc", "plcc_high"):
        assert table[name].tolist() == pytest.approx(plain[name].tolist())


def test_without_failures_the_readings_are_one(noisy):
    items, values = noisy
    table = rating_metrics(ratings(items, [v or 0.0 for v in values]), bootstrap=FEW)
    assert table["reading"].tolist() == list(READINGS)
    assert len(table.drop(columns="reading").drop_duplicates()) == 1


def test_copies_within_a_cluster_make_no_interval_narrower(noisy):
    items, values = noisy
    base = only(rating_metrics(ratings(items, values), same_scale=True, bootstrap=FEW), reading=VALID)
    copies = rated(
        [item.target for item in items for _ in range(3)],
        references=[item.reference for item in items for _ in range(3)],
    )
    row = only(
        rating_metrics(ratings(copies, [v for v in values for _ in range(3)]), same_scale=True, bootstrap=FEW),
        reading=VALID,
    )
    for name in ("srcc", "plcc", "mae"):
        for end in ("", "_low", "_high"):
            assert row[name + end] == pytest.approx(base[name + end])


def test_label_accuracy_takes_half_open_bins():
    # low | low, medium | low, very high | high, in a gap | neutral
    items = rated([4.1, 4.9, 7.99], dimension="Aesthetics") + rated([0.0], dimension="Emotional_Valence")
    table = rating_metrics(ratings(items, [3.5, 5.0, 8.0, 0.5]), same_scale=True, bootstrap=FEW)
    assert only(table, dimension="Aesthetics", reading=VALID)["label_accuracy"] == pytest.approx(1 / 3)
    valence = only(table, dimension="Emotional_Valence", reading=VALID)
    assert (valence["label_accuracy"], valence["mae"]) == (0.0, 0.5)
    assert "only 1" in valence["status"]
    assert np.isnan(valence["srcc"])
    assert "label_accuracy" not in rating_metrics(ratings(rated([1.0, 2.0]), [1.0, 2.0])).columns


def test_what_cannot_be_correlated_says_why():
    constant = only(rating_metrics(ratings(rated([1.0, 2.0, 3.0]), [2.0, 2.0, 2.0]), bootstrap=FEW), reading=VALID)
    assert "all scores equal 2" in constant["status"]
    assert np.isnan(constant["srcc"])
    silent = rating_metrics(ratings(rated([1.0, 2.0, 3.0]), [None, None, None]), bootstrap=FEW)
    assert (silent["n"].tolist(), silent["n_valid"].tolist()) == ([3] * 3, [0] * 3)
    assert silent["srcc"].isna().all()
    one = rated([1.0, 2.0, 3.0, 5.0], references=["r"] * 4)
    single = only(rating_metrics(ratings(one, [1.0, 3.0, 2.0, 4.0]), bootstrap=FEW), reading=VALID)
    assert single["srcc"] == pytest.approx(0.8)
    assert np.isnan(single["srcc_low"])
    with pytest.raises(AnalysisError, match="not finite"):
        rating_metrics(ratings(rated([1.0, 2.0]), [float("nan"), 2.0]))


def test_items_without_target_are_counted_and_left_out():
    row = only(
        rating_metrics(ratings(rated([1.0, 2.0, None, 4.0]), [1.0, 3.0, 9.0, 2.0]), bootstrap=FEW), reading=VALID
    )
    assert (row["n"], row["n_without_target"], row["srcc"]) == (3, 1, pytest.approx(0.5))


def test_domain_averages_are_plain_means_over_sets():
    sets = [
        ("a", [1.0, 2.0, 3.0], [1.0, 2.0, 3.0]),
        ("b", [1.0, 2.0, 3.0], [1.0, 3.0, 2.0]),
        ("c", [1.0, 2.0], [5.0, 5.0]),
    ]
    items = [item for name, targets, _ in sets for item in rated(targets, benchmark=name)]
    table = rating_metrics(ratings(items, [v for _, _, values in sets for v in values]), bootstrap=FEW)
    average = only(domain_averages(table), reading=VALID)
    assert (average["n_sets"], average["n_undefined"], average["srcc"]) == (3, 1, pytest.approx(0.75))


# ------------------------------------------------------------------------------------------------------ joining, shares
def test_results_and_items_must_match_one_to_one():
    items = rated([1.0, 2.0])
    table = results(items, [{"value": 1.0}, {"value": 2.0}])
    assert len(join_items(table, items)) == 2
    with pytest.raises(LopsidedError, match="lacks 1 of 2 items"):
        join_items(table.iloc[:1], items)
    with pytest.raises(LopsidedError, match="1 results twice, first b / IQA / 0"):
        join_items(pd.concat([table, table.iloc[:1]]), items)
    with pytest.raises(LopsidedError, match="1 of 2 results are of no item"):
        join_items(table, items[:1])
    with pytest.raises(LopsidedError, match="each once"):
        join_items(table, items + items)
    with pytest.raises(LopsidedError, match="lacks task"):
        rating_metrics(table)
    joined = join_items(table, items).assign(reference=[None, "b"])
    for metric in (rating_metrics, choice_accuracy):
        with pytest.raises(LopsidedError, match="1 of 2 rows of the table of results have no reference"):
            metric(joined)


def test_status_shares_add_up():
    items = rated([1.0] * 10)
    outcomes = [{"value": 1.0}] * 6 + [{"status": "refused"}] * 3 + [{"status": "failed"}]
    row = status_shares(results(items, outcomes)).iloc[0]
    assert (row["n"], row["n_ok"], row["n_refused"], row["n_failed"]) == (10, 6, 3, 1)
    assert row[["share_ok", "share_refused", "share_failed"]].sum() == pytest.approx(1)


def test_the_interval_of_a_share_is_that_of_the_normal_approximation():
    right = np.random.default_rng(1).random(600) < 0.7
    many = Bootstrap(n_boot=3000)
    found = ratio(right, np.ones(600), np.arange(600), many)
    half = 1.96 * math.sqrt(right.mean() * (1 - right.mean()) / 600)
    assert found.value == pytest.approx(right.mean())
    for side in (found.value - found.low, found.high - found.value):
        assert side == pytest.approx(half, rel=0.1)
    assert ratio(right, np.ones(600), np.arange(600), many) == found
    # All alike within 20 clusters: as uncertain as 20 observations.
    clustered = ratio(np.repeat(right[:20], 30), np.ones(600), np.repeat(np.arange(20), 30), FEW)
    assert clustered.high - clustered.low > 4 * (found.high - found.low)


@pytest.mark.parametrize("right", [0, 1])
def test_a_share_of_all_or_nothing_is_not_certain(right):
    """The exact interval of 20 trials, however many items each cluster has. Errors are no share."""
    found = ratio(np.full(100, right), np.ones(100), np.repeat(np.arange(20), 5), FEW)
    exact = stats.binomtest(20 * right, 20).proportion_ci()
    assert (found.low, found.high) == pytest.approx((exact.low, exact.high))
    one_off = np.full(100, float(right))
    one_off[0] = 1 - right
    nearly = ratio(one_off, np.ones(100), np.repeat(np.arange(20), 5), FEW)
    assert nearly.high - nearly.low >= found.high - found.low  # one mistake makes nobody surer
    errors = ratio(np.zeros(100), np.ones(100), np.arange(100), FEW, share=False)
    assert (errors.value, errors.low, errors.high) == (0, 0, 0)


# ------------------------------------------------------------------------------------------------------ multiple choice
def asked(targets, options, **groups):
    return [
        Item(
            benchmark="q",
            dimension="IQA",
            id=str(n),
            task="answer",
            images=(Path("a.png"),),
            question="?",
            options=("x",) * count,
            target=target,
            reference=f"image{n // 2}",
            groups={name: values[n] for name, values in groups.items() if values[n]},
        )
        for n, (target, count) in enumerate(zip(targets, options, strict=True))
    ]


def test_accuracy_counts_failures_wrong_and_knows_chance():
    items = asked("ABCAB" + "A", [2, 3, 4, 4, 2, 4], template=["How", "How", "Why", "Why", "", "Why"])
    outcomes = [{"choice": letter} for letter in "AACA"] + [
        {"status": "unparsable"},
        {"status": "refused", "choice": "A"},
    ]
    table = join_items(results(items, outcomes), items)
    row = choice_accuracy(table, bootstrap=FEW).iloc[0]
    assert (row["n"], row["n_valid"], row["n_right"], row["n_references"]) == (6, 4, 3, 3)
    assert (row["accuracy"], row["accuracy_valid"]) == (0.5, 0.75)
    assert row["chance"] == pytest.approx((1 / 2 + 1 / 3 + 1 / 4 + 1 / 4 + 1 / 2 + 1 / 4) / 6)
    assert row["accuracy_low"] <= row["accuracy"] <= row["accuracy_high"]
    by = choice_accuracy(table, "template", bootstrap=FEW).set_index("template")
    assert by["n"].to_dict() == {"(none)": 1, "How": 2, "Why": 3}
    assert by["n"].sum() == row["n"]
    assert by["n_right"].sum() == row["n_right"]
    assert by.loc["How", "chance"] == pytest.approx(5 / 12)
    assert (by.loc["(none)", "accuracy"], by.loc["(none)", "n_valid"]) == (0, 0)
    assert np.isnan(by.loc["(none)", "accuracy_valid"])


def test_answers_that_are_kept_back_are_left_out():
    items = asked(["A", None], [2, 2])
    row = choice_accuracy(join_items(results(items, [{"choice": "A"}] * 2), items), bootstrap=FEW).iloc[0]
    assert (row["n"], row["n_without_target"], row["accuracy"]) == (1, 1, 1)


def test_blind_guessing_reaches_chance():
    rng = np.random.default_rng(2)
    options = rng.choice([2, 3, 4], 2000)
    letters = lambda: ["ABCD"[n] for n in (rng.random(2000) * options).astype(int)]  # noqa: E731
    items = asked(letters(), options)
    row = choice_accuracy(join_items(results(items, [{"choice": c} for c in letters()]), items), bootstrap=FEW).iloc[0]
    assert row["accuracy"] == pytest.approx(row["chance"], abs=0.03)
    assert row["accuracy_low"] < row["chance"] < row["accuracy_high"]


# ------------------------------------------------------------------------------------------------------------- contexts
def dish(number, food, country, contexts, dimension=None):
    """Pictures of a dish: alone twice, and in contexts (name, distractor's country, background's country)."""
    shown = [("alone", "", ""), ("alone", "", ""), *contexts]
    return [
        Item(
            benchmark="culturemix",
            dimension=dimension or ("SF" if context == "alone" else "MFB"),
            id=f"{number}-{n}",
            task="open",
            images=(Path("a.png"),),
            question="?",
            target=reply(food, country),
            reference=str(number),
            groups={
                name: value
                for name, value in {
                    "dish": str(number),
                    "food": food,
                    "country": country,
                    "context": context,
                    "distractor_country": distractor,
                    "background_country": background,
                }.items()
                if value
            },
        )
        for n, (context, distractor, background) in enumerate(shown)
    ]


CONTEXTS = [(f"c{n}", "Japan", "Mexico") for n in range(8)]
KIMCHI = dish(1, "Kimchi", "South Korea", CONTEXTS)
INJERA = dish(2, "Injera", "Ethiopia", CONTEXTS)
KIMCHI_SAYS = ["South Korea"] * 4 + ["Japan", "Mexico", "China", "Canada", "Kenya", ""]
INJERA_SAYS = ["Kenya", "Kenya", "Kenya", "Ethiopia"] + ["Kenya"] * 6


def open_table(items, replies, scorer="s"):
    outcomes = [{"raw": text, "status": "ok" if text else "empty"} for text in replies]
    return read_answers(join_items(results(items, outcomes, scorer), items))


@pytest.fixture(scope="module")
def mixed():
    says = [f"Food: Kimchi\nCountry: {c}" if c else "" for c in KIMCHI_SAYS] + [
        f"Food: Enjera\nCountry: {c}" for c in INJERA_SAYS
    ]
    return open_table(KIMCHI + INJERA, says)


def test_perfect_replies_are_perfect_everywhere():
    items = KIMCHI + INJERA
    table = open_table(items, [item.target for item in items])
    for of in ("food", "country"):
        assert context_accuracy(table, of, bootstrap=FEW)["accuracy"].tolist() == [1, 1]
        assert retention(table, of, bootstrap=FEW)["retention"].tolist() == [1]
        assert answer_entropy(table, of, bootstrap=FEW)["entropy"].tolist() == [0, 0]
        alone, both = (where(table, dimension=name) for name in ("SF", "MFB"))
        drop = paired_drop(alone, both, of, bootstrap=FEW).iloc[0]
        assert (drop["drop"], drop["drop_low"], drop["drop_high"]) == (0, 0, 0)
    went = drift(table, bootstrap=FEW)
    assert only(went, alone="all", destination="kept")["share"] == 1


def test_accuracy_of_names_and_countries(mixed):
    country = context_accuracy(mixed, "country", bootstrap=FEW).set_index("dimension")
    assert country["n"].to_dict() == {"MFB": 16, "SF": 4}
    assert country["n_right"].to_dict() == {"MFB": 3, "SF": 2}
    assert country["n_valid"].to_dict() == {"MFB": 15, "SF": 4}
    assert (country.loc["MFB", "accuracy"], country.loc["MFB", "accuracy_valid"]) == (3 / 16, 3 / 15)
    assert set(country["n_dishes"]) == {2}
    food = context_accuracy(mixed, "food", bootstrap=FEW).set_index("dimension")
    # Enjera is near enough to Injera: nj je er ra of six letters.
    assert food["n_right"].to_dict() == {"MFB": 15, "SF": 4}


@pytest.mark.parametrize(("base", "unit"), [("nats", math.e), ("bits", 2), ("10", 10)])
def test_entropy_by_dish_and_its_variants(mixed, base, unit):
    row = only(answer_entropy(mixed, "country", base=base, bootstrap=FEW), dimension="MFB")
    kimchi, injera = [2, 1, 1, 1, 1, 1], [7, 1]
    h = [stats.entropy(counts, base=unit) for counts in (kimchi, injera)]
    assert (row["n_items"], row["n"], row["n_dishes"], row["contexts"], row["base"]) == (16, 15, 2, 7.5, base)
    assert row["entropy"] == pytest.approx(np.mean(h))
    assert row["normalised"] == pytest.approx(np.mean([h[0] / math.log(7, unit), h[1] / math.log(8, unit)]))
    corrected = [h[0] + 5 / 14 / math.log(unit), h[1] + 1 / 16 / math.log(unit)]
    assert row["corrected"] == pytest.approx(np.mean(corrected))
    assert row["entropy_low"] <= row["entropy"] <= row["entropy_high"]
    failures = only(answer_entropy(mixed, "country", base=base, failures=True, bootstrap=FEW), dimension="MFB")
    assert (failures["n"], failures["failures"]) == (16, "an answer")
    assert failures["entropy"] == pytest.approx(np.mean([stats.entropy([*kimchi, 1], base=unit), h[1]]))


def test_entropy_closed_forms():
    assert entropy([5]) == 0
    assert entropy([3, 3, 3, 3], 2) == pytest.approx(2)
    assert entropy([1] * 10) == pytest.approx(math.log(10))
    # Ten contexts of one pair cannot reach the 3.43 that is published for one dish, in nats or bits.
    assert max(entropy([1] * 10), entropy([1] * 10, 2)) < 3.43


def test_the_correction_takes_most_of_the_bias_away():
    rng = np.random.default_rng(3)
    countries = ["Japan", "China", "Peru", "Kenya"]
    items = [item for n in range(150) for item in dish(n, "x", "Peru", CONTEXTS)]
    table = open_table(items, [f"Country: {c}" for c in rng.choice(countries, len(items))])
    row = only(answer_entropy(table, "country", base="nats", bootstrap=FEW), dimension="MFB")
    truth = math.log(4)
    assert row["entropy_high"] < truth
    assert abs(row["corrected"] - truth) < 0.35 * abs(row["entropy"] - truth)


def test_retention_compares_with_the_most_frequent_answer_alone(mixed):
    row = retention(mixed, "country", bootstrap=FEW).iloc[0]
    assert (row["dimension"], row["n"], row["n_valid"], row["n_kept"], row["n_without_base"]) == ("MFB", 16, 15, 9, 0)
    assert (row["retention"], row["retention_valid"]) == (9 / 16, 9 / 15)
    # Two answers alone that differ are no answer to compare with.
    torn = open_table(KIMCHI, ["Country: Japan", "Country: Peru", *["Country: Japan"] * 8])
    row = retention(torn, "country", bootstrap=FEW).iloc[0]
    assert (row["n"], row["n_without_base"]) == (0, 8)
    assert np.isnan(row["retention"])
    with pytest.raises(LopsidedError, match="none of these items shows a thing alone"):
        retention(where(mixed, dimension="MFB"), "country")


def test_drift_names_where_answers_go(mixed):
    table = drift(mixed, bootstrap=FEW)
    assert len(table) == 3 * len(DESTINATIONS)
    assert [where(table, alone=name)["share"].sum() for name in ("all", "right", "wrong")] == pytest.approx([1, 1, 1])
    right = where(table, alone="right").set_index("destination")["n"].to_dict()
    assert right == {
        "kept": 2,
        "distractor's country": 1,  # Japan
        "background's country": 1,  # Mexico
        "distractor's continent": 1,  # China
        "background's continent": 1,  # Canada
        "elsewhere": 1,  # Kenya
        "no answer": 1,
    }
    wrong = where(table, alone="wrong").set_index("destination")
    assert (wrong.loc["kept", "n"], wrong.loc["elsewhere", "n"], wrong.loc["kept", "n_items"]) == (7, 1, 8)


def test_drops_are_paired_by_dish(mixed):
    alone, both = (where(mixed, dimension=name) for name in ("SF", "MFB"))
    row = paired_drop(alone, both, "country", bootstrap=FEW).iloc[0]
    assert (row["n_dishes"], row["n_dishes_dropped"], row["n_first"], row["n_second"]) == (2, 0, 4, 16)
    assert (row["accuracy_first"], row["accuracy_second"], row["drop"]) == (0.5, 3 / 16, 0.5 - 3 / 16)
    less = paired_drop(where(alone, dish="1"), both, "country", bootstrap=FEW).iloc[0]
    assert (less["n_dishes"], less["n_dishes_dropped"], less["drop"]) == (1, 1, 1 - 2 / 8)
    assert np.isnan(less["drop_low"])


def test_a_paired_interval_is_narrower_than_two_apart():
    rng = np.random.default_rng(4)
    items = [item for n in range(60) for item in dish(n, "x", "Peru", CONTEXTS)]
    easy = rng.random(60) < 0.5  # a dish is known in every context or in none, but for one context
    says = []
    for n in range(60):
        known = ["Country: Peru" if easy[n] else "Country: Kenya"] * 10
        known[-1] = "Country: Chad"
        says += known
    table = open_table(items, says)
    alone, both = (where(table, dimension=name) for name in ("SF", "MFB"))
    bootstrap = Bootstrap(n_boot=1000)
    row = paired_drop(alone, both, "country", bootstrap=bootstrap).iloc[0]
    apart = context_accuracy(table, "country", bootstrap=bootstrap)
    widths = (apart["accuracy_high"] - apart["accuracy_low"]).tolist()
    assert row["drop"] == pytest.approx(easy.mean() / 8)
    assert row["drop_high"] - row["drop_low"] < 0.2 * math.hypot(*widths)


def test_two_ways_of_asking_are_compared_on_the_same_dishes(mixed):
    better = open_table(KIMCHI + INJERA, [item.target for item in KIMCHI + INJERA])
    row = paired_drop(better, mixed, "country", by=["dimension"], bootstrap=FEW).set_index("dimension")["drop"]
    assert row.to_dict() == {"MFB": 13 / 16, "SF": 0.5}


def test_a_failed_request_is_no_answer():
    table = join_items(results(KIMCHI, [{"status": "failed", "raw": "Country: South Korea"}] * 10), KIMCHI)
    answers = read_answers(table)
    assert set(answers["country_status"]) == {"failed"}
    assert not answers["country_right"].any()


def test_what_was_not_asked_is_not_counted():
    items = [Item(**{**vars(item), "groups": {k: v for k, v in item.groups.items() if k != "food"}}) for item in KIMCHI]
    table = open_table(items, ["Country: South Korea"] * 10)
    assert context_accuracy(table, "country", bootstrap=FEW)["accuracy"].tolist() == [1, 1]
    with pytest.raises(LopsidedError, match="name of the food was not asked for"):
        context_accuracy(table, "food")
    with pytest.raises(LopsidedError, match="no base '2' of entropies"):
        answer_entropy(table, "country", base="2")
