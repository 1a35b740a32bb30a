"""Differentiable augmentation: closed forms, gradients, the distribution of its draws."""

import math

import pytest
import torch

from lopsided.common.errors import LopsidedError
from lopsided.discriminators import Augmentation, augment, build_discriminator, objective

EACH: list[Augmentation] = ["color", "translation", "cutout"]


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def images_of(batch=2, height=12, width=16, dtype=torch.float64, seed=7):
    return torch.rand(batch, 3, height, width, generator=seeded(seed), dtype=dtype)


def test_no_augmentation_is_the_identity_and_draws_nothing():
    images, generator = images_of(), seeded()
    before = generator.get_state()
    assert augment(images, [], generator) is images
    assert torch.equal(generator.get_state(), before)


@pytest.mark.parametrize("policy", [["color"], ["translation"], ["cutout"], EACH, EACH[::-1]])
def test_gradients_are_those_of_finite_differences(policy):
    images = images_of(2, 4, 6).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: augment(x, policy, seeded()), (images,))
    assert torch.autograd.gradgradcheck(lambda x: augment(x, policy, seeded()), (images,))


@pytest.mark.parametrize("policy", [["color"], ["translation"], ["cutout"], EACH])
def test_draws_come_from_the_given_generator_alone(policy):
    images = images_of()
    state = torch.get_rng_state()
    first, again, other = (augment(images, policy, seeded(s)) for s in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert first.shape == images.shape
    assert first.dtype == images.dtype


@pytest.mark.parametrize("name", EACH)
def test_each_image_has_draws_of_its_own(name):
    twins = images_of(1).expand(8, -1, -1, -1)
    seen = augment(twins, [name], seeded())
    assert len({tuple(image.flatten().tolist()) for image in seen}) > 4


def test_augmentations_follow_each_other_in_the_given_order():
    images, generator = images_of(), seeded()
    step = augment(augment(images, ["cutout"], generator), ["color"], generator)
    assert torch.equal(augment(images, ["cutout", "color"], seeded()), step)
    assert not torch.equal(augment(images, ["color", "cutout"], seeded()), step)


# --- color ----------------------------------------------------------------------------------------------------------


def colour_draws(before, after):
    """Brightness, saturation and contrast that took ``before`` to ``after``: a fit that knows only the definitions.

    A pixel x of mean g in an image of mean m becomes m + b + c·(g - m) + c·s·(x - g).
    """
    found = []
    for x, y in zip(before, after, strict=True):
        grey, mean = x.mean(0, keepdim=True).expand_as(x), x.mean()
        terms = torch.stack([torch.ones_like(x).flatten(), (grey - mean).flatten(), (x - grey).flatten()], 1)
        solution = torch.linalg.lstsq(terms, (y - mean).reshape(-1, 1)).solution.flatten()
        torch.testing.assert_close((terms @ solution).reshape(x.shape), y - mean, rtol=0, atol=1e-10)
        b, c, cs = solution.tolist()
        found.append((b, cs / c, c))
    return torch.tensor(found)


def test_color_is_brightness_saturation_and_contrast_with_uniform_draws():
    images = images_of(600, 6, 6)
    brightness, saturation, contrast = colour_draws(images, augment(images, ["color"], seeded())).T
    for values, low, high in ((brightness, -0.25, 0.25), (saturation, 0, 2), (contrast, 0.5, 1.5)):
        assert_uniform((values - low) / (high - low))
    draws = torch.stack([brightness, saturation, contrast])
    assert (torch.corrcoef(draws) - torch.eye(3)).abs().max() < 0.15  # independent of each other


def assert_uniform(values):
    """Kolmogorov and Smirnov's distance from U[0, 1], at a level of about one in a million."""
    values = values.double().sort().values
    assert values[0] >= -1e-6
    assert values[-1] <= 1 + 1e-6
    ranks = torch.arange(1, len(values) + 1) / len(values)
    assert (values - ranks).abs().max() < 2.7 / math.sqrt(len(values))


# --- translation ----------------------------------------------------------------------------------------------------


def shifted(image, down, right):
    height, width = image.shape[1:]
    framed = torch.full((3, 3 * height, 3 * width), 0.5, dtype=image.dtype)
    framed[:, height + down : 2 * height + down, width + right : 2 * width + right] = image
    return framed[:, height : 2 * height, width : 2 * width]


def test_translation_is_a_whole_shift_of_up_to_an_eighth_with_grey_behind():
    images = images_of(300, 16, 24)
    counts = {}
    for before, after in zip(images, augment(images, ["translation"], seeded()), strict=True):
        matches = [
            (down, right)
            for down in range(-2, 3)
            for right in range(-3, 4)
            if torch.equal(shifted(before, down, right), after)
        ]
        assert len(matches) == 1
        counts[matches[0]] = counts.get(matches[0], 0) + 1
    assert len(counts) == 5 * 7  # every shift occurs
    assert max(counts.values()) < 30  # of 8.6 expected


# --- cutout ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("height", "width"), [(12, 16), (9, 14), (7, 7)])
def test_cutout_is_a_grey_hole_of_half_the_side_centred_anywhere(height, width):
    images = images_of(400, height, width)
    seen = augment(images, ["cutout"], seeded())
    tall, wide = int(height / 2 + 0.5), int(width / 2 + 0.5)
    tops = set()
    for before, after in zip(images, seen, strict=True):
        hole = (after == 0.5).all(0)
        assert torch.equal(after[:, ~hole], before[:, ~hole])
        rows, columns = hole.any(1).nonzero().flatten(), hole.any(0).nonzero().flatten()
        assert int(hole.sum()) == len(rows) * len(columns)  # a rectangle
        assert len(rows) == tall or rows[0] == 0 or rows[-1] == height - 1  # cut by the border only
        assert len(columns) == wide or columns[0] == 0 or columns[-1] == width - 1
        assert len(rows) >= tall // 2
        tops.add((int(rows[0]), int(rows[-1])))
    centres = height + 1 - tall % 2
    assert len(tops) == centres  # each centre occurs, an even hole's between the pixels


# --- use ------------------------------------------------------------------------------------------------------------


def test_the_generator_is_pulled_through_augmentation_and_discriminator():
    images = images_of(2, 32, 32, torch.float32).requires_grad_()
    logits = build_discriminator("patch")(augment(images, EACH, seeded()))
    (pull,) = torch.autograd.grad(objective("bce").generator(logits), images)
    assert torch.isfinite(pull).all()
    assert (pull != 0).any(1).float().mean() > 0.3  # everywhere but in the hole and beyond the border


@pytest.mark.parametrize(
    ("policy", "images", "message"),
    [
        (["colour"], images_of(), "did you mean 'color'"),
        (["flip"], images_of(), "known: color, translation, cutout"),
        ("cutout", images_of(), "unknown augmentation 'c'"),
        (["color"], images_of()[0], "got torch.float64 of"),
        (["color"], torch.zeros(1, 3, 8, 8, dtype=torch.uint8), "got torch.uint8"),
    ],
)
def test_unknown_augmentations_and_other_tensors_are_refused(policy, images, message):
    with pytest.raises(LopsidedError, match=message):
        augment(images, policy, seeded())
