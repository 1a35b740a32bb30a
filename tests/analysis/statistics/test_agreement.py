from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lopsided.analysis.errors import AnalysisError
from lopsided.analysis.statistics import agreement
from lopsided.analysis.statistics.agreement import concordance, label_errors, outlier_ratio, two_afc


def by_hand(score, label, error, z):
    """The definition, pair by pair."""
    right, pairs = 0.0, 0
    for i, j in combinations(range(len(score)), 2):
        if abs(label[i] - label[j]) > z * np.hypot(error[i], error[j]):
            pairs += 1
            agrees = (score[i] - score[j]) * (label[i] - label[j])
            right += 1.0 if agrees > 0 else 0.5 if agrees == 0 else 0.0
    return (right / pairs if pairs else float("nan")), pairs


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), n=st.integers(4, 40), levels=st.sampled_from([3, 1000]), block=st.integers(1, 200))
def test_concordance_is_its_definition_whatever_the_ties_and_blocks(seed, n, levels, block):
    rng = np.random.default_rng(seed)
    score, label = rng.integers(0, levels, (2, n)).astype(float)
    score[:2], label[:2] = (0, 1), (0, 1)
    # Squares of multiples of ¼ are exact, so that a pair at the threshold falls on the same side in both.
    error = rng.integers(0, 9, n) / 4
    whole, agreement.BLOCK = agreement.BLOCK, block
    try:
        found = concordance(score, label, error, z=1.75)
    finally:
        agreement.BLOCK = whole
    assert found == pytest.approx(by_hand(score, label, error, 1.75), nan_ok=True)


@pytest.mark.parametrize(("score_up", "label_up", "expected"), [(1, 1, 1), (0, 0, 1), (0, 1, 0), (1, 0, 0)])
def test_concordance_knows_directions(score_up, label_up, expected):
    value, pairs = concordance(
        [1, 2, 3.0],
        [10, 20, 30.0],
        [1, 1, 1],
        score_higher_is_better=bool(score_up),
        label_higher_is_better=bool(label_up),
    )
    assert (value, pairs) == (expected, 3)


def test_pairs_people_cannot_tell_apart_do_not_count():
    value, pairs = concordance([3, 2, 1.0], [1.0, 1.1, 9.0], [0.5, 0.5, 0.5])
    assert (value, pairs) == (0.0, 2)
    value, pairs = concordance([3, 2, 1.0], [1.0, 1.1, 1.2], [5, 5, 5])
    assert np.isnan(value)
    assert pairs == 0


def test_equal_labels_never_count_and_sure_labels_always_do():
    assert concordance([1, 2, 3.0], [1, 1, 2.0], [0, 0, 0]) == (1.0, 2)


def test_a_label_error_is_the_standard_error_of_the_mean():
    np.testing.assert_allclose(label_errors([1.0, 3.0], [4, 9]), [0.5, 1.0])
    np.testing.assert_allclose(label_errors([1.0, 3.0]), [1.0, 3.0])


def test_outliers_are_beyond_two_errors():
    assert outlier_ratio([1, 2.01, 3, 1.0], [1, 0, 1, 4.0], [1, 1, 1, 1]) == 0.5


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10_000), n=st.integers(1, 30))
def test_2afc_is_bapps_convention(seed, n):
    rng = np.random.default_rng(seed)
    a, b = rng.integers(0, 3, (2, n)).astype(float)
    share = rng.integers(0, 6, n) / 5
    expected = (np.where(a < b, 1 - share, 0) + np.where(b < a, share, 0) + np.where(a == b, 0.5, 0)).mean()
    assert two_afc(a, b, share, score_higher_is_better=False) == pytest.approx(expected)
    assert two_afc(-a, -b, share, score_higher_is_better=True) == pytest.approx(expected)
    assert two_afc(b, a, 1 - share, score_higher_is_better=False) == pytest.approx(expected)


