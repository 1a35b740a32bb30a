"""The artefact measure: it rises with what was planted, and with nothing else."""

import math

import numpy as np
import pytest
import torch
from support.photograph import crop

from lopsided.iqa import create_judge
from lopsided.losses import Artefact, MeasureError, create_measure
from lopsided.sr.corruption import filter_image, gaussian_noise, jpeg
from lopsided.sr.degradation import bicubic_resize
from lopsided.sr.kernels import gaussian_kernel, sinc_kernel

SIZE = 128
MEASURE = Artefact()
ROW, COLUMN = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
PATTERNS = {  # each with a root mean square of one grey level
    "checkerboard": ((ROW + COLUMN) % 2 * 2 - 1) / 255,
    "grid of 4": (torch.cos(math.pi * ROW / 2) + torch.cos(math.pi * COLUMN / 2)) / 255,
    "stripes of 8": 2**0.5 * torch.sin(math.pi * COLUMN / 4) / 255,
}


@pytest.fixture(scope="module")
def photograph():
    """A photograph that leaves room for a pattern on both sides of the range."""
    return 0.1 + 0.8 * crop(SIZE)


@pytest.fixture(scope="module")
def edges():
    """A bright disc and a bar on grey: strong edges, and smooth everywhere else."""
    disc = torch.hypot(ROW - 50.0, COLUMN - 50.0) < 28
    bar = (ROW > 95) & (ROW < 115)
    return torch.where(disc | bar, 0.8, 0.3).expand(1, 3, SIZE, SIZE)


def filtered(image, kernel):
    return filter_image(image[0], kernel)[None]


def terms(image, reference):
    return tuple(term.item() for term in MEASURE.terms(image.clamp(0, 1), reference))


@pytest.mark.parametrize("pattern", PATTERNS)
def test_planted_patterns_are_found_at_their_strength(photograph, pattern):
    found = [terms(photograph + strength * PATTERNS[pattern], photograph)[0] for strength in (0, 1, 2, 4, 8)]
    assert found == sorted(found)
    assert found[0] == 0
    assert found[3:] == pytest.approx([4, 8], rel=0.15)


def test_planted_ringing_rises_with_its_strength(edges, photograph):
    for reference in (edges, photograph):
        ripples = filtered(reference, sinc_kernel(21, math.pi / 2.5)) - reference
        found = [terms(reference + strength * ripples, reference) for strength in (0, 0.25, 0.5, 0.75, 1)]
        ringing = [term for _, term in found]
        assert ringing == sorted(ringing)
        assert ringing[0] == 0 < ringing[-1]
        assert max(periodic for periodic, _ in found) < 0.1
    reference, longer = edges, filtered(edges, sinc_kernel(21, math.pi / 2.5))
    assert terms(longer, reference)[1] > 10 * terms(filtered(reference, gaussian_kernel(21, 1.5)), reference)[1]


@pytest.mark.parametrize("name", ["photograph", "edges"])
def test_blur_and_brightness_score_next_to_nothing(name, request):
    reference = request.getfixturevalue(name)
    blurred = [filtered(reference, gaussian_kernel(21, sigma)) for sigma in (0.7, 1.5, 3)]
    for image in (*blurred, reference + 5 / 255, 0.9 * reference + 0.05):
        assert MEASURE.score(image, reference).item() < 0.1
    assert MEASURE.score(reference + 5 / 255, reference).item() == 0


def test_noise_and_enlarging_score_little(photograph, edges):
    """A checkerboard of 8 grey levels scores 8."""
    noise = gaussian_noise(photograph[0], 8, np.random.default_rng(0))
    assert MEASURE.score((photograph + noise).clamp(0, 1), photograph).item() < 0.5
    assert MEASURE.score(edges + noise, edges).item() < 0.5
    enlarged = bicubic_resize(bicubic_resize(photograph, 1 / 4), 4.0)
    assert MEASURE.score(enlarged.clamp(0, 1), photograph).item() < 0.2


def test_jpeg_rings(photograph):
    found = [terms(jpeg(photograph[0], quality)[None], photograph)[1] for quality in (95, 50, 20)]
    assert found == sorted(found)
    assert found[-1] > 0.2


def test_equal_images_score_exactly_zero(photograph, edges):
    assert MEASURE.score(torch.cat([photograph, edges]), torch.cat([photograph, edges])).tolist() == [0, 0]


def test_patterns_of_the_reference_are_not_artefacts(photograph):
    """Blurring a picture of a grid takes the grid away; that is blur."""
    grid = photograph + 8 * PATTERNS["grid of 4"]
    assert MEASURE.score(filtered(grid, gaussian_kernel(21, 1.0)), grid).item() < 0.1
    assert MEASURE.score(grid, photograph).item() > 7


def test_colour_patterns_count_in_their_channel(photograph):
    green = torch.tensor([0.0, 1.0, 0.0]).view(3, 1, 1)
    assert terms(photograph + 6 * green * PATTERNS["checkerboard"], photograph)[0] == pytest.approx(2, rel=0.1)


def test_it_is_a_judge_and_no_loss(photograph):
    judge = create_judge("artefact", scale=4)
    assert judge.lower_is_better
    assert judge.spec.families == {"form:artefact"}
    assert judge.score(photograph + 4 * PATTERNS["checkerboard"], photograph).item() > 3
    with pytest.raises(MeasureError, match="cannot be a loss; use it as a judge"):
        create_measure("artefact")(photograph.clone().requires_grad_(), photograph)
