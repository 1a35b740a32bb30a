import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import optimize

from lopsided.analysis.errors import AnalysisError
from lopsided.analysis.result_tables import StudyTables
from lopsided.analysis.statistics.logistic import _Projected, fit_logistic

TRUE: dict[Any, tuple[float, ...]] = {4: (9.0, 1.0, 30.0, 4.0), 5: (6.0, 0.4, 30.0, 0.05, 4.0)}


def formula(x, *beta):
    """VQEG's two mappings, written as they are published."""
    if len(beta) == 4:
        return beta[1] + (beta[0] - beta[1]) / (1 + np.exp(-(x - beta[2]) / abs(beta[3])))
    return beta[0] * (0.5 - 1 / (1 + np.exp(np.clip(beta[1] * (x - beta[2]), -500, 500)))) + beta[3] * x + beta[4]


def sample(n_parameters, noise, seed=0, n=300):
    rng = np.random.default_rng(seed)
    x = rng.uniform(10, 50, n)
    return x, formula(x, *TRUE[n_parameters]) + rng.normal(0, noise, n)


@pytest.mark.parametrize("n_parameters", [4, 5])
def test_known_parameters_are_recovered(n_parameters):
    x, y = sample(n_parameters, 0)
    fit = fit_logistic(x, y, n_parameters)
    assert fit.parameters == pytest.approx(TRUE[n_parameters], rel=1e-3)
    assert fit.status == "converged"
    assert fit.plcc == pytest.approx(1, abs=1e-9)
    assert fit.rmse < 1e-4


@pytest.mark.parametrize("n_parameters", [4, 5])
@pytest.mark.parametrize("noise", [0.3, 3.0])
def test_values_are_those_of_the_mapped_scores(n_parameters, noise):
    x, y = sample(n_parameters, noise)
    fit = fit_logistic(x, y, n_parameters)
    mapped = formula(x, *fit.parameters)
    np.testing.assert_allclose(fit(x), mapped, rtol=1e-9)
    assert fit.plcc == pytest.approx(np.corrcoef(mapped, y)[0, 1], abs=1e-12)
    assert fit.rmse == pytest.approx(np.sqrt(np.mean((mapped - y) ** 2)), abs=1e-12)


@pytest.mark.parametrize("n_parameters", [4, 5])
@pytest.mark.parametrize("seed", range(4))
def test_no_start_of_scipys_curve_fit_finds_a_better_fit(n_parameters, seed):
    rng = np.random.default_rng(seed)
    x, y = sample(n_parameters, (0.5, 1.0, 2.0, 3.0)[seed], seed, 150)
    fit, best = fit_logistic(x, y, n_parameters), np.inf
    for _ in range(15):
        a, b = rng.permutation([y.min(), y.max()])
        centre, width = rng.choice(x), np.std(x) * np.exp(rng.uniform(-2, 1))
        start = (a, b, centre, width) if n_parameters == 4 else (a - b, 1 / width, centre, rng.normal() / 10, y.mean())
        try:
            with np.errstate(all="ignore"), warnings.catch_warnings():
                warnings.simplefilter("ignore", optimize.OptimizeWarning)
                beta, _ = optimize.curve_fit(formula, x, y, start, maxfev=2000)
        except RuntimeError:  # that start leads nowhere
            continue
        # Steps that dent the line for a few points are refused, see the module.
        if n_parameters == 4 or 1 / abs(beta[1]) > 0.1 * np.std(x):
            best = min(best, np.sqrt(np.mean((formula(x, *beta) - y) ** 2)))
    assert np.isfinite(best)
    assert fit.rmse <= best * (1 + 1e-5)


@pytest.mark.parametrize("n_parameters", [4, 5])
@pytest.mark.parametrize(("score_up", "label_up", "sign"), [(1, 1, 1), (0, 0, 1), (0, 1, -1), (1, 0, -1)])
@pytest.mark.parametrize("falling", [False, True])
def test_plus_means_agreement_although_a_mapping_can_turn_scores_round(n_parameters, score_up, label_up, sign, falling):
    x, y = sample(n_parameters, 0.5)
    x = -x if falling else x
    fit = fit_logistic(x, y, n_parameters, score_higher_is_better=bool(score_up), label_higher_is_better=bool(label_up))
    assert np.sign(fit.plcc) == (-sign if falling else sign)


