"""Experiments over generators: the shipped sweep, and patches and scales that do not fit."""

import pytest
from support.paths import ROOT

from lopsided.experiments import ExperimentError, load_experiment, plan
from lopsided.experiments.stages.train import Finetune


def test_shipped_sweep_over_generators_plans():
    experiment = load_experiment(ROOT / "experiments" / "generators.yaml")
    cells = plan(experiment).cells
    assert {cell.stage for cell in cells} == {"pretrain", "finetune", "restore", "judge"}
    trained = {cell.spec.generator.name for cell in cells if isinstance(cell.spec, Finetune)}
    assert len(trained) >= 4


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["super_resolution.finetune.patch=40"],
            "at ×4 'swinir-tiny' needs a patch that is a multiple of 32 px, e.g. 32",
        ),
        (
            ["grid.generator=[edsr-tiny, rrdb-tiny]", "super_resolution.finetune.patch=42"],
            "multiple of 4 px, e.g. 4[04]",
        ),
        (["grid.include=[{generator: hat-small}]", "super_resolution.finetune.patch=96"], "'hat-small' needs a patch"),
        (["grid.generator=swinir-jpeg"], "'swinir-jpeg' has no ×4, only ×1"),
    ],
)
def test_experiments_refuse_generators_that_do_not_fit(overrides, message):
    with pytest.raises(ExperimentError, match=message):
        load_experiment(ROOT / "experiments" / "generators.yaml", overrides)


def test_a_patch_that_fits_the_grids_generators_is_taken():
    overrides = ["grid.generator=edsr-tiny", "super_resolution.finetune.patch=40"]
    assert (
        load_experiment(ROOT / "experiments" / "generators.yaml", overrides).optimized.super_resolution.finetune.patch
        == 40
    )
