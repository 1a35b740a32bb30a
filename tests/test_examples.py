"""The examples in docstrings do what they show."""

import doctest
import importlib
import sys

import pytest
from support.paths import ROOT

NAMES = [
    ".".join(["lopsided", *path.relative_to(ROOT).with_suffix("").parts]).removesuffix(".__init__")
    for part in (
        *("analysis", "backbones", "cli", "common", "discriminators", "experiments", "iqa", "losses", "mllm", "sr"),
    )
    for path in sorted((ROOT / part).rglob("*.py"))
    if ">>>" in path.read_text(encoding="utf-8")
]


@pytest.mark.parametrize("name", NAMES)
def test_examples_of_docstrings(name, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    found = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    if pyplot := sys.modules.get("matplotlib.pyplot"):
        pyplot.close("all")  # it warns of many open figures
    assert found.attempted
    assert not found.failed


def test_every_part_has_examples():
    assert {name.split(".")[1] for name in NAMES} >= {
        "analysis",
        "backbones",
        "discriminators",
        "iqa",
        "losses",
        "mllm",
        "sr",
    }
