"""Fidelity measures: definitions against independent references, one identity for both uses, clear refusals."""

import numpy as np
import pytest
import skimage.data
import skimage.metrics
import torch
from PIL import Image
from support.paths import SHARED

from lopsided.backbones import BackboneError, BackboneSpec
from lopsided.common.images import read_rgb, to_tensor
from lopsided.losses import (
    DISTS,
    LPIPS,
    DistsSpec,
    MeasureError,
    create_measure,
    dists,
    gradient_matching_weight,
    list_measures,
    parse_measure,
)
from lopsided.losses.through_pyiqa import ENTRIES

WITHOUT_WEIGHTS = [
    "l1",
    "l2",
    "charbonnier",
    "ssim",
    "ms_ssim",
    "gmsd",
    "nlpd",
    "dists-vgg16-r",
    "dists-resnet50-r",
] + [name for name, entry in ENTRIES.items() if not entry.needs_weights and entry.differentiable]


@pytest.fixture(scope="module")
def pair():
    """A photograph and a noisy version, 176 px (the smallest that MS-SSIM takes)."""
    reference = to_tensor(np.ascontiguousarray(skimage.data.astronaut()[40:216, 140:316]))
    noise = torch.randn(reference.shape, generator=torch.Generator().manual_seed(0))
    return (reference + 0.05 * noise).clamp(0, 1), reference


@pytest.mark.parametrize("key", WITHOUT_WEIGHTS)
def test_every_measure_is_a_metric_and_a_loss(key, pair):
    image, reference = pair
    measure = create_measure(key)
    assert measure.spec.key == key
    worse = (reference + 3 * (image - reference)).clamp(0, 1)
    same, near, far = (measure.score(x, reference).item() for x in (reference, image, worse))
    assert (same < near < far) if measure.lower_is_better else (same > near > far)
    # As a loss every measure is lower-is-better, and is the stated map of the score.
    prediction = image.clone().requires_grad_()
    loss = measure(prediction, reference)
    upper = measure.value_range[1] or 0.0
    assert loss.item() == pytest.approx(near if measure.lower_is_better else upper - near, rel=1e-6, abs=1e-6)
    loss.backward()
    assert prediction.grad is not None
    assert torch.isfinite(prediction.grad).all()
    assert prediction.grad.abs().sum() > 0
    # A small step down the gradient lowers the loss.
    with torch.no_grad():
        step = 1e-3 * prediction.grad / prediction.grad.norm()
        assert measure((image - step).clamp(0, 1), reference) < loss


@pytest.mark.parametrize("key", ["l1", "ssim", "dists-vgg16-r"])
def test_batches_and_shared_references_score_as_single_images(key, pair):
    image, reference = pair
    batch = torch.cat([image, reference, 1 - image])
    measure = create_measure(key)
    together = measure.score(batch, reference)
    alone = torch.cat([measure.score(x[None], reference) for x in batch])
    assert together.shape == (3,)
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-6)


def test_reductions(pair):
    image, reference = pair
    batch, references = torch.cat([image, reference]), torch.cat([reference, reference])
    values = create_measure("l1", reduction="none")(batch, references)
    assert values.shape == (2,)
    assert create_measure("l1", reduction="sum")(batch, references) == pytest.approx(values.sum().item())
    assert create_measure("l1")(batch, references) == pytest.approx(values.mean().item())
    with pytest.raises(MeasureError, match="reduction must be"):
        create_measure("l1", reduction="average")  # type: ignore[arg-type]


def test_pixel_distances_have_their_closed_forms():
    zeros, tenth = torch.zeros(1, 3, 8, 8), torch.full((1, 3, 8, 8), 0.1)
    assert create_measure("l1").score(tenth, zeros).item() == pytest.approx(0.1)
    assert create_measure("l2").score(tenth, zeros).item() == pytest.approx(0.01)
    assert create_measure("charbonnier").score(tenth, zeros).item() == pytest.approx((0.01 + 1e-6) ** 0.5 - 1e-3)
    assert create_measure("psnr").score(tenth, zeros).item() == pytest.approx(20.0, abs=1e-4)


