"""Hand-crafted measures and pyiqa's: gradients by finite differences, hard images, bad input, the documented table."""

import math
import re

import numpy as np
import pytest
import skimage.data
import skimage.metrics
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.paths import ROOT

from lopsided.common.images import to_tensor
from lopsided.losses import MeasureError, create_measure, list_measures, parse_measure
from lopsided.losses.luma import full_luma, studio_luma
from lopsided.losses.through_pyiqa import ENTRIES, PyiqaSpec

OWN = ["l1", "l2", "charbonnier", "ssim", "ms_ssim", "gmsd", "nlpd"]
HANDCRAFTED = [*OWN, *(key for key, entry in ENTRIES.items() if not entry.needs_weights)]
LOSSES = [key for key in HANDCRAFTED if parse_measure(key).differentiable]
ROUNDED = ["cw_ssim", "vif"]  # by pyiqa, to 8-bit luma, with the gradient passed straight through
PHOTOGRAPH = to_tensor(np.ascontiguousarray(skimage.data.astronaut()))

_built = {}


def build(key):
    if key not in _built:
        _built[key] = create_measure(key)
    return _built[key]


def crop(size, dtype=torch.float32):
    top, left = (60, 180) if size < 300 else (0, 0)
    return PHOTOGRAPH[..., top : top + size, left : left + size].to(dtype)


def degrade(image, seed=0):
    noise = torch.randn(image.shape, generator=torch.Generator().manual_seed(seed), dtype=image.dtype)
    return (0.1 + 0.8 * image + 0.05 * noise).clamp(0.02, 0.98)


def score_and_gradient(measure, image, reference):
    image = image.clone().requires_grad_()
    score = measure.score(image, reference)
    (gradient,) = torch.autograd.grad(score.sum(), image)
    return score.detach(), gradient


# --- gradients ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", LOSSES)
def test_gradients_equal_float64_finite_differences(key, monkeypatch):
    """Along random directions. Rounding, where pyiqa rounds, is taken out: it has no gradient to compare with."""
    if key in ROUNDED:
        monkeypatch.setattr(torch.Tensor, "round", lambda x: x.detach())
        monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)  # pyiqa's VIF has .float() everywhere
    measure = build(key)
    reference = crop(max(measure.spec.min_size, 48), torch.float64)
    image = degrade(reference)
    score, gradient = score_and_gradient(measure, image, reference)
    assert score.dtype == gradient.dtype == torch.float64
    generator = torch.Generator().manual_seed(1)
    step = 1e-7  # short: FSIM and VSI have kinks (medians, maxima) nearly everywhere
    for _ in range(3):
        direction = torch.randn(image.shape, generator=generator, dtype=torch.float64)
        with torch.no_grad():
            ahead, behind = (measure.score(image + sign * step * direction, reference) for sign in (1, -1))
        assert (ahead - behind).item() / (2 * step) == pytest.approx((gradient * direction).sum().item(), rel=1e-5)


@pytest.mark.parametrize("key", LOSSES)
def test_float32_gradients_are_those_of_float64(key):
    measure = build(key)
    reference = crop(max(measure.spec.min_size, 64))
    image = degrade(reference)
    _, single = score_and_gradient(measure, image, reference)
    _, double = score_and_gradient(measure, image.double(), reference.double())
    # pyiqa's medians and thresholds flip in FSIM and VSI, and rounding to 8 bits where luma is rounded.
    worst = {"fsim": 1e-2, "vsi": 1e-2, "cw_ssim": 1e-2, "vif": 1e-2}.get(key, 1e-4)
    assert (single - double).norm() <= worst * double.norm()


@pytest.mark.parametrize("key", LOSSES)
def test_what_rounds_is_known(key):
    """A measure that rounds does not see a change of a hundredth of a grey level; any other does."""
    measure = build(key)
    reference = crop(max(measure.spec.min_size, 64), torch.float64)
    grey = (full_luma(reference) * 255).round().expand(-1, 3, -1, -1) / 255  # luma far from where rounding jumps
    image = (grey + 4 / 255).clamp(0, 1)
    nudged = (image + 1e-2 / 255).clamp(0, 1)
    seen = measure.score(image, grey).item() != measure.score(nudged, grey).item()
    assert seen == (key not in ROUNDED)


# --- numerical safety -----------------------------------------------------------------------------------------------