@settings(max_examples=25, deadline=None)
@given(
    scale=st.floats(1e-3, 1e3),
    shift=st.floats(-1e3, 1e3),
    label_scale=st.floats(1e-2, 1e2),
    seed=st.integers(0, 5),
    n_parameters=st.sampled_from([4, 5]),
)
def test_units_do_not_matter(scale, shift, label_scale, seed, n_parameters):
    x, y = sample(n_parameters, 1.0, seed, 80)
    one, other = fit_logistic(x, y, n_parameters), fit_logistic(x * scale + shift, y * label_scale, n_parameters)
    assert other.plcc == pytest.approx(one.plcc, abs=1e-5)
    assert other.rmse == pytest.approx(one.rmse * label_scale, rel=1e-5)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), levels=st.sampled_from([6, 40, 10**6]))
@example(seed=61, levels=10**6)  # one search stops early, the other in the rounding of a nearly straight line
def test_a_mapping_never_agrees_less_than_the_raw_scores(seed, levels):
    """A straight line is a limit of both mappings: a fit below it has missed the best one."""
    rng = np.random.default_rng(seed)
    x = rng.integers(0, levels, 60).astype(float)
    y = np.round(x / levels * 3 + rng.normal(size=60), 1)
    raw = abs(np.corrcoef(x, y)[0, 1])
    four, five = (fit_logistic(x, y, n) for n in (4, 5))
    assert abs(four.plcc) >= raw - 1e-3
    assert np.corrcoef(five(x), y)[0, 1] >= raw - 1e-3


def test_limits_that_no_parameters_reach_are_named():
    x = np.linspace(0, 1, 60)
    assert fit_logistic(x, np.exp(3 * x), 4).status == "at a limit"
    assert fit_logistic(x, 2 * x + 1, 4).status == "at a limit"
    assert fit_logistic(x, (x > 0.5) + 0.0, 4).status == "at a limit"
    for status in (fit_logistic(x, np.exp(3 * x), 4), fit_logistic(x, 2 * x + 1, 4)):
        assert status.plcc == pytest.approx(1, abs=1e-4)


def test_a_mapping_that_turns_says_so():
    x = np.linspace(-3, 3, 200)
    assert fit_logistic(x, np.tanh(2 * x) - 0.3 * x, 5).status == "converged, not monotonic"


def test_no_convergence_is_a_status_and_no_number(monkeypatch):
    monkeypatch.setattr("lopsided.analysis.statistics.logistic.STATIONARY", 0.0)
    monkeypatch.setattr("lopsided.analysis.statistics.logistic.NO_GAIN", -1.0)
    fit = fit_logistic(*sample(4, 1.0), 4)
    assert fit.status == "not converged"
    assert np.isnan([fit.plcc, fit.rmse, *fit.parameters]).all()


def test_too_few_different_scores_are_a_status():
    fit = fit_logistic([1, 2, 3, 1, 2, 3.0], [1, 2, 3, 4, 5, 6.0], 4)
    assert fit.status == "fewer than 4 different scores"
    assert np.isnan(fit.plcc)


@pytest.mark.parametrize(("x", "said"), [([1, np.nan, 3, 4, 5], "1 of 5 scores are not finite"), ([2.0] * 5, "all 5")])
def test_what_has_no_mapping_is_refused(x, said):
    with pytest.raises(AnalysisError, match=said):
        fit_logistic(x, [1, 2, 3, 4, 5], 4)


@pytest.mark.parametrize("linear", [False, True])
@pytest.mark.parametrize("theta", [(0.5, 0.0), (0.45, -1.5), (0.6, 1.0)])
def test_gradient_is_that_of_differences(linear, theta):
    x, y = sample(5, 1.0)
    problem = _Projected((x - x.mean()) / x.std(), y, linear=linear)
    steps = 1e-5 * np.eye(2)
    apart = [(problem.loss(theta + step)[0] - problem.loss(theta - step)[0]) / 2e-5 for step in steps]
    np.testing.assert_allclose(problem.loss(np.array(theta))[1], apart, rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize("seed", range(6))
def test_five_parameters_never_fit_worse_than_four(seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=80)
    y = np.clip(np.round(x + rng.normal(0, 0.6, 80)), -1, 2) + rng.normal(0, 0.1, 80)
    assert fit_logistic(x, y, 5).rmse <= fit_logistic(x, y, 4).rmse * (1 + 1e-6)


def test_a_published_measure_on_real_images_ends_in_the_better_optimum():
    """PSNR on LIVE: from another start, five parameters converge at a PLCC below that of four."""
    scores = StudyTables.load(Path(__file__).parents[3] / "notebooks" / "tables" / "asymmetry_small").fr_scores
    psnr = scores[(scores["dataset"] == "live_subset") & (scores["measure"] == "psnr")]
    four, five = (fit_logistic(psnr["score"], psnr["label"], n, label_higher_is_better=False) for n in (4, 5))
    assert five.plcc > four.plcc
    assert five.plcc == pytest.approx(0.871, abs=0.003)
