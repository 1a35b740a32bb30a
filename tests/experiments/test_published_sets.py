"""Human-rated sets in experiments: `{published: name, path: folder}` stands for the set that the folder holds."""

import numpy as np
import pytest
import yaml
from PIL import Image

from lopsided.common.errors import SourceError
from lopsided.experiments import load_experiment, plan
from lopsided.experiments.schema.datasets import FRPublished
from lopsided.iqa import evaluate_fr
from lopsided.iqa.manifest import FRDataset
from lopsided.losses import create_measure

EXPERIMENT = {
    "name": "rated",
    "data": {
        "train": {"source": "skimage", "split": "train"},
        "test": {"a": {"images": {"source": "skimage", "split": "test"}}},
    },
    "super_resolution": {"pretrain": {"steps": 1, "patch": 32}, "finetune": {"steps": 1, "patch": 32}},
    "grid": {"fidelity": ["ssim"]},
    "judges": ["psnr_y"],
}


@pytest.fixture
def folder(tmp_path):
    """A set of two references with two distorted images each, in the layout that is imported."""
    rows = ["image,reference,distortion,label,label_kind,label_higher_is_better"]
    for index in range(4):
        image = np.random.default_rng(index).integers(0, 256, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(image).save(tmp_path / f"{index}.png")
        Image.fromarray(image // 2).save(tmp_path / f"r{index // 2}.png")
        rows.append(f"{index}.png,r{index // 2}.png,noise,{index + 0.5},mos,true")
    (tmp_path / "manifest.csv").write_text("\n".join(rows) + "\n")
    return tmp_path


def assessed(folder, **dataset):
    path = folder / "e.yaml"
    path.write_text(yaml.safe_dump({**EXPERIMENT, "assessment": {"datasets": {"rated": dataset}}}))
    return {cell.id for cell in plan(load_experiment(path)).of_stage("assess_fr")}


def test_a_published_set_is_the_same_set_as_its_manifest(folder, tmp_path):
    assert assessed(folder, published="tqd", path=str(folder)) == assessed(
        folder, manifest=str(folder / "manifest.csv")
    )
    opened = FRPublished(published="tqd", path=folder).open(tmp_path)
    assert opened.identity == FRDataset(folder / "manifest.csv").identity
    scores = evaluate_fr(create_measure("ssim"), opened)
    assert scores["label"].tolist() == [0.5, 1.5, 2.5, 3.5]
    assert scores["status"].eq("ok").all()


def test_a_set_without_references_is_refused(folder):
    manifest = folder / "manifest.csv"
    lines = [line.split(",") for line in manifest.read_text().splitlines()]
    manifest.write_text("\n".join(",".join(cells[:1] + cells[2:]) for cells in lines) + "\n")
    with pytest.raises(SourceError, match="reference"):
        FRPublished(published="tqd", path=folder).open(folder)
