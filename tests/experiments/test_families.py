"""Which families the tables name, and that no cell depends on them."""

import pytest
from support.smoke import SMOKE, cells

from lopsided import experiments
from lopsided.experiments import load_experiment
from lopsided.experiments.stages.judge import JudgeImages
from lopsided.experiments.stages.restore import restored_by

GRID = ["grid.fidelity=[none, dists-vgg16-r]", "grid.discriminator=[none, vanilla-resnet18-r]", "judges=[vif]"]


def rows():
    judged = [cell for cell in cells(GRID) if isinstance(cell.spec, JudgeImages)]
    return {(row["fidelity"], row["discriminator"]): row for row in map(restored_by, judged)}


def test_the_pixel_only_baseline_has_a_form_and_what_nobody_trained_has_none():
    found = {key: row["fidelity_families"] for key, row in rows().items()}
    assert found == {
        ("bicubic", "none"): "",
        ("none", "none"): "form:pixel",
        ("none", "vanilla-resnet18-r"): "form:pixel",
        ("dists-vgg16-r", "none"): "backbone:vgg;form:dists",
        ("dists-vgg16-r", "vanilla-resnet18-r"): "backbone:vgg;form:dists",
    }


def test_discriminators_are_named_by_their_backbone():
    found = {discriminator: row["discriminator_families"] for (_, discriminator), row in rows().items()}
    assert found == {"none": "", "vanilla-resnet18-r": "backbone:resnet"}


def test_independence_is_part_of_no_cell():
    one, other = ({cell.id for cell in cells([f"analysis.independence={value}"])} for value in ("[]", "[data, form]"))
    assert one == other == {cell.id for cell in cells()}


@pytest.mark.parametrize(("value", "kinds"), [("[]", ()), ("[data]", ("data",))])
def test_independence_is_as_the_experiment_says(value, kinds):
    assert load_experiment(SMOKE).analysis.independence == ("backbone", "form")
    assert load_experiment(SMOKE, [f"analysis.independence={value}"]).analysis.independence == kinds


def test_independence_reaches_the_analysis(monkeypatch, tmp_path):
    seen = []
    monkeypatch.setattr("lopsided.analysis.analyse", lambda tables, **settings: seen.append(settings["independence"]))
    experiments.analyse(SMOKE, store=tmp_path, overrides=["analysis.independence=[form, data]"])
    assert seen == [("form", "data")]
