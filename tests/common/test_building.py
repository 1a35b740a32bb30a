"""What is built is the same whatever the program around it has switched on in torch."""

import pytest
import torch

from lopsided.backbones import build_extractor
from lopsided.common.building import building
from lopsided.discriminators import build_discriminator
from lopsided.losses import MeasureGroup, create_measure
from lopsided.sr import GeneratorSpec, build_generator

IMAGE = torch.rand(1, 3, 48, 48, generator=torch.Generator().manual_seed(0))
BUILDERS = {
    "squeezenet1_1-r": lambda: build_extractor("squeezenet1_1-r"),
    "vanilla": lambda: build_discriminator("vanilla"),
    "unet": lambda: build_discriminator("unet"),
    "swinir-tiny": lambda: build_generator(GeneratorSpec(name="swinir-tiny"), 4),
    "edsr-baseline": lambda: build_generator(GeneratorSpec(name="edsr-baseline"), 4),
}
MEASURES = ["l1", "ssim", "gmsd", "nlpd", *(f"{name}-squeezenet1_1-r" for name in ("dists", "lpips", "style"))]


@pytest.fixture
def double():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("name", BUILDERS)
def test_networks_do_not_depend_on_the_default_type(name, request):
    expected = BUILDERS[name]().state_dict()
    request.getfixturevalue("double")
    found = BUILDERS[name]().state_dict()
    assert torch.get_default_dtype() == torch.float64
    assert all(found[key].dtype == value.dtype and torch.equal(found[key], value) for key, value in expected.items())


@pytest.mark.parametrize("key", MEASURES)
def test_measures_do_not_depend_on_the_default_type(key, request):
    expected = create_measure(key).score(IMAGE, IMAGE.flip(-1))
    request.getfixturevalue("double")
    assert torch.equal(create_measure(key).score(IMAGE, IMAGE.flip(-1)), expected)


@pytest.mark.parametrize("name", BUILDERS)
def test_networks_built_in_inference_mode_can_be_trained(name):
    with torch.inference_mode():
        network = BUILDERS[name]()
    assert not any(tensor.is_inference() for tensor in (*network.parameters(), *network.buffers()))


def test_features_made_in_inference_mode_can_be_trained_against():
    extractor = build_extractor("squeezenet1_1-r")
    with torch.inference_mode():
        wanted = extractor(IMAGE.clone())
    image = torch.nn.Parameter(IMAGE.flip(-1))
    seen = extractor(image)
    torch.stack([(a * b).sum() for a, b in zip(seen, wanted, strict=True)]).sum().backward()
    assert image.grad is not None
    assert image.grad.abs().sum() > 0


@pytest.mark.parametrize("key", MEASURES)
@pytest.mark.parametrize("prepared", [False, True])
def test_references_made_in_inference_mode_can_be_trained_against(key, prepared):
    ordinary = torch.nn.Parameter(IMAGE.flip(-1))
    create_measure(key)(ordinary, IMAGE).backward()
    with torch.inference_mode():
        measure, group = create_measure(key), MeasureGroup([key])
        reference = IMAGE.clone()
        first, second = (m.prepare(reference) if prepared else reference for m in (measure, group))
    for loss in (lambda image: measure(image, first), lambda image: group(image, second)[measure.spec.key]):
        image = torch.nn.Parameter(IMAGE.flip(-1))
        loss(image).backward()
        torch.testing.assert_close(image.grad, ordinary.grad)


def test_building_leaves_what_is_switched_on_as_it_was():
    with torch.inference_mode(), torch.no_grad():
        with building():
            assert not torch.is_inference_mode_enabled()
            assert not torch.is_grad_enabled()
        assert torch.is_inference_mode_enabled()
