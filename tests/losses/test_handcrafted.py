"""Hand-crafted measures: gradients by finite differences, hard images, bad input, the documented table."""

import math
import re

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.paths import ROOT
from support.photograph import build, crop, degrade, score_and_gradient

from lopsided.losses import MeasureError, list_measures, parse_measure
from lopsided.losses.luma import full_luma
from lopsided.losses.through_pyiqa import ENTRIES

OWN = ["l1", "l2", "charbonnier", "ssim", "ms_ssim", "gmsd", "nlpd", "artefact"]
HANDCRAFTED = [*OWN, *(key for key, entry in ENTRIES.items() if not entry.needs_weights)]
LOSSES = [key for key in HANDCRAFTED if parse_measure(key).differentiable]
ROUNDED = ["cw_ssim", "vif"]  # by pyiqa, to 8-bit luma, with the gradient passed straight through


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
