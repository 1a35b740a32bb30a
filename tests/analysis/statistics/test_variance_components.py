"""Spread over measures and settings: estimates equal those of a mixed model, intervals cover; longer in benchmarks/."""

import importlib
import math

import numpy as np
import pandas as pd
import pytest
from support.paths import ROOT

from lopsided.analysis.errors import AnalysisError
from lopsided.analysis.statistics import split_variance
from lopsided.analysis.statistics.variance_components import component

N_STUDIES = 150


@pytest.fixture
def simulation(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return importlib.import_module("null_variance_components")


def noisy(rng, shape, seed_sd=0.5, image_sd=0.7):
    """Return noise with interactions of seeds and of images with each cell, on top of what all cells share."""
    *cells, seeds, images = shape
    own = seed_sd * rng.normal(size=(*cells, seeds, 1)) + image_sd * rng.normal(size=(*cells, 1, images))
    return own + rng.normal(size=shape) + 3 * rng.normal(size=(seeds, 1)) + 3 * rng.normal(size=images)


def test_estimate_is_reml_of_a_crossed_mixed_model():
    """On balanced data with positive estimates, ANOVA and REML agree."""
    from statsmodels.regression.mixed_linear_model import MixedLM

    rng = np.random.default_rng(2)
    y = noisy(rng, (5, 3, 6)) + np.array([0.0, 1, 2, 4, 5])[:, None, None]
    table = pd.DataFrame({"y": y.ravel()}).assign(**dict(zip("gsi", np.indices(y.shape).reshape(3, -1), strict=True)))
    parts = {"g": "0+C(g)", "s": "0+C(s)", "i": "0+C(i)", "gs": "0+C(g):C(s)", "gi": "0+C(g):C(i)"}
    fit = MixedLM.from_formula("y ~ 1", table, groups=np.zeros(len(table)), re_formula="0", vc_formula=parts).fit()
    variances = dict(zip(sorted(parts), fit.vcomp, strict=True))
    assert min(variances.values()) > 0.01
    found = component(y)
    assert found.sd**2 == pytest.approx(variances["g"], rel=0.01)
    noise = variances["gs"] / 3 + variances["gi"] / 6 + fit.scale / 18
    assert found.noise == pytest.approx(noise, rel=0.02)


def test_effects_shared_by_all_cells_change_nothing():
    rng = np.random.default_rng(0)
    y = rng.normal(size=(4, 3, 5))
    shifted = y + 10 * rng.normal(size=(3, 1)) + 10 * rng.normal(size=5) + 7
    for name in ("sd", "low", "high", "noise", "df", "ratio"):
        assert getattr(component(shifted), name) == pytest.approx(getattr(component(y), name))


def test_noise_is_subtracted():
    """Over many studies the mean of the estimated variance, floors aside, is the true one."""
    rng = np.random.default_rng(0)
    truth = np.array([-1.5, -0.5, 0.5, 1.5])
    found = [component(truth[:, None, None] + noisy(rng, (4, 3, 6))) for _ in range(300)]
    assert np.mean([each.sd**2 for each in found]) == pytest.approx(truth.var(ddof=1), abs=0.12)
    assert np.mean([each.sd**2 + each.noise for each in found]) > truth.var(ddof=1) + 0.2


@pytest.mark.parametrize(
    ("cells", "layout", "spread", "seed_sd", "unlike"),
    [
        ((5, 3), (2, 6), (0.0, 0.0), 1.0, "equal"),
        ((5, 3), (3, 14), (0.5, 0.3), 0.3, "log-normal"),
        ((14, 3), (2, 6), (0.3, 0.0), 0.3, "one cell × 10"),
    ],
)
def test_intervals_cover(simulation, cells, layout, spread, seed_sd, unlike):
    rng = np.random.default_rng(5)
    found = [simulation.study(cells, layout, spread, seed_sd, unlike, rng) for _ in range(N_STUDIES)]
    for side, sd in (("measures", spread[0]), ("settings", spread[1])):
        parts = [getattr(each, side) for each in found]
        assert np.mean([part.low <= sd + 1e-9 and sd - 1e-9 <= part.high for part in parts]) > 0.88
    assert np.mean([each.verdict == "setting dominates" for each in found]) < 0.05


def test_dominance_is_found(simulation):
    rng = np.random.default_rng(5)
    found = [simulation.study((5, 3), (5, 14), (0.2, 0.6), 0.1, "equal", rng) for _ in range(30)]
    assert np.mean([each.verdict == "setting dominates" for each in found]) > 0.6
    assert all(each.p_settings_larger > 0.9 for each in found)
    turned = simulation.study((5, 3), (5, 14), (2.0, 0.1), 0.1, "equal", rng)
    assert turned.verdict == "measure dominates"
    assert turned.ratio_high < 1


@pytest.mark.parametrize(
    ("shape", "status"),
    [
        ((1, 3, 2, 2), "fewer than two measures: no spread"),
        ((2, 1, 2, 2), "fewer than two settings: no spread"),
        ((2, 3, 1, 2), "fewer than two seeds: their noise is unknown"),
        ((2, 3, 2, 1), "fewer than two images: their noise is unknown"),
    ],
)
def test_too_little_data_is_a_status(shape, status):
    found = split_variance(np.random.default_rng(0).normal(size=shape))
    assert found.verdict == status
    assert status in (found.measures.status, found.settings.status)
    assert math.isnan(found.ratio)
    assert math.isnan(found.p_settings_larger)


def test_without_noise_the_spread_is_known():
    same = np.broadcast_to(np.array([0.1, 0.3, 0.8])[None, :, None, None], (2, 3, 2, 4))
    found = split_variance(same)
    assert (found.measures.sd, found.measures.high) == pytest.approx((0, 0))
    sd = np.std([0.1, 0.3, 0.8], ddof=1)
    assert (found.settings.low, found.settings.sd, found.settings.high) == pytest.approx((sd, sd, sd))
    assert found.verdict == "setting dominates"
    nothing = split_variance(np.full((2, 3, 2, 4), 0.3))
    assert nothing.verdict == "undecided"


def test_less_variance_than_noise_is_not_certainty():
    y = np.random.default_rng(0).normal(size=(3, 4, 30))
    y -= y.mean(axis=(1, 2), keepdims=True)  # all means are equal, by luck
    found = component(y)
    assert found.sd == 0
    assert found.high > math.sqrt(found.noise)


def test_errors():
    with pytest.raises(AnalysisError, match=r"got shape \(2, 3, 4\)"):
        split_variance(np.zeros((2, 3, 4)))
    x = np.zeros((2, 3, 2, 2))
    x[0, 0, 0, 0] = np.nan
    with pytest.raises(AnalysisError, match="1 of 24 values are not finite"):
        split_variance(x)
