"""The stability summary: known answers on synthetic histories, invariances, and a real training."""

import json
import math
from typing import Any

import numpy as np
import pytest
import skimage.data
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lopsided.common.errors import LopsidedError
from lopsided.common.images import write_png
from lopsided.common.sources import FolderSource
from lopsided.discriminators import build_discriminator, objective
from lopsided.sr import Adversarial, FinetuneSpec, Trainer
from lopsided.sr.images import PairCache
from lopsided.sr.stability import summarise_stability

EVERY = 25  # steps of a window


def history(count=40, **columns):
    """Rows of ``count`` windows; a column is a number, a list, or a function of the window's index."""
    defaults = {
        "pixel": 0.1,
        "d_real": 0.6,
        "d_fake": 0.4,
        "d_accuracy": 0.7,
        "gradient_pixel": 3.0,
        "gradient_adversarial": 1.0,
        "gradient_generator": 2.0,
        "gradient_discriminator": 5.0,
        "skipped": 0,
    }
    columns = defaults | columns

    def value(column: Any, index: int) -> Any:
        if callable(column):
            return column(index)
        return column[index] if isinstance(column, list) else column

    return [
        {"step": EVERY * (i + 1), **{name: value(c, i) for name, c in columns.items() if c is not None}}
        for i in range(count)
    ]


def test_a_constant_history_is_stable_in_every_respect():
    assert summarise_stability(history()) == {
        "windows": 40,
        "skipped_steps": 0,
        "discriminator_saturation": 0,
        "discriminator_blindness": 0,
        "discriminator_oscillation": 0,
        "pixel_oscillation": 0,
        "pixel_final_over_best": pytest.approx(1),
        "pixel_drift": pytest.approx(1),
        "generator_gradient_spike": 1,
        "discriminator_gradient_spike": 1,
        "adversarial_gradient_share": pytest.approx(0.25),
    }


@pytest.mark.parametrize("period", [4, 7, 10, 16])
def test_the_period_of_a_sine_is_found_in_steps(period):
    def wave(i):
        return 0.3 * math.sin(2 * math.pi * i / period)

    rows = history(80, d_real=lambda i: 0.5 + wave(i), pixel=lambda i: 0.2 - 0.001 * i + 0.01 * wave(i))
    summary = summarise_stability(rows)
    for name in ("discriminator", "pixel"):
        assert summary[f"{name}_oscillation"] > 0.95
        # A multiple of the period repeats as well.
        assert summary[f"{name}_period"] / EVERY % period == 0


@pytest.mark.parametrize("slope", [-0.002, 0.0, 0.003])
def test_a_straight_line_does_not_oscillate(slope):
    summary = summarise_stability(history(60, pixel=lambda i: 0.3 + slope * i))
    assert summary["pixel_oscillation"] == 0
    assert "pixel_period" not in summary


def test_a_smooth_valley_resembles_its_neighbours_but_does_not_repeat():
    summary = summarise_stability(history(60, pixel=lambda i: 0.1 + (i - 30) ** 2 / 900))
    assert summary["pixel_oscillation"] < 0.1


def test_noise_rarely_counts_as_a_period():
    found, strengths = 0, []
    for seed in range(100):
        noise = np.random.default_rng(seed).normal(0.1, 0.01, 60)
        summary = summarise_stability(history(60, pixel=noise.tolist()))
        found += "pixel_period" in summary
        strengths.append(summary["pixel_oscillation"])
    assert found <= 10
    assert 0.15 < np.median(strengths) < 0.45  # what the docstring says of noise


def test_an_oscillation_beneath_noise_is_found():
    noise = np.random.default_rng(0).normal(0, 0.02, 100)
    summary = summarise_stability(history(100, pixel=lambda i: 0.2 + 0.05 * math.sin(i * math.tau / 12) + noise[i]))
    assert summary["pixel_oscillation"] > 0.7
    assert summary["pixel_period"] / EVERY % 12 in (0, 1, 11)


@pytest.mark.parametrize(
    ("accuracy", "real", "fake", "saturated", "blind"),
    [
        (1.0, 0.7, 0.5, 1, 0),
        (0.99, 0.7, 0.5, 1, 0),
        (0.95, 0.96, 0.05, 1, 0),
        (0.95, 0.9, 0.05, 0, 0),
        (0.5, 0.5, 0.5, 0, 1),
        (0.515, 0.5, 0.5, 0, 1),
        (0.47, 0.5, 0.5, 0, 0),
        (0.0, 0.1, 0.9, 0, 0),
    ],
)
def test_saturation_and_blindness_are_told_apart(accuracy, real, fake, saturated, blind):
    summary = summarise_stability(history(3, d_accuracy=accuracy, d_real=real, d_fake=fake))
    assert (summary["discriminator_saturation"], summary["discriminator_blindness"]) == (saturated, blind)


def test_shares_count_windows():
    summary = summarise_stability(history(10, d_accuracy=[1.0] * 3 + [0.5] * 2 + [0.7] * 5))
    assert summary["discriminator_saturation"] == pytest.approx(0.3)
    assert summary["discriminator_blindness"] == pytest.approx(0.2)


def test_collapse_is_measured_against_the_best_and_the_first_level():
    fell_and_rose = [0.4] * 4 + [0.1] * 32 + [0.3] * 4
    summary = summarise_stability(history(40, pixel=fell_and_rose))
    assert summary["pixel_final_over_best"] == pytest.approx(3)
    assert summary["pixel_drift"] == pytest.approx(0.75)
    one_lucky_window = [0.2] * 20 + [0.1] + [0.2] * 19
    assert summarise_stability(history(40, pixel=one_lucky_window))["pixel_final_over_best"] == pytest.approx(8 / 7)


