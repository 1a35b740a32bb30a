"""Measures on feature maps besides DISTS: their formulas in plain float64, gradients, edge cases, sharing of passes."""

from typing import Any

import numpy as np
import pytest
import skimage.data
import torch

from lopsided.backbones import BackboneSpec, list_backbones
from lopsided.common.images import to_tensor
from lopsided.losses import ContextualSpec, MeasureError, MeasureGroup, create_measure, parse_measure
from lopsided.losses import contextual as contextual_module

SMALL = "squeezenet1_1-r"
MEASURES = [
    {"measure": "lpips"},
    {"measure": "lpips", "semantic_layer": "fire6"},
    {"measure": "perceptual"},
    {"measure": "perceptual", "distance": "l1"},
    {"measure": "style"},
    {"measure": "style", "distance": "l1"},
    {"measure": "contextual"},
]
IDS = ["lpips", "lpips+", "perceptual", "perceptual-l1", "style", "style-l1", "contextual"]
every_measure = pytest.mark.parametrize("options", MEASURES, ids=IDS)


def build(options, backbone=SMALL, **more) -> Any:
    return create_measure({**options, "backbone": backbone, **more})


@pytest.fixture(scope="module")
def pair():
    """A photograph and a noisy version, and another such pair, 64 px."""
    reference = to_tensor(np.ascontiguousarray(skimage.data.astronaut()[80:144, 180:244]))
    references = torch.cat([reference, reference.flip(3).sqrt()])
    noise = torch.randn(references.shape, generator=torch.Generator().manual_seed(0))
    return (references + 0.05 * noise).clamp(0, 1), references


# --- formulas -------------------------------------------------------------------------------------------------------


def features(measure, image):
    """Maps of one image as float64 arrays, places by channels."""
    with torch.no_grad():
        maps = measure.extractor(image)
    return [maps[i][0].flatten(1).T.double().numpy() for i in measure.spec.stages]


def perceptual(x, y):
    return ((x - y) ** 2).mean()


def perceptual_l1(x, y):
    return np.abs(x - y).mean()


def gram_difference(x, y):
    return (x.T @ x - y.T @ y) / x.size


def style(x, y):
    return np.linalg.norm(gram_difference(x, y)) ** 2


def style_l1(x, y):
    return np.abs(gram_difference(x, y)).sum()


def contextual(x, y, h=0.5):
    mean = y.mean(0)
    x, y = ((f - mean) / np.linalg.norm(f - mean, axis=1, keepdims=True) for f in (x, y))
    distance = 1 - x @ y.T
    relative = distance / (distance.min(1, keepdims=True) + 1e-5)
    weights = np.exp((1 - relative) / h)
    weights /= weights.sum(1, keepdims=True)
    return -np.log(weights.max(0).mean())


FORMULAS = dict(zip(IDS[2:], (perceptual, perceptual_l1, style, style_l1, contextual), strict=True))


@pytest.mark.parametrize("backbone", [SMALL, "vgg16-r"])
@pytest.mark.parametrize("name", FORMULAS)
def test_follows_its_formula(name, backbone, pair):
    measure = build(MEASURES[IDS.index(name)], backbone)
    for image, reference in zip(pair[0][:, None], pair[1][:, None], strict=True):
        layers = zip(features(measure, image), features(measure, reference), strict=True)
        expected = [FORMULAS[name](x, y) for x, y in layers]
        assert [t.item() for t in measure.terms(image, reference)] == pytest.approx(expected, rel=1e-4)
        assert measure.score(image, reference).item() == pytest.approx(sum(expected), rel=1e-4)


def test_bandwidth_sharpens_the_match(pair):
    measure = build({"measure": "contextual", "bandwidth": 0.1, "layers": ["fire4"]})
    (x,), (y,) = (features(measure, image[:1]) for image in pair)
    assert measure.score(pair[0][:1], pair[1][:1]).item() == pytest.approx(contextual(x, y, h=0.1), rel=1e-4)


