from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lopsided.analysis import agreement
from lopsided.analysis.agreement import concordance, label_errors, outlier_ratio, two_afc
from lopsided.analysis.errors import AnalysisError


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
