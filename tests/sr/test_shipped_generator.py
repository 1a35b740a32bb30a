"""The pretrained generator that comes with this package."""

import numpy as np
import pytest
import torch

from lopsided.common.identity import sha256_file
from lopsided.common.images import to_tensor
from lopsided.common.sources import parse_source
from lopsided.experiments.schema.load import load_experiment
from lopsided.iqa import create_judge
from lopsided.sr import GeneratorSpec, build_generator, list_shipped, load_exported, super_resolve
from lopsided.sr.errors import SuperResolutionError
from lopsided.sr.generators import SHIPPED, weights_path
from lopsided.sr.images import pairs

NAME = "swinir-tiny-x4"
# As docs/generators.md states it: the file is changed only together with its recipe.
DIGEST = "8452c64f9895a548c8820cb443f5d53e1e31aa7fcca2eac849bb498d0fe97b1e"


def psnr_y(generator):
    judge = create_judge("psnr_y", scale=4)
    found = []
    for pair in pairs(parse_source({"source": "skimage", "split": "test"}).items(), 4, crop=192):
        restored = super_resolve(generator, to_tensor(pair.lr), 4, multiple=8).clamp(0, 1)
        found.append(judge.score(restored, to_tensor(pair.hr)).item())
    return float(np.mean(found))


def test_it_is_the_documented_file_and_small():
    assert list_shipped() == [NAME]
    path = SHIPPED / f"{NAME}.safetensors"
    assert sha256_file(path) == DIGEST
    assert path.stat().st_size < 400_000
    loaded = load_exported(path)
    assert (loaded.spec.name, loaded.scale) == ("swinir-tiny", 4)


def test_it_restores_unseen_photographs_better_than_bicubic():
    generator = build_generator(GeneratorSpec(name="swinir-tiny", weights=NAME), 4)

    class Bicubic(torch.nn.Module):
        def forward(self, low):
            return torch.nn.functional.interpolate(low, scale_factor=4, mode="bicubic", align_corners=False)

    assert psnr_y(generator) > psnr_y(Bicubic()) + 1.0


def test_its_name_is_not_a_path_beside_the_yaml(tmp_path):
    path = tmp_path / "e.yaml"
    path.write_text(
        f"""
name: shipped
data: {{train: {{source: skimage, split: train}}, test: {{t: {{images: {{source: skimage, split: test}}, crop: 64}}}}}}
super_resolution: {{pretrain: {{steps: 0, patch: 32}}, finetune: {{steps: 2, batch: 1, patch: 32}}}}
grid: {{generator: {{name: swinir-tiny, weights: {NAME}}}, fidelity: none}}
judges: [psnr_y]
""",
        encoding="utf-8",
    )
    (generator,) = load_experiment(path).optimized.grid.generator
    assert generator.weights == NAME
    assert generator.definition()["weights"] == DIGEST


def test_other_paths_are_as_they_are(tmp_path):
    assert weights_path(tmp_path / NAME) == tmp_path / NAME
    with pytest.raises(SuperResolutionError, match="it fits swinir-tiny at ×4"):
        build_generator(GeneratorSpec(name="swinir-small", weights=NAME), 4)
