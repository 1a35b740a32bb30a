"""Images in another range than the measure's: refused with the fix in the message, or declared and brought to it."""

import pytest
import torch
from support.photograph import crop
from torch import nn

from lopsided.losses import DistsSpec, MeasureError, MeasureGroup, create_measure, parse_measure

KEYS = ["l1", "ssim", "nlpd", "psnr_y", "dists-squeezenet1_1-r", "lpips-squeezenet1_1-r", "style-squeezenet1_1-r"]


def crops(count: int = 4, side: int = 64) -> torch.Tensor:
    image = crop(256)
    return torch.cat([image[..., i * 24 : i * 24 + side, i * 20 : i * 20 + side] for i in range(count)])


def blurred(images: torch.Tensor) -> torch.Tensor:
    small = nn.functional.avg_pool2d(images, 4)
    return nn.functional.interpolate(small, scale_factor=4, mode="bilinear")


@pytest.mark.parametrize(
    "restored",
    [lambda r: r, blurred, lambda r: (r + 0.1 * torch.randn(r.shape)).clamp(0, 1), lambda r: 1.03 * r - 0.015],
    ids=["exact", "blurred", "noisy", "overshooting"],
)
@pytest.mark.parametrize("prepared", [False, True])
def test_a_prediction_in_minus_one_to_one_beside_a_reference_in_zero_to_one_is_refused(restored, prepared):
    torch.manual_seed(0)
    measure, reference = create_measure("ssim"), crops()
    prediction = restored(reference)
    measure(prediction, reference)
    beside = measure.prepare(reference) if prepared else reference
    with pytest.raises(MeasureError, match=r"looks like an image in \[-1, 1\].*\(prediction \+ 1\) / 2.*input_range"):
        measure(2 * prediction - 1, beside)
    with pytest.raises(MeasureError, match="input_range"):
        MeasureGroup(["l1", "ssim"])(2 * prediction - 1, beside if not prepared else reference)


def test_what_training_does_is_not_refused():
    """Untrained networks, whose outputs are half negative, and overshoot: none is taken for a mistake."""
    torch.manual_seed(0)
    measure, reference = create_measure("l1"), crops(8)
    negative = 0
    for seed in range(200):
        torch.manual_seed(seed)
        network = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 3, 3, padding=1))
        prediction = (1 + seed % 4) * network(reference[: 1 + seed % 8])
        negative += bool((prediction < -0.05).float().mean() > 0.3)
        measure(prediction, reference[: 1 + seed % 8])
    assert negative > 50
    for overshoot in (-0.5 * reference, reference - 1, -reference, 2 * reference - 0.5, -torch.ones_like(reference)):
        measure(overshoot, reference)


def test_what_is_refused_anyway_names_the_fix():
    reference = crops()
    measure = create_measure("l1")
    with pytest.raises(MeasureError, match=r"seen \[-1, .*by \(x \+ 1\) / 2, or use the option input_range"):
        measure.score(2 * reference - 1, reference)
    with pytest.raises(MeasureError, match=r"reference must be in \[0, 1\].*by \(x \+ 1\) / 2"):
        measure(2 * reference - 1, 2 * reference - 1)
    with pytest.raises(MeasureError, match=r"divide images in \[0, 255\] by 255"):
        measure.score(255 * reference, reference)
    ranged = create_measure("l1", input_range=(-1, 1))
    with pytest.raises(MeasureError, match=r"images must be in \[-1, 1\], seen \[0, 2"):
        ranged.score((255 * reference).round(), reference)
    with pytest.raises(ValueError, match="input_range"):  # every error about a value is one
        create_measure("l1", input_range=(1, -1))


@pytest.mark.parametrize("ends", [(-1.0, 1.0), (0.0, 255.0)])
@pytest.mark.parametrize("key", KEYS)
def test_an_input_range_is_exactly_the_same_as_rescaling_by_hand(key, ends):
    low, high = ends
    torch.manual_seed(0)
    reference = low + (high - low) * crops(2)
    prediction = (low + (high - low) * (0.8 * crops(2) + 0.2 * torch.rand(2, 3, 64, 64))).requires_grad_()
    plain, ranged = create_measure(key), create_measure(key, input_range=ends)
    value = ranged(prediction, reference)
    (gradient,) = torch.autograd.grad(value, prediction)
    by_hand = plain((prediction - low) / (high - low), (reference - low) / (high - low))
    (expected,) = torch.autograd.grad(by_hand, prediction)
    assert gradient.any()
    assert torch.equal(value, by_hand)
    assert torch.equal(gradient, expected)
    scores = ranged.score(prediction.detach(), ranged.prepare(reference))
    assert torch.equal(scores, ranged.score(prediction.detach(), reference))
    if hasattr(ranged, "terms"):
        terms, others = (
            ranged.terms(prediction, reference),  # pyright: ignore[reportCallIssue]
            plain.terms(  # pyright: ignore[reportCallIssue]
                (prediction - low) / (high - low), (reference - low) / (high - low)
            ),
        )
        assert all(torch.equal(a, b) for a, b in zip(_flat(terms), _flat(others), strict=True))


def _flat(terms):
    return [part for term in terms for part in (term if isinstance(term, tuple) else (term,))]


def test_groups_share_a_pass_only_between_equal_ranges():
    half = {"measure": "style", "backbone": "squeezenet1_1-r", "input_range": [-1, 1]}
    group = MeasureGroup(["dists-squeezenet1_1-r", half, "l1"])
    images, references = crops(2), crops(2).flip(0)
    scores = group.score(images, references)
    for value, score in zip(("dists-squeezenet1_1-r", half, "l1"), scores.values(), strict=True):
        assert torch.equal(score, create_measure(value).score(images, references))


@pytest.mark.parametrize("key", KEYS)
def test_the_range_is_part_of_the_identity_unless_it_is_the_usual_one(key):
    spec = parse_measure(key)
    usual, other = (parse_measure({**spec.model_dump(), "input_range": ends}) for ends in ((0, 1), (-1, 1)))
    assert "input_range" not in spec.definition()
    assert (usual.identity, usual.key) == (spec.identity, spec.key)
    assert other.definition() == {**spec.definition(), "input_range": [-1, 1]}
    assert other.identity != spec.identity
    assert other.key == f"{key}+{other.identity[:4]}"
    assert DistsSpec(input_range=(-1, 1)).key != "dists"
