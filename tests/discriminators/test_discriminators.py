"""Discriminators: shapes, receptive fields, seeds, published weights, learning."""

import copy
import re

import pytest
import safetensors.torch
import skimage.data
import torch
from pydantic import ValidationError
from support.paths import ROOT

from lopsided.backbones import build_extractor, list_backbones
from lopsided.backbones.registry import architecture
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
from lopsided.discriminators.layers import SpectralConv2d
from lopsided.sr.degradation import bicubic_resize

NETWORKS = ["patchgan16", "patchgan34", "patchgan", "patchgan142", "patchgan286", "srgan", "unet"]


def narrow(key, width=4, **options):
    """A thin variant of a published network, fast enough for tests."""
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


def test_options_are_given_by_a_mapping_too_and_a_wrong_one_is_named():
    wide = DiscriminatorSpec.model_validate({"form": "unet", "width": 8})
    assert build_discriminator({"form": "unet", "width": 8}).spec == build_discriminator(wide).spec == wide
    with pytest.raises(DiscriminatorError, match="unknown option 'widht'; did you mean 'width'"):
        build_discriminator({"form": "unet", "widht": 8})


def test_specs_check_their_stage_and_images_their_size():
    with pytest.raises(ValidationError, match="there are 4 stages"):
        DiscriminatorSpec.model_validate({"form": "patch", "stage": 4})
    with pytest.raises(DiscriminatorError, match="at least 16 px"):
        build_discriminator("patch")(torch.rand(1, 3, 8, 8))


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


def test_families_are_the_backbones(tmp_path):
    def families(value):
        return DiscriminatorSpec.model_validate(value).families

    assert families("vanilla-vgg16-r") == families({"form": "patch", "backbone": "vgg19_blocks3-r"}) == {"backbone:vgg"}
    assert families("patch-resnet50") == {"backbone:resnet", "data:imagenet"}
    for plain in ("none", "vanilla", "patch", "patchgan", "srgan", "unet"):
        assert families(plain) == frozenset()
    file = str(tmp_path / "d.safetensors")  # whatever it was trained on
    assert families({"form": "unet", "weights": file}) == {"data:unknown"}
    assert families({"form": "patch", "backbone": "vgg16", "weights": file}) == {"backbone:vgg", "data:unknown"}


def table():
    """Rows of the table in docs/discriminators.md, by key: logits, receptive field, parameters, smallest image."""
    text = (ROOT / "docs" / "discriminators.md").read_text(encoding="utf-8")
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
        if isinstance(layer, (torch.nn.Conv2d, SpectralConv2d)):
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


@pytest.mark.parametrize("options", [{"trainable": False}, {"frozen_stages": 2}], ids=["trunk", "stages"])
@pytest.mark.parametrize("backbone", ["resnet18-r", "clip_vit_b32-r", "conv"])
def test_no_training_loop_wakes_what_is_frozen(backbone, options):
    """As BasicSR, KAIR and CycleGAN train: the loop switches requires_grad of every parameter off and on again."""
    spec = DiscriminatorSpec.model_validate({"form": "vanilla", "backbone": backbone, **options})
    built = build_discriminator(spec)
    side = max(64, spec.min_size)
    frozen = {
        f"{place}.{name}"
        for module in built._frozen
        for place, part in built.named_modules()
        if part is module
        for name in module.state_dict()
    }
    assert len(frozen) > 3
    hosted = copy.deepcopy(torch.nn.ModuleDict({"net_d": built})).to(memory_format=torch.channels_last)
    network = hosted["net_d"]
    before = {name: value.clone() for name, value in network.state_dict().items()}
    optimiser = torch.optim.Adam(hosted.parameters(), 1e-2)
    hosted.train()
    for part in network.modules():  # each by itself, as some loops do
        part.train()
    for _ in range(4):
        for parameter in network.parameters():
            parameter.requires_grad = False
        for parameter in network.parameters():
            parameter.requires_grad = True
        network.requires_grad_(True)
        optimiser.zero_grad()
        network(images_of(side)).square().mean().backward()
        optimiser.step()
    after = network.state_dict()
    assert list(after) == list(before)
    changed = {name for name in before if not torch.equal(after[name], before[name])}
    assert not changed & frozen
    assert changed  # the head learns
    assert {name for name, _ in network.named_parameters()}.isdisjoint(frozen)


