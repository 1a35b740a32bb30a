"""Gaussian means: the band products of CPUs are the convolution, with its derivatives, whatever the program allows."""

import pytest
import torch
import torch.nn.functional as F
from support.photograph import build, crop, degrade, score_and_gradient

from lopsided.losses import create_measure
from lopsided.losses.gaussian import TILE, gaussian_means

SIDES = [(11, 11), (11, TILE + 10), (TILE + 11, TILE + 9), (2 * TILE + 10, 12), (3 * TILE + 5, 2 * TILE + 33)]


def plain_means(images):
    offset = torch.arange(11, dtype=images.dtype) - 5
    line = torch.exp(-offset.square() / (2 * 1.5**2))
    window = torch.outer(line, line) / line.sum() ** 2
    return F.conv2d(images.flatten(0, 1)[:, None], window[None, None]).view(*images.shape[:2], images.shape[2] - 10, -1)


def plain_ssim(x, y):
    """Eq. 13 of the 2004 paper, term by term."""
    mean_x, mean_y = plain_means(x), plain_means(y)
    var_x, var_y = plain_means(x * x) - mean_x**2, plain_means(y * y) - mean_y**2
    covariance = plain_means(x * y) - mean_x * mean_y
    c1, c2 = 0.01**2, 0.03**2
    above = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    return (above / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2))).mean((1, 2, 3))


@pytest.mark.parametrize("sides", SIDES)
def test_means_and_gradients_are_those_of_the_convolution(sides):
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(2, 3, *sides, generator=generator, dtype=torch.float64).requires_grad_()
    seen, expected = gaussian_means(images), plain_means(images)
    torch.testing.assert_close(seen, expected, rtol=1e-13, atol=1e-14)
    towards = torch.rand(seen.shape, generator=generator, dtype=torch.float64)
    gradients = [torch.autograd.grad(means, images, towards)[0] for means in (seen, expected)]
    torch.testing.assert_close(*gradients, rtol=1e-13, atol=1e-14)


def test_derivatives_of_both_orders_are_right():
    images = torch.rand(1, 2, TILE + 12, 13, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    images.requires_grad_()
    assert torch.autograd.gradcheck(gaussian_means, images, fast_mode=True)
    assert torch.autograd.gradgradcheck(lambda x: gaussian_means(x).square(), images, fast_mode=True)


@pytest.mark.parametrize("sides", [(64, 64), (97, 150)])
def test_ssim_in_float64_is_the_formula_to_its_last_digits(sides):
    reference = crop(max(sides), torch.float64)[..., : sides[0], : sides[1]]
    image = degrade(reference).requires_grad_()
    expected = plain_ssim(image, reference)
    (gradient,) = torch.autograd.grad(expected.sum(), image)
    seen = score_and_gradient(create_measure({"measure": "ssim", "color": "rgb"}), image.detach(), reference)
    torch.testing.assert_close(seen[0], expected.detach(), rtol=1e-13, atol=0)
    assert (seen[1] - gradient).norm() < 1e-13 * gradient.norm()


@pytest.mark.parametrize("key", ["ssim", "ms_ssim"])
def test_programs_that_allow_coarse_matrix_products_get_the_same_scores(key):
    """``medium`` lets a CPU round the factors of a product to bfloat16: two digits instead of seven."""
    reference = crop(192)
    image = degrade(reference)
    exact, gradient = score_and_gradient(build(key), image.double(), reference.double())
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("medium")
        score, coarse = score_and_gradient(build(key), image, reference)
    finally:
        torch.set_float32_matmul_precision(before)
    assert score.item() == pytest.approx(exact.item(), rel=1e-6)
    assert (coarse - gradient).norm() < 1e-5 * gradient.norm()


def test_layout_and_one_reference_for_all_do_not_matter():
    measure = create_measure({"measure": "ssim", "color": "rgb"})
    reference = crop(80)
    images = torch.cat([degrade(reference), degrade(reference, 1)])
    expected = measure.score(images, torch.cat([reference, reference]))
    assert torch.equal(measure.score(images, reference), expected)
    strided = images.contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(measure.score(strided, reference), expected, rtol=1e-6, atol=0)
