"""The recipes of CONTRIBUTING.md run, and what they add is there."""

import re
import subprocess
import sys

from support.paths import ROOT

TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
RECIPES = {
    title: "\n".join(re.findall(r"```python\n(.*?)```", body, re.DOTALL))
    for title, body in re.findall(r"^### (.+?)\n(.*?)(?=^##|\Z)", TEXT, re.DOTALL | re.MULTILINE)
}
# What shows that the recipe has worked, after its code.
SHOWN = {
    "A backbone": """
import torch
from lopsided.backbones import build_extractor
maps = build_extractor("vgg11-r")(torch.rand(1, 3, 32, 32))
assert [tuple(found.shape) for found in maps] == [(1, 64, 32, 32), (1, 128, 16, 16), (1, 256, 8, 8)]
""",
    "A measure": """
import torch
from lopsided.iqa import list_judges
from lopsided.losses import create_measure
images = torch.zeros(2, 3, 4, 4)
assert torch.allclose(create_measure("huber").score(images, images + 1), torch.full((2,), 0.095))
assert "huber" in list_judges()
""",
    "A judge": """
from lopsided.iqa import JudgeSpec
assert JudgeSpec(judge="cnniqa").trained_on == ("KonIQ-10k",)
""",
    "A data set": """
from lopsided.iqa.datasets import list_datasets
assert "kadid-copy" in list_datasets()
""",
    "A generator": """
import torch
from lopsided.sr.generators import GeneratorSpec, build_generator
assert build_generator(GeneratorSpec(name="plain"), 2)(torch.rand(1, 3, 8, 8)).shape == (1, 3, 16, 16)
""",
    "A task": """
import numpy as np
white = np.full((4, 4, 3), 255, np.uint8)
assert Inversion().degrade(white, 1, np.random.default_rng(0)).max() == 0
""",
    "A preset for multimodal LLMs": """
from lopsided.mllm.scoring import create_preset
assert list(create_preset("stars").dimensions) == ["quality"]
""",
    "A stage": """
from lopsided.experiments import load_experiment
from lopsided.experiments.stages.draft import Draft
(cell,) = CountImages.plan(Draft(load_experiment("experiments/smoke.yaml")))
assert cell.labels == {"test_set": "photographs"}
assert cell.title == "count_images photographs"
""",
}


def test_there_is_a_recipe_for_each_thing_that_can_be_added():
    assert list(RECIPES) == list(SHOWN)


def test_recipes_run():
    # In a process of their own: a registry keeps what is added to it.
    code = "\n".join(
        f"exec(compile({RECIPES[thing] + shown!r}, {thing!r}, 'exec'), {{'__name__': {thing!r}}})"
        for thing, shown in SHOWN.items()
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