# --- DISTS ----------------------------------------------------------------------------------------------------------


def test_dists_equals_pyiqa_on_the_same_weights(pair, monkeypatch, tmp_path):
    """Independent implementation, random VGG-16 weights and random alpha, beta copied across."""
    import pyiqa.archs.dists_arch as peer
    import torchvision

    with torch.random.fork_rng():
        torch.manual_seed(0)  # alpha and beta too are drawn from the global generator
        untrained = torchvision.models.vgg16(weights=None)
        monkeypatch.setattr(peer.models, "vgg16", lambda **_: untrained)
        theirs = peer.DISTS(pretrained=False).eval()
    file = tmp_path / "alpha_beta.pt"
    torch.save({name: theirs.get_parameter(name).detach() for name in ("alpha", "beta")}, file)
    ours = DISTS(DistsSpec(backbone=BackboneSpec(name="vgg16-r"), alpha_beta=str(file)))
    features = {k.removeprefix("features."): v for k, v in ours.extractor.trunk.state_dict().items()}
    for index, stage in enumerate((theirs.stage1, theirs.stage2, theirs.stage3, theirs.stage4, theirs.stage5)):
        own = {k: v for k, v in features.items() if k.split(".")[0] in dict(stage.named_children())}
        missing, unexpected = stage.load_state_dict(own, strict=False)
        assert not unexpected, index
        assert all("filter" in name for name in missing), index
    theirs.double()  # in float32 it is itself off by more than the tolerance
    with torch.no_grad():
        for image, reference in (pair, (pair[1] ** 2, pair[1])):
            expected = theirs(image.double(), reference.double()).item()
            assert ours.score(image, reference).item() == pytest.approx(expected, rel=1e-5, abs=1e-7)


def test_dists_follows_its_equations(pair):
    """The score written out from the features, in float64, with numpy."""
    measure = DISTS("vgg16-r")
    image, reference = pair
    channels = 3 + 64 + 128 + 256 + 512 + 512
    total = 0.0
    with torch.no_grad():
        for x, y in zip([image, *measure.extractor(image)], [reference, *measure.extractor(reference)], strict=True):
            x, y = x[0].flatten(1).double().numpy(), y[0].flatten(1).double().numpy()
            mx, my, c = x.mean(1), y.mean(1), 1e-6
            texture = (2 * mx * my + c) / (mx**2 + my**2 + c)
            covariance = (x * y).mean(1) - mx * my
            structure = (2 * covariance + c) / (x.var(1) + y.var(1) + c)
            total += (texture + structure).sum()
    assert measure.score(image, reference).item() == pytest.approx(1 - total / (2 * channels), abs=2e-6)


@pytest.mark.parametrize("backbone", ["vgg16-r", "resnet50-r"])
def test_identical_images_score_zero_with_zero_gradient(backbone, pair):
    _, reference = pair
    measure = DISTS(backbone)
    prediction = reference.clone().requires_grad_()
    loss = measure(prediction, reference)
    loss.backward()
    assert loss.item() == 0
    assert prediction.grad is not None
    assert prediction.grad.abs().max() < 1e-6


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_constant_images_give_finite_gradients(value):
    prediction = torch.full((1, 3, 64, 64), value, requires_grad=True)
    DISTS("vgg16-r")(prediction, torch.full((1, 3, 64, 64), 0.25)).backward()
    assert prediction.grad is not None
    assert torch.isfinite(prediction.grad).all()


def test_terms_per_layer_sum_to_the_score(pair):
    measure = DISTS("vgg16-r")
    terms = measure.terms(*pair)
    assert [texture.shape[1] for texture, _ in terms] == [3, 64, 128, 256, 512, 512]
    weight = 0.5 / sum(texture.shape[1] for texture, _ in terms)
    total = 1 - sum(weight * (texture.sum() + structure.sum()) for texture, structure in terms)
    assert float(total) == pytest.approx(measure.score(*pair).item(), abs=1e-5)