@pytest.mark.parametrize("name", ["perceptual", "style", "contextual"])
def test_layer_weights_go_with_the_names_of_the_layers(name, pair):
    single = {layer: build({"measure": name}, layers=[layer]).score(*pair) for layer in ("fire2", "fire6")}
    both = build({"measure": name}, layers=["fire6", "fire2"], layer_weights=[0.5, 3])
    torch.testing.assert_close(both.score(*pair), 3 * single["fire2"] + 0.5 * single["fire6"])


def test_contextual_is_the_same_in_blocks(pair, monkeypatch):
    """Blocks of distances bound the memory; here one of 3 rows at a time, forward and backward."""
    measure = build({"measure": "contextual"}).double()
    leaf = pair[0].double().requires_grad_()
    results = []
    for values in (1 << 22, 2 * 225 * 3):
        monkeypatch.setattr(contextual_module, "VALUES", values)
        loss = measure(leaf, pair[1].double())
        results.append((loss.detach(), torch.autograd.grad(loss, leaf)[0]))
    torch.testing.assert_close(results[0], results[1], rtol=1e-9, atol=1e-12)


def test_default_layers_of_the_contextual_loss():
    def layers(backbone):
        spec = ContextualSpec(backbone=BackboneSpec(name=backbone))
        return [spec.architecture.stages[i].name for i in spec.stages]

    assert layers("vgg16") == ["relu3_3", "relu4_3"]
    assert layers("resnet50") == ["layer1", "layer2"]
    assert layers("clip_vit_b16") == ["block3", "block6", "block9", "block12"]
    assert all(layers(backbone) for backbone in list_backbones())


# --- as losses ------------------------------------------------------------------------------------------------------


@every_measure
def test_gradient_equals_finite_differences(options):
    measure = build(options).double()
    generator = torch.Generator().manual_seed(1)
    image, reference = torch.rand(2, 1, 3, 40, 40, dtype=torch.float64, generator=generator)
    leaf = image.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(measure(leaf, reference), leaf)
    for _ in range(3):
        direction = torch.randn(image.shape, dtype=torch.float64, generator=generator)
        step = 1e-7 * direction
        with torch.no_grad():
            difference = (measure(image + step, reference) - measure(image - step, reference)) / 2e-7
        assert (gradient * direction).sum().item() == pytest.approx(difference.item(), rel=1e-5)


@every_measure
@pytest.mark.parametrize("size", [17, 64, 256])
def test_is_finite_on_hard_images(options, size):
    measure = build(options)
    flat = torch.full((1, 3, size, size), 0.5)
    noise = torch.rand(flat.shape, generator=torch.Generator().manual_seed(0))
    pairs = [(flat * 0, flat), (flat, flat * 0), (noise, flat * 0), (flat * 2, noise), (flat, flat), (noise, noise)]
    for image, reference in pairs if size < 256 else pairs[2:3]:
        leaf = image.clone().requires_grad_()
        loss = measure(leaf, reference)
        (gradient,) = torch.autograd.grad(loss, leaf)
        assert torch.isfinite(loss)
        assert loss >= 0
        assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("options", MEASURES[:-1], ids=IDS[:-1])
def test_identical_images_score_zero_with_zero_gradient(options, pair):
    measure = build(options)
    leaf = pair[1].clone().requires_grad_()
    loss = measure(leaf, pair[1])
    loss.backward()
    assert loss.item() == 0
    assert leaf.grad is not None
    assert (leaf.grad == 0).all()


def test_contextual_of_identical_images_counts_repeated_features(pair):
    """Almost 0 where all places differ; up to log P, the range's end, where they are all the same."""
    measure = build({"measure": "contextual", "layers": ["fire4"]})
    assert 0 <= measure.score(pair[1], pair[1]).max() < 0.01
    reference = torch.rand(1, 256, 4, 4, generator=torch.Generator().manual_seed(0))
    for tiles in (1, 2):
        maps = [reference.repeat(1, 1, tiles, 1)]
        score = measure._compare(pair[1], maps, measure._digest(pair[1], maps))
        assert score.item() == pytest.approx(np.log(tiles), abs=1e-4)
    maps = [torch.ones(1, 256, 4, 4)]
    assert measure._compare(pair[1], maps, measure._digest(pair[1], maps)).item() == pytest.approx(np.log(16))


