import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from lopsided.analysis.errors import AnalysisError
from lopsided.analysis.statistics.correlation import Ranking, krcc, plcc, srcc

SCIPY = {srcc: stats.spearmanr, krcc: stats.kendalltau, plcc: stats.pearsonr}


@pytest.mark.parametrize("correlation", SCIPY)
@pytest.mark.parametrize("levels", [3, 1000])  # many ties, hardly any
def test_equals_scipy_with_and_without_ties(correlation, levels):
    rng = np.random.default_rng(levels)
    for _ in range(5):
        x, y = rng.integers(0, levels, (2, 240)).astype(float)
        assert correlation(x, y) == pytest.approx(SCIPY[correlation](x, y).statistic, abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(values=st.lists(st.integers(-3, 3), min_size=1, max_size=40), seed=st.integers(0, 10_000))
def test_centred_midranks_are_exact(values, seed):
    values = np.array(values, dtype=float)
    counts = np.random.default_rng(seed).integers(0, 4, len(values))
    ranking = Ranking(values)
    ranks = ranking.midranks(counts[ranking.order])
    expanded = np.repeat(values, counts)
    centred = stats.rankdata(expanded) - (len(expanded) + 1) / 2
    np.testing.assert_array_equal(np.repeat(ranks[ranking.group], counts), centred)


@pytest.mark.parametrize("correlation", SCIPY)
@pytest.mark.parametrize(("score_up", "label_up", "sign"), [(1, 1, 1), (0, 0, 1), (0, 1, -1), (1, 0, -1)])
def test_plus_means_agreement_whatever_the_directions(correlation, score_up, label_up, sign):
    x, y = [1.0, 2.0, 4.0, 3.0], [1.0, 2.0, 3.0, 5.0]
    signed = correlation(x, y, score_higher_is_better=bool(score_up), label_higher_is_better=bool(label_up))
    assert signed == pytest.approx(sign * SCIPY[correlation](x, y).statistic)


@pytest.mark.parametrize("correlation", SCIPY)
@pytest.mark.parametrize(
    ("x", "y", "said"),
    [
        ([1.0, np.nan, 3.0], [1.0, 2.0, 3.0], "1 of 3 scores are not finite"),
        ([1.0, 2.0, 3.0], [1.0, np.inf, 3.0], "1 of 3 labels are not finite"),
        ([2.0, 2.0, 2.0], [1.0, 2.0, 3.0], "all 3 scores equal 2"),
        ([1.0], [1.0], "at least two pairs"),
        ([1.0, 2.0], [1.0, 2.0, 3.0], "one length"),
    ],
)
def test_what_has_no_correlation_is_refused(correlation, x, y, said):
    with pytest.raises(AnalysisError, match=said):
        correlation(x, y)


def test_a_large_offset_costs_no_precision():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=50), rng.normal(size=50)
    assert plcc(x + 1e7, y) == pytest.approx(plcc(x, y), abs=1e-8)