def test_2afc_by_hand():
    assert two_afc([0.1, 0.5, 0.3], [0.2, 0.1, 0.3], [0.0, 0.8, 1.0], score_higher_is_better=False) == pytest.approx(
        (1.0 + 0.8 + 0.5) / 3
    )


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: label_errors([1, -1.0]), "1 of 2 label_std are below 0"),
        (lambda: label_errors([1, np.nan]), "1 of 2 label_std are below 0 or not finite"),
        (lambda: label_errors([1, 1.0], [3, 0]), "1 of 2 votes are below 1"),
        (lambda: concordance([1, 2.0], [1, np.nan], [1, 1]), "1 of 2 labels are not finite"),
        (lambda: concordance([1, 2.0], [1, 2.0], [1]), "2 labels but standard errors"),
        (lambda: outlier_ratio([1, np.nan], [1, 2], [1, 1]), "not finite"),
        (lambda: outlier_ratio([1, 2.0, 3], [1, 2], [1, 1]), "different length"),
        (lambda: two_afc([1.0], [np.inf], [0.5], score_higher_is_better=True), "1 of 1 triplets"),
        (lambda: two_afc([1.0], [2.0], [1.5], score_higher_is_better=True), "outside"),
        (lambda: two_afc([], [], [], score_higher_is_better=True), "three lists"),
    ],
)
def test_what_has_no_answer_is_refused(call, said):
    with pytest.raises(AnalysisError, match=said):
        call()


# --- just-noticeable differences ------------------------------------------------------------------------------------


def jnd_by_hand(distance, same):
    """Area under the best precision at each recall or beyond, threshold by threshold."""
    thresholds = sorted(set(distance))
    within = [distance <= threshold for threshold in thresholds]
    precision = [same[chosen].mean() for chosen in within]
    recall = [0.0, *(same[chosen].sum() / same.sum() for chosen in within)]
    return sum((recall[i + 1] - recall[i]) * max(precision[i:]) for i in range(len(thresholds)))


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), n=st.integers(1, 40), levels=st.sampled_from([2, 5, 10**6]))
def test_jnd_precision_is_its_definition_whatever_the_ties(seed, n, levels):
    rng = np.random.default_rng(seed)
    distance, same = rng.integers(0, levels, n).astype(float), rng.integers(0, 4, n) / 3
    same[0] = 1
    found = agreement.jnd_precision(distance, same, score_higher_is_better=False)
    assert found == pytest.approx(jnd_by_hand(distance, same))
    assert agreement.jnd_precision(-distance, same, score_higher_is_better=True) == found


def test_jnd_precision_of_known_rankings():
    same = np.array([1, 1, 1, 0, 0, 0, 0, 0.0])
    up = np.arange(8.0)

    def precision(distance, shares=same):
        return agreement.jnd_precision(distance, shares, score_higher_is_better=False)

    assert precision(up) == 1  # all that are the same come first
    assert precision(-up) == pytest.approx(3 / 8)  # and last: every recall needs all pairs
    assert precision(np.ones(8)) == pytest.approx(3 / 8)  # no ranking at all
    assert precision(up, np.full(8, 1 / 3)) == pytest.approx(1 / 3)  # nobody is sure of any
    assert precision(np.array([0, 2, 4, 1, 3, 5, 6, 7.0])) == pytest.approx((1 + 2 / 3 + 3 / 5) / 3)


def test_jnd_precision_is_that_of_the_lpips_package():
    voc_ap = pytest.importorskip("lpips").voc_ap
    rng = np.random.default_rng(0)
    for _ in range(20):
        distance, same = rng.permutation(60), rng.integers(0, 4, 60) / 3
        found = np.cumsum(same[np.argsort(distance)])
        expected = voc_ap(found / found[-1], found / np.arange(1, 61))
        assert agreement.jnd_precision(distance, same, score_higher_is_better=False) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("score", "same", "message"),
    [
        ([], [], "two lists of one length"),
        ([1, 2], [1], "two lists of one length"),
        ([1, np.nan], [1, 1], "1 of 2 pairs have a score that is not finite"),
        ([1, 2], [1, 1.5], "1 of 2 shares are outside"),
        ([1, 2], [0, 0], "nobody finds any of 2 pairs the same"),
    ],
)
def test_jnd_pairs_that_cannot_be_scored_are_refused(score, same, message):
    with pytest.raises(AnalysisError, match=message):
        agreement.jnd_precision(score, same, score_higher_is_better=False)
