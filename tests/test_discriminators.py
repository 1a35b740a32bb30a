"""Discriminators and adversarial objectives."""

import math

import pytest
import torch
from pydantic import ValidationError

from lopsided.backbones import build_extractor
from lopsided.discriminators import (
    DiscriminatorError,
    DiscriminatorSpec,
    build_discriminator,
    list_objectives,
    objective,
)


@pytest.mark.parametrize(
    ("key", "shape"),
    [
        ("vanilla", (2, 1, 1, 1)),
        ("patch", (2, 1, 8, 8)),
        ("vanilla-vgg16-r", (2, 1, 1, 1)),
        ("patch-vgg16-r", (2, 1, 8, 8)),
        ("vanilla-resnet50-r", (2, 1, 1, 1)),
        ("patch-resnet50-r", (2, 1, 8, 8)),
    ],
)
def test_logits_have_the_stated_shape_and_reach_every_used_weight(key, shape):
    discriminator = build_discriminator(key)
    images = torch.rand(2, 3, 64, 64, requires_grad=True)
    logits = discriminator(images)
    assert logits.shape == shape
    assert discriminator.spec.key == key
    logits.square().mean().backward()
    assert images.grad is not None
    assert images.grad.abs().sum() > 0
    assert discriminator.head.linear.weight.grad is not None


def test_seeds_are_independent_samples_and_reproducible():
    weights = [build_discriminator("patch-vgg16-r", seed=s).state_dict() for s in (0, 0, 1)]
    name = "trunk.trunk.features.0.weight"
    assert torch.equal(weights[0][name], weights[1][name])
    assert not torch.equal(weights[0][name], weights[2][name])


def test_building_draws_nothing_from_the_global_generator():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    build_discriminator("vanilla", seed=5)
    build_discriminator("vanilla-resnet50-r", seed=5)
    assert torch.equal(before, torch.get_rng_state())


def test_a_frozen_backbone_leaves_only_the_head_to_learn():
    spec = DiscriminatorSpec.model_validate({"form": "patch", "backbone": "vgg16-r", "trainable": False})
    discriminator = build_discriminator(spec)
    learnt = [name for name, p in discriminator.named_parameters() if p.requires_grad]
    assert learnt == ["head.linear.weight", "head.linear.bias"]


def test_the_backbone_is_the_registry_one_and_its_weights_are_exchangeable():
    discriminator = build_discriminator("vanilla-resnet50-r", seed=3)
    extractor = build_extractor("resnet50-r")
    extractor.trunk.load_state_dict(discriminator.trunk.get_submodule("trunk").state_dict())
    images = torch.rand(1, 3, 64, 64)
    discriminator.eval()
    torch.testing.assert_close(discriminator.head(extractor(images)[-1]), discriminator(images))


@pytest.mark.parametrize("key", ["vanilla", "patch"])
def test_it_learns_to_tell_sharp_from_blurred(key):
    generator = torch.Generator().manual_seed(0)
    discriminator = build_discriminator(key)
    optimiser = torch.optim.Adam(discriminator.parameters(), 1e-3)

    def batch():
        real = torch.rand(8, 3, 32, 32, generator=generator)
        return real, torch.nn.functional.avg_pool2d(real, 3, 1, 1)

    for _ in range(40):
        real, fake = batch()
        loss = objective("bce").discriminator(discriminator(real), discriminator(fake))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    real, fake = batch()
    accuracy = 0.5 * ((discriminator(real) > 0).float().mean() + (discriminator(fake) < 0).float().mean())
    assert accuracy > 0.9


def test_objectives_have_their_closed_forms():
    real, fake = torch.tensor([0.0, 2.0]), torch.tensor([-1.0, 0.5])
    expected = {
        "bce": (
            sum(math.log1p(math.exp(-r)) for r in (0, 2)) / 2 + sum(math.log1p(math.exp(f)) for f in (-1, 0.5)) / 2,
            sum(math.log1p(math.exp(-f)) for f in (-1, 0.5)) / 2,
        ),
        "least_squares": ((1 + 1) / 2 + (1 + 0.25) / 2, (4 + 0.25) / 2),
        "hinge": ((1 + 0) / 2 + (0 + 1.5) / 2, 0.25),
    }
    assert set(expected) == set(list_objectives())
    for name, (discriminator, generator) in expected.items():
        entry = objective(name)
        assert entry.discriminator(real, fake).item() == pytest.approx(discriminator, rel=1e-6)
        assert entry.generator(fake).item() == pytest.approx(generator, rel=1e-6)


@pytest.mark.parametrize("name", list_objectives())
def test_each_player_gains_by_moving_its_logits(name):
    real, fake = torch.zeros(4, requires_grad=True), torch.zeros(4, requires_grad=True)
    objective(name).discriminator(real, fake).backward()
    assert real.grad is not None
    assert fake.grad is not None
    assert (real.grad < 0).all()  # raises logits of real images
    if name != "least_squares":  # whose minimum for generated images is at 0 itself
        assert (fake.grad > 0).all()
    fooled = torch.zeros(4, requires_grad=True)
    objective(name).generator(fooled).backward()
    assert fooled.grad is not None
    assert (fooled.grad < 0).all()


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("vanila", "did you mean 'vanilla'"),
        ("patch-vgg", "did you mean 'patch-vgg16'"),
        ("none-vgg16", "unknown discriminator"),
        ("none", "no network"),
    ],
)
def test_unknown_keys_suggest_the_nearest(key, message):
    with pytest.raises(DiscriminatorError, match=message):
        build_discriminator(key)


def test_specs_check_their_stage_and_images_their_size():
    with pytest.raises(ValidationError, match="there are 4 stages"):
        DiscriminatorSpec.model_validate({"form": "patch", "stage": 4})
    with pytest.raises(DiscriminatorError, match="at least 16 px"):
        build_discriminator("patch")(torch.rand(1, 3, 8, 8))
    with pytest.raises(Exception, match="did you mean 'hinge'"):
        objective("hing")


def test_identity_ignores_spelling_and_follows_meaning():
    plain = DiscriminatorSpec.model_validate("patch-vgg16-r")
    spelt = DiscriminatorSpec.model_validate({"form": "patch", "backbone": {"name": "vgg16-r"}, "stage": 3})
    assert plain.identity == spelt.identity  # stage 3 is the default of a patch head on VGG-16
    others = ["vanilla-vgg16-r", "patch-vgg16", "patch", "none"]
    identities = {DiscriminatorSpec.model_validate(key).identity for key in others}
    assert len(identities | {plain.identity}) == 5
