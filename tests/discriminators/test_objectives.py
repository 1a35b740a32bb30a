"""Adversarial objectives and penalties: closed forms, gradients, saturation."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lopsided.common.errors import LopsidedError
from lopsided.discriminators import (
    build_discriminator,
    gradient_penalty,
    list_objectives,
    objective,
    r1_penalty,
    r2_penalty,
)

LABELLED = ["bce", "least_squares", "relativistic"]
SMOOTHED = [("bce", 0.2), ("least_squares", 0.2), ("relativistic", 0.2)]


def log1pexp(*values):
    return sum(math.log1p(math.exp(v)) for v in values) / len(values)


def logits(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).requires_grad_()


@pytest.mark.parametrize(
    ("name", "for_discriminator", "for_generator"),
    [
        ("bce", log1pexp(0, -2) + log1pexp(-1, 0.5), log1pexp(1, -0.5)),
        ("least_squares", (1 + 1) / 2 + (1 + 0.25) / 2, (4 + 0.25) / 2),
        ("hinge", (1 + 0) / 2 + (0 + 1.5) / 2, 0.25),
        ("wasserstein", -0.25 - 1.0, 0.25),
        # mean of real 1, of fake -0.25: real - mean fake = 0.25, 2.25; fake - mean real = -2, -0.5
        ("relativistic", log1pexp(-0.25, -2.25) + log1pexp(-2, -0.5), log1pexp(0.25, 2.25) + log1pexp(2, 0.5)),
    ],
)
def test_known_answers_at_chosen_logits(name, for_discriminator, for_generator):
    real, fake = torch.tensor([0.0, 2.0]), torch.tensor([-1.0, 0.5])
    entry = objective(name)
    assert entry.discriminator(real, fake).item() == pytest.approx(for_discriminator, rel=1e-6)
    assert entry.generator(fake, real).item() == pytest.approx(for_generator, rel=1e-6)


def test_every_objective_is_listed_and_called_by_its_name():
    assert list_objectives() == ["bce", "least_squares", "hinge", "wasserstein", "relativistic"]
    assert [objective(name).name for name in list_objectives()] == list_objectives()


@pytest.mark.parametrize("name", list_objectives())
@pytest.mark.parametrize("shape", [(3, 1, 1, 1), (3, 1, 4, 5)])
def test_gradients_are_those_of_finite_differences(name, shape):
    entry, real, fake = objective(name), logits(*shape), logits(*shape, seed=1)
    assert torch.autograd.gradcheck(entry.discriminator, (real, fake))
    assert torch.autograd.gradcheck(entry.generator, (fake, real))


@pytest.mark.parametrize("name", LABELLED)
def test_gradients_under_label_smoothing_are_those_of_finite_differences(name):
    entry = objective(name, label_smoothing=0.1)
    assert torch.autograd.gradcheck(entry.discriminator, (logits(3, 1, 2, 2), logits(3, 1, 2, 2, seed=1)))


@pytest.mark.parametrize("name", list_objectives())
def test_a_patch_map_counts_as_the_mean_of_its_places(name):
    entry, real, fake = objective(name), logits(2, 1, 3, 3), logits(2, 1, 3, 3, seed=1)
    images = [entry.discriminator(real[[i]], fake[[i]]) for i in range(2)]
    if name != "relativistic":  # which compares with the average of the batch
        torch.testing.assert_close(entry.discriminator(real, fake), torch.stack(images).mean())
    constant = torch.full((2, 1, 5, 7), 0.3), torch.full((2, 1, 5, 7), -0.2)
    one = torch.full((2, 1, 1, 1), 0.3), torch.full((2, 1, 1, 1), -0.2)
    torch.testing.assert_close(entry.discriminator(*constant), entry.discriminator(*one))


@pytest.mark.parametrize("name", list_objectives())
@pytest.mark.parametrize("value", [1e4, -1e4])
def test_saturated_logits_keep_finite_gradients(name, value):
    real = torch.full((2, 1, 2, 2), value, requires_grad=True)
    fake = torch.full((2, 1, 2, 2), -value, requires_grad=True)
    entry = objective(name)
    for loss in (entry.discriminator(real, fake), entry.generator(fake, real)):
        assert torch.isfinite(loss)
        for gradient in torch.autograd.grad(loss, (real, fake), allow_unused=True):
            assert gradient is None or torch.isfinite(gradient).all()
    if name != "least_squares" and value > 0:  # the discriminator is sure: the generator must still be pulled
        (pull,) = torch.autograd.grad(entry.generator(fake, real), fake)
        assert (pull < 0).all()


@pytest.mark.parametrize("name", list_objectives())
def test_only_the_relativistic_generator_needs_real_logits(name):
    entry, fake = objective(name), torch.zeros(2)
    assert entry.needs_real == (name == "relativistic")
    if entry.needs_real:
        with pytest.raises(LopsidedError, match=r"generator\(fake, real\)"):
            entry.generator(fake)
    else:
        assert torch.equal(entry.generator(fake), entry.generator(fake, torch.ones(2)))


@pytest.mark.parametrize(("name", "smoothing"), [*((name, 0.0) for name in list_objectives()), *SMOOTHED[:2]])
def test_the_threshold_is_the_best_logit_for_images_that_cannot_be_told_apart(name, smoothing):
    entry = objective(name, label_smoothing=smoothing)
    threshold = entry.threshold
    equal = torch.linspace(-2, 2, 4001, dtype=torch.float64)
    losses = torch.stack([entry.discriminator(x[None], x[None]) for x in equal])
    if threshold is None:
        torch.testing.assert_close(losses, losses[:1].expand(4001))
    else:
        least = losses <= losses.min() + 1e-12  # hinge: a whole interval
        assert equal[least].mean().item() == pytest.approx(threshold, abs=1e-3)


def test_relativistic_ignores_a_shift_of_all_logits():
    entry, real, fake = objective("relativistic"), logits(4), logits(4, seed=1)
    torch.testing.assert_close(entry.discriminator(real + 7, fake + 7), entry.discriminator(real, fake))


@pytest.mark.parametrize(
    ("name", "optimum"), [("bce", math.log(0.9 / 0.1)), ("least_squares", 0.9), ("relativistic", math.log(0.9 / 0.1))]
)
def test_label_smoothing_moves_the_optimum_of_real_logits_only(name, optimum):
    entry, plain = objective(name, label_smoothing=0.1), objective(name)
    real, fake = torch.tensor([optimum], dtype=torch.float64, requires_grad=True), torch.zeros(1, dtype=torch.float64)
    if name == "relativistic":  # its term for generated images is moved by real logits too: take that away
        loss = entry.discriminator(real, fake) - F.softplus(fake - real.mean()).mean()
    else:
        loss = entry.discriminator(real, fake)
    assert torch.autograd.grad(loss, real)[0].item() == pytest.approx(0, abs=1e-12)
    assert torch.equal(entry.generator(fake, real), plain.generator(fake, real))


def test_no_smoothing_is_the_plain_cross_entropy_to_the_bit():
    real, fake = (torch.randn(64, generator=torch.Generator().manual_seed(s), requires_grad=True) for s in (0, 1))
    ours = objective("bce").discriminator(real, fake)
    plain = F.softplus(-real).mean() + F.softplus(fake).mean()
    assert torch.equal(ours, plain)
    for a, b in zip(torch.autograd.grad(ours, (real, fake)), torch.autograd.grad(plain, (real, fake)), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize(
    ("name", "smoothing", "message"),
    [
        ("wassertein", 0.0, "did you mean 'wasserstein'"),
        ("hinge", 0.1, "'hinge' has no labels"),
        ("wasserstein", 0.1, "'wasserstein' has no labels"),
        ("bce", 0.5, r"0\.5 of 'bce' is outside"),
        ("bce", -0.1, "outside"),
        ("bce", math.nan, "outside"),
    ],
)
def test_unknown_names_and_impossible_smoothings_are_refused(name, smoothing, message):
    with pytest.raises(LopsidedError, match=message):
        objective(name, label_smoothing=smoothing)


# --- penalties ------------------------------------------------------------------------------------------------------


class Smooth(nn.Module):
    """A small discriminator without kinks, in float64, so that finite differences can be trusted."""

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.first = nn.Parameter(0.3 * torch.randn(4, 3, 3, 3, generator=generator, dtype=torch.float64))
        self.second = nn.Parameter(0.3 * torch.randn(1, 4, 1, 1, generator=generator, dtype=torch.float64))

    def forward(self, images):
        return F.conv2d(torch.tanh(F.conv2d(images, self.first, stride=2)), self.second)


def pair(seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(2, 2, 3, 7, 7, generator=generator, dtype=dtype).unbind()


PENALTIES = {
    "gradient": lambda d, real, fake: gradient_penalty(d, real, fake, torch.Generator().manual_seed(3)),
    "r1": lambda d, real, fake: r1_penalty(d, real),
    "r2": lambda d, real, fake: r2_penalty(d, fake),
}


@pytest.mark.parametrize("name", PENALTIES)
def test_penalties_of_a_linear_discriminator_have_their_closed_form(name):
    """The logit 3·(sum of the image) / 147 has the slope 3/√147 everywhere."""
    real, fake = pair()
    value = PENALTIES[name](lambda x: 3 * x.mean((1, 2, 3), keepdim=True), real, fake)
    slope = 3 / math.sqrt(147)
    assert value.item() == pytest.approx((slope - 1) ** 2 if name == "gradient" else slope**2 / 2, rel=1e-12)


@pytest.mark.parametrize("name", PENALTIES)
def test_penalties_are_differentiable_in_the_parameters(name):
    network, (real, fake) = Smooth(), pair()

    def value(first, second):
        weights = {"first": first, "second": second}
        return PENALTIES[name](lambda x: torch.func.functional_call(network, weights, x), real, fake)

    assert torch.autograd.gradcheck(value, (network.first, network.second))
    assert torch.autograd.gradgradcheck(value, (network.first, network.second))


@pytest.mark.parametrize("name", ["r1", "r2"])
def test_slopes_are_those_of_finite_differences(name):
    network, images, step = Smooth(), pair()[name == "r2"], 1e-6
    slopes = torch.zeros_like(images)
    for index in range(images[0].numel()):
        moved = torch.zeros_like(images).flatten(1)
        moved[:, index] = step
        moved = moved.view_as(images)
        difference = (network(images + moved) - network(images - moved)).mean((1, 2, 3)) / (2 * step)
        slopes.view(len(images), -1)[:, index] = difference.detach()
    expected = slopes.flatten(1).square().sum(1).mean() / 2
    torch.testing.assert_close(PENALTIES[name](network, *pair()).detach(), expected, rtol=1e-7, atol=0)


def test_the_gradient_penalty_looks_between_the_images_and_is_seeded():
    seen = []

    def network(images):
        seen.append(images.detach())
        return images.square().sum((1, 2, 3))

    real, fake = torch.ones(64, 3, 2, 2), torch.zeros(64, 3, 2, 2)
    state = torch.get_rng_state()
    values = [gradient_penalty(network, real, fake, torch.Generator().manual_seed(s)) for s in (0, 0, 1)]
    assert torch.equal(torch.get_rng_state(), state)
    assert values[0] == values[1] != values[2]
    shares = seen[0].flatten(1)
    assert (shares == shares[:, :1]).all()  # one share an image
    assert shares[:, 0].min() >= 0
    assert shares[:, 0].max() < 1
    assert shares[:, 0].unique().numel() == 64
    with pytest.raises(LopsidedError, match="one shape"):
        gradient_penalty(network, real, fake[:1], torch.Generator())


def test_a_flat_discriminator_has_finite_gradients():
    """The norm of a zero slope has no derivative; the penalty must not turn it into NaN."""
    scale = torch.zeros(1, requires_grad=True)
    real, fake = pair(dtype=torch.float32)
    value = gradient_penalty(lambda x: scale * x.mean((1, 2, 3)), real, fake, torch.Generator().manual_seed(0))
    value.backward()
    assert value == 1
    assert scale.grad is not None
    assert torch.isfinite(scale.grad).all()


@pytest.mark.parametrize("key", ["vanilla", "patch", "patch-vgg16-r"])
@pytest.mark.parametrize("name", PENALTIES)
def test_penalties_reach_the_weights_of_real_discriminators(key, name):
    discriminator = build_discriminator(key)
    real, fake = torch.rand(2, 1, 3, 32, 32, generator=torch.Generator().manual_seed(0)).unbind()
    before = real.clone()
    PENALTIES[name](discriminator, real, fake).backward()
    moved = [p.grad for p in discriminator.parameters() if p.requires_grad and p.grad is not None]
    assert any(gradient.abs().sum() > 0 for gradient in moved)
    assert torch.equal(real, before)
    assert real.grad is None


@pytest.mark.parametrize(("name", "smoothing"), [*((name, 0.0) for name in list_objectives()), *SMOOTHED])
def test_objective_and_penalties_on_patch_maps_have_the_gradient_of_finite_differences(name, smoothing):
    network, (real, fake), entry = Smooth(), pair(), objective(name, label_smoothing=smoothing)

    def loss(first, second):
        weights = {"first": first, "second": second}
        return entry.discriminator(
            *(torch.func.functional_call(network, weights, images) for images in (real, fake))
        ) + sum(
            0.5 * PENALTIES[key](lambda x: torch.func.functional_call(network, weights, x), real, fake)
            for key in PENALTIES
        )

    assert network(real).shape == (2, 1, 3, 3)
    assert torch.autograd.gradcheck(loss, (network.first, network.second))
