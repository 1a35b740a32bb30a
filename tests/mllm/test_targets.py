"""Rewards and training targets: golden values of the papers' formulae, and the properties each must have."""

import numpy as np
import pytest

from lopsided.mllm import MllmError
from lopsided.mllm.scoring.targets import (
    CLOSENESS_SCALES,
    LEVELS,
    adaptive_gaussian_reward,
    closeness_reward,
    degradation_reward,
    deqa_raw,
    deqa_soft_labels,
    digit_cross_entropy,
    digit_soft_labels,
    fidelity,
    fidelity_rewards,
    preference,
    threshold_reward,
    thurstone_probability,
    to_five,
)


def test_adaptive_gaussian_reward_has_the_golden_values():
    rewards = adaptive_gaussian_reward([0, 1, 5, 10, 20, 30], 0)
    assert rewards == pytest.approx([1, 0.992257, 0.826529, 0.475397, 0.058750, 0.002278], abs=5e-7)


def test_adaptive_gaussian_reward_prints_as_the_papers_figure():
    printed = [f"{reward:.3f}" for reward in adaptive_gaussian_reward([55, 60, 70, 100], 50)]
    assert printed == ["0.827", "0.475", "0.059", "0.000"]


def test_adaptive_gaussian_reward_falls_with_the_error_and_is_symmetric():
    errors = np.linspace(0, 100, 501)
    rewards = adaptive_gaussian_reward(errors, 0)
    assert (np.diff(rewards) < 0).all()
    assert adaptive_gaussian_reward(0, errors) == pytest.approx(rewards, abs=0)
    # A wider net for larger errors than the plain Gaussian casts.
    assert (rewards[1:] > adaptive_gaussian_reward(errors[1:], 0, alpha=0)).all()


def test_threshold_reward_is_strict_at_the_edge_of_the_window():
    assert threshold_reward([3.0, 3.34, 3.36], 3.0, window=0.35).tolist() == [1, 1, 0]
    assert threshold_reward(3.5, 3.0, window=0.5) == 0


def test_closeness_reward_uses_the_scale_of_the_dimension():
    assert closeness_reward([0.5, 0.6, 0.0], 0.5, scale=CLOSENESS_SCALES["memorability"]) == pytest.approx(
        [1, 0.9, 0.5]
    )
    # With the original's 10 for every dimension, an error of half the range of memorability costs a twentieth.
    assert closeness_reward(0.0, 0.5, scale=10) == pytest.approx(0.95)
    assert closeness_reward(3, -3, scale=CLOSENESS_SCALES["emotional_valence"]) == 0
    assert closeness_reward([50, np.nan], 5, scale=10).tolist() == [-1, -0.5]


def test_degradation_reward_weighs_severity_three_times():
    assert degradation_reward([1, 1, 0, 0], [1, 0, 1, 0]).tolist() == [1, 0.25, 0.75, 0]


def test_thurstone_probability_has_the_golden_values():
    assert thurstone_probability([3.5, 4, 3], [2.5, 2, 3]) == pytest.approx([0.92135, 0.98305, 0.76025], abs=5e-6)


def test_fidelity_is_one_where_the_preference_is_right_and_symmetric_in_the_pair():
    p = np.linspace(0, 1, 101)
    assert fidelity(p, p) == pytest.approx(np.ones(101))
    assert fidelity(p, 0.25) == pytest.approx(fidelity(1 - p, 0.75))
    assert (fidelity(p, 0.25) <= 1 + 1e-12).all()
    assert p[np.argmax(fidelity(p, 0.25))] == 0.25
    assert 1 - fidelity(0.2, 1.0) == pytest.approx(1 - np.sqrt(0.2))


def test_fidelity_rewards_are_the_mean_over_the_other_images():
    replies, labels = [[3.5, 4, 3], [2.5, 2, 3], [4.5, 4, 5]], [4.0, 2.0, 4.0]
    rewards = fidelity_rewards(replies, labels)
    first = thurstone_probability(replies[0], replies[1])
    tied = thurstone_probability(replies[0], replies[2])
    by_hand = (np.sqrt(first + 1e-6) + np.sqrt(1e-6) + fidelity(tied, 0.5, epsilon=1e-6)) / 2
    assert rewards[0] == pytest.approx(by_hand)
    assert [reward.shape for reward in rewards] == [(3,), (3,), (3,)]


def test_fidelity_rewards_do_not_depend_on_the_order_of_the_batch():
    generator = np.random.default_rng(0)
    replies, labels = list(generator.normal(3, 1, (5, 6))), generator.normal(3, 1, 5)
    order = [3, 0, 4, 1, 2]
    shuffled = fidelity_rewards([replies[i] for i in order], labels[order])
    for place, index in enumerate(order):
        assert shuffled[place] == pytest.approx(fidelity_rewards(replies, labels)[index])


def test_preference_is_half_for_a_tie():
    assert [preference(2, 1), preference(1, 2), preference(1, 1)] == [1, 0, 0.5]