@every_measure
def test_bfloat16_pass_changes_little(options, pair):
    scores, gradients = [], []
    for precision in ("fp32", "bf16"):
        options = {**options, **({"semantic_layer": "relu3"} if "semantic_layer" in options else {})}
        measure = build(options, "alexnet-r", precision=precision)
        leaf = pair[0].clone().requires_grad_()
        loss = measure(leaf, pair[1])
        scores.append(loss.item())
        gradients.append(torch.autograd.grad(loss, leaf)[0].flatten())
    assert scores[1] == pytest.approx(scores[0], rel=0.01)
    assert torch.cosine_similarity(*gradients, dim=0) > 0.98


# --- sharing --------------------------------------------------------------------------------------------------------


@every_measure
def test_prepared_and_shared_references_score_as_single_pairs(options, pair):
    measure = build(options)
    images, reference = pair[0], pair[1][:1]
    alone = torch.cat([measure.score(image[None], reference) for image in images])
    torch.testing.assert_close(measure.score(images, reference), alone, rtol=1e-5, atol=1e-7)
    prepared = measure.prepare(reference)
    torch.testing.assert_close(measure.score(images, prepared), measure.score(images, reference), rtol=0, atol=0)
    torch.testing.assert_close(measure.score(*pair), measure.score(images, measure.prepare(pair[1])), rtol=0, atol=0)


def test_terms_sum_to_the_score(pair):
    for name in ("perceptual", "style", "contextual"):
        measure = build({"measure": name})
        torch.testing.assert_close(sum(measure.terms(*pair)), measure.score(*pair))


def test_a_group_on_one_backbone_holds_one_network_and_returns_the_same(pair):
    keys = [f"{name}-{SMALL}" for name in ("lpips", "perceptual", "style", "contextual")]
    group = MeasureGroup(keys)
    assert len({id(measure.extractor) for measure in group.measures.values()}) == 1
    leaf = pair[0].clone().requires_grad_()
    losses = group(leaf, pair[1])
    scores = group.score(*pair)
    for key in keys:
        measure = create_measure(key)
        torch.testing.assert_close(scores[key], measure.score(*pair), rtol=0, atol=0)
        single = torch.autograd.grad(measure(leaf, pair[1]), leaf)[0]
        shared = torch.autograd.grad(losses[key], leaf, retain_graph=True)[0]
        torch.testing.assert_close(shared, single, rtol=1e-5, atol=1e-9)


# --- definition -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["perceptual", "style", "contextual"])
def test_keys_and_marks(name):
    assert parse_measure(name) == parse_measure(f"{name}-vgg16") == parse_measure({"measure": name})
    assert parse_measure(f"{name}-{SMALL}").key == f"{name}-{SMALL}"
    johnson = parse_measure({"measure": name, "layers": ["relu2_2"]})
    assert johnson.key == f"{name}-vgg16+{johnson.identity[:4]}"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"measure": "style", "layer_weights": [1, 1]},
            "layer_weights has 2 values; 'style' is on 5 layers of 'vgg16'",
        ),
        ({"measure": "contextual", "layer_weights": [1]}, "'contextual' is on 2 layers of 'vgg16'"),
        (
            {"measure": "perceptual", "layer_weights": [1, 1, 0, 1, 1]},
            "layer_weights.2: Input should be greater than 0",
        ),
        ({"measure": "perceptual", "layers": ["relu2_3"]}, "'vgg16' has no layer 'relu2_3'"),
        ({"measure": "perceptual", "distance": "l3"}, "distance: Input should be 'l2' or 'l1'"),
        ({"measure": "contextual", "bandwidth": 0}, "bandwidth: Input should be greater than 0"),
        ("perceptual-vgg19", "did you mean 'perceptual-vgg16"),
    ],
)
def test_bad_definitions_say_what_is_wrong(options, message):
    with pytest.raises(MeasureError, match=message):
        parse_measure(options)
