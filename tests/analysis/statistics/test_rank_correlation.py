"""Exact p of Spearman's ρ and which ρ could be detected, against enumeration, published tables and scipy."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from lopsided.analysis.errors import AnalysisError
from lopsided.analysis.statistics import critical_rho, exact_p, minimum_detectable_rho, spearman

# Two-sided, .05: e.g. Ramsey, Critical values for Spearman's rank order correlation, JEBS 14 (1989).
CRITICAL = {5: 1, 6: 0.886, 7: 0.786, 8: 0.738, 9: 0.700, 10: 0.648, 11: 0.618, 12: 0.587, 13: 0.560, 14: 0.538}


def test_spearman_equals_scipy_along_the_last_axis():
    rng = np.random.default_rng(0)
    a, o = rng.integers(0, 5, (3, 9)), rng.normal(size=(2, 1, 9))
    expected = [[np.asarray(stats.spearmanr(one, other[0]))[0] for one in a] for other in o]
    np.testing.assert_allclose(spearman(a, o), expected, atol=1e-12)
    assert np.isnan(spearman([1, 1, 1], [1, 2, 3]))


@pytest.mark.parametrize("n", [2, 3, 4, 5, 6, 7])
def test_exact_p_equals_the_enumeration_of_all_orders(n):
    rng = np.random.default_rng(n)
    orders = np.array(list(itertools.permutations(range(n))))
    for levels in (2, 3, 50):  # with many, some and hardly any ties
        for _ in range(5):
            a, o = rng.integers(0, levels, n) / 3, rng.integers(0, levels, n) * 1e6
            if np.ptp(a) and np.ptp(o):
                expected = np.mean(np.abs(spearman(a, o[orders])) >= abs(spearman(a, o)) - 1e-9)
                p, method = exact_p(a, o)
                assert method == "exact"
                assert p == pytest.approx(expected, abs=1e-12)


def test_exact_p_of_fourteen():
    rng = np.random.default_rng(1)
    a = np.arange(14)
    assert exact_p(a, -a)[0] == pytest.approx(2 / math.factorial(14), rel=1e-12)
    tied, o = np.repeat(np.arange(7), 2), rng.permutation(14) + 0.6 * a
    drawn = np.abs(spearman(tied, rng.permuted(np.tile(o, (20_000, 1)), axis=1)))
    expected = np.mean(drawn >= abs(spearman(tied, o)) - 1e-9)
    assert 0.01 < expected < 0.5
    assert exact_p(tied, o)[0] == pytest.approx(expected, abs=4 * math.sqrt(expected / 20_000))


def test_p_above_fourteen_is_drawn_and_never_zero():
    a = np.arange(20)
    assert exact_p(a, a) == (1e-5, "Monte Carlo")
    o = np.random.default_rng(3).permutation(20)
    assert exact_p(a, o)[0] == pytest.approx(stats.spearmanr(a, o)[1], abs=0.01)
    assert exact_p(a, o) == exact_p(a, o)


def test_p_of_nothing_to_order_is_one():
    assert exact_p([1, 1, 1], [1, 2, 3]) == (1.0, "exact")
    assert exact_p([1], [2]) == (1.0, "exact")
    with pytest.raises(AnalysisError, match="1 of 3 pairs are not finite"):
        exact_p([1, 2, np.nan], [1, 2, 3])
    with pytest.raises(AnalysisError, match=r"shapes \(3,\) and \(2,\)"):
        exact_p([1, 2, 3], [1, 2])


@pytest.mark.parametrize("n", CRITICAL)
def test_critical_rho_equals_the_published_tables(n):
    assert critical_rho(n) == pytest.approx(CRITICAL[n], abs=6e-4)


@pytest.mark.parametrize("n", [6, 9, 15])
def test_critical_rho_is_the_first_with_a_small_p(n):
    rng, found = np.random.default_rng(0), {}
    for scatter in np.linspace(0, n, 200):
        order = np.argsort(np.arange(n) + scatter * rng.normal(size=n))
        found[round(float(spearman(np.arange(n), order)), 9)] = exact_p(np.arange(n), order)[0]
    assert all((p < 0.05) == (abs(rho) >= critical_rho(n) - 1e-9) for rho, p in found.items())
    assert {p < 0.05 for p in found.values()} == {True, False}


def test_critical_rho_at_other_levels():
    assert math.isnan(critical_rho(4))
    assert math.isnan(critical_rho(1))
    assert critical_rho(4, 0.9) == 1
    assert critical_rho(10, 0.99) == pytest.approx(0.794, abs=6e-4)


def test_minimum_detectable_rho_is_detected_in_four_of_five_studies():
    rho = minimum_detectable_rho(8)
    r = 2 * math.sin(math.pi * rho / 6)
    x, rest = np.random.default_rng(99).standard_normal((2, 4000, 8))
    share = np.mean(np.abs(spearman(x, r * x + math.sqrt(1 - r * r) * rest)) >= 0.738)
    assert share == pytest.approx(0.8, abs=0.03)
    assert math.isnan(minimum_detectable_rho(4))
    assert minimum_detectable_rho(14) < minimum_detectable_rho(8) < minimum_detectable_rho(8, 0.95)