@pytest.mark.parametrize("stages", [1, 3])
@pytest.mark.parametrize("backbone", [*(key for key in list_backbones() if key.endswith("-r")), "conv"])
def test_the_maps_of_frozen_stages_stay_what_they_are(backbone, stages):
    """Whatever a backbone's stages are made of: a loop that trains every parameter leaves their maps alone."""
    options = {"form": "vanilla", "backbone": backbone}
    frozen = min(stages, DiscriminatorSpec.model_validate(options).head_stage)
    spec = DiscriminatorSpec.model_validate(options | {"frozen_stages": frozen})
    network = build_discriminator(spec)
    images = images_of(max(32, spec.min_size))
    with torch.no_grad():
        before = [maps.clone() for maps in network.eval().trunk(images)]
    network.train().requires_grad_(True)
    optimiser = torch.optim.SGD(network.parameters(), 1e-2)
    network(images).square().mean().backward()
    optimiser.step()
    with torch.no_grad():
        after = network.eval().trunk(images)
    same = [torch.equal(*maps) for maps in zip(before, after, strict=True)]
    assert same == [stage < spec.frozen_stages for stage in range(len(same))]


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


# --- spectral normalisation: one power iteration a step -------------------------------------------------------------

SPECTRAL = [narrow("unet"), narrow("patchgan34", norm="none", spectral_norm=True), "patch-resnet18-r"]


def spectral(spec, seed=0):
    if isinstance(spec, str):
        form, _, backbone = spec.partition("-")
        spec = DiscriminatorSpec.model_validate({"form": form, "backbone": backbone, "spectral_norm": True})
    return build_discriminator(spec, seed=seed)


def vectors(discriminator):
    return [value.clone() for name, value in discriminator.state_dict().items() if name.endswith(("_u", "_v"))]


def same(first, second):
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def moved(discriminator, step=0.1):
    """The same discriminator with other weights, as after a step of training: its vectors no longer fit."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in discriminator.parameters():
            parameter += step * torch.randn(parameter.shape, generator=generator)
    return discriminator


@pytest.mark.parametrize("spec", SPECTRAL, ids=str)
def test_only_begin_step_moves_the_singular_vectors_of_a_stepped_discriminator(spec):
    discriminator = moved(spectral(spec))
    before = vectors(discriminator)
    assert before
    discriminator.begin_step()
    begun = vectors(discriminator)
    assert not same(begun, before)
    for mode in (True, False, True):
        discriminator.train(mode)
        discriminator(images_of(32)).sum().backward()
        assert same(vectors(discriminator), begun)
    copy.deepcopy(discriminator)(images_of(32))
    moved(discriminator).begin_step()
    assert not same(vectors(discriminator), begun)


def test_begin_step_is_one_power_iteration():
    layer = SpectralConv2d(torch.nn.Conv2d(3, 5, 3, padding=1), torch.Generator().manual_seed(0))
    moved(layer)
    matrix, left = layer.weight_orig.detach().flatten(1), layer.weight_u.clone()
    layer.begin_step()
    right = matrix.T @ left / (matrix.T @ left).norm()
    left = matrix @ right / (matrix @ right).norm()
    torch.testing.assert_close((layer.weight_u, layer.weight_v), (left, right))
    torch.testing.assert_close(layer.weight * (left @ matrix @ right), layer.weight_orig)
    for _ in range(100):
        layer.begin_step()
    assert torch.linalg.matrix_norm(layer.weight.detach().flatten(1), 2).item() == pytest.approx(1, rel=1e-4)


@pytest.mark.parametrize("spec", SPECTRAL[:2], ids=str)
def test_a_step_in_several_passes_has_the_gradient_of_one(spec):
    images = images_of(32, batch=4)
    gradients = []
    for parts in (1, 2, 4):
        discriminator = moved(spectral(spec))
        discriminator.begin_step()
        for part in images.chunk(parts):
            (discriminator(part).square().mean() / parts).backward()
        gradients.append([p.grad for p in discriminator.parameters()])
    for others in gradients[1:]:
        for one, several in zip(gradients[0], others, strict=True):
            torch.testing.assert_close(several, one, rtol=1e-4, atol=1e-6)


def test_without_begin_step_each_training_pass_iterates_as_published():
    discriminator, published = (torch.nn.Conv2d(3, 5, 3, padding=1) for _ in range(2))
    published.load_state_dict(discriminator.state_dict())
    ours = SpectralConv2d(discriminator, torch.Generator().manual_seed(0))
    theirs = torch.nn.utils.spectral_norm(published)
    theirs.load_state_dict(ours.state_dict())
    moved(ours)
    moved(theirs)
    images = images_of(8)
    for mode in (True, True, False, True):
        ours.train(mode)
        theirs.train(mode)
        a, b = ours(images), theirs(images)
        torch.testing.assert_close(a, b, rtol=0, atol=1e-6)
        a.square().sum().backward()
        b.square().sum().backward()
        torch.testing.assert_close(ours.weight_orig.grad, theirs.get_parameter("weight_orig").grad)
    first = ours(images) + ours(2 * images)  # the second pass must not spoil the first one's backward pass
    first.sum().backward()


@pytest.mark.parametrize("spec", SPECTRAL, ids=str)
def test_a_discriminator_can_be_copied_after_a_training_pass(spec):
    """Which raises under torch's own spectral normalisation."""
    discriminator = spectral(spec)
    discriminator(images_of(32)).mean().backward()
    twin = copy.deepcopy(discriminator)
    assert torch.equal(twin(images_of(32)), discriminator(images_of(32)))
    moved(twin)
    assert not torch.equal(twin(images_of(32)), discriminator(images_of(32)))


