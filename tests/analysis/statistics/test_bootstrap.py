import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from lopsided.analysis.errors import AnalysisError
from lopsided.analysis.statistics import bootstrap


@pytest.fixture
def sample():
    rng = np.random.default_rng(5)
    reference = np.repeat([f"r{i}" for i in range(9)], 7)
    x = rng.integers(0, 12, 63).astype(float)
    return x, x + rng.integers(0, 8, 63), rng.permuted(reference)


@pytest.mark.parametrize(
    ("replicates", "independent"),
    [
        (bootstrap.srcc_replicates, stats.spearmanr),
        (bootstrap.krcc_replicates, stats.kendalltau),
        (bootstrap.plcc_replicates, stats.pearsonr),
    ],
)
def test_each_replicate_is_scipys_value_on_the_expanded_resample(sample, replicates, independent):
    x, y, reference = sample
    resamples = bootstrap.draw_resamples(reference, 50, np.random.default_rng(0))
    found = replicates(x, y, resamples)
    for value, counts in zip(found, resamples.counts, strict=True):
        rows = np.repeat(np.arange(len(x)), counts[resamples.cluster])
        assert value == pytest.approx(independent(x[rows], y[rows]).statistic, abs=1e-12)


def test_clusters_come_and_go_together(sample):
    _, _, reference = sample
    resamples = bootstrap.draw_resamples(reference, 20, np.random.default_rng(0))
    assert (resamples.counts.sum(axis=1) == 9).all()
    for label in np.unique(reference):
        assert len(np.unique(resamples.cluster[reference == label])) == 1


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    n=st.integers(3, 60),
    clusters=st.integers(1, 60),
    levels=st.sampled_from([2, 9, 10**6]),
)
def test_srcc_of_any_resample_is_scipys(seed, n, clusters, levels):
    """Few and many ties on either side, clusters of any size, a resample that leaves most observations out."""
    rng = np.random.default_rng(seed)
    x, y = rng.integers(0, levels, n).astype(float), rng.integers(0, 9, n) / 3
    resamples = bootstrap.draw_resamples(rng.integers(0, clusters, n), 5, rng)
    for value, counts in zip(bootstrap.srcc_replicates(x, y, resamples), resamples.counts, strict=True):
        rows = np.repeat(np.arange(n), counts[resamples.cluster])
        if np.ptp(x[rows]) == 0 or np.ptp(y[rows]) == 0:
            assert np.isnan(value)
        else:
            assert value == pytest.approx(stats.spearmanr(x[rows], y[rows])[0], abs=1e-12)


def test_blocks_do_not_change_the_result(sample, monkeypatch):
    x, y, reference = sample
    resamples = bootstrap.draw_resamples(reference, 40, np.random.default_rng(0))
    whole = bootstrap.srcc_replicates(x, y, resamples)
    monkeypatch.setattr(bootstrap, "BLOCK", 200)
    np.testing.assert_array_equal(bootstrap.srcc_replicates(x, y, resamples), whole)


def test_an_iid_bootstrap_is_too_sure_of_clustered_data():
    rng = np.random.default_rng(2)
    reference = np.repeat(np.arange(20), 30)
    # Each reference has its own offset, as images of one scene do: 600 rows carry far less than 600 rows' evidence.
    quality = rng.normal(size=600)
    score = quality + rng.normal(0, 2, 20)[reference] + rng.normal(size=20)[reference] * quality
    clustered = bootstrap.draw_resamples(reference, 500, np.random.default_rng(0))
    iid = bootstrap.draw_resamples(np.arange(600), 500, np.random.default_rng(0))
    spread = [bootstrap.srcc_replicates(score, quality, resamples).std() for resamples in (clustered, iid)]
    assert spread[0] > 1.5 * spread[1]


def test_clusters_of_one_give_the_usual_standard_error():
    rng = np.random.default_rng(3)
    x = rng.normal(size=400)
    y = 0.5 * x + np.sqrt(0.75) * rng.normal(size=400)
    resamples = bootstrap.draw_resamples(np.arange(400), 800, np.random.default_rng(0))
    assert bootstrap.plcc_replicates(x, y, resamples).std() == pytest.approx((1 - 0.25) / 20, rel=0.2)


def test_constant_resamples_are_undefined_and_void_the_interval():
    x = np.array([1.0, 1.0, 1.0, 2.0])
    resamples = bootstrap.draw_resamples(np.arange(4), 400, np.random.default_rng(0))
    found = bootstrap.srcc_replicates(x, np.arange(4.0), resamples)
    assert 0.2 < np.isnan(found).mean() < 0.5  # (3/4)^4 = 0.32 lack the one other value
    assert np.isnan(bootstrap.percentile_interval(found)).all()


def test_intervals_and_shares():
    values = np.arange(1001.0)
    assert bootstrap.percentile_interval(values) == pytest.approx((25, 975))
    assert bootstrap.percentile_interval(values, 0.5) == pytest.approx((250, 750))
    assert bootstrap.share_above_zero([-1.0, 0.0, 1.0, 1.0]) == 0.625
    with pytest.raises(AnalysisError, match="at least one unit"):
        bootstrap.draw_counts(0, 10, np.random.default_rng(0))


def test_few_clusters_widen_an_interval():
    values = np.arange(100_001.0)
    # 2Φ(√(25/24) · 2.0639) − 1 = 0.96484.
    assert bootstrap.percentile_interval(values, n_clusters=25) == pytest.approx((1758, 98242), abs=1)
    assert bootstrap.percentile_interval(values, n_clusters=10**6) == pytest.approx((2500, 97500), abs=1)
    widths = [np.ptp(bootstrap.percentile_interval(values, n_clusters=n)) for n in (2, 5, 10, 25, 81)]
    assert widths == sorted(widths, reverse=True)


def test_the_widened_interval_of_few_clusters_covers_and_the_iid_one_does_not():
    """300 simulations have a standard error of 1.3 %; benchmarks/resampling.py has the full ones."""
    rng = np.random.default_rng(0)
    cluster, held = np.repeat(np.arange(12), 8), np.zeros(2)
    for _ in range(300):
        x = rng.normal(size=96) + rng.normal(size=12)[cluster]
        y = rng.normal(size=96) + rng.normal(size=12)[cluster]  # unrelated: the true value is 0
        for i, (units, n_clusters) in enumerate([(cluster, 12), (np.arange(96), None)]):
            again = bootstrap.srcc_replicates(x, y, bootstrap.draw_resamples(units, 400, rng))
            low, high = bootstrap.percentile_interval(again, n_clusters=n_clusters)
            held[i] += low <= 0 <= high
    assert held[0] / 300 > 0.91
    assert held[1] / 300 < 0.85


@pytest.mark.parametrize(
    "replicates", [bootstrap.srcc_replicates, bootstrap.krcc_replicates, bootstrap.plcc_replicates]
)
def test_several_variables_at_once_give_what_each_gives_alone(sample, replicates, monkeypatch):
    x, y, reference = sample
    resamples = bootstrap.draw_resamples(reference, 50, np.random.default_rng(0))
    untied = np.random.default_rng(1).permutation(len(x)).astype(float)
    several = np.stack([x, untied, -x, np.round(untied, -1)])
    monkeypatch.setattr(bootstrap, "TABLES", 1000)  # two at a time
    found = replicates(several, y, resamples)
    np.testing.assert_array_equal(found, np.stack([replicates(one, y, resamples) for one in several]))