def test_dists_is_frozen_for_good():
    host = torch.nn.Sequential(DISTS("resnet50-r")).train()
    assert not any(m.training for m in host[0].modules())
    assert not any(p.requires_grad for p in host.parameters())


def test_functional_form(pair):
    assert dists(*pair, backbone="vgg16-r").item() == DISTS("vgg16-r").score(*pair).item()


def test_published_alpha_beta_are_taken_as_they_are(pair):
    file = SHARED / "weights" / "dists_alpha_beta" / "weights.pt"
    if not file.exists():
        pytest.skip("the published alpha and beta are not beside the repository")
    measure = create_measure({"measure": "dists", "backbone": "vgg16-r", "alpha_beta": str(file)})
    alpha, beta = measure.get_buffer("alpha").sum().item(), measure.get_buffer("beta").sum().item()
    assert alpha == pytest.approx(0.876, abs=5e-4)
    assert beta == pytest.approx(0.124, abs=5e-4)
    assert measure.spec.identity != parse_measure("dists-vgg16-r").identity
    assert measure.spec.key != "dists-vgg16-r"  # another definition, another name in tables
    with pytest.raises(MeasureError, match="has 3907 channels"):
        create_measure({"measure": "dists", "backbone": "resnet50-r", "alpha_beta": str(file)})


# --- identity and refusals ------------------------------------------------------------------------------------------


def test_identity_follows_the_definition_only():
    spec = parse_measure("dists-vgg16-r")
    assert spec.identity == parse_measure({"measure": "dists", "backbone": "vgg16-r"}).identity
    assert hash(spec) == hash(parse_measure("dists-vgg16-r"))
    changed = [
        {"backbone": {"name": "vgg16-r", "seed": 1}},
        {"backbone": "vgg16"},
        {"backbone": "vgg16-r", "pooling": "max"},
        {"backbone": "vgg16-r", "c2": 1e-4},
        {"backbone": "vgg16-r", "image_layer": False},
    ]
    others = {parse_measure({"measure": "dists", **options}).identity for options in changed}
    assert len(others | {spec.identity}) == len(changed) + 1


@pytest.mark.parametrize("measure", [DISTS, LPIPS])
def test_an_unknown_backbone_is_an_error_of_ours(measure):
    with pytest.raises(BackboneError, match="did you mean 'vgg16'"):
        measure("vgg61")


def test_keys_are_unique_and_parse():
    keys = list_measures()
    assert len(keys) == len(set(keys))
    assert all(parse_measure(key).key == key for key in keys)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("ssmi", "unknown measure 'ssmi'; did you mean 'ssim'"),
        ("dists-vgg19", "did you mean 'dists-vgg16'"),
        ({"measure": "dists", "backbon": "vgg16"}, "unknown option 'backbon'; did you mean 'backbone'"),
        ({"measure": "dists", "c1": -1}, "c1: Input should be greater than 0"),
        ({"measur": "dists"}, "'measure' is missing in {'measur': 'dists'}; write {measure: dists, …}, known: l1, "),
        ({"measure": "dists", "backbone": {"nme": "vgg16-r"}}, "backbone.nme: unknown option$"),
        ({"measure": "dists", "backbone": {"weights": "official"}}, "backbone.name: is missing$"),
        ({"measure": "dists", "backbone": "vgg16-r", "alpha_beta": "absent.pt"}, "no file 'absent.pt'"),
    ],
)
def test_bad_definitions_say_what_is_wrong(value, message):
    with pytest.raises(MeasureError, match=message):
        create_measure(value)


