"""Backbones: features against torchvision and timm, determinism, freezing, and weights that fail loudly."""

import copy
import dataclasses
import functools
import pickle
import socket
import time
from typing import Any

import huggingface_hub
import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file
from support.paths import ROOT
from torch.nn import functional as F
from torch.utils import deterministic
from torchvision.models.feature_extraction import create_feature_extractor

from lopsided.backbones import (
    BackboneError,
    BackboneSpec,
    L2Pool,
    WeightsUnavailableError,
    build_extractor,
    list_backbones,
    registry,
)
from lopsided.backbones.registry import architecture
from lopsided.discriminators import Discriminator, DiscriminatorSpec
from lopsided.losses import DISTS

# (channels, side) of each map of a 64 px image.
STAGES = {
    "alexnet": [(64, 15), (192, 7), (384, 3), (256, 3), (256, 3)],
    "clip_vit_b16": [(768, 4)] * 4,
    "clip_vit_b32": [(768, 2)] * 4,
    "convnext_tiny": [(96, 16), (192, 8), (384, 4), (768, 2)],
    "dinov2_vits14": [(384, 5)] * 4,
    "googlenet_bvlc": [(64, 32), (192, 16), (480, 8), (832, 4), (1024, 2)],
    "resnet18": [(64, 32), (64, 16), (128, 8), (256, 4), (512, 2)],
    "resnet50": [(64, 32), (256, 16), (512, 8), (1024, 4), (2048, 2)],
    "squeezenet1_1": [(64, 31), (128, 15), (256, 7), (384, 3), (384, 3), (512, 3), (512, 3)],
    "swin_t": [(96, 16), (192, 8), (384, 4), (768, 2)],
    "vgg16": [(64, 64), (128, 32), (256, 16), (512, 8), (512, 4)],
    "vgg19_blocks3": [(64, 64), (128, 32), (256, 16)],
}
# The layers of torchvision's own networks that the stages are.
TORCHVISION = {
    "alexnet": [f"features.{i}" for i in (1, 4, 7, 9, 11)],
    "convnext_tiny": [f"features.{i}" for i in (1, 3, 5, 7)],
    "resnet18": ["relu", "layer1", "layer2", "layer3", "layer4"],
    "resnet50": ["relu", "layer1", "layer2", "layer3", "layer4"],
    "squeezenet1_1": [f"features.{i}" for i in (1, 4, 7, 9, 10, 11, 12)],
    "swin_t": [f"features.{i}" for i in (1, 3, 5, 7)],
    "vgg16": [f"features.{i}" for i in (3, 8, 15, 22, 29)],
}
TIMM = {
    "clip_vit_b16": "vit_base_patch16_clip_quickgelu_224.openai",
    "clip_vit_b32": "vit_base_patch32_clip_quickgelu_224.openai",
    "dinov2_vits14": "vit_small_patch14_dinov2.lvd142m",
}
PADDED = ["clip_vit_b32", "convnext_tiny", "dinov2_vits14", "swin_t"]


@pytest.fixture
def images():
    return torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


@functools.cache
def twin(name):
    """The frozen random twin of ``name``; shared, so do not write to it."""
    return build_extractor(f"{name}-r")


def normalised(name, images):
    kind = architecture(name)
    return (images - torch.tensor(kind.mean).view(3, 1, 1)) / torch.tensor(kind.std).view(3, 1, 1)


def load_all_but(model, state, *absent):
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert not unexpected
    assert all(key.startswith(absent) for key in missing)
    return model.eval()


def timm_network(name, **options) -> Any:
    with torch.device("meta"):
        network = timm.create_model(TIMM[name].split(".")[0], num_classes=0, **options)
    return load_all_but(network.to_empty(device="cpu"), twin(name).trunk.state_dict(), "norm.")


def layers_of(modules):
    """Convolutions and linear layers among ``modules``, those that an inception module borrows too."""
    parts = [part for module in modules for part in module.modules()]
    parts += [layer for part in parts for layer in getattr(part, "_layers", {}).values()]
    return sum(isinstance(part, (torch.nn.Conv2d, torch.nn.Linear)) for part in parts)