def hard_pairs(size):
    black, gray, white = (torch.full((1, 3, size, size), value) for value in (0.0, 0.5, 1.0))
    photograph = crop(size)
    one_pixel, speck = photograph.clone(), gray.clone()
    one_pixel[..., size // 2, size // 2] = 1 - one_pixel[..., size // 2, size // 2]
    speck[..., size // 2, size // 2] = 0.6
    return {
        "black on black": (black, black),
        "gray on gray": (gray, gray),
        "black on white": (black, white),
        "white on gray": (white, gray),
        "black on a photograph": (black, photograph),
        "a photograph on white": (photograph, white),
        "a speck on gray": (speck, gray),
        "one pixel": (one_pixel, photograph),
        "negative": (1 - photograph, photograph),
        "identical": (photograph, photograph),
    }


@pytest.mark.parametrize("key", LOSSES)
@pytest.mark.parametrize("larger", [0, 51])
def test_hard_images_give_finite_scores_and_gradients(key, larger):
    measure = build(key)
    pairs = hard_pairs(measure.spec.min_size + larger)
    for name in ["black on black", "gray on gray", "one pixel"] if larger else pairs:
        image, reference = pairs[name]
        try:
            score, gradient = score_and_gradient(measure, image, reference)
        except MeasureError:
            # The documented limit: FSIM's phase is undefined where an image has one colour only.
            assert key == "fsim", name
            assert image.std() == 0, name
            assert torch.isfinite(measure.score(image, reference)).all()
            continue
        assert torch.isfinite(score).all(), name
        assert torch.isfinite(gradient).all(), name
        low, high = measure.value_range
        assert (low is None or score >= low - 1e-5) and (high is None or score <= high + 1e-5), name  # noqa: PT018


@pytest.mark.parametrize("key", LOSSES)
def test_identical_images_are_ideal_with_zero_gradient(key):
    measure = build(key)
    image = crop(256 if key == "vif" else 512)  # VIF takes seconds at 512
    score, gradient = score_and_gradient(measure, image, image)
    ideal = 0.0 if measure.lower_is_better else measure.value_range[1] or 1.0
    if key == "vif":  # more contrast than the reference scores above 1: identity is no optimum
        assert score.item() == pytest.approx(1, abs=5e-6)
        assert gradient.abs().max() > 1e-4
        return
    assert score.item() == pytest.approx(ideal, abs=1e-6)
    assert gradient.abs().max() < 1e-6


def test_fsim_of_one_colour_refuses_the_backward_pass_and_leaves_no_hook_behind():
    measure, black = build("fsim"), torch.zeros(1, 3, 32, 32, requires_grad=True)
    with pytest.raises(MeasureError, match=r"fsim: pyiqa .* has no finite gradient on these images"):
        measure(black, crop(32)).backward()
    (2 * black).sum().backward()
    assert black._backward_hooks is None


def test_mad_is_a_judge_only():
    measure, image = build("mad"), crop(64)
    with pytest.raises(MeasureError, match="mad has no finite gradient, so it cannot be a loss"):
        measure(degrade(image).requires_grad_(), image)
    # The reason, and what it is blind to: differences below its threshold score 0.
    other = image.clone()
    other[..., 32, 32] -= 0.1
    assert measure.score(other, image).item() == 0
    other.requires_grad_()
    (gradient,) = torch.autograd.grad(measure.network(other, image).sum(), other)
    assert torch.isnan(gradient).any()


@pytest.mark.parametrize("key", LOSSES)
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_non_finite_predictions_give_non_finite_losses(key, value):
    """The trainer locates and records them; no error, and no number that hides them."""
    measure = build(key)
    reference = crop(max(measure.spec.min_size, 32))
    prediction = degrade(reference)
    prediction[..., 8, 8] = value
    assert not torch.isfinite(measure(prediction.requires_grad_(), reference))


@pytest.mark.parametrize("key", HANDCRAFTED)
def test_half_precision_and_autocast_do_not_reach_the_arithmetic(key):
    measure = build(key)
    reference = crop(max(measure.spec.min_size, 64)).bfloat16()
    image = degrade(reference.float()).bfloat16()
    expected = measure.score(image.float(), reference.float())
    assert measure.score(image, reference).dtype == torch.float32
    assert torch.equal(measure.score(image, reference), expected)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(measure.score(image.float(), reference.float()), expected)


@pytest.mark.parametrize("key", HANDCRAFTED)
def test_shared_references_and_batches_score_as_single_pairs(key):
    measure = build(key)
    reference = crop(max(measure.spec.min_size, 64))
    batch = torch.cat([degrade(reference, seed) for seed in range(2)])
    alone = torch.cat([measure.score(image[None], reference) for image in batch])
    torch.testing.assert_close(measure.score(batch, reference), alone, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(measure.score(batch, reference.expand_as(batch)), alone, rtol=1e-4, atol=1e-6)


# --- SSIM and MS-SSIM -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("color", ["luma", "gray", "rgb"])
def test_ssim_equals_scikit_image(color):
    reference = crop(96, torch.float64)
    image = degrade(reference)
    convert = {"luma": studio_luma, "gray": full_luma, "rgb": lambda x: x}[color]
    x, y = (convert(z)[0].permute(1, 2, 0).numpy() for z in (image, reference))
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1}
    expected = skimage.metrics.structural_similarity(x, y, channel_axis=2, **options)
    assert create_measure({"measure": "ssim", "color": color}).score(image, reference).item() == pytest.approx(
        expected, rel=1e-9
    )


def test_studio_luma_has_the_range_of_bt_601():
    black_and_white = torch.tensor([0.0, 1.0], dtype=torch.float64).view(2, 1, 1, 1).expand(2, 3, 1, 1)
    assert (255 * studio_luma(black_and_white)).flatten().tolist() == pytest.approx([16, 235])
    assert full_luma(black_and_white).flatten().tolist() == pytest.approx([0, 1])


def test_reversed_structure_scores_below_zero_in_ssim_and_zero_in_ms_ssim():
    image = crop(181)
    assert build("ssim").score(1 - image, image) < 0
    score, gradient = score_and_gradient(build("ms_ssim"), 1 - image, image)
    assert score == 0
    assert not gradient.any()


def test_downsampled_ssim_is_ssim_of_the_average():
    image, reference = degrade(crop(512)), crop(512)
    small = [torch.nn.functional.avg_pool2d(x, 2) for x in (image, reference)]
    downsampled = create_measure({"measure": "ssim", "downsample": True})
    assert downsampled.score(image, reference).item() == pytest.approx(build("ssim").score(*small).item(), rel=1e-6)
    assert torch.equal(downsampled.score(*small), build("ssim").score(*small))  # small enough already
    with pytest.raises(MeasureError, match="'downsample' belongs to ssim"):
        parse_measure({"measure": "ms_ssim", "downsample": True})


def test_variants_have_names_and_identities_of_their_own():
    options = [{}, {"color": "rgb"}, {"color": "gray"}, {"downsample": True}]
    specs = [parse_measure({"measure": "ssim", **option}) for option in options]
    assert len({spec.identity for spec in specs}) == len({spec.key for spec in specs}) == 4
    assert specs[0].key == "ssim"


# --- any other metric of pyiqa --------------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", ["ssimc", "psnr", "gmsd", "vsi", "cw_ssim", "nlpd"])
def test_any_pyiqa_metric_is_a_measure_by_pyiqas_own_account(metric):
    import pyiqa

    measure = create_measure(f"pyiqa-{metric}")
    theirs = pyiqa.create_metric(metric, device="cpu")
    reference = crop(96)
    batch = torch.cat([degrade(reference), reference])
    torch.testing.assert_close(
        measure.score(batch, reference), theirs(batch, reference.expand_as(batch)).float().flatten()
    )
    assert measure.lower_is_better == theirs.lower_better
    prediction = batch[:1].clone().requires_grad_()
    loss = measure(prediction, reference)
    loss.backward()
    assert prediction.grad is not None
    assert torch.isfinite(prediction.grad).all()
    score, upper = measure.score(batch[:1], reference).item(), measure.value_range[1]
    assert loss.item() == pytest.approx(score if measure.lower_is_better else (upper or 0) - score, rel=1e-6)


def test_a_pyiqa_metric_is_named_identified_and_declared():
    spec = parse_measure({"measure": "pyiqa", "metric": "ahiq", "families": ["vit", "resnet50"]})
    assert isinstance(spec, PyiqaSpec)
    assert spec.key == "pyiqa-ahiq"
    assert spec.families == {"pyiqa:ahiq", "vit", "resnet50"}
    assert spec.identity == parse_measure("pyiqa-ahiq").identity  # what is declared changes no score
    assert parse_measure(spec.model_dump(mode="json")) == spec
    # What shares a family with our measures says so unasked.
    for metric, family in {"ssimc": "structural-similarity", "lpips-vgg+": "vgg16", "topiq_fr": "resnet50"}.items():
        assert family in parse_measure(f"pyiqa-{metric}").families
    yiq, ycbcr = "pyiqa-ssim", {"measure": "pyiqa", "metric": "ssim", "options": {"color_space": "ycbcr"}}
    assert parse_measure(ycbcr).identity != parse_measure(yiq).identity
    assert parse_measure(ycbcr).key != "pyiqa-ssim"
    assert hash(parse_measure(ycbcr)) == hash(parse_measure(ycbcr))
    assert build("pyiqa-psnr").value_range == (None, None)  # pyiqa's ~0, ~40 is no bound


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("pyiqa-niqe", "pyiqa's 'niqe' is not a full-reference metric"),
        ("pyiqa-ssmi", "has no metric 'ssmi'; did you mean 'ssim'"),
        ("pyiqa", "metric: Field required"),
        ({"measure": "pyiqa", "metric": "ssim", "familie": []}, "did you mean 'families'"),
        ({"measure": "pyiqa", "metric": "ssim", "options": {"color": "y"}}, "unexpected keyword argument 'color'"),
        ({"measure": "pyiqa", "metric": "ssim", "pyiqa": "0.0.1"}, "asked for pyiqa 0.0.1, installed is"),
    ],
)
def test_what_is_no_full_reference_metric_is_refused(value, message):
    with pytest.raises(MeasureError, match=message):
        create_measure(value)


