"""Leaving out references, and the interval of a correlation, against scipy and closed forms."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from lopsided.analysis.errors import AnalysisError
from lopsided.analysis.statistics.bootstrap import draw_resamples, percentile_interval, srcc_replicates
from lopsided.analysis.statistics.leaving_out import correlation_interval, jackknife, leave_one_out
from lopsided.analysis.statistics.rated import srcc_change


def correlated(r: float, n: int, seed: Sequence[int]) -> np.ndarray:
    """Return ``(2, n)`` pairs of a normal distribution with this correlation."""
    return np.random.default_rng(seed).multivariate_normal([0, 0], [[1, r], [r, 1]], n).T


def test_leaving_out_a_cluster_gives_scipys_value_of_the_rest() -> None:
    x, y = correlated(0.8, 30, [0])
    cluster = np.random.default_rng(0).permutation(np.repeat(np.arange(6), 5))
    whole, *parts = srcc_replicates(x, y, leave_one_out(cluster, 6))
    assert whole == pytest.approx(stats.spearmanr(x, y)[0])
    assert parts == pytest.approx([stats.spearmanr(x[cluster != c], y[cluster != c])[0] for c in range(6)])


def test_the_standard_error_of_a_mean_is_the_textbooks() -> None:
    values = np.random.default_rng(1).normal(size=12)
    found = jackknife(values.mean(), np.array([np.delete(values, n).mean() for n in range(12)]))
    assert (found.se, found.df) == pytest.approx((stats.sem(values), 11))


def test_the_interval_is_the_t_interval_of_z_with_and_without_its_bias() -> None:
    parts = np.array([0.95, 0.96, 0.93, 0.97, 0.94])
    z = np.arctanh(parts)
    se = np.sqrt(4 / 5 * ((z - z.mean()) ** 2).sum())
    corrected = 5 * np.arctanh(0.952) - 4 * z.mean()
    ends = [stats.t(4, centre, se).interval(0.9) for centre in (np.arctanh(0.952), corrected)]
    low, high = correlation_interval(0.952, parts, 0.9)
    assert (low, high) == pytest.approx((np.tanh(min(e[0] for e in ends)), np.tanh(max(e[1] for e in ends))))


def test_for_many_normal_pairs_it_is_fishers_own_interval() -> None:
    """Pearson's r of n normal pairs: z has the standard error 1/√(n − 3)."""
    x, y = correlated(0.6, 3000, [2])
    r = float(np.corrcoef(x, y)[0, 1])
    parts = np.array([np.corrcoef(np.delete(x, n), np.delete(y, n))[0, 1] for n in range(len(x))])
    theirs = stats.pearsonr(x, y).confidence_interval(0.95)
    assert correlation_interval(r, parts) == pytest.approx((theirs.low, theirs.high), abs=0.003)


def test_a_high_rank_correlation_lies_in_its_interval_where_percentiles_miss_it() -> None:
    """Spearman's rho of normal pairs is 6/π·asin(r/2)."""
    r, n, studies = 0.995, 100, 200
    truth = 6 / np.pi * np.arcsin(r / 2)
    held = {"jackknife": 0, "percentiles": 0}
    for study in range(studies):
        x, y = correlated(r, n, [3, study])
        whole, *parts = srcc_replicates(x, y, leave_one_out(np.arange(n), n))
        again = srcc_replicates(x, y, draw_resamples(np.arange(n), 300, np.random.default_rng(study)))
        for name, (low, high) in {
            "jackknife": correlation_interval(whole, np.array(parts)),
            "percentiles": percentile_interval(again, n_clusters=n),
        }.items():
            held[name] += low <= truth <= high
    assert held["jackknife"] >= 0.93 * studies
    assert held["percentiles"] < 0.9 * studies


@given(st.lists(st.floats(-1, 1), min_size=3, max_size=20), st.floats(-1, 1))
def test_ends_are_correlations_around_the_value_and_turn_with_it(parts: list[float], value: float) -> None:
    low, high = correlation_interval(value, np.array(parts))
    if np.isnan(low):
        assert np.isnan(high)
        return
    assert -1 <= low <= high <= 1
    perfect = abs(value) > 1 - 1e-11
    assert perfect or low <= value + 1e-12
    assert perfect or high >= value - 1e-12
    assert correlation_interval(-value, -np.array(parts)) == pytest.approx((-high, -low))


@pytest.mark.parametrize("parts", [[0.8, 0.9], [0.8, np.nan, 0.9], [1.0, 1.0, 1.0], []])
def test_there_is_no_interval_where_nothing_is_known_to_vary(parts: list[float]) -> None:
    assert np.isnan(correlation_interval(1.0, np.array(parts))).all()


@pytest.mark.parametrize("level", [0, 1, 95])
def test_a_level_is_a_share(level: float) -> None:
    with pytest.raises(AnalysisError, match=f"0.95, got {level}"):
        correlation_interval(0.9, np.array([0.88, 0.89, 0.9]), level)


def test_a_perfect_order_without_one_reference_leaves_a_finite_wide_interval() -> None:
    low, high = correlation_interval(0.9, np.array([0.88, 0.89, 1.0, 0.87, 0.88]))
    assert 0.3 < low < 0.8
    assert 0.98 < high < 1


def ratings(value: np.ndarray, target: np.ndarray, cluster: np.ndarray) -> pd.DataFrame:
    rated = pd.DataFrame({"value": value, "target": target, "reference": cluster})
    return rated.assign(higher_is_better=True, target_higher_is_better=True)


def test_a_change_is_that_of_scipys_correlations_with_students_t_over_references() -> None:
    rng = np.random.default_rng(3)
    target, cluster = rng.normal(size=40), np.repeat(np.arange(8), 5)
    worse, better = target + rng.normal(0, 1, 40), target + rng.normal(0, 0.4, 40)

    def change(kept: np.ndarray) -> float:
        after, before = (float(np.asarray(stats.spearmanr(of[kept], target[kept]))[0]) for of in (better, worse))
        return after - before

    parts = np.array([change(cluster != c) for c in range(8)])
    half = stats.t.ppf(0.975, 7) * np.sqrt(7 / 8 * ((parts - parts.mean()) ** 2).sum())
    whole = change(cluster >= 0)
    first, second = (ratings(value, target, cluster) for value in (worse, better))
    assert srcc_change(first, second) == pytest.approx((whole, whole - half, whole + half))
    lower = second.assign(value=-second["value"], higher_is_better=False)
    assert srcc_change(first, lower) == pytest.approx(srcc_change(first, second))


def test_a_change_without_a_correlation_or_with_few_references_says_no_more_than_it_knows() -> None:
    target, cluster = np.arange(8.0), np.repeat(np.arange(4), 2)
    first = ratings(target[[1, 0, 3, 2, 5, 4, 6, 7]], target, cluster)
    assert np.isnan(srcc_change(first, ratings(np.ones(8), target, cluster))).all()
    few = cluster // 2
    change, *ends = srcc_change(first.assign(reference=few), ratings(target, target, few))
    assert change > 0
    assert np.isnan(ends).all()
    assert np.isnan(srcc_change(first, first)[1:]).all()  # nothing varies: that says nothing about other references
    with pytest.raises(AnalysisError, match="the targets differ"):
        srcc_change(first, ratings(target, target[::-1], cluster))
