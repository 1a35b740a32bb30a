"""Contrasts of cells: against closed forms, a mixed model and simulated nulls."""

import numpy as np
import pytest
from scipy import special, stats

from lopsided.analysis.statistics.contrast import Estimate, Grid, SeedNoise, inverse_trigamma, squeeze
from lopsided.analysis.statistics.multiplicity import cross_screened, holm, opposed


def pair(n_cells, a, b):
    weights = np.zeros(n_cells)
    weights[a], weights[b] = 1, -1
    return weights


def study(rng, cells=5, settings=3, seeds=3, images=14, seed_sd=0.3, unlike=1.0):
    """Scores without effects; the first cell's seeds have ``unlike`` times the SD."""
    sd = np.full((settings * cells, 1), seed_sd)
    sd[0] *= unlike
    return (
        (sd * rng.normal(size=(settings * cells, seeds)))[..., None]
        + seed_sd * rng.normal(size=(seeds, 1))
        + 0.5 * rng.normal(size=(settings * cells, 1, images))
        + 0.5 * rng.normal(size=(settings * cells, seeds, images))
    ), np.repeat(np.arange(settings), cells)


def test_two_cells_and_one_setting_are_the_t_tests_of_both_variances():
    """With two cells the residuals of both are half their difference: every candidate is var(d)/S."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=(2, 4, 9))
    found = Grid(values, ["a", "a"]).contrast([1, -1])
    d = values[0] - values[1]
    assert found.value == pytest.approx(d.mean())
    own = d.mean(axis=1).var(ddof=1)
    # Squeezing two equal variances with 3 degrees of freedom: exp(z), Smyth's bias correction included.
    inflated = own * np.exp(np.log(1.5) - special.digamma(1.5))
    of_images = d.mean(axis=0).var(ddof=1) / 9
    assert found.se**2 == pytest.approx(inflated / 4 + of_images)
    assert found.seed_variance == pytest.approx(inflated)
    assert found.image_variance == pytest.approx(9 * of_images)


def test_what_all_cells_share_at_a_seed_or_an_image_cancels():
    rng = np.random.default_rng(1)
    values, setting = study(rng)
    moved = values + 50 * rng.normal(size=(1, 3, 1)) + 30 * rng.normal(size=(1, 1, 14))
    one, two = (Grid(each, setting).contrast(pair(15, 0, 1)) for each in (values, moved))
    assert two.value == pytest.approx(one.value)
    assert two.se == pytest.approx(one.se)


def test_smyths_prior_is_recovered():
    """Variances drawn from the model: prior degrees of freedom 8 and prior variance 2."""
    rng = np.random.default_rng(2)
    true = 2 * 8 / stats.chi2.rvs(8, size=4000, random_state=rng)
    seen = true * stats.chi2.rvs(4, size=4000, random_state=rng) / 4
    found = squeeze(seen, np.full(4000, 4.0))
    assert found.df[0] - 4 == pytest.approx(8, rel=0.15)
    # The posterior mean of the reciprocal: closer to the truth than what was seen.
    assert np.abs(np.log(found.variances / true)).mean() < 0.6 * np.abs(np.log(seen / true)).mean()
    assert special.polygamma(1, inverse_trigamma(0.37)) == pytest.approx(0.37)


def test_unknown_and_zero_variances():
    found = squeeze([1.0, np.nan, 2.0], [3, 0, 3])
    assert found.variances[1] == pytest.approx(found.variances[0])  # alike enough to be one
    assert squeeze([0.0, 0.0], [2, 2]).variances.tolist() == [0, 0]
    assert np.isnan(squeeze([np.nan], [0]).variances).all()


def test_whole_study_rate_without_effects():
    """Any of 30 pairs found at .05 after Holm, in 200 studies with one cell of ten times the variance."""
    wrong, covered, n = 0, [], 200
    for number in range(n):
        values, setting = study(np.random.default_rng(number), unlike=10**0.5)
        grid = Grid(values, setting)
        found = [grid.contrast(pair(15, 5 * g + a, 5 * g + b)) for g in range(3) for a in range(5) for b in range(a)]
        wrong += min(holm([each.p for each in found])) < 0.05
        covered += [low <= 0 <= high for low, high in (each.interval(0.95) for each in found)]
    assert wrong / n <= 0.05 + 2 * (0.05 * 0.95 / n) ** 0.5
    assert np.mean(covered) >= 0.95


def test_a_noisy_cell_cannot_borrow_a_calm_ones_variance():
    """Without the floors its own spread of seeds would be pooled away; other settings do not pay for it."""
    rng = np.random.default_rng(3)
    values, setting = study(rng, seeds=5, seed_sd=0.1, unlike=30)
    grid = Grid(values, setting)
    noisy, calm = grid.contrast(pair(15, 0, 1)), grid.contrast(pair(15, 8, 7))
    assert noisy.se > 5 * calm.se
    own = (values[0] - values[1]).mean(axis=1).var(ddof=1)
    assert noisy.seed_variance >= own - 1e-9


def test_lost_seeds_cost_themselves_only():
    rng = np.random.default_rng(4)
    values, setting = study(rng, seeds=4)
    lost = values.copy()
    lost[0, 2] = np.nan
    grid = Grid(lost, setting)
    found = grid.contrast(pair(15, 0, 1))
    assert found.n_seeds == 3
    kept = [0, 1, 3]
    assert found.value == pytest.approx((values[0, kept] - values[1, kept]).mean())
    assert grid.contrast(pair(15, 5, 6)).n_seeds == 4
    assert np.isfinite(found.se)


def test_one_seed_one_image_and_nothing_have_no_error():
    values, setting = study(np.random.default_rng(5), seeds=1)
    assert np.isnan(Grid(values, setting).contrast(pair(15, 0, 1)).se)
    values, setting = study(np.random.default_rng(5), images=1)
    assert np.isnan(Grid(values, setting).contrast(pair(15, 0, 1)).p)
    values[0] = np.nan
    empty = Grid(values, setting).contrast(pair(15, 0, 1))
    assert (empty.n_seeds, np.isnan(empty.value)) == (0, True)


def test_test_sets_have_the_same_weight_and_their_own_image_variance():
    rng = np.random.default_rng(6)
    values, setting = study(rng, images=20)
    strata = np.repeat(["big", "small"], [16, 4])
    found = Grid(values, setting, strata).contrast(pair(15, 0, 1))
    d = (values[0] - values[1]).mean(axis=0)
    assert found.value == pytest.approx((d[:16].mean() + d[16:].mean()) / 2)
    of_images = d[:16].var(ddof=1) / 16 / 4 + d[16:].var(ddof=1) / 4 / 4
    assert found.se**2 == pytest.approx(found.seed_variance / 3 + of_images)


def test_single_cells_of_a_setting_share_the_residuals_of_the_largest():
    values, _ = study(np.random.default_rng(7), settings=2)
    noise = SeedNoise(values.mean(axis=2), ["a"] * 9 + ["alone"])
    assert noise.group[9] == noise.group[0]
    assert np.isfinite(noise.cells.variances).all()


def test_an_estimate_without_noise():
    assert Estimate(1.0, 0.0, 3.0, 2, 2).p == 0
    assert Estimate(0.0, 0.0, 3.0, 2, 2).p == 1
    assert Estimate(1.0, 0.0, 3.0, 2, 2).interval(0.95) == (1.0, 1.0)


def test_opposed_needs_both_sides_in_opposite_directions():
    assert opposed(0.001, 0.001) == pytest.approx(0.999)
    assert opposed(0.001, 0.97) == pytest.approx(0.03)
    assert opposed(0.97, 0.001) == pytest.approx(0.03)
    # Under "one side has no effect" the test holds its level, however strong the other side is.
    rng = np.random.default_rng(0)
    assert (opposed(np.zeros(20_000), rng.random(20_000)) < 0.05).mean() == pytest.approx(0.05, abs=0.005)


def test_cross_screening_by_hand_and_its_level():
    a, o, name = [0.001, 0.4, 0.001], [0.99, 0.999, 0.4], ["x", "y", "x"]
    found = cross_screened(a, o, name)
    # At .05: two hypotheses have p_A ≤ .025; of pairs x and y both have p_O ≤ .025 in some setting.
    assert found[0] == pytest.approx(2 * 2 * 0.01, rel=0.03)
    assert found[1] == 1.0 or found[1] > 0.05
    rng = np.random.default_rng(1)
    wrong = 0
    for _ in range(400):
        a = np.repeat(rng.random(10), 3)
        wrong += (cross_screened(a, rng.random(30), np.repeat(np.arange(10), 3)) <= 0.05).any()
    assert wrong / 400 <= 0.05