def test_spectral_values_keep_their_precision_under_autocast():
    layer = moved(SpectralConv2d(torch.nn.Conv2d(16, 32, 3, padding=1), torch.Generator().manual_seed(0)))
    layer.begin_step()
    plain = layer.weight
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(layer.weight, plain)
        assert layer(torch.rand(1, 16, 8, 8)).dtype == torch.bfloat16


def test_begin_step_without_spectral_norm_changes_nothing():
    discriminator = build_discriminator(narrow("patchgan34"))
    before = copy.deepcopy(discriminator.state_dict())
    discriminator.begin_step()
    assert all(torch.equal(value, before[name]) for name, value in discriminator.state_dict().items())


# --- input normalisation --------------------------------------------------------------------------------------------

IMAGENET = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]]).view(2, 1, 3, 1, 1)
BY_HAND = {
    "none": lambda x: x,
    "symmetric": lambda x: 2 * x - 1,
    "imagenet": lambda x: (x - IMAGENET[0]) / IMAGENET[1],
}
NORMALISED = [
    *({"form": form, "width": 4} for form in ("patchgan", "srgan", "unet")),
    *({"form": form} for form in ("vanilla", "patch")),
    *({"form": "patch", "backbone": name} for name in ("resnet18-r", "vgg19_blocks3-r")),
]


@pytest.mark.parametrize("kind", BY_HAND)
@pytest.mark.parametrize("definition", NORMALISED, ids=str)
def test_every_discriminator_normalises_its_input_as_told(definition, kind):
    spec = DiscriminatorSpec.model_validate({**definition, "input_normalisation": kind})
    plain = DiscriminatorSpec.model_validate({**definition, "input_normalisation": "none"})
    images = images_of(32)
    told, by_hand = (build_discriminator(s).eval()(x) for s, x in ((spec, images), (plain, BY_HAND[kind](images))))
    torch.testing.assert_close(told, by_hand)
    if kind != "none":
        assert not torch.allclose(told, build_discriminator(plain).eval()(images))


@pytest.mark.parametrize("definition", NORMALISED, ids=str)
def test_the_default_normalisation_is_the_papers_or_the_backbones_and_has_no_mark_on_the_identity(definition):
    spec = DiscriminatorSpec.model_validate(definition)
    own = "backbone" if "backbone" in definition else "none" if definition["form"] == "unet" else "symmetric"
    assert spec.input_normalisation == own
    spelt = DiscriminatorSpec.model_validate({**definition, "input_normalisation": own})
    assert spelt == spec
    assert spelt.identity == spec.identity
    other = DiscriminatorSpec.model_validate({**definition, "input_normalisation": "imagenet"})
    assert other.identity != spec.identity
    assert other.key != spec.key
    assert DiscriminatorSpec.model_validate(other.model_dump(mode="json")) == other


