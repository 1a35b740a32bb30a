"""LPIPS: equal to its authors' package and three others on equal weights, finite where they are not, clear refusals."""

import socket
from typing import Any

import numpy as np
import pytest
import skimage.data
import torch
from safetensors.torch import save_file
from support.paths import SHARED

from lopsided.backbones import BackboneError, BackboneSpec, build_extractor, files
from lopsided.backbones.registry import architecture
from lopsided.backbones.weights import read_state
from lopsided.common.images import read_rgb, to_tensor
from lopsided.losses import LPIPS, LpipsSpec, MeasureError, create_measure, parse_measure
from lopsided.losses import lpips as module
from lopsided.losses.layerwise import unit

NETWORKS = {"alex": "alexnet", "vgg": "vgg16", "squeeze": "squeezenet1_1"}


@pytest.fixture(scope="module")
def pair():
    """A photograph and a noisy version, 96×80 px, and another pair of the same size, in one batch."""
    reference = to_tensor(np.ascontiguousarray(skimage.data.astronaut()[60:156, 160:240]))
    noise = torch.randn(reference.shape, generator=torch.Generator().manual_seed(0))
    images = torch.cat([(reference + 0.05 * noise).clamp(0, 1), reference**2])
    return images, torch.cat([reference, reference.flip(3)])


@pytest.fixture(scope="module")
def trunks(tmp_path_factory):
    """Write seeded random weights of a network as if they were pretrained ones; return the file and its tensors."""
    made = {}

    def make(net):
        if net not in made:
            file = tmp_path_factory.mktemp("trunks") / f"{net}.safetensors"
            save_file(build_extractor(f"{NETWORKS[net]}-r").trunk.state_dict(), file)
            made[net] = file, build_extractor(f"{NETWORKS[net]}-r").trunk.state_dict()
        return made[net]

    return make


def ours(trunks, net, **options) -> Any:
    return create_measure(
        {"measure": "lpips", "backbone": {"name": NETWORKS[net], "weights": str(trunks(net)[0])}, **options}
    )


def give(trunk, state):
    """Load torchvision's tensors into slices of its network, which keep the layers' indices as names."""
    trunk.load_state_dict(
        {name: state[f"features.{name.removeprefix('slices.').split('.', 1)[1]}"] for name in trunk.state_dict()}
    )


def linear_file(net):
    return module.PUBLISHED[NETWORKS[net]].locate("nothing")


def linear_state(net):
    return read_state(linear_file(net))


def bare_vgg16(*_, **__):
    """Stands for torchvision's VGG-16, whose classifier takes a second to initialise and is of no use here."""
    return architecture("vgg16").build()


def close(a, b):
    torch.testing.assert_close(a.flatten(), b.flatten(), rtol=1e-5, atol=0)


# --- other implementations ------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:.*pretrained:UserWarning", "ignore:.*weight enum:UserWarning")
@pytest.mark.parametrize("net", NETWORKS)
def test_equals_the_authors_package_in_value_layers_and_gradient(net, pair, trunks, monkeypatch):
    import lpips

    monkeypatch.setattr("torchvision.models.vgg16", bare_vgg16)
    theirs = lpips.LPIPS(net=net, pnet_rand=True, verbose=False)
    give(theirs.net, trunks(net)[1])
    measure = ours(trunks, net)
    with torch.no_grad():
        value, layers = theirs(*pair, normalize=True, retPerLayer=True)
        close(measure.score(*pair), value)
        for mine, other in zip(measure.terms(*pair), layers, strict=True):
            close(mine.mean((1, 2)), other)
        theirs.lpips = False
        close(ours(trunks, net, linear="none").score(*pair), theirs(*pair, normalize=True))
        theirs.lpips = True
    # In float64: rounding in float32 may send a gradient through another pixel of a max pooling.
    measure, theirs, reference = measure.double(), theirs.double(), pair[1].double()
    gradients = []
    for distance in (lambda x: measure(x, reference), lambda x: theirs(x, reference, normalize=True).mean()):
        leaf = pair[0].double().requires_grad_()
        gradients.append(torch.autograd.grad(distance(leaf), leaf)[0])
    assert (gradients[0] - gradients[1]).norm() < 1e-6 * gradients[1].norm()


