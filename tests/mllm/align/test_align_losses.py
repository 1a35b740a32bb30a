"""The training losses against their numpy twins, golden values and numeric gradients."""

from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from lopsided.mllm import MllmError
from lopsided.mllm.align.losses import (
    digit_ranks,
    digit_targets,
    fidelity_loss,
    level_expectation,
    level_loss,
    level_targets,
    soft_digit_loss,
)
from lopsided.mllm.scoring import SCALES, level_of, targets

DIGITS = torch.arange(10) + 3  # ids of 0 … 9 in a vocabulary of 20
POINT = torch.tensor([2])
FIVE = torch.tensor([5.0, 4.0, 3.0, 2.0, 1.0])


def tokens(text):
    return [2 if c == "." else int(c) + 3 if c.isdigit() else 1 for c in text]


def test_digit_targets_have_the_golden_values_and_agree_with_numpy():
    q = digit_targets(torch.tensor([5, 0, 9]))
    assert np.allclose(q[0], [0, 0.006, 0.012, 0.018, 0.024, 0.88, 0.024, 0.018, 0.012, 0.006])
    assert np.allclose(q[1, [0, 1, 9]], [0.88, 0.026667, 0], atol=1e-6)
    assert np.allclose(q[2], q[1].flip(0))
    for spread in ("triangular", "uniform"):
        ours = digit_targets(torch.arange(10), eta=0.08, spread=spread)
        theirs = [targets.digit_soft_labels(d, eta=0.08, kind=spread) for d in range(10)]
        assert np.allclose(ours, theirs, atol=1e-6)


def test_the_rank_of_a_digit_counts_from_the_start_of_its_number():
    labels = torch.tensor([tokens("a 5.577 1"), tokens("12.5.b 03")])
    assert digit_ranks(labels, DIGITS, POINT).tolist() == [
        [-1, -1, 0, -1, 1, 2, 3, -1, 0],
        [0, 1, -1, 2, -1, -1, -1, 0, 1],
    ]


def test_soft_digit_loss_is_its_definition():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 6, 20, generator=generator)
    labels = torch.tensor([tokens("ab 5.5")[:6], tokens("b 12.5")])
    labels[0, 0] = -100
    logs = logits.log_softmax(-1)
    expected = 0.0
    for b in range(2):
        for t in range(6):
            label = int(labels[b, t])
            if label >= 3:
                expected += 2 * targets.digit_cross_entropy(logs[b, t, DIGITS].numpy(), label - 3)
            elif label != -100:
                expected -= float(logs[b, t, label])
    assert float(soft_digit_loss(logits, labels, DIGITS, POINT)) == pytest.approx(expected, rel=1e-5)


def test_without_softness_it_is_the_ordinary_cross_entropy():
    logits, labels = torch.randn(1, 6, 20), torch.tensor([tokens("a 5.57")])
    plain = F.cross_entropy(logits[0], labels[0], reduction="sum")
    assert torch.allclose(soft_digit_loss(logits, labels, DIGITS, POINT, weight=1, eta=0), plain)


def test_the_weight_of_places_works_where_the_originals_cancels():
    labels = torch.tensor([tokens("5.55")])
    wrong_first, wrong_last = torch.zeros(1, 4, 20), torch.zeros(1, 4, 20)
    wrong_first[0, 0, 3], wrong_last[0, 3, 3] = 6, 6

    def loss(logits, **options):
        return float(soft_digit_loss(logits, labels, DIGITS, POINT, **options))

    for options in ({}, {"cancelling": True}):
        assert loss(wrong_first, **options) == pytest.approx(loss(wrong_last, **options))
        assert loss(wrong_first, **options) == pytest.approx(loss(wrong_first))
    assert loss(wrong_first, place_weight=0.5) > loss(wrong_last, place_weight=0.5) + 1


def test_level_loss_is_kl_over_the_whole_vocabulary():
    logits, ids = torch.randn(3, 20), torch.tensor([4, 7, 9, 11, 2])
    soft = torch.rand(3, 5).softmax(-1)
    whole = torch.zeros(3, 20)
    whole[:, ids] = soft
    expected = F.kl_div(logits.log_softmax(-1), whole, reduction="batchmean") * 3
    assert torch.allclose(level_loss(logits, soft, ids), expected, atol=1e-6)
    hard = F.one_hot(torch.tensor([0, 2, 4]), 5).float()
    assert torch.allclose(level_loss(logits, hard, ids), F.cross_entropy(logits, ids[[0, 2, 4]], reduction="sum"))


