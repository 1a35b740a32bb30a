"""Score scales: golden tables, invariants over random probabilities, and the published numbers they lead to."""

import gzip
import json
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from support.paths import SHARED

from lopsided.mllm import MllmError
from lopsided.mllm.scoring.presets import COGIP_LABELS
from lopsided.mllm.scoring.scale import SCALES, ScoreScale, letter_pairs, level_of, to_bfloat16

QBENCH = SHARED / "mllm" / "qbench_iqa_outputs"
KEYS = list(SCALES)
spearmanr: Any = stats.spearmanr  # scipy does not declare what it returns


def random_logs(levels, count, *, spread=3.0, seed=0):
    """Log-probabilities of the levels, as many rows as asked for; the levels hold some 60 % of the vocabulary."""
    logits = np.random.default_rng(seed).normal(0, spread, (count, levels))
    return logits - np.log(np.exp(logits).sum(1, keepdims=True)) + np.log(0.6)


# ----------------------------------------------------------------------------------------------------- golden tables
def test_letter_pairs_are_those_of_unipercept():
    pairs = letter_pairs()
    assert len(set(pairs)) == len(pairs) == 101
    golden = {
        0: "aa",
        1: "ab",
        25: "az",
        26: "ca",
        50: "cy",
        51: "da",
        75: "dy",
        76: "ea",
        78: "ec",
        79: "ed",
        100: "ey",
    }
    assert {value: pairs[value] for value in golden} == golden
    assert not any(pair.startswith("b") for pair in pairs)
    scale = SCALES["letter-pairs"]
    assert dict(zip(scale.levels, scale.values, strict=True))["ey"] == 100
    assert scale.candidates == pairs  # nothing before a pair: it is the whole answer


def test_q_aligns_two_sets_of_weights_are_one_scale():
    five, unit = SCALES["q-align"], SCALES["q-align-unit"]
    assert five.values == (5, 4, 3, 2, 1)
    assert unit.values == (1, 0.75, 0.5, 0.25, 0)
    for logs in random_logs(5, 50):
        assert five.read(logs).value == pytest.approx(4 * unit.read(logs).value + 1, abs=1e-12)


def test_words_are_read_after_a_space():
    assert SCALES["q-align"].candidates[0] == " excellent"


def test_q_bench_reads_the_share_of_good():
    assert SCALES["q-bench"].read([np.log(0.3), np.log(0.1)]).value == pytest.approx(0.75)
    softer = ScoreScale(levels=("good", "poor"), values=(1.0, 0.0), temperature=100.0)
    assert softer.read([13.0, 11.0]).value == pytest.approx(1 / (1 + np.exp(-0.02)))


# -------------------------------------------------------------------------------------------------------- invariants
@pytest.mark.parametrize("key", KEYS)
def test_value_is_within_the_range_and_the_distribution_sums_to_one(key):
    scale = SCALES[key]
    for spread in (0.1, 3, 100):
        for logs in random_logs(len(scale.levels), 50, spread=spread):
            reading = scale.read(logs)
            assert scale.range[0] <= reading.value <= scale.range[1]
            assert sum(reading.distribution.values()) == pytest.approx(1, abs=1e-12)
            assert reading.mass == pytest.approx(0.6)


@pytest.mark.parametrize("key", KEYS)
def test_value_is_the_expectation(key):
    scale = SCALES[key]
    for logs in random_logs(len(scale.levels), 20):
        p = torch.softmax(torch.tensor(logs), dim=0)
        assert scale.read(logs).value == pytest.approx(float(p @ torch.tensor(scale.values).double()), rel=1e-12)


@pytest.mark.parametrize("key", KEYS)
def test_more_of_a_higher_level_is_a_higher_value(key):
    scale = SCALES[key]
    best = int(np.argmax(scale.values))
    for logs in random_logs(len(scale.levels), 20):
        values = []
        for more in (0, 0.5, 1, 2):
            raised = logs.copy()
            raised[best] += more
            values.append(scale.read(raised).value)
        assert (np.diff(values) > 0).all()


@pytest.mark.parametrize("key", KEYS)
def test_order_of_the_levels_does_not_matter(key):
    scale = SCALES[key]
    order = np.roll(np.random.default_rng(1).permutation(len(scale.levels)), 1) if len(scale.levels) > 2 else [1, 0]
    other = ScoreScale(
        levels=tuple(scale.levels[i] for i in order), values=tuple(scale.values[i] for i in order), lead=scale.lead
    )
    for logs in random_logs(len(scale.levels), 20):
        here, there = scale.read(logs), other.read(logs[order])
        assert there.value == pytest.approx(here.value, rel=1e-12)
        assert there.distribution == pytest.approx(here.distribution)
    assert other.identity != scale.identity


