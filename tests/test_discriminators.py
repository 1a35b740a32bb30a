"""Discriminators: shapes, receptive fields, seeds, published weights, learning."""

import re
from pathlib import Path

import pytest
import skimage.data
import torch
from pydantic import ValidationError

from lopsided.backbones import build_extractor
from lopsided.common.basicsr_compat import load_basicsr
from lopsided.discriminators import (
    DiscriminatorError,
    DiscriminatorSpec,
    build_discriminator,
    list_discriminators,
    list_objectives,
    objective,
    r1_penalty,
)
from lopsided.sr.degradation import bicubic_resize

NETWORKS = ["patchgan16", "patchgan34", "patchgan", "patchgan142", "patchgan286", "srgan", "unet"]


def narrow(key, width=4, **options):
    """A thin variant of a network of the field, as fast as tests want it."""
    spec = DiscriminatorSpec.model_validate(key)
    field = {"receptive_field": spec.receptive_field} if spec.receptive_field else {}
    return DiscriminatorSpec.model_validate({"form": spec.form, "width": width, **field, **options})


def images_of(side, batch=2, seed=0):
    return torch.rand(batch, 3, side, side, generator=torch.Generator().manual_seed(seed))


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
    objective(name).generator(fooled, torch.zeros(4)).backward()
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


# --- networks of the field ------------------------------------------------------------------------------------------


def test_identities_of_old_are_unchanged():
    """Stored results are found by them."""
    known = {
        "none": "ec2f37e3feb2",
        "vanilla": "e16242416deb",
        "patch": "823ba877dcfd",
        "patch-vgg16-r": "27c94a80411b",
        "vanilla-resnet50-r": "32d1891c58d3",
    }
    assert {key: DiscriminatorSpec.model_validate(key).identity for key in known} == known


def table():
    """Rows of the table in docs/discriminators.md, by key: logits, receptive field, parameters, smallest image."""
    text = (Path(__file__).parents[1] / "docs" / "discriminators.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| (\d+×\d+) \| ([\w ]+) \| ([\d,]+) \| (\d+) px \|", text, re.MULTILINE)
    return {key: row for key, *row in rows}


def test_the_table_lists_every_discriminator_without_a_backbone():
    assert list(table()) == [key for key in list_discriminators() if key != "none" and "-" not in key]


def test_keys_are_listed_and_stand_for_themselves():
    keys = list_discriminators()
    assert len(set(keys)) == len(keys)
    specs = [DiscriminatorSpec.model_validate(key) for key in keys]
    assert [spec.key for spec in specs] == keys
    assert len({spec.identity for spec in specs}) == len(keys)


@pytest.mark.parametrize("key", table())
def test_logits_parameters_and_smallest_image_are_those_of_the_table(key):
    logits, _, parameters, smallest = table()[key]
    discriminator = build_discriminator(key).eval()
    with torch.no_grad():
        height, width = discriminator(images_of(96, 1)).shape[-2:]
        assert f"{height}×{width}" == logits
        assert discriminator(images_of(int(smallest), 1)).numel() > 0
    assert f"{sum(p.numel() for p in discriminator.parameters()):,}" == parameters
    with pytest.raises(DiscriminatorError, match=f"at least {smallest} px"):
        discriminator(images_of(int(smallest) - 1, 1))


def support(discriminator, side, place):
    """Height, width and number of the pixels that move the logit at ``place``."""
    images = torch.rand(1, 3, side, side, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    images.requires_grad_()
    (gradient,) = torch.autograd.grad(discriminator.double()(images)[0, 0, place, place], images)
    seen = (gradient[0] != 0).any(0)
    rows, columns = seen.any(1).nonzero(), seen.any(0).nonzero()
    return int(rows[-1] - rows[0]) + 1, int(columns[-1] - columns[0]) + 1, int(seen.sum())


@pytest.mark.parametrize("key", [key for key, row in table().items() if row[1] != "whole image"])
def test_the_receptive_field_is_the_measured_one(key):
    stated = int(table()[key][1].removesuffix(" px"))
    discriminator = build_discriminator(key if key == "patch" else narrow(key, norm="none")).eval()
    side = 2 * stated + 2 * 32
    with torch.no_grad():
        middle = discriminator(images_of(side, 1)).shape[-1] // 2
    if key != "unet":
        assert support(discriminator, side, middle) == (stated, stated, stated**2)
    else:  # whose places differ, with period 8
        sides = {support(discriminator, 192, 96 + i) for i in range(8)}
        assert sides == {(size, size, size**2) for size in (stated - 8, stated)}


@pytest.mark.parametrize("key", ["vanilla", "srgan"])
def test_a_pooled_logit_sees_the_whole_image(key):
    discriminator = build_discriminator(key if key == "vanilla" else narrow(key)).eval()
    assert support(discriminator, 64, 0) == (64, 64, 64**2)


@pytest.mark.parametrize("key", NETWORKS)
@pytest.mark.parametrize("norm", ["none", "instance", "batch"])
@pytest.mark.parametrize("spectral_norm", [False, True])
def test_every_option_builds_and_every_parameter_learns(key, norm, spectral_norm):
    discriminator = build_discriminator(narrow(key, norm=norm, spectral_norm=spectral_norm))
    side = max(32, discriminator.spec.min_size)
    images = images_of(side)
    discriminator(images).square().mean().backward()
    for name, parameter in discriminator.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
    kinds = {type(module).__name__ for module in discriminator.modules()}
    assert ("BatchNorm2d" in kinds, "InstanceNorm2d" in kinds) == (norm == "batch", norm == "instance")
    assert any(name.endswith("weight_orig") for name in discriminator.state_dict()) == spectral_norm


@pytest.mark.parametrize("key", NETWORKS)
def test_networks_are_seeded_and_their_state_makes_the_round_trip(key):
    spec = narrow(key, spectral_norm=True)
    images = images_of(max(40, spec.min_size))
    built = []
    with torch.random.fork_rng(devices=[]):
        for globally, seed in enumerate((3, 3, 4)):
            torch.manual_seed(globally)
            before = torch.get_rng_state()
            built.append(build_discriminator(spec, seed=seed))
            assert torch.equal(torch.get_rng_state(), before)
    first, again, other = built
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in first.state_dict().items())
    first(images)  # moves the singular vectors and the running statistics
    again(images)
    assert torch.equal(first.eval()(images), again.eval()(images))
    assert not torch.equal(first(images), other.eval()(images))
    other.load_state_dict(first.state_dict())
    assert torch.equal(first(images), other(images))


