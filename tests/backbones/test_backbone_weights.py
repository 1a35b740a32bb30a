"""Real pretrained weights, where the data folder has them: do networks see, and do their features predict opinions?"""

import csv

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from scipy.stats import spearmanr
from support.paths import SHARED
from torch.nn import functional as F

from lopsided.backbones import BackboneSpec, build_extractor

DATA = SHARED
WEIGHTS = DATA / "weights"
LIVE = DATA / "iqa" / "live_subset"

pytestmark = pytest.mark.skipif(not WEIGHTS.is_dir(), reason="no folder of pretrained weights beside the project")

SPECS = [
    (BackboneSpec(name="squeezenet1_1", weights="squeezenet1_1.safetensors"), 160),
    (BackboneSpec(name="vgg19_blocks3"), 128),
    (BackboneSpec(name="googlenet_bvlc"), 160),
]


@pytest.fixture(autouse=True)
def weights_folder(monkeypatch):
    monkeypatch.setenv("LOPSIDED_WEIGHTS", str(WEIGHTS))


def tensor(pixels):
    return torch.from_numpy(np.array(pixels)).permute(2, 0, 1)[None].float() / 255


@pytest.mark.skipif(not LIVE.is_dir(), reason="no LIVE subset beside the project")
@pytest.mark.parametrize(("spec", "side"), SPECS, ids=[spec.name for spec, _ in SPECS])
def test_feature_distance_predicts_opinions(spec, side):
    """Unit-normalised squared feature distance on the centres of a quarter of the images; DMOS: higher is worse."""
    extractor = build_extractor(spec)

    def features(file):
        image = tensor(Image.open(LIVE / file).convert("RGB"))
        top, left = ((size - side) // 2 for size in image.shape[-2:])
        return [F.normalize(m, dim=1) for m in extractor(image[..., top : top + side, left : left + side])]

    with (LIVE / "live_subset.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))[::4]
    references = {name: features(name) for name in {row["ref"] for row in rows}}
    distances = [
        sum(
            (a - b).square().sum(1).mean().item()
            for a, b in zip(features(row["file"]), references[row["ref"]], strict=True)
        )
        for row in rows
    ]
    assert np.ptp(distances) > 0
    assert float(np.asarray(spearmanr(distances, [float(row["dmos"]) for row in rows]))[0]) > 0.9


@pytest.mark.parametrize(("photograph", "classes"), [("chelsea", range(281, 288)), ("coffee", (967, 968))])
def test_googlenet_recognises_a_photograph(photograph, classes):
    """The classifier of the same file on the last stage: wrong colours, norms or pooling would not see a cat."""
    images = tensor(getattr(pytest.importorskip("skimage.data"), photograph)())
    side = min(images.shape[-2:])
    top, left = ((size - side) // 2 for size in images.shape[-2:])
    images = F.interpolate(
        images[..., top : top + side, left : left + side], size=(224, 224), mode="bilinear", antialias=True
    )
    head = load_file(WEIGHTS / "googlenet_bvlc.safetensors")
    features = build_extractor("googlenet_bvlc")(images)[-1].mean((2, 3))
    logits = features @ head["loss3/classifier.weight"].float().T + head["loss3/classifier.bias"].float()
    assert int(logits.argmax()) in classes
    assert logits.softmax(1)[0, list(classes)].sum() > 0.8


@pytest.mark.parametrize("spec", [spec for spec, _ in SPECS], ids=lambda spec: spec.name)
def test_a_known_name_and_the_path_of_that_file_are_the_same_backbone(spec):
    file = {"vgg19_blocks3": "vgg19_blocks1-3"}.get(spec.name, spec.name)
    by_path = BackboneSpec(name=spec.name, weights=str(WEIGHTS / f"{file}.safetensors"))
    assert by_path.identity == spec.identity