def test_imagenets_normalisation_is_that_of_a_backbone_trained_with_it():
    images = images_of(48)
    own = build_discriminator("patch-resnet18-r").eval()
    spec = DiscriminatorSpec.model_validate(
        {"form": "patch", "backbone": "resnet18-r", "input_normalisation": "imagenet"}
    )
    torch.testing.assert_close(build_discriminator(spec).eval()(images), own(images))


# --- weights from a file --------------------------------------------------------------------------------------------


def published_unet(path, **options):
    """A file laid out as Real-ESRGAN's discriminator, which basicsr wrote: tensors of the network under ``params``."""
    network = build_discriminator(narrow("unet", **options), seed=9).network
    torch.save({"params": network.state_dict()}, path)
    return network


@pytest.mark.parametrize(
    "definition",
    [
        {"form": "unet", "width": 4},
        {"form": "patchgan", "width": 4},
        {"form": "srgan", "width": 4, "spectral_norm": True},
        {"form": "vanilla"},
        {"form": "patch", "backbone": "resnet18-r"},
        {"form": "patch", "backbone": "resnet18", "frozen_stages": 1},  # without the official weights on disk
        {"form": "vanilla", "backbone": "squeezenet1_1-r", "trainable": False, "spectral_norm": True},
    ],
    ids=str,
)
@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_weights_of_a_whole_discriminator_make_the_round_trip(definition, suffix, tmp_path):
    seeded = {**definition, "backbone": "resnet18-r"} if definition.get("backbone") == "resnet18" else definition
    trained = moved(build_discriminator(DiscriminatorSpec.model_validate(seeded), seed=4), 0.01)
    trained(images_of(32))  # running statistics, singular vectors
    path = tmp_path / f"discriminator{suffix}"
    if suffix == ".pth":
        torch.save(trained.state_dict(), path)
    else:
        safetensors.torch.save_file(trained.state_dict(), path)
    spec = DiscriminatorSpec.model_validate({**definition, "weights": str(path)})
    loaded = build_discriminator(spec, seed=0)
    assert torch.equal(loaded.eval()(images_of(32)), trained.eval()(images_of(32)))
    assert torch.equal(build_discriminator(spec, seed=1).eval()(images_of(32)), loaded(images_of(32)))
    assert spec.identity != DiscriminatorSpec.model_validate(definition).identity
    assert spec.key.startswith(DiscriminatorSpec.model_validate(definition).key.split("+")[0])
    moved_file = path.rename(tmp_path / f"elsewhere{suffix}")
    elsewhere = DiscriminatorSpec.model_validate({**definition, "weights": str(moved_file)})
    assert elsewhere.identity == DiscriminatorSpec.model_validate({**definition, "weights": str(moved_file)}).identity


def test_a_published_unet_loads_strictly_and_its_identity_follows_the_bytes(tmp_path):
    path = tmp_path / "RealESRGAN_netD.pth"
    network = published_unet(path)
    spec = DiscriminatorSpec.model_validate({"form": "unet", "width": 4, "weights": str(path)})
    images = images_of(32)
    assert torch.equal(build_discriminator(spec).eval()(images), network.eval()(images))
    before = spec.identity
    moved(network)
    torch.save({"params": network.state_dict()}, path)
    assert spec.identity != before


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_a_backbones_own_file_starts_the_trunk_and_the_seed_the_head(suffix, tmp_path):
    trunk = build_extractor("resnet18-r").trunk
    path = tmp_path / f"resnet18{suffix}"
    (torch.save if suffix == ".pth" else safetensors.torch.save_file)(trunk.state_dict(), path)
    spec = DiscriminatorSpec.model_validate({"form": "patch", "backbone": {"name": "resnet18", "weights": str(path)}})
    first, other = (build_discriminator(spec, seed=seed) for seed in (1, 2))
    for name, value in trunk.state_dict().items():
        assert torch.equal(first.trunk.get_submodule("trunk").state_dict()[name], value), name
    assert not torch.equal(first.head.linear.weight, other.head.linear.weight)


