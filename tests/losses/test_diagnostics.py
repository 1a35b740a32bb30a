"""Diagnostics of measures as objectives: known answers, planted properties, independent computations."""

import math

import pytest
import torch
from support.photograph import crop
from torch import Tensor

from lopsided.losses import MeasureSpec, PreciseMeasure, create_measure
from lopsided.losses.diagnostics import (
    MARGIN,
    alignment,
    colour_drift,
    curvature,
    differentiate,
    frequency,
    invariance,
    psnr,
    recover,
    shares,
)

SIDE = 32
FEATURES = "squeezenet1_1-r"


@pytest.fixture(scope="module")
def references():
    return torch.cat([crop(64)[..., :SIDE, :SIDE], crop(64)[..., -SIDE:, -SIDE:]])


@pytest.fixture(scope="module")
def noisy(references):
    return (references + 0.05 * torch.randn(references.shape, generator=seeded(1))).clamp(0, 1)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def by_name(readings):
    return {reading.detail: reading.values for reading in readings}


class Quadratic(PreciseMeasure):
    """``Σ w d²`` with a weight of its own for each row; the eigenvalues of its Hessian are 2 w."""

    def __init__(self, weights):
        super().__init__(Toy())
        self.weights = weights

    def _compute(self, images: Tensor, references: Tensor) -> Tensor:
        return (self.weights.view(-1, 1) * (images - references).square()).flatten(1).sum(1)


