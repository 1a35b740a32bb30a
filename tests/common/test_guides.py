"""The examples of the guides run as they stand, each in a namespace of its own."""

import re

import pytest
import torch
from support.paths import ROOT

from lopsided.backbones.registry import ARCHITECTURES
from lopsided.losses import SPECS

GUIDES = ("backbones", "measures", "discriminators")  # those of docs/integrations.md run in tests/losses
TEXTS = {guide: (ROOT / "docs" / f"{guide}.md").read_text("utf-8") for guide in GUIDES}
BLOCK = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)
EXAMPLES = [(guide, index, code) for guide in GUIDES for index, code in enumerate(BLOCK.findall(TEXTS[guide]))]


@pytest.mark.parametrize(("guide", "index", "code"), EXAMPLES, ids=[f"{guide} {i + 1}" for guide, i, _ in EXAMPLES])
def test_examples_run_and_print_what_they_say(guide, index, code, monkeypatch, capsys):
    for registry in (ARCHITECTURES, SPECS):  # what an example registers is forgotten again
        monkeypatch.setattr(registry, "_entries", dict(registry))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        exec(compile(code, f"docs/{guide}.md, example {index + 1}", "exec"), {"__name__": "example"})
    promised = re.findall(r"^print\(.*\)  # (.*)$", code, re.MULTILINE)
    assert promised == capsys.readouterr().out.splitlines()[-len(promised) :] or not promised


def test_there_are_examples_of_every_guide():
    assert {guide for guide, _, _ in EXAMPLES} == set(GUIDES)