def spoilt(change):
    def write(path):
        state = build_discriminator(narrow("unet")).network.state_dict()
        change(state)
        torch.save({"params": state}, path)

    return write


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (spoilt(lambda s: s.pop("conv3.weight_orig")), r"D\.pth.*'unet'.*no tensor 'conv3\.weight_orig'"),
        (spoilt(lambda s: s.update(conv10=torch.ones(1))), r"D\.pth.*'conv10' is not one of its tensors"),
        (spoilt(lambda s: s.update({"conv9.bias": torch.ones(3)})), r"'conv9\.bias' is \(3,\), not \(1,\)"),
        (spoilt(lambda s: s["conv0.bias"].fill_(torch.nan)), r"'conv0\.bias' is not finite"),
        (lambda path: published_unet(path, spectral_norm=False), r"no tensor 'conv1\.weight_orig'"),
        (lambda path: path.write_bytes(b"PK\x03\x04 cut off"), r"cannot read weights '.*D\.pth'"),
        (lambda path: torch.save([1, 2], path), r"D\.pth' is not a state dict"),
        (lambda _: None, r"no weights file '.*D\.pth'"),
    ],
)
def test_weights_that_do_not_fit_are_refused_by_file_and_first_tensor(write, message, tmp_path):
    write(tmp_path / "D.pth")
    spec = DiscriminatorSpec.model_validate({"form": "unet", "width": 4, "weights": str(tmp_path / "D.pth")})
    with pytest.raises(DiscriminatorError, match=message):
        build_discriminator(spec)


def test_an_absent_file_is_named_when_the_experiment_is_planned():
    spec = DiscriminatorSpec.model_validate({"form": "unet", "weights": "nowhere.pth"})
    with pytest.raises(DiscriminatorError, match=r"weights of 'unet': no file 'nowhere\.pth'"):
        _ = spec.identity


# --- the receptive field of patch heads on backbones ----------------------------------------------------------------


def fields():
    """Rows of the table of patch heads in docs/discriminators.md, by backbone: logits and receptive field."""
    text = (ROOT / "docs" / "discriminators.md").read_text(encoding="utf-8")
    return dict(re.findall(r"^\| `patch-(\w+)` \| (\d+×\d+ \| [\w ]+) \|", text, re.MULTILINE))


def test_the_table_of_patch_heads_lists_every_backbone():
    assert list(fields()) == [key for key in list_backbones() if not key.endswith("-r")]


def without_dead_places(discriminator):
    """The same network where every pixel in reach counts: no maximum that another pixel takes, no dead unit."""

    def replace(module):
        for name, child in module.named_children():
            if isinstance(child, torch.nn.MaxPool2d):
                pool = torch.nn.AvgPool2d(child.kernel_size, child.stride, child.padding, child.ceil_mode)
                setattr(module, name, pool)
            elif isinstance(child, torch.nn.ReLU):
                setattr(module, name, torch.nn.LeakyReLU(0.5))
            replace(child)

    replace(discriminator.trunk)
    extractor = discriminator.trunk
    stages = architecture(extractor.spec.name).split(extractor.trunk)
    extractor._stages = stages[: len(extractor.strides)]  # which the extractor holds beside the trunk
    return discriminator.eval()


@pytest.mark.parametrize("backbone", fields())
def test_the_receptive_field_of_a_patch_head_is_the_measured_one(backbone):
    logits, stated = fields()[backbone].split(" | ")
    discriminator = without_dead_places(build_discriminator(f"patch-{backbone}-r"))
    with torch.no_grad():
        height, width = discriminator(images_of(96, 1)).shape[-2:]
    assert f"{height}×{width}" == logits
    whole = stated == "whole image"
    side = 112 if whole else int(stated.split()[-2]) + 56
    images = images_of(side, 1).requires_grad_()
    logit = discriminator(images)
    middle, sizes = logit.shape[-1] // 2, set()
    for place in range(middle, middle + (7 if stated.startswith("up to") else 1)):  # windows repeat after 7 places
        (gradient,) = torch.autograd.grad(logit[0, 0, place, place], images, retain_graph=True)
        size = gradient[0].abs().amax(0)
        # Attention that is masked out leaves traces far below rounding.
        seen = size > (1e-9 * size.max() if stated.startswith("up to") else 0)
        rows, columns = (seen.any(axis).nonzero().flatten().tolist() for axis in (1, 0))
        assert rows == columns == list(range(rows[0], rows[-1] + 1))
        assert whole or (rows[0] > 0 and rows[-1] < side - 1) or stated.startswith("up to")
        sizes.add(len(rows))
    assert max(sizes) == (side if whole else int(stated.split()[-2]))


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
    assert accuracy_within(steps, narrow(key, width), side, photographs) >= 0.9