class OneGradient(torch.autograd.Function):
    """The sum of squares, whose gradient cannot be differentiated again."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.square().flatten(1).sum(1)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient):  # pyright: ignore[reportIncompatibleMethodOverride]
        (x,) = ctx.saved_tensors
        return 2 * x * gradient.view(-1, 1, 1, 1)


class Once(PreciseMeasure):
    def __init__(self):
        super().__init__(Toy())

    def _compute(self, images, references):
        return OneGradient.apply(images - references)


class Toy(MeasureSpec):
    measure: str = "toy"

    @classmethod
    def names(cls):
        return ("toy",)

    @property
    def key(self):
        return self.measure

    @property
    def families(self):
        return frozenset()

    @property
    def min_size(self):
        return 1

    def build(self, *, reduction="mean"):
        raise NotImplementedError


# --- gradients ------------------------------------------------------------------------------------------------------


def test_pixel_losses_point_where_they_must(references, noisy):
    l1, l2 = (by_name(alignment(create_measure(key), noisy, references)) for key in ("l1", "l2"))
    assert l1["pixel"].tolist() == pytest.approx([1, 1], abs=1e-6)
    assert l2["residual"].tolist() == pytest.approx([1, 1], abs=1e-6)
    assert torch.allclose(l1["residual"], l2["pixel"])
    assert 0.7 < l1["residual"][0] < 0.9  # √(2/π) for normal noise


def test_a_gradient_that_is_zero_points_nowhere(references):
    assert all(
        values.isnan().all() for values in by_name(alignment(create_measure("l2"), references, references)).values()
    )


def test_bands_hold_the_energy_of_planted_waves(references):
    """The gradient of the squared error is the residual itself."""
    column = torch.arange(SIDE)
    for cycles, band in ((1, 0), (7, 2), (15, 5)):
        wave = 0.1 * torch.cos(2 * math.pi * cycles * column / SIDE)
        found = frequency(create_measure("l2"), references + wave, references, bands=6)
        assert torch.stack([reading.values for reading in found]).sum(0).tolist() == pytest.approx([1, 1])
        assert found[band].values.tolist() == pytest.approx([1, 1])
    assert [reading.detail for reading in found] == [
        *("0.00–0.08", "0.08–0.17", "0.17–0.25", "0.25–0.33", "0.33–0.42", "0.42–0.50")
    ]


# --- curvature ------------------------------------------------------------------------------------------------------


def test_the_squared_error_is_conditioned_perfectly(references):
    found = curvature(create_measure("l2"), references, seeded())
    size = references[0].numel()
    values = by_name(found)
    assert values["largest eigenvalue"].tolist() == pytest.approx([2 / size] * 2)
    assert values["largest over mean"].tolist() == pytest.approx([1, 1], rel=1e-4)
    assert values["effective share"].tolist() == pytest.approx([1, 1], rel=1e-4)
    assert {reading.note for reading in found} == {"second derivatives"}


def test_planted_eigenvalues_are_found(references):
    weights = torch.ones(SIDE)
    weights[5] = 20.0
    values = by_name(curvature(Quadratic(weights), references, seeded(), power_steps=20, probes=2))
    mean = 2 * weights.mean().item()
    assert values["largest eigenvalue"].tolist() == pytest.approx([40, 40], rel=1e-3)
    assert values["mean eigenvalue"].tolist() == pytest.approx([mean, mean], rel=1e-3)  # exact for a diagonal Hessian
    share = (weights.mean() ** 2 / weights.square().mean()).item()
    assert values["effective share"].tolist() == pytest.approx([share, share], rel=1e-3)


def test_a_measure_without_second_derivatives_is_differenced_and_says_so(references):
    found = curvature(Once(), references, seeded())
    assert {reading.note for reading in found} == {"finite differences"}
    assert by_name(found)["largest eigenvalue"].tolist() == pytest.approx([2, 2], rel=1e-3)


def test_both_ways_agree_on_a_smooth_measure(references, monkeypatch):
    measure = create_measure("ssim")
    exact = by_name(curvature(measure, references, seeded(), power_steps=4, probes=2))
    real, calls = torch.autograd.grad, []

    def refuse_second(outputs, inputs, *args, **options):
        calls.append(options.get("create_graph"))
        if options.get("create_graph"):
            raise RuntimeError("no second derivative")
        return real(outputs, inputs, *args, **options)

    monkeypatch.setattr(torch.autograd, "grad", refuse_second)
    found = curvature(measure, references, seeded(), power_steps=4, probes=2)
    assert {reading.note for reading in found} == {"finite differences"}
    assert True in calls
    for name, values in by_name(found).items():
        assert torch.allclose(values, exact[name], rtol=0.03), name


def test_a_measure_without_curvature_has_no_condition(references):
    values = by_name(curvature(create_measure("l1"), references, seeded()))
    assert values["largest eigenvalue"].tolist() == [0, 0]
    assert values["largest over mean"].isnan().all()


# --- parts ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["dists", "lpips", "perceptual", "style"])
def test_shares_of_layers_sum_to_one(family, references, noisy):
    values = by_name(shares(create_measure(f"{family}-{FEATURES}"), noisy, references))
    kinds = {name: values.pop(name) for name in ("texture", "structure") if name in values}
    assert torch.stack(list(values.values())).sum(0).tolist() == pytest.approx([1, 1], rel=1e-5)
    assert (family == "dists") == bool(kinds) == ("image" in values)
    assert list(values)[-1] == "fire9"


def test_a_change_of_means_is_texture(references):
    """DISTS at its image layer alone: brighter means, the same structure."""
    measure = create_measure({"measure": "dists", "backbone": FEATURES})
    with torch.no_grad():
        for name in ("alpha", "beta"):
            getattr(measure, name)[3:] = 0
    values = by_name(shares(measure, references + 0.1, references))
    assert values["texture"].tolist() == pytest.approx([1, 1], abs=1e-3)
    assert values["image"].tolist() == pytest.approx([1, 1], abs=1e-6)


def test_a_pixel_loss_has_no_parts(references, noisy):
    assert shares(create_measure("l1"), noisy, references) == []


# --- invariances ----------------------------------------------------------------------------------------------------


def test_invariances_are_relative_to_noise_of_the_stated_psnr():
    wide = crop(64)
    values = by_name(invariance(create_measure("l2"), wide, seeded(), noise_psnr=30.0))
    inner = wide[..., MARGIN:-MARGIN, MARGIN:-MARGIN]
    assert values["brightness"].item() == pytest.approx((5 / 255) ** 2 / 1e-3, rel=0.05)
    moved = wide[..., MARGIN:-MARGIN, MARGIN - 1 : -MARGIN - 1]
    assert values["shift"].item() == pytest.approx((moved - inner).square().mean().item() / 1e-3, rel=0.05)
    # SSIM sees luma only, and a shift of chroma at constant luma not at all.
    assert by_name(invariance(create_measure("ssim"), wide, seeded()))["colour"].item() == pytest.approx(0, abs=1e-3)


def test_other_texture_is_the_same_picture_without_its_detail():
    """A photograph without detail has nothing to move."""
    smooth = torch.nn.functional.interpolate(torch.rand(1, 3, 4, 4, generator=seeded()), size=64, mode="bicubic")
    smooth = (0.25 + 0.5 * smooth).clamp(0, 1)
    measure = create_measure("l2")
    assert by_name(invariance(measure, smooth, seeded()))["texture"] < 0.2
    assert by_name(invariance(measure, crop(64), seeded()))["texture"] > 1


# --- descents -------------------------------------------------------------------------------------------------------


def test_pixels_recover_by_the_squared_error(references, noisy):
    seen = []
    found = recover(create_measure("l2"), noisy, references, steps=25, every=10, progress=seen.append)
    assert list(found.psnr) == [0, 10, 20, 25]
    assert seen == list(range(1, 26))
    course = torch.stack(list(found.psnr.values()))
    assert (course.diff(dim=0) > 0).all()
    assert torch.equal(found.psnr[0], psnr(noisy, references))
    assert torch.equal(found.psnr[25], psnr(found.images, references))
    assert (found.loss < 0.05).all()


def test_images_do_not_influence_each_other(references, noisy):
    measure = create_measure("ssim")
    together = recover(measure, noisy, references, steps=5).images
    alone = torch.cat([recover(measure, noisy[i : i + 1], references[i : i + 1], steps=5).images for i in range(2)])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)


def test_colour_drift_is_the_change_of_means(references):
    shift = torch.tensor([2.0, 0.0, -2.0]).view(3, 1, 1) / 255
    values = by_name(colour_drift(references, references + shift))
    assert [values[name][0].item() for name in ("red", "green", "blue")] == pytest.approx([2, 0, -2], abs=1e-4)
    assert values["size"][0].item() == pytest.approx((8 / 3) ** 0.5, abs=1e-4)


@pytest.mark.parametrize("towards", ["best", "worst"])
def test_one_measure_moves_while_the_other_keeps_its_value(towards, references, noisy):
    held, moved = create_measure("l2"), create_measure("ssim")
    found = differentiate(held, moved, noisy, references, towards, steps=15)
    assert found.held.tolist() == pytest.approx([1, 1], rel=0.02)
    assert ((found.moved < 0.9) if towards == "best" else (found.moved > 1.1)).all()
    score = 1 - moved.score(found.images, references)
    assert (score / (1 - moved.score(noisy, references))).tolist() == pytest.approx(found.moved.tolist(), rel=1e-3)