@pytest.mark.parametrize("metric", ["lpips+", "topiq_fr", "ckdn"])
def test_learned_metrics_without_weights_say_so(metric, monkeypatch, tmp_path):
    from urllib.error import URLError

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("HF_HOME", str(tmp_path))

    def unreachable(*_args, **_kwargs):  # the machine's network must not decide this test
        raise URLError("no network")

    monkeypatch.setattr("torch.hub.urlopen", unreachable)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    state = torch.get_rng_state()
    with pytest.raises(MeasureError, match=re.escape(f"cannot download the weights of '{metric}'")):
        create_measure(f"pyiqa-{metric}")
    assert torch.equal(torch.get_rng_state(), state)  # pyiqa draws initial weights first


class Network(torch.nn.Module):
    """Stands for a metric whose gradient is unusable: none of pyiqa's that need no weights is of the kind."""

    def __init__(self, score):
        super().__init__()
        self.score = score

    def forward(self, images, references):
        return self.score((images - references).square().mean((1, 2, 3)))


@pytest.mark.parametrize(
    ("score", "found"),
    [
        (torch.Tensor.detach, "does not require grad"),
        (torch.Tensor.round, "zero"),
        (lambda x: (x - x).sqrt(), "not finite"),
    ],
    ids=["detached", "rounded", "not a number"],
)
def test_gradients_of_a_pyiqa_metric_are_tried_before_they_are_used(score, found):
    measure, reference = create_measure("pyiqa-psnr"), crop(64)
    measure.network = Network(score)
    assert measure(degrade(reference), reference).isfinite()  # a number without a gradient is no training
    with pytest.raises(MeasureError, match=rf"gives 'psnr' no usable gradient \(.*{found}.*it cannot be a loss"):
        measure(degrade(reference).requires_grad_(), reference)