def accuracy_within(steps, spec, side, photographs, *, learning_rate=1e-3, batch=6):
    """Best share of unseen crops on the right side of zero, in evaluation mode, looked at every 20 steps."""
    generator = torch.Generator().manual_seed(0)
    discriminator = build_discriminator(spec)
    optimiser = torch.optim.Adam([p for p in discriminator.parameters() if p.requires_grad], learning_rate)
    unseen = torch.cat(crops(photographs[1], side, 32, torch.Generator().manual_seed(1)))
    best = 0.0
    for step in range(1, steps + 1):
        discriminator.begin_step()
        # One batch of both kinds: with one of each, batch statistics alone would give them away.
        real, fake = discriminator(torch.cat(crops(photographs[0], side, batch, generator))).chunk(2)
        loss = objective("bce").discriminator(real, fake)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if step % 20 == 0 and best < 0.9:
            with torch.no_grad():
                real, fake = discriminator.eval()(unseen).mean((1, 2, 3)).chunk(2)
            best = max(best, torch.cat([real > 0, fake < 0]).float().mean().item())
            if best >= 0.9:
                break
            discriminator.train()
    return best


# By backbone: the stage the head sits on, the side of a crop, learning rate, crops of each kind in a step. Not CLIP's
# vision transformers, four times as wide as DINOv2's of the same code: benchmarks/discriminators.py has time for them.
ON_BACKBONES = {
    "alexnet": (1, 32, 1e-3, 6),
    "convnext_tiny": (0, 32, 5e-4, 8),
    "dinov2_vits14": (0, 56, 1e-4, 6),
    "googlenet_bvlc": (1, 32, 1e-3, 6),
    "resnet18": (1, 32, 1e-3, 6),
    "resnet50": (1, 32, 1e-3, 6),
    "squeezenet1_1": (2, 32, 1e-3, 6),
    "swin_t": (0, 32, 5e-4, 6),
    "vgg16": (0, 32, 1e-3, 6),
    "vgg19_blocks3": (0, 32, 1e-3, 6),
}


SLOW = ("convnext_tiny", "dinov2_vits14")  # tens of seconds: in one form only


@pytest.mark.parametrize(
    ("backbone", "form"),
    [(name, form) for name in ON_BACKBONES for form in ("vanilla", "patch") if form == "patch" or name not in SLOW],
)
def test_heads_on_backbones_learn_to_tell_photographs_from_their_enlargements(backbone, form, photographs):
    stage, side, rate, batch = ON_BACKBONES[backbone]
    spec = DiscriminatorSpec.model_validate({"form": form, "backbone": f"{backbone}-r", "stage": stage})
    assert accuracy_within(160, spec, side, photographs, learning_rate=rate, batch=batch) >= 0.9


@pytest.mark.parametrize("key", ["unet", "patch", "vanilla-squeezenet1_1-r"])
def test_photographs_in_another_range_are_refused_at_the_beginning(key):
    images = (torch.arange(3 * 64 * 64) % 256).float().view(1, 3, 64, 64) / 255
    discriminator = build_discriminator(key)
    discriminator(images)
    with pytest.raises(DiscriminatorError, match=r"seen \[-1, 1\]; bring .* by \(x \+ 1\) / 2, or .* input_range"):
        discriminator(2 * images - 1)
    with pytest.raises(ValueError, match=r"seen \[0, 255\]; divide .* by 255"):
        discriminator(255 * images)
    for seed in range(20):  # what untrained generators give is accepted
        discriminator(torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(seed)).tanh())


@pytest.mark.parametrize("key", ["unet", "patch", "vanilla-squeezenet1_1-r"])
def test_an_input_range_is_exactly_the_same_as_rescaling_by_hand(key):
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)).mul(2).sub(1).requires_grad_()
    plain = build_discriminator(key, seed=3)
    ranged = build_discriminator({**plain.spec.model_dump(), "input_range": (-1, 1)}, seed=3)
    expected, given = plain((images + 1) / 2), ranged(images)
    assert torch.equal(given, expected)
    gradients = [torch.autograd.grad(logits.sum(), images)[0] for logits in (expected, given)]
    assert torch.equal(*gradients)
    assert ranged.spec.identity != plain.spec.identity
    assert ranged.spec.definition() == {**plain.spec.definition(), "input_range": [-1, 1]}