@pytest.mark.parametrize(
    ("net", "semantic", "layer"), [("alex", -1, None), ("alex", 2, "relu3"), ("squeeze", 5, "fire8")]
)
def test_equals_pyiqa_with_and_without_semantic_weights(net, semantic, layer, pair, trunks, monkeypatch):
    import pyiqa.archs.lpips_arch as peer

    for name in NETWORKS.values():  # it would download pretrained ones
        original = getattr(peer.models, name)
        monkeypatch.setattr(peer.models, name, lambda original=original, **_: original(weights=None))
    theirs = peer.LPIPS(
        net=net, pnet_rand=True, pretrained_model_path=str(linear_file(net)), semantic_weight_layer=semantic
    )
    give(theirs.net, trunks(net)[1])
    with torch.no_grad():
        close(ours(trunks, net, semantic_layer=layer).score(*pair), theirs(*pair))


def test_equals_piq_on_equal_linear_weights(pair, trunks, monkeypatch):
    import piq.perceptual as peer

    monkeypatch.setattr(peer.torch.hub, "load_state_dict_from_url", lambda *_, **__: [*linear_state("vgg").values()])
    monkeypatch.setattr(peer, "vgg16", bare_vgg16)
    theirs = peer.LPIPS(reduction="none")
    theirs.model.load_state_dict({k.removeprefix("features."): v for k, v in trunks("vgg")[1].items()})
    close(ours(trunks, "vgg").score(*pair), theirs(*pair))


def test_equals_torchmetrics(pair, trunks):
    from torchmetrics.functional.image.lpips import _LPIPS

    theirs = _LPIPS(net="squeeze", pnet_rand=True)
    give(theirs.net, trunks("squeeze")[1])
    with torch.no_grad():
        close(ours(trunks, "squeeze").score(*pair), theirs(*pair, normalize=True))


def test_input_scaling_is_that_of_the_backbones():
    """The authors shift and scale [-1, 1]; on [0, 1] that is ImageNet's mean and deviation."""
    shift, scale = torch.tensor([-0.030, -0.088, -0.188]), torch.tensor([0.458, 0.448, 0.450])
    for name in NETWORKS.values():
        extractor = build_extractor(f"{name}-r", stages=1)
        torch.testing.assert_close(extractor.get_buffer("mean").flatten(), (shift + 1) / 2, rtol=1e-7, atol=0)
        torch.testing.assert_close(extractor.get_buffer("std").flatten(), scale / 2, rtol=1e-7, atol=0)


# --- real weights ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def squeeze():
    weights = SHARED / "weights" / "squeezenet1_1.safetensors"
    if not weights.exists():
        pytest.skip("SqueezeNet's ImageNet weights are not beside the repository")
    return create_measure({"measure": "lpips", "backbone": {"name": "squeezenet1_1", "weights": str(weights)}})


def test_reproduces_its_authors_demo(squeeze):
    """Real ImageNet weights: 0.7112 and 0.1479 on the authors' example pairs."""
    folder = SHARED / "iqa" / "demo_pairs" / "lpips"
    reference, first, second = (to_tensor(read_rgb(folder / f"ex_{name}.png")) for name in ("ref", "p0", "p1"))
    assert squeeze.score(first, reference).item() == pytest.approx(0.7112, abs=5e-4)
    assert squeeze.score(second, reference).item() == pytest.approx(0.1479, abs=5e-4)


