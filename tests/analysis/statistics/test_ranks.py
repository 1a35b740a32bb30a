import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from lopsided.analysis.errors import AnalysisError
from lopsided.analysis.statistics.ranks import friedman


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000), blocks=st.integers(2, 12), k=st.integers(3, 7), levels=st.sampled_from([2, 4, 10**6])
)
def test_statistic_is_scipys_with_and_without_ties(seed, blocks, k, levels):
    values = np.random.default_rng(seed).integers(0, levels, (blocks, k)).astype(float)
    found = friedman(values)
    if (values == values[:, :1]).all():
        assert (found.statistic, found.p) == (0.0, 1.0)
        return
    expected = stats.friedmanchisquare(*values.T)
    assert found.statistic == pytest.approx(expected.statistic, abs=1e-9)
    assert found.p == pytest.approx(expected.pvalue, abs=1e-9)


# Demšar (2006), table 5 (a): critical values q / √2 of the two-tailed Nemenyi test at 0.05.
@pytest.mark.parametrize(
    ("k", "q"), list(enumerate((1.960, 2.343, 2.569, 2.728, 2.850, 2.949, 3.031, 3.102, 3.164), 2))
)
def test_critical_difference_is_demsars(k, q):
    values = np.random.default_rng(0).normal(size=(14, k))
    found = friedman(values)
    assert found.critical_difference == pytest.approx(q * np.sqrt(k * (k + 1) / (6 * 14)), rel=6e-4)
    if k == 4:
        assert round(found.critical_difference, 2) == 1.25  # his example of four classifiers on 14 data sets


def test_pairs_beyond_the_critical_difference_are_those_below_five_percent():
    values = np.random.default_rng(1).normal(size=(20, 6)) + np.linspace(0, 2, 6)
    found = friedman(values)
    apart = np.abs(found.mean_ranks[:, None] - found.mean_ranks)
    np.testing.assert_array_equal(apart > found.critical_difference, found.p_pairs < 0.05)
    assert (found.p_pairs < 0.05).any()
    np.testing.assert_allclose(np.diag(found.p_pairs), 1)


def test_rank_one_is_best_and_ties_share():
    assert friedman([[3, 2, 1], [3, 1, 1]]).mean_ranks.tolist() == [1, 2.25, 2.75]
    assert friedman([[3, 2, 1], [3, 1, 1]], higher_is_better=False).mean_ranks.tolist() == [3, 1.75, 1.25]


def test_equals_are_told_apart_in_about_five_percent_of_trials():
    rng = np.random.default_rng(0)
    p = [friedman(rng.normal(size=(25, 4))).p for _ in range(300)]
    assert 0.02 < np.mean(np.array(p) < 0.05) < 0.08


@pytest.mark.parametrize(
    ("values", "said"), [([[1, 2]], "two blocks"), ([[1], [2]], "two blocks"), ([[1, np.nan], [1, 2]], "1 of 4 values")]
)
def test_what_cannot_be_ranked_is_refused(values, said):
    with pytest.raises(AnalysisError, match=said):
        friedman(values)