def test_what_pyiqa_cannot_compute_is_an_error_of_ours():
    with pytest.raises(MeasureError, match=r"pyiqa-ms_ssim: pyiqa .* failed on images of shape \(1, 3, 64, 64\)"):
        create_measure("pyiqa-ms_ssim").score(degrade(crop(64)), crop(64))
    measure = create_measure("pyiqa-psnr")
    measure.network = Network(torch.Tensor.tolist)
    with pytest.raises(MeasureError, match="gave list, not one number per image"):
        measure.score(crop(64), crop(64))


# --- bad input ------------------------------------------------------------------------------------------------------

# Every measure that needs no weights; of the deep ones, those on the smallest backbone stand for all.
FUZZED = [*HANDCRAFTED, *(key for key in list_measures() if key.endswith("-squeezenet1_1-r"))]


@st.composite
def bad_pairs(draw):
    """A pair that no measure may take, and whether it is bad as the prediction of a loss too."""
    size = draw(st.integers(161, 170))
    pair = [torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0)) for _ in range(2)]
    side = draw(st.integers(0, 1))
    kind = draw(st.sampled_from(["type", "dtype", "value", "channels", "axes", "batch", "size", "empty", "small"]))
    good = pair[side]
    if kind == "type":
        pair[side] = draw(st.sampled_from([(good,), [good], good.numpy(), None, 0.5, "image", {"image": good}]))
    elif kind == "dtype":
        pair[side] = good.to(draw(st.sampled_from([torch.uint8, torch.int64, torch.bool, torch.complex64])))
    elif kind == "value":
        bad = draw(st.sampled_from([math.nan, math.inf, -math.inf, -0.01, 1.01, 128.0, 255.0, -1.0, 1e30]))
        pair[side] = good.clone()
        pair[side][draw(st.integers(0, 1)), draw(st.integers(0, 2)), 5, draw(st.integers(0, size - 1))] = bad
        return pair, side == 1 or bad in (128.0, 255.0, 1e30)
    elif kind == "channels":
        count = draw(st.sampled_from([0, 1, 2, 4]))
        pair = [torch.rand(2, count, size, size) for _ in pair]
    elif kind == "axes":
        pair = [x[0] if draw(st.booleans()) else x[None] for x in pair]
    elif kind == "batch":
        pair[side] = torch.rand(3, 3, size, size)
    elif kind == "size":
        pair[side] = good[..., : draw(st.integers(0, size - 1))]
    elif kind == "empty":
        pair = [x[:0] for x in pair]
    else:
        pair = [x[..., :0] for x in pair]
    return pair, True