def test_reproduces_the_example_of_torchmetrics_documentation(squeeze):
    generator = torch.Generator().manual_seed(42)
    images, references = (torch.rand(2, 3, 100, 100, generator=generator) for _ in range(2))
    assert squeeze.score(images, references).tolist() == pytest.approx([0.1024, 0.0938], abs=5e-5)


def test_is_a_frozen_loss(squeeze, pair):
    host = torch.nn.Sequential(squeeze).train()
    assert not any(m.training for m in host[0].modules())
    assert not any(p.requires_grad for p in host.parameters())
    prediction = pair[0].clone().requires_grad_()
    squeeze(prediction, pair[1]).backward()
    assert prediction.grad is not None
    assert prediction.grad.abs().sum() > 0
    assert (squeeze.score(pair[1], pair[1]) == 0).all()


# --- definition -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("semantic", [None, "layer2"])
def test_follows_its_equation(semantic, pair):
    """Written out from the features in float64, semantic weights where they need no interpolation."""
    measure = LPIPS(LpipsSpec(backbone=BackboneSpec(name="resnet18-r"), linear="none", semantic_layer=semantic))
    x, y = pair[0][:1], pair[1][:1]
    with torch.no_grad():
        maps = [[f[0].double().numpy() for f in measure.extractor(image)] for image in (x, y)]
    terms = measure.terms(x, y)
    names = [stage.name for stage in measure.spec.architecture.stages]
    for index, (a, b) in enumerate(zip(*maps, strict=True)):
        a, b = (f / np.sqrt((f**2).sum(0) + 1e-10) for f in (a, b))
        distances = ((a - b) ** 2).sum(0)
        if semantic == names[index]:
            energy = np.abs(maps[1][index]).sum(0)
            distances = distances * energy / energy.mean()
        if semantic in (None, names[index]):
            np.testing.assert_allclose(terms[index][0].numpy(), distances, rtol=1e-4, atol=1e-6)
    total = sum(term.mean().item() for term in terms)
    assert measure.score(x, y).item() == pytest.approx(total, rel=1e-5)


def test_gradient_is_finite_where_all_features_are_zero_and_the_packages_is_not():
    """A rectifier right behind hides the package's NaN, since it passes no gradient at zero; others would not."""
    from lpips import normalize_tensor

    def gradient(normalise):
        features = torch.zeros(1, 4, 2, 2, requires_grad=True)
        return torch.autograd.grad((normalise(features) - 0.5).square().sum(), features)[0]

    assert torch.isnan(gradient(normalize_tensor)).all()
    assert torch.isfinite(gradient(lambda features: unit(features, 1))).all()


def test_reference_without_features_weighs_all_places_the_same(trunks):
    measure = ours(trunks, "alex", semantic_layer="relu3", linear="none")
    plain = ours(trunks, "alex", linear="none")
    generator = torch.Generator().manual_seed(0)
    maps = [torch.rand(1, c, 7, 7, generator=generator) for c in measure.spec.channels]
    silent = [torch.zeros_like(layer) for layer in maps]
    images = torch.rand(1, 3, 64, 64, generator=generator)
    scores = [m.compare(images, maps, m.digest(images, silent)) for m in (measure, plain)]
    assert scores[0].item() == pytest.approx(scores[1].item(), rel=1e-6)


def test_layers_are_summed(pair, trunks):
    parts = [ours(trunks, "alex", layers=[layer]).score(*pair) for layer in ("relu1", "relu4")]
    close(ours(trunks, "alex", layers=["relu1", "relu4"]).score(*pair), parts[0] + parts[1])


