"""Answers of other programs on balanced tables. ``python benchmarks/independent.py`` asks them again."""

import importlib
from types import ModuleType

import numpy as np
import pytest
from support.paths import ROOT

from lopsided.analysis.statistics import friedman
from lopsided.analysis.statistics.contrast import Grid
from lopsided.analysis.statistics.variance_components import component


@pytest.fixture
def tables(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return importlib.import_module("independent")


def test_variance_components_are_those_of_lmertest(tables: ModuleType) -> None:
    """R 4.2.2, lme4 1.1.31, lmerTest 3.1.3: lmer(y ~ 1 + (1|g) + (1|s) + (1|i) + (1|g:s) + (1|g:i))."""
    assert component(tables.groups()).sd ** 2 == pytest.approx(3.64498904, rel=5e-4)


def test_error_of_a_difference_is_that_of_lmertest(tables: ModuleType) -> None:
    """The same with fixed groups: SE and Satterthwaite's degrees of freedom in summary(lmer(y ~ g + …))."""
    found = component(tables.groups())
    assert (2 * found.noise) ** 0.5 == pytest.approx(0.82002592, rel=2e-3)
    assert found.df == pytest.approx(12.4303855, rel=5e-3)


def test_pooled_noise_of_seeds_is_that_of_lmertest(tables: ModuleType) -> None:
    """On means over images: sigma(lmer(y ~ g + (1|s)))^2, and the degrees of freedom of the groups."""
    noise = Grid(tables.groups(), ["none"] * 5).noise
    np.testing.assert_allclose(noise.setting_variance, 0.7611231, rtol=1e-6)
    np.testing.assert_array_equal(noise.setting_df, 8)


def test_rank_tests_are_those_of_autorank(tables: ModuleType) -> None:
    """autorank 1.3.0: autorank(…, alpha=0.05, order="descending", force_mode="nonparametric")."""
    found = friedman(tables.blocks())
    np.testing.assert_allclose(found.mean_ranks, [2.25, 2.83333333, 2.91666667, 3.16666667, 3.83333333], rtol=1e-8)
    assert found.p == pytest.approx(0.17559935, rel=1e-6)
    assert found.critical_difference == pytest.approx(1.76075562, rel=2e-5)
