"""The null studies as a program: quiet where there is nothing to find, loud where a rule claims too much."""

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lopsided.analysis import asymmetry

PROGRAM = Path(__file__).parents[2] / "benchmarks" / "null_studies.py"


@pytest.fixture(scope="module")
def null_studies():
    spec = importlib.util.spec_from_file_location("null_studies", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["null_studies"] = module
    spec.loader.exec_module(module)
    return module


def test_it_passes_and_prints_its_rates(null_studies, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["null_studies.py", "--quick", "--studies", "8"])
    assert null_studies.main() == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("8 studies per scenario")
    assert [line.split()[0] for line in lines[2:]] == ["null", "unlike", "panels", "power"]


def test_a_rule_without_correction_is_caught(null_studies, monkeypatch):
    """Were trends not corrected and their errors halved, more than one study in ten would claim one."""
    scenario = replace(null_studies.Scenario(), seeds=3, images=6)
    honest = null_studies.run(scenario, 12, 0)["trend"]
    monkeypatch.setattr(asymmetry, "holm", lambda p: [each / 20 for each in p])
    assert null_studies.run(scenario, 12, 0)["trend"] > honest + 0.2


@pytest.mark.parametrize(("averaged", "cells"), [(False, 1 + 9), (True, 1 + 5)])
def test_draws_are_measures_of_their_own_unless_averaged(null_studies, averaged, cells):
    scenario = null_studies.Scenario(images=4, references=3, own_judges=False, draws=3, draw_sd=0.3, averaged=averaged)
    rng = np.random.default_rng(0)
    trained = null_studies.trained_of(scenario, null_studies.scores_of(scenario, rng))
    assert len(trained.keys) == len(null_studies.SETTINGS) * cells