def test_keys_name_one_spec_each():
    assert LpipsSpec().key == "lpips"
    for key, backbone in (("lpips", "alexnet"), ("lpips-vgg", "vgg16"), ("lpips-squeeze", "squeezenet1_1")):
        spec = parse_measure(key)
        assert spec == parse_measure(f"lpips-{backbone}") == parse_measure({"measure": "lpips", "backbone": backbone})
        assert spec.key == key
        assert isinstance(spec, LpipsSpec)
        assert spec.linear == "v0.1"
        twin = parse_measure(f"lpips-{backbone}-r")
        assert isinstance(twin, LpipsSpec)
        assert (twin.linear, twin.key) == ("none", f"lpips-{backbone}-r")
        assert twin.identity != spec.identity
    semantic = parse_measure({"measure": "lpips", "semantic_layer": "relu3"})
    assert semantic == parse_measure("lpips+")
    assert semantic.key == "lpips+"
    marked = parse_measure({"measure": "lpips", "linear": "none"})
    assert marked.key == f"lpips+{marked.identity[:4]}"


# --- linear weights -------------------------------------------------------------------------------------------------


def test_linear_weights_of_a_file_equal_the_published_ones(pair, trunks, tmp_path):
    copy = tmp_path / "linear.safetensors"
    save_file(linear_state("alex"), copy)
    close(ours(trunks, "alex", linear=str(copy)).score(*pair), ours(trunks, "alex").score(*pair))


def test_without_the_package_a_weights_folder_serves(trunks, monkeypatch, tmp_path):
    linear = linear_file("alex").read_bytes()
    monkeypatch.setattr(files, "find_spec", lambda _: None)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with socket.socket() as unused:  # bound and not listening: refuses connections
        unused.bind(("127.0.0.1", 0))
        monkeypatch.setenv("LOPSIDED_MIRROR", f"http://127.0.0.1:{unused.getsockname()[1]}")
        monkeypatch.setenv("LOPSIDED_WEIGHTS", str(tmp_path))
        with pytest.raises(MeasureError, match=r"lpips_lin_v0\.1/alex\.pth are not on this machine.*'linear: none'"):
            ours(trunks, "alex")
        ours(trunks, "alex", linear="none")
        file = tmp_path / "lpips_lin_v0.1" / "alex.pth"
        file.parent.mkdir()
        file.write_bytes(linear)
        ours(trunks, "alex")
        file.write_bytes(linear[:-1] + b"!")
        with pytest.raises(MeasureError, match="is damaged or not the official file"):
            ours(trunks, "alex")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backbone": "alexnet-r", "linear": "v0.1"}, "'v0.1' belongs to pretrained alexnet, .* for 'alexnet-r'"),
        ({"backbone": "resnet50", "linear": "v0.1"}, "'v0.1' belongs to pretrained alexnet, .* for 'resnet50'"),
        ({"backbone": "alexnet-r", "linear": "absent.pth"}, "linear: no file 'absent.pth'"),
        ({"backbone": "alexnet-r", "layers": ["relu1"], "semantic_layer": "relu3"}, "not one of the layers: relu1"),
        ({"net": "squeeze"}, "unknown option 'net'"),
    ],
)
def test_bad_definitions_say_what_is_wrong(options, message):
    with pytest.raises(MeasureError, match=message):
        create_measure({"measure": "lpips", **options})


def test_files_that_do_not_fit_are_refused(trunks, tmp_path):
    with pytest.raises(MeasureError, match=r"has linear weights of \[64, 128.*'alexnet' has stages of \[64, 192"):
        ours(trunks, "alex", linear=str(linear_file("vgg")))
    state = linear_state("alex")
    state["lin2.model.1.weight"][0, 5] = -1
    save_file(state, tmp_path / "negative.safetensors")
    with pytest.raises(MeasureError, match="must be finite and not negative"):
        ours(trunks, "alex", linear=str(tmp_path / "negative.safetensors"))
    other = {"name": "squeezenet1_1", "weights": str(trunks("alex")[0])}
    with pytest.raises(BackboneError, match="does not hold weights of 'squeezenet1_1'"):
        create_measure({"measure": "lpips", "backbone": other})


def test_a_backbone_key_is_enough(pair):
    assert torch.equal(LPIPS("alexnet-r").score(*pair), create_measure("lpips-alexnet-r").score(*pair))