def test_spikes_skips_and_the_adversarial_share_are_counted():
    norms = [2.0] * 20 + [50.0] + [2.0] * 19
    rows = history(40, gradient_generator=norms, skipped=lambda i: i % 20 == 3, gradient_fidelity=4.0)
    rows.append({"step": 99999, "skipped": 5, "seconds": 1.0})  # a window of nothing but skipped steps
    rows.append({"step": 1000, "validation/psnr_y": 27.0})
    summary = summarise_stability(rows)
    assert summary["windows"] == 40
    assert summary["generator_gradient_spike"] == 25
    assert summary["skipped_steps"] == 7
    assert summary["adversarial_gradient_share"] == pytest.approx(1 / 8)


def test_without_an_adversarial_term_its_keys_are_absent():
    names = ("d_real", "d_fake", "d_accuracy", "gradient_adversarial", "gradient_discriminator")
    summary = summarise_stability(history(40, **dict.fromkeys(names)))
    assert set(summary) == {
        "windows",
        "skipped_steps",
        "pixel_oscillation",
        "pixel_final_over_best",
        "pixel_drift",
        "generator_gradient_spike",
    }


@pytest.mark.parametrize(("count", "keys"), [(0, 1), (1, 5), (3, 5), (4, 9), (15, 9), (16, 11)])
def test_short_histories_say_less(count, keys):
    assert len(summarise_stability(history(count))) == keys


def test_zeros_leave_no_ratio():
    zeros = dict.fromkeys(("pixel", "gradient_pixel", "gradient_adversarial", "gradient_generator"), 0.0)
    summary = summarise_stability(history(40, **zeros))
    absent = {"pixel_drift", "pixel_final_over_best", "adversarial_gradient_share", "generator_gradient_spike"}
    assert not absent & set(summary)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_not_finite_is_refused_by_name_and_step(value):
    with pytest.raises(LopsidedError, match=f"gradient_generator is {value} at step 75"):
        summarise_stability(history(4, gradient_generator=[1.0, 1.0, value, 1.0]))


UNIT = st.floats(0, 1, allow_subnormal=False)
WINDOWS = st.lists(
    st.fixed_dictionaries(
        {
            "pixel": st.floats(1e-3, 1),
            "d_real": UNIT,
            "d_fake": UNIT,
            "d_accuracy": UNIT,
            "gradient_pixel": UNIT,
            "gradient_fidelity": UNIT,
            "gradient_adversarial": UNIT,
            "gradient_generator": st.floats(1e-3, 1e3),
            "gradient_discriminator": st.floats(1e-3, 1e3),
            "skipped": st.integers(0, 25),
        }
    ),
    min_size=1,
    max_size=40,
)


def dated(windows):
    return [{"step": EVERY * (i + 1), **row} for i, row in enumerate(windows)]


@settings(max_examples=60, deadline=None)
@given(WINDOWS)
def test_every_number_lies_in_its_stated_range(windows):
    for name, value in summarise_stability(dated(windows)).items():
        assert math.isfinite(value)
        assert value >= 0
        if name.endswith(("_saturation", "_blindness", "_oscillation", "_share")):
            assert value <= 1 + 1e-12
        if name.endswith(("_spike", "_over_best")):
            assert value >= 1 - 1e-12


@settings(max_examples=60, deadline=None)
@given(WINDOWS, st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter_and_shares_ignore_the_order_of_windows(windows, random):
    rows = dated(windows)
    shuffled = random.sample(rows, len(rows))
    assert summarise_stability(shuffled) == summarise_stability(rows)
    exchanged = dated(random.sample(windows, len(windows)))
    ordered, other = summarise_stability(rows), summarise_stability(exchanged)
    for name, value in ordered.items():
        if not name.startswith("pixel") and not name.endswith(("_oscillation", "_period")):
            assert other[name] == pytest.approx(value)


@settings(max_examples=60, deadline=None)
@given(WINDOWS, st.sampled_from([2.0**-6, 0.5, 4.0, 2.0**10]))
def test_the_unit_of_losses_and_gradients_does_not_matter(windows, factor):
    scaled = [
        {name: value * factor if name.startswith(("pixel", "gradient")) else value for name, value in row.items()}
        for row in windows
    ]
    assert summarise_stability(dated(scaled)) == pytest.approx(summarise_stability(dated(windows)), rel=1e-6, abs=1e-6)


def test_a_real_adversarial_training_is_summarised(tmp_path):
    write_png(tmp_path / "images" / "astronaut.png", skimage.data.astronaut()[:96, 160:256])
    pairs = PairCache.build(FolderSource(folder=tmp_path / "images").items(), 4, tmp_path / "cache")
    spec = FinetuneSpec(steps=40, batch=2, patch=32, learning_rate=2e-3, ema=0.5, log_every=2)
    convolution = torch.nn.Conv2d(3, 3, 3, padding=1)
    torch.nn.init.normal_(convolution.weight, std=0.2, generator=torch.Generator().manual_seed(0))
    generator = torch.nn.Sequential(torch.nn.Upsample(scale_factor=4), convolution)
    adversarial = Adversarial(build_discriminator("patch"), objective("bce"), 0.01, 1e-3)
    trainer = Trainer(spec, generator, pairs, seed=0, stream="test", adversarial=adversarial)
    trainer.run(tmp_path / "run", checkpoint_every=100)
    rows = [json.loads(line) for line in (tmp_path / "run" / "history.jsonl").read_text().splitlines()]
    summary = summarise_stability(rows)
    assert summary["windows"] == 20
    assert 0 < summary["adversarial_gradient_share"] < 1
    assert summary["pixel_drift"] < 1  # it has learnt
    assert {"discriminator_saturation", "discriminator_oscillation", "generator_gradient_spike"} <= set(summary)