@pytest.mark.parametrize("key", FUZZED)
@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(case=bad_pairs())
def test_bad_input_is_always_our_error_and_never_a_number(key, case):
    (images, references), bad_as_loss = case
    with pytest.raises(MeasureError, match=re.escape(key)):
        build(key).score(images, references)
    if bad_as_loss:
        with pytest.raises(MeasureError, match=re.escape(key)):
            build(key)(images, references)


@pytest.mark.parametrize("key", [key for key in FUZZED if parse_measure(key).min_size > 1])
def test_the_smallest_size_works_and_one_pixel_less_does_not(key):
    measure, size = build(key), parse_measure(key).min_size
    assert torch.isfinite(measure.score(degrade(crop(size)), crop(size)))
    for image in (crop(size)[..., 1:], crop(size)[..., 1:, :]):
        with pytest.raises(MeasureError, match=f"needs at least {size}×{size} px"):
            measure.score(image, image)


# --- the documented table -------------------------------------------------------------------------------------------


def documented():
    """Rows of the table of hand-crafted measures in docs/measures.md, by key."""
    text = (ROOT / "docs" / "measures.md").read_text(encoding="utf-8")
    table = text.split("## Hand-crafted measures")[1].split("\n## ")[0]
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if line.startswith("|")
    ]
    header = rows[0]
    return {row[0].strip("`"): dict(zip(header, row, strict=True)) for row in rows[2:]}


def test_the_table_lists_every_handcrafted_measure():
    assert list(documented()) == HANDCRAFTED


@pytest.mark.parametrize("key", HANDCRAFTED)
def test_the_table_says_what_the_measure_is(key):
    row, measure = documented()[key], build(key)
    assert row["better"] == ("lower" if measure.lower_is_better else "higher")
    low, high = ("−∞" if measure.value_range[0] is None else f"{measure.value_range[0]:g}", measure.value_range[1])
    assert row["range"] == (f"{low.replace('-', '−')} … " + ("∞" if high is None else f"{high:g}"))
    expected = "s" if measure.lower_is_better else "−s" if high is None else f"{high:g} − s"
    assert row["loss"] == (expected if measure.spec.differentiable else "none")
    gradient = "no" if not measure.spec.differentiable else "straight through" if key in ROUNDED else "yes"
    assert row["gradient"] == gradient
    assert row["px"] == str(measure.spec.min_size)
    assert row["computed by"] == ("lopsided" if key in OWN else "pyiqa")
