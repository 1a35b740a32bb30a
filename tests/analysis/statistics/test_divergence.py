"""Intervals of a share, and a comparison of cells that lost seeds; longer simulations in benchmarks/."""

import importlib
import math

import numpy as np
import pytest
from scipy import stats
from support.paths import ROOT

from lopsided.analysis.errors import AnalysisError
from lopsided.analysis.statistics import balanced_trimming, share_interval


@pytest.fixture
def simulation(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return importlib.import_module("null_divergence")


@pytest.mark.parametrize(("k", "n"), [(0, 1), (1, 1), (0, 5), (2, 5), (8, 8), (3, 100)])
def test_share_interval_equals_scipys_exact_one(k, n):
    expected = stats.binomtest(k, n).proportion_ci(0.9, method="exact")
    assert share_interval(k, n, 0.9) == pytest.approx((expected.low, expected.high), abs=1e-9)


@pytest.mark.parametrize(("k", "n"), [(0, 0), (-1, 3), (4, 3)])
def test_no_share_of_nothing(k, n):
    with pytest.raises(AnalysisError, match=f"got {k} of {n}"):
        share_interval(k, n)


def shares(simulation, *scenario, effect=0.0, studies=200):
    """Return how often the first cell is called better, and worse."""
    rng = np.random.default_rng(4)
    found = [balanced_trimming(*simulation.cells(*scenario, effect, rng), seed=study) for study in range(studies)]
    called = np.array([(each.p < 0.05) * np.sign(each.difference) for each in found])
    return (called > 0).mean(), (called < 0).mean()


@pytest.mark.parametrize("spread", [(0.3, 0.3), (0.9, 0.3)])
def test_losing_the_worst_seeds_makes_no_cell_better(simulation, spread):
    # .025 is asked of each side; a t test of the survivors calls the first cell better in .21 and .48 of the studies.
    assert max(shares(simulation, 8, 3, 100, spread)) < 0.06


def test_a_better_cell_is_found_although_it_lost_seeds(simulation):
    better, worse = shares(simulation, 8, 3, 14, (0.3, 0.3), effect=1.0, studies=40)
    assert better > 0.6
    assert worse == 0


def test_the_difference_is_that_of_the_best_seeds_of_both():
    nan = np.nan
    a = np.array([[3.0, 4.0], [nan, nan], [1.0, 2.0], [5.0, 6.5]])
    b = np.array([[0.0, 1.0], [2.0, 3.5], [7.0, 8.0], [4.0, 5.0]])
    found, turned = balanced_trimming(a, b), balanced_trimming(b, a)
    assert found.kept == 3
    assert found.difference == pytest.approx(a[[0, 2, 3]].mean() - b[[1, 2, 3]].mean())
    assert turned.difference == pytest.approx(-found.difference)
    assert turned.p == pytest.approx(found.p, abs=0.03)
    scaled = balanced_trimming(100 * a + 5, 100 * b + 5)
    assert scaled.p == pytest.approx(found.p, abs=1e-9)


def test_without_losses_it_is_near_the_t_test():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(6, 1)) + 1e-6 * rng.normal(size=(6, 50)), rng.normal(size=(6, 1)) + np.zeros((6, 50))
    expected = stats.ttest_ind(a.mean(axis=1), b.mean(axis=1), equal_var=False)[1]
    assert balanced_trimming(a, b).p == pytest.approx(expected, abs=0.05)


@pytest.mark.parametrize(
    ("lost", "kept", "status"),
    [(3, 0, "0 of 3 seeds are left: noise is unknown"), (2, 1, "1 of 3 seeds are left: noise is unknown")],
)
def test_too_few_seeds_left_is_a_status(lost, kept, status):
    a, b = np.random.default_rng(0).normal(size=(2, 3, 4))
    b[:lost] = np.nan
    found = balanced_trimming(a, b)
    assert (found.kept, found.status) == (kept, status)
    assert math.isnan(found.p)
    assert math.isnan(found.difference) == (kept == 0)


def test_nothing_to_compare_with_is_a_status():
    column = np.random.default_rng(0).normal(size=(2, 3, 1))
    assert balanced_trimming(*column).status == "one image: noise is unknown"
    assert balanced_trimming(np.full((3, 4), 0.3), np.full((3, 4), 0.7)).status.endswith("no noise to compare with")


def test_errors():
    with pytest.raises(AnalysisError, match=r"got \(2, 3\) and \(3, 3\)"):
        balanced_trimming(np.zeros((2, 3)), np.zeros((3, 3)))
    a = np.zeros((3, 2))
    a[0, 0] = np.nan
    with pytest.raises(AnalysisError, match="1 seeds lack some of their images"):
        balanced_trimming(a, np.zeros((3, 2)))
