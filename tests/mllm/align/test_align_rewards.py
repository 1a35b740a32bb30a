"""Rewards of parsed replies, and what a failure costs."""

import math
from typing import Any

import numpy as np
import pytest

from lopsided.mllm import Item, MllmError
from lopsided.mllm.align.rewards import (
    AdaptiveGaussian,
    Binary,
    Closeness,
    Format,
    Length,
    ParsedReply,
    Rewards,
    ThurstoneFidelity,
    Window,
)


def item(target: Any = 50.0, scale: Any = (0, 100), name="1", task: Any = "rate", dimension="IQA"):
    return Item(benchmark="b", dimension=dimension, id=name, task=task, images=(), target=target, scale=scale)


def reply(value: Any = None, of: Any = None, text="x", status: Any = "ok", tokens=3):
    return ParsedReply(value, status, text, tokens, of or item())


FAILED = {"value": None, "status": "unparsable"}


def test_adaptive_gaussian_has_the_golden_values_on_any_scale():
    golden = {0: 1, 1: 0.992257, 5: 0.826529, 10: 0.475397, 20: 0.058750, 30: 0.002278}
    got = AdaptiveGaussian()([reply(50.0 + e) for e in golden])
    assert np.allclose(got, list(golden.values()), atol=1e-6)
    of_five = item(3.0, (1, 5))
    assert AdaptiveGaussian()([reply(3.4, of_five)])[0] == pytest.approx(0.475397, abs=1e-6)


def test_window_is_measured_on_one_to_five():
    on_100 = item(50.0)
    got = Window()([reply(50.0 + 25 * e, on_100) for e in (0.3, 0.34, 0.36, -0.4)])
    assert got.tolist() == [1, 1, 0, 0]


def test_closeness_uses_the_scale_of_each_dimension():
    memorability = item(0.5, (0, 1), dimension="Memorability")
    own = item(2.0, (1, 5), dimension="own")
    assert Closeness()([reply(0.9, memorability), reply(4.0, own)]).tolist() == pytest.approx([0.6, 0.5])
    assert Closeness(scales={"memorability": 10})([reply(0.9, memorability)])[0] == pytest.approx(0.96)


def test_thurstone_has_the_golden_values_whatever_the_order():
    first, second = item(4.0, (1, 5), "1"), item(2.0, (1, 5), "2")
    replies = [reply(q, first) for q in (3.5, 4, 3)] + [reply(q, second) for q in (2.5, 2, 3)]
    got = ThurstoneFidelity()(replies)
    assert np.allclose(got[:3] ** 2, [0.92135, 0.98305, 0.76025], atol=2e-3)  # √p, and what ε adds
    order = [3, 0, 4, 1, 5, 2]
    assert np.allclose(ThurstoneFidelity()([replies[n] for n in order]), got[order])


def test_thurstone_leaves_out_replies_without_a_number_and_images_alone():
    first, second = item(4.0, (1, 5), "1"), item(2.0, (1, 5), "2")
    whole = [reply(q, first) for q in (3.5, 4)] + [reply(q, second) for q in (2.5, 2)]
    with_failure = [*whole, reply(of=first, **FAILED)]
    got = ThurstoneFidelity()(with_failure)
    assert np.allclose(got[:4], ThurstoneFidelity()(whole))
    assert got[4] == 0
    assert np.isnan(ThurstoneFidelity()([reply(3.0, first), reply(3.5, first)])).all()


@pytest.mark.parametrize(
    ("reward", "least"), [(AdaptiveGaussian, 0), (Window, 0), (Closeness, -1), (ThurstoneFidelity, 0)]
)
def test_a_failure_gets_the_least_unless_told_otherwise(reward, least):
    replies = [reply(50.0), reply(49.0, item(name="2", target=40.0)), reply(**FAILED)]
    assert reward()(replies)[2] == least
    assert reward(on_failure=-0.5)(replies)[2] == -0.5
    assert math.isnan(reward(on_failure="none")(replies)[2])


def test_each_task_gets_signals_of_its_own_rewards_only():
    question = item("B", None, "q", "answer")
    rewards = [AdaptiveGaussian(), Binary()]
    replies = [reply(50.0), reply("B", question), reply("A", question), reply(of=question, **FAILED)]
    nan = math.nan
    expected = [[1, nan, nan, nan], [nan, 1, 0, 0]]
    assert np.array_equal([r(replies) for r in rewards], expected, equal_nan=True)
    assert Rewards(rewards).total(replies).tolist() == [1, 1, 0, 0]


def test_format_and_length_look_at_the_text():
    form = Format(pattern=r"<think>.*</think>\s*<answer>.*</answer>")
    texts = ["<think>a\nb</think>\n<answer>3</answer>", "3", "so <think>a</think><answer>3</answer>"]
    assert form([reply(3.0, text=t) for t in texts]).tolist() == [1, 0, 0]
    assert Format()([reply(3.0), reply(**FAILED)]).tolist() == [1, 0]
    assert Length(free=10, most=20)([reply(1.0, tokens=t) for t in (3, 10, 15, 20, 99)]).tolist() == [1, 1, 0.5, 0, 0]


def test_the_sum_is_weighted_and_statuses_are_counted():
    rewards = Rewards([AdaptiveGaussian(weight=2), Format(weight=0.5), Format(weight=0.25, pattern="x")])
    assert list(rewards.named) == ["adaptive-gaussian", "format", "format-2", "gaussian"]
    assert rewards.total([reply(50.0), reply(**FAILED)]).tolist() == [2.75, 0.25]
    assert rewards.take_statuses() == {"ok": 0.5, "unparsable": 0.5}
    assert rewards.take_statuses() == {}


def test_the_adaptive_reward_brings_one_of_fixed_width_that_counts_nothing():
    assert Rewards([AdaptiveGaussian()]).named["gaussian"].weight == 0


def test_what_has_no_scale_or_no_reward_is_refused():
    with pytest.raises(MllmError, match="no scale"):
        AdaptiveGaussian()([reply(1.0, item(scale=None))])
    with pytest.raises(MllmError, match="at least one"):
        Rewards([])
