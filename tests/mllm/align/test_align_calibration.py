"""Calibration on held-out ratings."""

import numpy as np
import pytest

from lopsided.mllm import MllmError
from lopsided.mllm.align.calibration import at_temperature, fit_isotonic, fit_temperature, report
from lopsided.mllm.scoring import SCALES

SCALE = SCALES["q-align"]


def test_isotonic_finds_a_bent_scale_and_keeps_the_order():
    rng = np.random.default_rng(0)
    ratings = rng.uniform(0, 1, 400)
    labels = 1 + 4 * ratings**3 + rng.normal(0, 0.05, 400)
    fitted = fit_isotonic(ratings[:200], labels[:200])
    table = report([("none", ratings[200:]), ("isotonic", fitted(ratings[200:]))], labels[200:])
    # ∫ (1 + 4 r³ − r)² dr over [0, 1] is 3.02; the noise remains.
    assert table["rmse"].tolist() == pytest.approx([3.02**0.5, 0.05], abs=0.1)
    assert table["rmse"][1] < 0.1
    assert table["srcc"].min() > 0.95
    grid = fitted(np.linspace(-1, 2, 99))
    assert (np.diff(grid) >= 0).all()
    assert grid[0] == fitted(ratings[:200].min())


def test_temperature_is_recovered():
    rng = np.random.default_rng(1)
    logs = rng.normal(0, 2, (300, 5))
    labels = at_temperature(logs, SCALE, 2.5)
    assert fit_temperature(logs, labels, SCALE).temperature == pytest.approx(2.5, rel=1e-3)
    assert np.allclose(at_temperature(logs[:1], SCALE, 1), SCALE.read(logs[0]).value)


def test_equal_ratings_get_their_mean():
    assert fit_isotonic([1.0] * 5 + [2.0] * 5, [0, 1, 2, 3, 4] + [5] * 5)([1.0, 2.0]).tolist() == [2, 5]


def test_too_few_or_failed_ratings_are_refused():
    with pytest.raises(MllmError, match="10 or more"):
        fit_isotonic([1.0], [1.0])
    with pytest.raises(MllmError, match="finite"):
        fit_isotonic([float("nan"), *range(10)], range(11))