@pytest.mark.parametrize("spectral_norm", [False, True])
def test_spectral_norm_divides_by_the_largest_singular_value_from_the_start(spectral_norm):
    discriminator = build_discriminator(narrow("patchgan", spectral_norm=spectral_norm)).eval()
    discriminator(images_of(32))
    for layer in discriminator.modules():
        if isinstance(layer, torch.nn.Conv2d):
            largest = torch.linalg.matrix_norm(layer.weight.detach().flatten(1), 2)
            assert (abs(largest - 1) < 0.1) == spectral_norm


@pytest.mark.parametrize("shape", [(64, 64), (40, 72)])
def test_the_unet_is_the_published_network(shape):
    load_basicsr()
    from basicsr.archs.discriminator_arch import UNetDiscriminatorSN

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        published = UNetDiscriminatorSN(3)
    images = torch.rand(1, 3, *shape, generator=torch.Generator().manual_seed(0))
    published(images)  # one power iteration, so that the singular vectors are not those of the start
    ours = build_discriminator("unet")
    ours.network.load_state_dict(published.state_dict())
    torch.testing.assert_close(ours.eval()(images), published.eval()(images), rtol=0, atol=1e-5)
    torch.testing.assert_close(ours.train()(images), published.train()(images), rtol=0, atol=1e-5)


def test_the_unet_takes_sides_that_are_no_multiple_of_eight():
    assert build_discriminator(narrow("unet"))(torch.rand(1, 3, 37, 50)).shape == (1, 1, 37, 50)


@pytest.mark.parametrize(
    ("definition", "message"),
    [
        ({"form": "patchgan", "receptive_field": 71}, "16, 34, 70, 142 or 286"),
        ({"form": "unet", "receptive_field": 70}, "'unet' has no option receptive_field"),
        ({"form": "patch", "norm": "batch"}, "'patch' has no option norm"),
        ({"form": "none", "width": 8}, "'none' has no option width"),
        ({"form": "srgan", "backbone": "vgg16-r"}, "'srgan' has no backbone"),
        ({"form": "unet", "trainable": False}, "'unet' has no trainable"),
        ({"form": "patchgan", "norm": "layer"}, "'none', 'instance' or 'batch'"),
        ({"form": "patchgan", "width": 0}, "greater than or equal to 1"),
        ({"form": "patch", "frozen_stages": 4}, "at most 3 of the 4 stages"),
        ({"form": "patch", "frozen_stages": 1, "trainable": False}, "trainable: false"),
        ("patchgan71", "did you mean 'patchgan"),
        ("patchgan-vgg16", "did you mean 'patch"),
    ],
)
def test_options_that_a_form_has_not_are_refused(definition, message):
    with pytest.raises(ValidationError, match=message):
        DiscriminatorSpec.model_validate(definition)


def test_keys_of_variants_tell_the_network_and_that_it_differs():
    assert DiscriminatorSpec.model_validate({"form": "patchgan", "width": 64}).key == "patchgan"
    variants = [narrow("patchgan34"), narrow("patchgan34", norm="none"), narrow("unet", spectral_norm=False)]
    assert [spec.key.split("+")[0] for spec in variants] == ["patchgan34", "patchgan34", "unet"]
    assert len({spec.key for spec in variants}) == len({spec.identity for spec in variants}) == 3
    for spec in variants:
        assert DiscriminatorSpec.model_validate(spec.model_dump(mode="json")) == spec