def test_deqa_raw_probabilities_have_the_golden_values():
    raw = deqa_raw(3.4, 0.6)
    assert raw == pytest.approx([0.01899, 0.40328, 0.53241, 0.04370, 0.00022], abs=5e-6)
    assert raw.sum() == pytest.approx(0.99862, abs=5e-6)
    assert LEVELS @ raw == pytest.approx(3.39297, abs=5e-6)


def test_deqa_soft_labels_have_the_golden_correction():
    labels = deqa_soft_labels(3.4, 0.6)
    # α = 1.00725, β = −0.00117; the level "bad" would be negative and is clipped.
    assert labels == pytest.approx(np.clip(1.00725 * deqa_raw(3.4, 0.6) - 0.00117, 0, None), abs=1e-5)
    assert labels[-1] == 0


@pytest.mark.parametrize("kind", ["density", "mass"])
@pytest.mark.parametrize("std", [0.3, 0.6, 1.0])
def test_deqa_soft_labels_are_non_negative_sum_to_one_and_keep_the_mean(kind, std):
    for mean in np.linspace(1, 5, 161):
        labels = deqa_soft_labels(mean, std, kind=kind)
        assert (labels >= 0).all()
        assert labels.sum() == pytest.approx(1, abs=0.076)  # clipping adds what was negative
        assert LEVELS @ labels == pytest.approx(mean, abs=0.1)


def test_deqa_soft_labels_at_three_are_the_limit_from_both_sides():
    middle = deqa_soft_labels(3, 0.6)
    assert middle == pytest.approx(deqa_soft_labels(3 + 1e-4, 0.6), abs=1e-4)
    assert middle == pytest.approx(deqa_soft_labels(3 - 1e-4, 0.6), abs=1e-4)
    assert middle == pytest.approx(middle[::-1])


def test_deqa_falls_back_to_two_levels_without_a_deviation():
    assert deqa_soft_labels(3.4, 0.0) == pytest.approx([0, 0.4, 0.6, 0, 0])
    assert deqa_soft_labels(3.4, 0.19) == pytest.approx([0, 0.4, 0.6, 0, 0])
    assert deqa_soft_labels(4, 0).tolist() == [0, 1, 0, 0, 0]


def test_scores_of_any_range_come_to_one_to_five():
    assert to_five(50, 12.5, 0, 100) == (3, 0.5)
    assert to_five(0, 0, 0, 1) == (1, 0)


def test_digit_soft_labels_have_the_golden_values():
    assert digit_soft_labels(5) == pytest.approx([0, 0.006, 0.012, 0.018, 0.024, 0.88, 0.024, 0.018, 0.012, 0.006])
    zero = digit_soft_labels(0)
    assert (zero[0], zero[1], zero[9]) == (pytest.approx(0.88), pytest.approx(0.026667, abs=1e-6), 0)
    assert digit_soft_labels(9) == pytest.approx(zero[::-1])
    # The spread alone (η = 1): ψ.
    assert digit_soft_labels(5, eta=1) == pytest.approx([0, 0.04, 0.08, 0.12, 0.16, 0.20, 0.16, 0.12, 0.08, 0.04])


@pytest.mark.parametrize("kind", ["triangular", "uniform"])
@pytest.mark.parametrize("digit", range(10))
def test_digit_soft_labels_are_distributions_with_their_mode_at_the_digit(digit, kind):
    labels = digit_soft_labels(digit, kind=kind)
    assert labels.sum() == pytest.approx(1)
    assert (labels >= 0).all()
    assert labels.argmax() == digit


def test_positional_factor_on_distances_is_a_no_op_but_not_on_the_loss():
    distance = np.abs(np.arange(10) - 3)
    by_place = [10.0**-place * (distance.max() - distance) for place in range(3)]
    assert np.allclose(*[spread / spread.sum() for spread in by_place[:2]])
    assert np.allclose(*[spread / spread.sum() for spread in by_place[1:]])
    logs = np.log(np.full(10, 0.05))
    assert digit_cross_entropy(logs, 3, weight=0.1) == pytest.approx(0.1 * digit_cross_entropy(logs, 3))


def test_digit_cross_entropy_is_lowest_at_the_soft_label():
    label = digit_soft_labels(4)
    best = digit_cross_entropy(np.log(np.clip(label, 1e-12, None)), 4)
    generator = np.random.default_rng(0)
    for _ in range(50):
        other = generator.dirichlet(np.ones(10))
        assert digit_cross_entropy(np.log(other), 4) > best


@pytest.mark.parametrize(
    "call",
    [
        lambda: adaptive_gaussian_reward(1, 2, sigma=0),
        lambda: threshold_reward(1, 2, window=0),
        lambda: closeness_reward(1, 2, scale=-1),
        lambda: thurstone_probability([3], [2, 3]),
        lambda: thurstone_probability([3, np.nan], [2, 3]),
        lambda: fidelity(1.1, 0.5),
        lambda: fidelity_rewards([[1, 2]], [1]),
        lambda: deqa_soft_labels(60, 10),
        lambda: deqa_soft_labels(3, -1),
        lambda: to_five(101, 1, 0, 100),
        lambda: digit_soft_labels(10),
        lambda: digit_cross_entropy(np.zeros(9), 1),
    ],
)
def test_what_has_no_meaning_is_refused(call):
    with pytest.raises(MllmError):
        call()
