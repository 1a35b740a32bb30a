"""Backbones: shapes, determinism, freezing, and weights that fail loudly."""

import copy
import pickle

import pytest
import torch
import torchvision
from safetensors.torch import save_file

from lopsided.backbones import BackboneError, BackboneSpec, L2Pool, WeightsUnavailableError, build_extractor
from lopsided.backbones.registry import architecture

STAGES = {
    "vgg16-r": [(64, 64), (128, 32), (256, 16), (512, 8), (512, 4)],
    "resnet50-r": [(64, 32), (256, 16), (512, 8), (1024, 4), (2048, 2)],
}


@pytest.fixture
def images():
    return torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", STAGES)
def test_maps_have_the_stated_channels_and_strides(name, images):
    extractor = build_extractor(name)
    maps = extractor(images)
    assert [(m.shape[1], m.shape[2]) for m in maps] == STAGES[name]
    assert [m.shape[1] for m in maps] == list(extractor.channels)
    assert [64 // m.shape[2] for m in maps] == list(extractor.strides)


def test_features_equal_torchvision_with_the_same_weights(images):
    """Independent reference: torchvision's own forward pass, normalisation written out."""
    extractor = build_extractor("vgg16-r")
    vgg = torchvision.models.vgg.make_layers(torchvision.models.vgg.cfgs["D"])[:30].eval()
    vgg.load_state_dict({k.removeprefix("features."): v for k, v in extractor.trunk.state_dict().items()})
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    expected = vgg((images - mean.view(1, 3, 1, 1)) / std.view(1, 3, 1, 1))
    torch.testing.assert_close(extractor(images)[-1], expected)


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
    assert not any(p.requires_grad for p in frozen.parameters())
    trainable = build_extractor("resnet50-r", trainable=True).train()
    assert trainable.training
    assert all(p.requires_grad for p in trainable.parameters())


def test_copies_and_pickles_compute_the_same(images):
    extractor = build_extractor("vgg16-r", pooling="l2", stages=3)
    expected = extractor(images)
    for twin in (copy.deepcopy(extractor), pickle.loads(pickle.dumps(extractor))):
        assert all(torch.equal(a, b) for a, b in zip(expected, twin(images), strict=True))
        # The stages are the trunk's own modules, not stale copies of them.
        with torch.no_grad():
            twin.trunk.get_parameter("features.0.weight").zero_()
        assert not torch.equal(twin(images)[0], expected[0])


def test_too_small_images_are_refused(images):
    with pytest.raises(BackboneError, match=r"at least 32×32 px, got 16×64"):
        build_extractor("resnet50-r")(images[..., :16, :])


def test_unknown_names_suggest_the_nearest():
    with pytest.raises(BackboneError, match="did you mean 'vgg16'"):
        architecture("vgg61")


def test_local_file_loads_strictly_and_enters_the_identity(tmp_path, images):
    trunk = build_extractor(BackboneSpec(name="vgg16-r", seed=3)).trunk
    path = tmp_path / "vgg.safetensors"
    save_file(trunk.state_dict(), path)
    spec = BackboneSpec(name="vgg16", weights=str(path))
    name = "features.0.weight"
    assert torch.equal(build_extractor(spec).trunk.get_parameter(name), trunk.get_parameter(name))
    assert spec.identity != BackboneSpec(name="vgg16").identity
    with pytest.raises(BackboneError, match="does not hold weights of 'resnet50'"):
        build_extractor(BackboneSpec(name="resnet50", weights=str(path)))


def test_truncated_and_missing_files_are_errors(tmp_path):
    path = tmp_path / "cut.safetensors"
    save_file(build_extractor("vgg16-r", stages=1).trunk.state_dict(), path)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(BackboneError, match="cannot read weights"):
        build_extractor(BackboneSpec(name="vgg16", weights=str(path)))
    with pytest.raises(BackboneError, match="no weights file"):
        build_extractor(BackboneSpec(name="vgg16", weights=str(tmp_path / "absent.pth")))


def test_official_weights_are_checked_and_their_absence_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("LOPSIDED_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "hub"))

    def unreachable(*_args, **_kwargs):  # the machine's network must not decide this test
        raise OSError("no network")

    monkeypatch.setattr(torch.hub, "download_url_to_file", unreachable)
    with pytest.raises(WeightsUnavailableError, match=r"vgg16-397923af.pth are not.*LOPSIDED_WEIGHTS.*'vgg16-r'"):
        build_extractor("vgg16")
    (tmp_path / "vgg16-397923af.pth").write_bytes(b"not the weights")
    with pytest.raises(BackboneError, match="damaged or not the official file"):
        build_extractor("vgg16")


def test_random_weights_and_a_file_contradict_each_other():
    with pytest.raises(ValueError, match="random weights"):
        BackboneSpec(name="vgg16-r", weights="vgg.pth")