@pytest.mark.parametrize("backbone", ["vgg16-r", "resnet18-r", "conv"])
def test_frozen_stages_do_not_learn_and_the_others_do(backbone):
    spec = DiscriminatorSpec.model_validate({"form": "patch", "backbone": backbone, "frozen_stages": 2})
    discriminator = build_discriminator(spec).train()
    before = {name: value.clone() for name, value in discriminator.state_dict().items()}
    optimiser = torch.optim.Adam([p for p in discriminator.parameters() if p.requires_grad], 1e-2)
    discriminator(images_of(48)).square().mean().backward()
    optimiser.step()
    frozen = {
        "vgg16-r": r"trunk\.trunk\.features\.[0-8]\.",
        "resnet18-r": r"trunk\.trunk\.(conv1|bn1|layer1)\.",
        "conv": r"trunk\.stages\.[01]\.",
    }[backbone]
    kept = [name for name in before if re.match(frozen, name)]
    assert kept
    after = discriminator.state_dict()
    assert all(torch.equal(after[name], before[name]) for name in kept)  # running statistics too
    for name, parameter in discriminator.named_parameters():
        assert parameter.requires_grad == (name not in kept)
        if parameter.grad is not None:  # deeper stages than the head's are not computed
            assert not torch.equal(after[name], before[name]), name
    whole = spec.model_copy(update={"frozen_stages": 0})
    assert spec.identity != whole.identity


def test_a_head_under_spectral_norm_has_unit_length():
    plain = DiscriminatorSpec.model_validate("patch-vgg16-r")
    spec = DiscriminatorSpec.model_validate({"form": "patch", "backbone": "vgg16-r", "spectral_norm": True})
    discriminator = build_discriminator(spec)
    discriminator(images_of(32))
    assert discriminator.head.linear.weight.norm().item() == pytest.approx(1, rel=1e-5)
    assert spec.identity != plain.identity
    assert DiscriminatorSpec.model_validate({**spec.model_dump(), "spectral_norm": False}).identity == plain.identity


@pytest.mark.parametrize("key", NETWORKS)
def test_penalties_reach_every_weight_of_the_networks(key):
    discriminator = build_discriminator(narrow(key, norm="none"))
    r1_penalty(discriminator, images_of(max(32, discriminator.spec.min_size))).backward()
    for name, parameter in discriminator.named_parameters():
        if name.endswith(("weight", "weight_orig")):
            assert parameter.grad is not None, name
            assert parameter.grad.abs().sum() > 0, name


# --- learning -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def photographs():
    """Left halves, to learn from, and right halves of photographs that are sharp all over, and their ×4 restorations.

    Each is a pair: the photograph and its bicubic enlargement from a quarter of the size, both (3, H, W).
    """
    halves = ([], [])
    for name in ("brick", "grass", "gravel"):
        pixels = torch.from_numpy(getattr(skimage.data, name)()).float()[:512, :512] / 255
        for side, half in zip(halves, pixels.expand(3, -1, -1).chunk(2, dim=2), strict=True):
            enlarged = bicubic_resize(bicubic_resize(half, 1 / 4), 4).clamp(0, 1)
            side.append((half, enlarged))
    return halves


def crops(pairs, side, batch, generator):
    """Crops of photographs and, at the same places, of their enlargements: two (batch, 3, side, side)."""
    real, fake = [], []
    for _ in range(batch):
        photograph, enlarged = pairs[int(torch.randint(len(pairs), (), generator=generator))]
        y, x = (int(torch.randint(size - side + 1, (), generator=generator)) for size in photograph.shape[1:])
        real.append(photograph[:, y : y + side, x : x + side])
        fake.append(enlarged[:, y : y + side, x : x + side])
    return torch.stack(real), torch.stack(fake)


@pytest.mark.parametrize(
    ("key", "width", "side", "steps"),
    [
        ("patchgan16", 16, 48, 120),
        ("patchgan34", 16, 48, 120),
        ("patchgan", 16, 48, 120),
        ("patchgan142", 8, 64, 120),
        ("patchgan286", 8, 96, 120),
        ("srgan", 8, 64, 120),
        ("unet", 8, 48, 320),  # spectral normalisation slows it down
    ],
)
def test_thin_networks_learn_to_tell_photographs_from_their_enlargements(key, width, side, steps, photographs):
    assert accuracy_after(steps, narrow(key, width), side, photographs) >= 0.9


def accuracy_after(steps, spec, side, photographs):
    """Share of unseen crops on the right side of zero, the network in evaluation mode."""
    generator = torch.Generator().manual_seed(0)
    discriminator = build_discriminator(spec)
    optimiser = torch.optim.Adam(discriminator.parameters(), 1e-3)
    for _ in range(steps):
        # One batch of both kinds: with one of each, batch statistics alone would give them away.
        real, fake = discriminator(torch.cat(crops(photographs[0], side, 6, generator))).chunk(2)
        loss = objective("bce").discriminator(real, fake)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    with torch.no_grad():
        real, fake = discriminator.eval()(torch.cat(crops(photographs[1], side, 32, generator))).chunk(2)
    right = torch.cat([real.mean((1, 2, 3)) > 0, fake.mean((1, 2, 3)) < 0])
    return right.float().mean().item()