@pytest.mark.parametrize("key", KEYS)
def test_a_constant_added_to_the_logits_changes_the_mass_alone(key):
    scale = SCALES[key]
    logs = random_logs(len(scale.levels), 1)[0]
    assert scale.read(logs - 5).value == pytest.approx(scale.read(logs).value, rel=1e-12)
    assert scale.read(logs - 5).mass == pytest.approx(scale.read(logs).mass * np.exp(-5))


@pytest.mark.parametrize("shift", [-800.0, 800.0])
def test_extreme_logits_neither_overflow_nor_vanish(shift):
    with np.errstate(over="raise"):
        reading = SCALES["q-align"].read(np.array([0.0, -1, -2, -3, -4]) + min(shift, 0))
    assert reading.value == pytest.approx(SCALES["q-align"].read([0.0, -1, -2, -3, -4]).value)


def test_a_level_of_no_probability_counts_nothing():
    assert SCALES["q-bench"].read([-np.inf, -1.0]).value == 0


# --------------------------------------------------------------------------------------------------------- bfloat16
def test_bfloat16_rounding_is_torchs():
    generator = np.random.default_rng(0)
    values = np.r_[
        generator.normal(0, 1, 1000), generator.uniform(0, 128, 1000), 0.0, 1.0, -1.5, 1.00390625, 3.4e38 / 2
    ]
    expected = torch.tensor(values, dtype=torch.float32).bfloat16().float().numpy()
    assert (to_bfloat16(values.astype(np.float32)) == expected).all()


def test_bf16_compatible_values_come_in_the_originals_steps():
    exact = SCALES["letter-pairs"]
    rounded = ScoreScale(levels=exact.levels, values=exact.values, lead="", bf16_compatible=True)
    assert rounded.identity != exact.identity
    generator = np.random.default_rng(0)
    steps = {0.5: 0, 0.25: 0, 0.125: 0}
    for centre in generator.uniform(18, 100, 600):
        logs = -0.5 * ((np.arange(101) - centre) / 3) ** 2 + generator.normal(0, 0.3, 101)
        value = rounded.read(logs).value
        step = 0.5 if value >= 64 else 0.25 if value >= 32 else 0.125
        assert value % step == 0
        steps[step] += value % (2 * step) != 0  # and no coarser
        assert value == pytest.approx(exact.read(logs).value, abs=1.0)
    assert min(steps.values()) > 10


def test_bf16_compatible_reading_equals_the_same_computation_in_torch():
    exact = SCALES["letter-pairs"]
    rounded = ScoreScale(levels=exact.levels, values=exact.values, lead="", bf16_compatible=True)
    for logs in np.random.default_rng(0).normal(0, 3, (100, 101)):
        p = torch.softmax(torch.tensor(logs), dim=0).bfloat16()
        expected = (p.double() @ torch.arange(101.0).double()).bfloat16()
        assert rounded.read(logs).value == float(expected)


# ------------------------------------------------------------------------------------------ candidates not listed
def test_levels_a_server_does_not_list_count_as_improbable_if_they_cannot_matter():
    reading = SCALES["q-align"].read([np.log(0.7), np.log(0.295), np.nan, np.nan, np.nan])
    assert reading.value == pytest.approx((0.7 * 5 + 0.295 * 4) / 0.995)
    # Whatever the three hold, 0.005 in all, the value is off by less than 1 % of the range.
    worst = 0.7 * 5 + 0.295 * 4 + 0.005 * 1
    assert abs(reading.value - worst) < 0.01 * 4


def test_levels_a_server_does_not_list_are_not_guessed():
    with pytest.raises(MllmError, match=r"fair, poor, bad are not known, and the other levels hold 90\.0% of all"):
        SCALES["q-align"].read([np.log(0.6), np.log(0.3), np.nan, np.nan, np.nan])
    softer = ScoreScale(levels=("good", "poor"), values=(1.0, 0.0), temperature=100.0)
    with pytest.raises(MllmError, match="poor are not known"):
        softer.read([np.log(0.999), np.nan])


@pytest.mark.parametrize("logs", [[0.0], [np.nan] * 5, [-np.inf] * 5, [np.inf, 0, 0, 0, 0], [[0.0] * 5]])
def test_what_cannot_be_read_is_refused(logs):
    with pytest.raises(MllmError):
        SCALES["q-align"].read(logs)