def documented(name):
    """The row of ``docs/backbones.md`` that the registry asks for."""
    kind = architecture(name)
    with torch.device("meta"):
        trunk = kind.build()
        layers = [layers_of(stage) for stage in kind.split(trunk)]
    if name in TIMM:
        layers[0] += 1  # the patch embedding
    assert sum(layers) == layers_of([trunk])
    colours = {
        ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)): "RGB, ImageNet's mean and deviation",
        (
            (0.48145466, 0.4578275, 0.40821073),
            (0.26862954, 0.26130258, 0.27577711),
        ): "RGB, CLIP's mean and deviation",
    }.get((kind.mean, kind.std)) or f"{kind.channel_order.upper()} bytes minus {kind.mean}"
    sizes = f"at least {kind.min_size} px" + (f", padded to a multiple of {kind.multiple}" if kind.multiple > 1 else "")
    columns = (
        " ".join(stage.name for stage in kind.stages),
        " ".join(str(stage.channels) for stage in kind.stages),
        " ".join(str(stage.stride) for stage in kind.stages),
        " ".join(map(str, layers)),
        colours,
        sizes,
        kind.licence,
    )
    return f"| `{name}` | {' | '.join(columns)} |"


def test_documentation_says_what_the_registry_does():
    text = (ROOT / "docs" / "backbones.md").read_text(encoding="utf-8")
    rows = [line for line in text.split("##")[0].splitlines() if line.startswith("| `")]
    assert rows == [documented(name) for name in STAGES]


def test_every_backbone_is_tested_here():
    assert list_backbones() == [key for name in STAGES for key in (name, f"{name}-r")]