def test_level_targets_agree_with_numpy():
    means = torch.tensor([1.0, 1.8, 2.6, 3.4, 4.9, 5.0], dtype=torch.float64)
    hard = level_targets(means, FIVE, kind="hard")
    words = [SCALES["q-align"].levels[int(row.argmax())] for row in hard]
    assert words == [level_of(SCALES["q-align"], float(mean), 1, 5) for mean in means]
    two = level_targets(means, FIVE, kind="two-level")
    assert torch.allclose(two @ FIVE.double(), means)
    assert torch.allclose(two.sum(1), torch.ones(6, dtype=torch.float64))
    soft = level_targets(torch.tensor([3.4]), FIVE, kind="deqa", stds=torch.tensor([0.6]))
    assert np.allclose(soft[0], targets.deqa_soft_labels(3.4, 0.6), atol=1e-6)
    assert float(soft @ FIVE) == pytest.approx(3.4, abs=0.01)
    assert torch.equal(level_targets(means, FIVE, kind="deqa"), two)  # no deviations: two levels


def test_fidelity_loss_is_that_of_numpy_and_small_where_the_order_is_right():
    scores, means = torch.tensor([1.5, 3.0, 4.5]), torch.tensor([1.0, 3.5, 4.0])
    stds = torch.tensor([0.5, 0.6, 0.7])

    def phi(x):
        return float(torch.special.ndtr(torch.as_tensor(x)))

    pairs = [(0, 1), (0, 2), (1, 2)]
    for deviations, spread in (
        (None, lambda i, j: 2**0.5),
        (stds, lambda i, j: float(stds[i] ** 2 + stds[j] ** 2) ** 0.5),
    ):
        expected = np.mean(
            [
                1
                - targets.fidelity(
                    phi(float(scores[i] - scores[j]) / 2**0.5), phi(float(means[i] - means[j]) / spread(i, j))
                )
                for i, j in pairs
            ]
        )
        assert float(fidelity_loss(scores, means, deviations)) == pytest.approx(float(expected), abs=1e-5)
    assert float(fidelity_loss(means, means)) < 1e-6 < float(fidelity_loss(-means, means))
    assert float(fidelity_loss(scores[:1], means[:1])) == 0


def test_gradients_are_those_of_finite_differences():
    logits = torch.randn(2, 4, 20, dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([tokens("5.57"), tokens("b 1.")])
    # The losses compute in float32, so the differences are coarse.
    options: Any = {"eps": 1e-2, "atol": 2e-2, "rtol": 1e-2, "nondet_tol": 1e-6}
    assert torch.autograd.gradcheck(
        lambda x: soft_digit_loss(x, labels, DIGITS, POINT, place_weight=0.5).double(), logits, **options
    )
    ids, at = torch.tensor([4, 7, 9, 11, 2]), torch.randn(2, 20, dtype=torch.float64, requires_grad=True)
    soft = torch.tensor([[0.1, 0.2, 0.3, 0.4, 0.0], [1.0, 0, 0, 0, 0]])
    assert torch.autograd.gradcheck(lambda x: level_loss(x, soft, ids).double(), at, **options)
    means = torch.tensor([2.0, 4.0])
    assert torch.autograd.gradcheck(
        lambda x: fidelity_loss(level_expectation(x, ids, FIVE), means).double(), at, **options
    )


@pytest.mark.parametrize(
    "call",
    [
        lambda: digit_targets(torch.tensor([10])),
        lambda: digit_targets(torch.tensor([1]), eta=2),
        lambda: soft_digit_loss(torch.zeros(1, 1, 20), torch.tensor([[3]]), DIGITS, POINT, place_weight=0),
        lambda: level_targets(torch.tensor([6.0]), FIVE),
        lambda: level_targets(torch.tensor([0.5]), torch.tensor([1.0, 0.0]), kind="deqa", stds=torch.tensor([0.1])),
    ],
)
def test_what_cannot_be_trained_on_is_refused(call):
    with pytest.raises(MllmError):
        call()