@pytest.mark.parametrize(
    "changes",
    [
        {"levels": ("good",), "values": (1.0,)},
        {"levels": ("good", "good")},
        {"values": (1.0,)},
        {"values": (1.0, float("nan"))},
        {"temperature": 0.0},
    ],
)
def test_scales_that_make_no_sense_are_refused(changes):
    with pytest.raises(MllmError):
        ScoreScale(**{"levels": ("good", "poor"), "values": (1.0, 0.0), **changes})


# ------------------------------------------------------------------------------------------------ labels and levels
def test_level_of_cuts_the_range_into_equal_parts():
    scale = SCALES["q-align"]
    words = [level_of(scale, value, 0, 100) for value in (0, 19.9, 20, 50, 79, 80, 100)]
    assert words == ["bad", "bad", "poor", "fair", "good", "excellent", "excellent"]
    with pytest.raises(MllmError):
        level_of(scale, 101, 0, 100)


def test_level_of_puts_a_label_on_an_edge_where_it_is_told_to():
    scale = SCALES["q-align"]
    edges = (0, 20, 40, 60, 80, 100)
    assert [level_of(scale, value, 0, 100) for value in edges] == [
        "bad",
        "poor",
        "fair",
        "good",
        "excellent",
        "excellent",
    ]
    lower = [level_of(scale, value, 0, 100, edges="lower") for value in edges]
    assert lower == ["bad", "bad", "poor", "fair", "good", "excellent"]
    assert [level_of(scale, value, 0, 100, edges="lower") for value in (20.1, 60.5, 99)] == [
        "poor",
        "good",
        "excellent",
    ]
    assert level_of(scale, 2.6, 1, 5) == "fair"  # (2.6 − 1) / 4 · 5 is 2.0000000000000004 or 1.9999…
    assert level_of(scale, 2.6, 1, 5, edges="lower") == "poor"
    with pytest.raises(MllmError, match="upper or lower"):
        level_of(scale, 20, 0, 100, edges="middle")  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("dimension", "value", "label"),
    [
        ("aesthetics", 3.49, "very low"),
        ("aesthetics", 3.5, "low"),
        ("funniness", 10, "very high"),
        ("memorability", 0.65, "high"),
        ("memorability", 1.0, "very high"),
        ("emotional_valence", -2, "negative"),
        ("emotional_valence", 0, "neutral"),
        ("emotional_valence", 3, "positive"),
        ("emotional_valence", 0.5, None),
    ],
)
def test_cogip_labels_are_half_open_intervals(dimension, value, label):
    assert COGIP_LABELS[dimension].label_of(value) == label


def test_cogip_labels_are_those_of_the_benchmarks_own_scores():
    folder = QBENCH.parent / "cogip"
    if not folder.exists():
        pytest.skip("no CogIP-Bench labels beside the repository")
    for dimension in COGIP_LABELS:
        name = "_".join(part.capitalize() for part in dimension.split("_"))
        with gzip.open(folder / f"{name}_scores.json.gz", "rt") as file:
            for line in json.load(file):
                label, value = line.rsplit(" ", 1)
                assert COGIP_LABELS[dimension].label_of(float(value)) == label


# ------------------------------------------------------------------------------------------------ published numbers
@pytest.mark.parametrize(
    ("model", "dataset", "published"),
    [
        ("llava_v1.5", "koniq", 0.448),
        ("llava_v1.5", "spaq", 0.563),
        ("qwen-vl", "koniq", 0.470),
        ("qwen-vl", "spaq", 0.676),
    ],
)
def test_q_bench_logits_lead_to_the_published_correlations(model, dataset, published):
    if not QBENCH.exists():
        pytest.skip("no Q-Bench logits beside the repository")
    with gzip.open(QBENCH / model / f"{dataset}.jsonl.gz", "rt") as file:
        text, rows, place = file.read(), [], 0
    while place < len(text):  # objects one after the other, without newlines
        row, place = json.JSONDecoder().raw_decode(text, place)
        rows.append(row)
    truth = [float(row["gt_score"]) for row in rows]
    values = {
        temperature: [
            ScoreScale(levels=("good", "poor"), values=(1.0, 0.0), temperature=temperature)
            .read([row["logit_good"], row["logit_poor"]])
            .value
            for row in rows
        ]
        for temperature in (1.0, 100.0)
    }
    assert spearmanr(values[1.0], truth)[0] == pytest.approx(published, abs=5e-4)
    assert spearmanr(values[100.0], truth)[0] == pytest.approx(published, abs=5e-4)