@pytest.mark.parametrize("name", STAGES)
def test_maps_have_the_stated_channels_and_sizes(name, images):
    extractor = twin(name)
    maps = extractor(images)
    assert [(m.shape[1], m.shape[2], m.shape[3]) for m in maps] == [(c, side, side) for c, side in STAGES[name]]
    assert [m.shape[1] for m in maps] == list(extractor.channels)
    # Unpadded first layers (AlexNet, SqueezeNet) lose a little more than the stride says.
    assert all(0 <= -(-64 // s) - m.shape[2] <= 1 for m, s in zip(maps, extractor.strides, strict=True))
    assert all(torch.isfinite(m).all() for m in maps)


@pytest.mark.parametrize("name", STAGES)
def test_smallest_and_odd_sizes_are_accepted_and_smaller_ones_refused(name):
    extractor = twin(name)
    least = extractor.min_size
    maps = extractor(torch.rand(1, 3, least, least + 7))
    assert all(torch.isfinite(m).all() and m.numel() for m in maps)
    with pytest.raises(BackboneError, match=f"at least {least}×{least} px"):
        extractor(torch.rand(1, 3, least - 1, 64))


@pytest.mark.parametrize("name", TORCHVISION)
def test_features_equal_torchvision_with_the_same_weights(name, images):
    """Independent reference: torchvision's own forward pass, normalisation written out."""
    with torch.device("meta"):  # VGG's and AlexNet's classifiers would take a second to draw
        network = torchvision.models.get_model(name, weights=None)
    for part in ("classifier", "head", "fc"):
        if hasattr(network, part):
            setattr(network, part, torch.nn.Identity())
    network = load_all_but(network.to_empty(device="cpu"), twin(name).trunk.state_dict(), "norm.")
    reference = create_feature_extractor(network, {layer: layer for layer in TORCHVISION[name]})
    expected = list(reference(normalised(name, images)).values())
    if name == "swin_t":
        expected = [m.permute(0, 3, 1, 2) for m in expected]
    for mine, theirs in zip(twin(name)(images), expected, strict=True):
        torch.testing.assert_close(mine, theirs)


def test_truncated_vgg19_takes_bgr_bytes_minus_the_mean(images):
    layers = torchvision.models.vgg.make_layers(torchvision.models.vgg.cfgs["E"])[:18].eval()
    layers.load_state_dict(
        {k.removeprefix("features."): v for k, v in twin("vgg19_blocks3").trunk.state_dict().items()}
    )
    bgr = 255 * images[:, [2, 1, 0]] - torch.tensor([103.939, 116.779, 123.68]).view(3, 1, 1)
    torch.testing.assert_close(twin("vgg19_blocks3")(images)[-1], layers(bgr))


@pytest.mark.parametrize("name", TIMM)
def test_features_equal_timm_with_the_same_weights(name):
    """Independent reference: timm's own intermediate features, of an image that is not square."""
    network = timm_network(name, dynamic_img_size=True)
    patch = twin(name).strides[0]
    images = torch.rand(1, 3, 3 * patch, 2 * patch)
    expected = network.forward_intermediates(
        normalised(name, images), indices=[2, 5, 8, 11], norm=False, intermediates_only=True
    )
    maps = twin(name)(images)
    assert maps[0].shape[2:] == (3, 2)
    for mine, theirs in zip(maps, expected, strict=True):
        torch.testing.assert_close(mine, theirs)


def test_position_embedding_is_untouched_at_its_own_size():
    network = timm_network("clip_vit_b32")
    images = torch.rand(1, 3, 224, 224)
    expected = network.forward_intermediates(normalised("clip_vit_b32", images), indices=[11], intermediates_only=True)
    torch.testing.assert_close(twin("clip_vit_b32")(images)[-1], expected[0])


@pytest.mark.parametrize("name", PADDED)
def test_images_are_padded_by_repeating_their_last_row_and_column(name):
    extractor = twin(name)
    multiple = architecture(name).multiple
    images = torch.rand(1, 3, 2 * multiple - 3, multiple + 5)
    padded = F.pad(images, (0, multiple - 5, 0, 3), mode="replicate")
    for mine, theirs, stride in zip(extractor(images), extractor(padded), extractor.strides, strict=True):
        torch.testing.assert_close(mine, theirs)
        assert mine.shape[2:] == (2 * multiple // stride, 2 * multiple // stride)


@pytest.mark.parametrize("name", STAGES)
def test_random_twins_are_drawn_in_full_and_alike(name):
    """Memory that nobody wrote to is NaN here, so a forgotten parameter or buffer shows."""
    before = torch.get_rng_state()
    torch.use_deterministic_algorithms(True)
    try:
        assert deterministic.fill_uninitialized_memory  # pyright: ignore[reportAttributeAccessIssue]
        again = build_extractor(f"{name}-r")
    finally:
        torch.use_deterministic_algorithms(False)
    assert torch.equal(before, torch.get_rng_state())
    first = dict(twin(name).named_parameters()) | dict(twin(name).named_buffers())
    for key, value in [*again.named_parameters(), *again.named_buffers()]:
        assert torch.isfinite(value).all(), key
        assert torch.equal(value, first[key]), key
    if any(True for _ in again.trunk.buffers()):
        for key, value in architecture(name).build().named_buffers():
            assert torch.equal(value, again.trunk.get_buffer(key)), key


@pytest.mark.parametrize("name", STAGES)
def test_dists_works_on_it(name, images):
    measure = DISTS(f"{name}-r")
    distorted = (images[:1] * 0.8 + 0.1).requires_grad_()
    score = measure.score(distorted, images[:1])
    assert 0 < score.item() < 2
    score.sum().backward()
    assert distorted.grad is not None
    assert torch.isfinite(distorted.grad).all()
    assert distorted.grad.any()
    assert measure.score(images[:1], images[:1]).item() == 0


@pytest.mark.parametrize("name", STAGES)
def test_discriminators_work_on_it(name, images):
    # No stage of a vision transformer is as fine as a patch head's default; every one is as fine as the others.
    stage = 0 if name in TIMM else None
    spec = DiscriminatorSpec.model_validate({"form": "patch", "backbone": f"{name}-r", "stage": stage})
    discriminator = Discriminator(spec)
    logits = discriminator(images[:1])
    assert logits.shape[:2] == (1, 1)
    F.softplus(-logits).mean().backward()
    first = next(discriminator.trunk.parameters())
    assert first.grad is not None
    assert torch.isfinite(first.grad).all()
    assert first.grad.any()


@pytest.mark.parametrize("name", TORCHVISION)
def test_official_files_are_torchvisions(name):
    kind = architecture(name)
    weights = torchvision.models.get_model_weights(name)["IMAGENET1K_V1"]
    if name == "resnet50":
        assert kind.official_url.startswith("https://download.pytorch.org/models/resnet50-0676ba61")
    else:
        assert kind.official_url == weights.url
    assert kind.official_url.endswith(f"-{kind.official_sha256}.pth")
    assert BackboneSpec(name=name).definition() == {"architecture": name, "weights": f"sha256:{kind.official_sha256}"}


@pytest.mark.parametrize("name", TIMM)
def test_hub_files_are_timms(name):
    config = timm.get_pretrained_cfg(TIMM[name])
    assert config is not None
    kind = architecture(name)
    assert (kind.hub_id, kind.mean, kind.std) == (config.hf_hub_id, config.mean, config.std)
    # Honest about what is not known: a place, not a digest.
    assert BackboneSpec(name=name).definition()["weights"] == f"hub:{config.hf_hub_id}@main"


def test_random_twins_are_seeded_and_leave_the_global_generator_alone():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first, again = (build_extractor("resnet50-r").trunk.state_dict() for _ in range(2))
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(first[k], again[k]) for k in first)
    other = build_extractor(BackboneSpec(name="resnet50-r", seed=1)).trunk.state_dict()
    assert not torch.equal(first["conv1.weight"], other["conv1.weight"])


def test_l2_pool_is_the_hann_weighted_root_mean_square():
    pool = L2Pool()
    constant = torch.full((1, 2, 8, 8), 3.0)
    torch.testing.assert_close(pool(constant)[..., 1:3, 1:3], torch.full((1, 2, 2, 2), 3.0))
    impulse = torch.zeros(1, 1, 8, 8)
    impulse[..., 4, 4] = 1
    assert pool(impulse)[0, 0, 2, 2].item() == pytest.approx(0.5)  # sqrt(1/4), the window's centre
    silent = torch.zeros(1, 1, 8, 8, requires_grad=True)
    pool(silent).sum().backward()
    assert silent.grad is not None
    assert torch.isfinite(silent.grad).all()


def test_frozen_stays_frozen_and_trainable_trains():
    frozen = build_extractor("resnet50-r")
    torch.nn.Sequential(frozen).train()
    assert not any(m.training for m in frozen.modules())
    assert not list(frozen.requires_grad_(True).parameters())
    trainable = build_extractor("resnet50-r", trainable=True).train()
    assert trainable.training
    assert all(p.requires_grad for p in trainable.parameters())


@pytest.mark.parametrize("name", ["vgg16-r", "googlenet_bvlc-r", "dinov2_vits14-r"])
def test_copies_and_pickles_compute_the_same(name, images):
    extractor = build_extractor(name, pooling="l2", stages=3)
    expected = extractor(images)
    for other in (copy.deepcopy(extractor), pickle.loads(pickle.dumps(extractor))):
        assert all(torch.equal(a, b) for a, b in zip(expected, other(images), strict=True))
        # The stages are the trunk's own modules, not stale copies of them: they change and move with it.
        with torch.no_grad():
            next(weight for weight in other.trunk.buffers() if weight.ndim == 4).zero_()
        assert not torch.equal(other(images)[0], expected[0])
        assert all(m.dtype == torch.float64 for m in other.double()(images.double()))


def test_too_small_images_are_refused(images):
    with pytest.raises(BackboneError, match=r"at least 32×32 px, got 16×64"):
        build_extractor("resnet50-r")(images[..., :16, :])


def test_unknown_names_suggest_the_nearest():
    for ask in (architecture, build_extractor):
        with pytest.raises(BackboneError, match="did you mean 'vgg16'"):
            ask("vgg61")


def test_local_file_loads_strictly_and_enters_the_identity(tmp_path, images):
    trunk = build_extractor(BackboneSpec(name="vgg16-r", seed=3)).trunk
    path = tmp_path / "vgg.safetensors"
    save_file(trunk.state_dict(), path)
    spec = BackboneSpec(name="vgg16", weights=str(path))
    name = "features.0.weight"
    assert torch.equal(build_extractor(spec).trunk.get_buffer(name), trunk.get_buffer(name))
    assert spec.identity != BackboneSpec(name="vgg16").identity
    with pytest.raises(BackboneError, match="does not hold weights of 'resnet50'"):
        build_extractor(BackboneSpec(name="resnet50", weights=str(path)))


def test_families_are_of_the_architecture_and_of_what_the_weights_learnt(tmp_path):
    families = {name: BackboneSpec(name=name).families for name in list_backbones()}
    assert families["vgg16"] == families["vgg19_blocks3"] == {"backbone:vgg", "data:imagenet"}
    assert families["resnet18-r"] == families["resnet50-r"] == {"backbone:resnet"}  # random: learnt nothing
    assert families["clip_vit_b16-r"] == families["dinov2_vits14-r"] == {"backbone:vit"}
    assert not any("data:" in family for name in families if name.endswith("-r") for family in families[name])
    path = tmp_path / "own.safetensors"
    save_file(build_extractor("squeezenet1_1-r").trunk.state_dict(), path)
    own = BackboneSpec(name="squeezenet1_1", weights=str(path))
    assert own.families == {"backbone:squeezenet", "data:unknown"}
    known = BackboneSpec(name="squeezenet1_1", weights="squeezenet1_1.safetensors")
    assert known.families == {"backbone:squeezenet", "data:imagenet"}


def test_truncated_and_missing_files_are_errors(tmp_path):
    path = tmp_path / "cut.safetensors"
    save_file(build_extractor("vgg16-r", stages=1).trunk.state_dict(), path)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(BackboneError, match="cannot read weights"):
        build_extractor(BackboneSpec(name="vgg16", weights=str(path)))
    with pytest.raises(BackboneError, match="no weights file"):
        build_extractor(BackboneSpec(name="vgg16", weights=str(tmp_path / "absent.pth")))


@pytest.fixture
def no_weights(tmp_path, monkeypatch):
    """An empty offline folder, empty caches and hosts that refuse: the machine's network must not decide a test."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        refusing = f"http://127.0.0.1:{free.getsockname()[1]}"
    monkeypatch.setenv("LOPSIDED_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "hub"))
    monkeypatch.delenv("LOPSIDED_MIRROR", raising=False)
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_: None)
    template = f"{refusing}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    vgg16 = dataclasses.replace(architecture("vgg16"), official_url=f"{refusing}/vgg16-397923af.pth")
    monkeypatch.setitem(registry.ARCHITECTURES._entries, "vgg16", vgg16)
    return tmp_path


def test_official_weights_are_checked_and_their_absence_says_what_to_do(no_weights):
    start = time.perf_counter()
    with pytest.raises(
        WeightsUnavailableError, match=r"vgg16-397923af.pth are not.*SHA-256 397923af.*LOPSIDED_WEIGHTS.*'vgg16-r'"
    ) as caught:
        build_extractor("vgg16")
    assert time.perf_counter() - start < 0.5
    assert str(no_weights) in str(caught.value)
    (no_weights / "vgg16-397923af.pth").write_bytes(b"not the weights")
    with pytest.raises(BackboneError, match="damaged or not the official file"):
        build_extractor("vgg16")


def test_random_weights_and_a_file_contradict_each_other():
    with pytest.raises(ValueError, match="random weights"):
        BackboneSpec(name="vgg16-r", weights="vgg.pth")
    with pytest.raises(ValueError, match="'vgg16' has trained weights, so 'seed: 1' does nothing"):
        BackboneSpec(name="vgg16", seed=1)


@pytest.mark.parametrize(("offline", "reason"), [(True, "HF_HUB_OFFLINE=0"), (False, "Connection refused")])
def test_absent_hub_weights_fail_at_once_and_say_what_to_do(no_weights, monkeypatch, offline, reason):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", offline)
    start = time.perf_counter()
    with pytest.raises(WeightsUnavailableError, match=r"vit_base_patch32_clip_224\.openai\.safetensors") as caught:
        build_extractor("clip_vit_b32")
    assert time.perf_counter() - start < 0.5
    for part in (reason, "LOPSIDED_WEIGHTS", "'clip_vit_b32-r'"):
        assert part in str(caught.value)


def test_transformers_load_timms_keys_from_a_path_and_from_the_folder(no_weights):
    state = dict(twin("dinov2_vits14").trunk.state_dict())
    state |= {"norm.weight": torch.ones(384), "norm.bias": torch.zeros(384), "mask_token": torch.zeros(1, 384)}
    path = no_weights / "vit_small_patch14_dinov2.lvd142m.safetensors"
    save_file(state, path)
    for spec in (BackboneSpec(name="dinov2_vits14"), BackboneSpec(name="dinov2_vits14", weights=str(path))):
        loaded = build_extractor(spec).trunk.state_dict()
        assert all(torch.equal(loaded[key], value) for key, value in twin("dinov2_vits14").trunk.state_dict().items())
    with pytest.raises(BackboneError, match="does not hold weights of 'clip_vit_b32'"):
        build_extractor(BackboneSpec(name="clip_vit_b32", weights=str(path)))


@pytest.mark.parametrize(
    ("spec", "file"),
    [
        (BackboneSpec(name="vgg19_blocks3"), "vgg19_blocks1-3.safetensors"),
        (BackboneSpec(name="googlenet_bvlc"), "googlenet_bvlc.safetensors"),
        (BackboneSpec(name="squeezenet1_1", weights="squeezenet1_1.safetensors"), "squeezenet1_1.safetensors"),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_files_without_an_address_are_checked_by_their_digest(no_weights, spec, file):
    assert len(spec.definition()["weights"].removeprefix("sha256:")) == 64
    with pytest.raises(WeightsUnavailableError, match=rf"{file} are not.*LOPSIDED_WEIGHTS.*'{spec.name}-r'"):
        build_extractor(spec)
    save_file(twin(spec.name).trunk.state_dict(), no_weights / file)  # fits, but is another file
    with pytest.raises(BackboneError, match="damaged or not the official file"):
        build_extractor(spec)
