"""Prepared references and shared passes: the same numbers for less work."""

import pytest
import torch

from lopsided.backbones import FeatureExtractor
from lopsided.losses import DISTS, MeasureError, MeasureGroup, create_measure, parse_measure

SMALL = {"measure": "dists", "backbone": "squeezenet1_1-r"}
SHALLOW = {**SMALL, "layers": ["relu1", "fire4"]}
KEYS = ["l1", "ssim", "dists-squeezenet1_1-r"]


@pytest.fixture(scope="module")
def images():
    return torch.rand(3, 3, 64, 48, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def reference():
    return torch.rand(1, 3, 64, 48, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def passes(monkeypatch):
    """The batch size of every pass through a backbone."""
    sizes, forward = [], FeatureExtractor.forward

    def counted(self, images):
        sizes.append(len(images))
        return forward(self, images)

    monkeypatch.setattr(FeatureExtractor, "forward", counted)
    return sizes


@pytest.mark.parametrize("key", KEYS)
def test_a_prepared_reference_stands_for_its_images(key, images, reference):
    measure = create_measure(key)
    prepared = measure.prepare(reference)
    torch.testing.assert_close(measure.score(images, prepared), measure.score(images, reference), rtol=0, atol=0)
    each = reference.expand_as(images).contiguous()
    prediction = images.clone().requires_grad_()
    losses = [measure(prediction, measure.prepare(each)), measure(prediction, each)]
    gradients = [torch.autograd.grad(loss, prediction)[0] for loss in losses]
    assert torch.equal(losses[0], losses[1])
    assert torch.equal(gradients[0], gradients[1])


def test_a_prepared_reference_saves_its_pass(images, reference, passes):
    measure = DISTS("squeezenet1_1-r")
    passes.clear()  # the self-test of the weights
    prepared = measure.prepare(reference)
    for image in images:
        measure.score(image[None], prepared)
    assert passes == [1, 1, 1, 1]


def test_a_reference_is_refused_by_another_measure(images, reference):
    prepared = create_measure(SHALLOW).prepare(reference)
    with pytest.raises(MeasureError, match="prepared by another measure"):
        create_measure(SMALL).score(images, prepared)
    with pytest.raises(MeasureError, match="do not match"):
        create_measure(SHALLOW).score(images[..., :32], prepared)
    with pytest.raises(MeasureError, match=r"references must be in \[0, 1\]"):
        create_measure(SHALLOW).prepare(reference * 255)


def test_a_group_returns_what_its_measures_return_alone(images, reference):
    measures = ["l1", "ssim", SHALLOW, SMALL, "dists-resnet18-r"]
    group = MeasureGroup(measures)
    keys = [parse_measure(m).key for m in measures]
    assert list(group.measures) == keys
    prediction = images.clone().requires_grad_()
    each = reference.expand_as(images).contiguous()
    for source in (each, group.prepare(each)):
        scores, losses = group.score(images, source), group(prediction, source)
        assert list(scores) == list(losses) == keys
        for key, measure in zip(keys, measures, strict=True):
            alone = create_measure(measure)
            torch.testing.assert_close(scores[key], alone.score(images, each), rtol=1e-6, atol=1e-7)
            loss = alone(prediction, each)
            torch.testing.assert_close(losses[key], loss, rtol=1e-6, atol=1e-7)
            expected = torch.autograd.grad(loss, prediction)[0]
            ours = torch.autograd.grad(losses[key], prediction, retain_graph=True)[0]
            torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-7)


def test_measures_on_equal_backbones_share_passes(images, reference, passes):
    group = MeasureGroup([SHALLOW, SMALL, {**SMALL, "c1": 1e-4}, {**SMALL, "pooling": "max"}])
    assert len({id(m.extractor) for m in group.measures.values()}) == 2  # one a kind of pooling
    passes.clear()
    group.score(images, reference)
    assert sorted(passes) == [1, 1, 3, 3]


def test_a_group_needs_different_measures(images, reference):
    with pytest.raises(MeasureError, match="different keys, got l1, l1"):
        MeasureGroup(["l1", "l1"])
    with pytest.raises(MeasureError, match="different keys, got none"):
        MeasureGroup([])
    with pytest.raises(MeasureError, match=r"images must be in \[0, 1\]"):
        MeasureGroup(KEYS).score(images * 2, reference)
