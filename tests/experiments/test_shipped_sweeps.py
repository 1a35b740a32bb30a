"""The shipped sweeps over discriminators: planned without a file of weights, and as wide as they say."""

from pathlib import Path

import pytest

from lopsided.experiments import api
from lopsided.experiments.stages.train import Finetune


@pytest.mark.parametrize("name", ["discriminators", "gan_weight_sweep"])
def test_shipped_sweeps_are_planned_without_weights_or_network(name, tmp_path, monkeypatch):
    monkeypatch.setenv("LOPSIDED_WEIGHTS", str(tmp_path / "none"))
    finetunes = api.plan(Path(api.__file__).with_name(f"{name}.yaml")).of(Finetune)
    assert not (tmp_path / "none").exists()
    specs = [cell.spec for cell in finetunes]
    adversaries = {spec.discriminator.key for spec in specs}
    weights = {spec.gan_weight for spec in specs} - {0}
    assert len({spec.seed for spec in specs}) >= 2
    if name == "discriminators":
        assert len(adversaries) >= 18
    else:
        assert len(adversaries) >= 4
        assert len(weights) >= 8
        assert max(weights) / min(weights) == pytest.approx(1000)