GOOD = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("images", "references", "message"),
    [
        (GOOD * 255, GOOD, r"images must be in \[0, 1\], seen \[0\.\d+, 25\d"),
        (GOOD, GOOD * 2 - 1, r"references must be in \[0, 1\], seen \[-"),
        (GOOD.mul(255).byte(), GOOD, "got torch.uint8; divide by 255"),
        (GOOD[:, :1], GOOD[:, :1], r"must be \(N, 3, H, W\)"),
        (GOOD[0], GOOD[0], r"must be \(N, 3, H, W\)"),
        (GOOD[:0], GOOD[:0], "N ≥ 1"),
        (GOOD, GOOD[..., :32], "do not match"),
        (GOOD, torch.cat([GOOD, GOOD]), "do not match"),
        (GOOD.where(GOOD > 0.5, torch.nan), GOOD, r"seen \[nan, nan\]"),
        (GOOD[..., :8, :8], GOOD[..., :8, :8], "needs at least 16×16 px, got 8×8"),
        (GOOD.numpy(), GOOD, "must be a tensor, got ndarray"),
    ],
)
def test_bad_images_are_refused_with_what_was_seen(images, references, message):
    with pytest.raises(MeasureError, match=message):
        DISTS("vgg16-r").score(images, references)


def test_as_a_loss_overshoot_passes_and_wrong_scales_do_not():
    measure = create_measure("l1")
    assert torch.isfinite(measure(GOOD * 1.4 - 0.2, GOOD))
    with pytest.raises(MeasureError, match=r"prediction must be in \[0, 1\]"):
        measure(GOOD * 255, GOOD)
    # Left to the trainer, which locates and records it.
    assert torch.isnan(measure(GOOD * torch.nan, GOOD))


# --- gradient matching ----------------------------------------------------------------------------------------------


def test_gradient_matching_inverts_a_known_scale():
    l1 = create_measure("l1")
    pairs = [(torch.rand(2, 3, 32, 32), torch.rand(2, 3, 32, 32)) for _ in range(3)]
    assert gradient_matching_weight(lambda x, y: 4 * l1(x, y), l1, pairs) == pytest.approx(0.25)


def test_gradient_matching_makes_norms_equal(pair):
    image, reference = pair
    measure, l1 = DISTS("vgg16-r"), create_measure("l1")
    weight = gradient_matching_weight(measure, l1, [(image, reference)])
    leaf = image.clone().requires_grad_()
    norms = [torch.autograd.grad(loss(leaf, reference), leaf)[0].norm() for loss in (measure, l1)]
    assert (weight * norms[0]).item() == pytest.approx(norms[1].item(), rel=1e-4)


def test_gradient_matching_refuses_a_flat_loss():
    image = torch.rand(1, 3, 32, 32)
    with pytest.raises(MeasureError, match="cannot match gradients"):
        gradient_matching_weight(lambda x, _: (x * 0).sum(), create_measure("l1"), [(image, 1 - image)])


# --- published values -----------------------------------------------------------------------------------------------


def test_psnr_y_of_bicubic_on_set5_is_the_published_one():
    """28.42-28.43 dB, as printed in every paper on ×4; per image as in the published score files."""
    from lopsided.sr.degradation import bicubic_resize

    folder = SHARED / "sr" / "test" / "Set5" / "x4"
    if not folder.is_dir():
        pytest.skip("Set5 is not beside the repository")
    measure, values = create_measure("psnr_y"), []
    for low in sorted(folder.glob("*_LR.png")):
        high = to_tensor(read_rgb(low.with_name(low.name.replace("_LR", "_HR"))))
        enlarged = to_tensor(bicubic_resize(np.asarray(Image.open(low).convert("RGB")), 4))
        high = high[..., : enlarged.shape[2], : enlarged.shape[3]]
        values.append(measure.score(enlarged[..., 4:-4, 4:-4], high[..., 4:-4, 4:-4]).item())
    assert len(values) == 5
    assert np.mean(values) == pytest.approx(28.43, abs=0.03)
