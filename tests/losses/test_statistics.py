"""Feature statistics and L2 pooling: closed forms, both derivatives, independence of the block size and of autocast."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.autograd import gradcheck, gradgradcheck

from lopsided.backbones import L2Pool
from lopsided.common import blocks
from lopsided.losses.statistics import joint_moments, moments
from lopsided.losses.unit_distance import unit_distance


def maps(*shape, dtype=torch.float64, seed=0):
    return torch.rand(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(params=[1 << 18, 40, 1], ids=lambda n: f"blocks of {n}")
def block(request, monkeypatch):
    """Whole samples, parts of one, single places."""
    monkeypatch.setattr(blocks, "BLOCK", request.param)


@pytest.mark.usefixtures("block")
@pytest.mark.parametrize("references", [3, 1])
def test_moments_are_those_of_numpy(references):
    x, y = maps(3, 4, 7, 6), maps(references, 4, 7, 6, seed=1)
    of_y = moments(y)
    mean, variance, covariance = (t.numpy() for t in joint_moments(x, of_y))
    a, b = x.flatten(2).numpy(), y.expand_as(x).flatten(2).numpy()
    np.testing.assert_allclose(mean, a.mean(2))
    np.testing.assert_allclose(variance, a.var(2))
    np.testing.assert_allclose(covariance, ((a - a.mean(2, keepdims=True)) * b).mean(2), atol=1e-15)
    np.testing.assert_allclose(of_y.variance.numpy(), y.flatten(2).numpy().var(2))


@pytest.mark.usefixtures("block")
@pytest.mark.parametrize("references", [2, 1])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_first_and_second_derivatives_of_moments(references, layout):
    x = maps(2, 3, 5, 4).contiguous(memory_format=layout).requires_grad_()
    of_y = moments(maps(references, 3, 5, 4, seed=1))
    assert gradcheck(lambda z: joint_moments(z, of_y), x)
    assert gradgradcheck(lambda z: joint_moments(z, of_y), x)


@pytest.mark.usefixtures("block")
@pytest.mark.parametrize("size", [(6, 8), (7, 5), (1, 2)])
def test_first_and_second_derivatives_of_l2_pooling(size):
    x = (maps(2, 3, *size) - 0.5).requires_grad_()
    assert gradcheck(L2Pool(), x)
    assert gradgradcheck(L2Pool(), x)


def test_l2_pooling_is_the_convolution_of_its_definition():
    x = maps(2, 5, 9, 8, dtype=torch.float32)
    hann = torch.tensor([0.5, 1.0, 0.5])
    window = (torch.outer(hann, hann) / 4).expand(5, 1, 3, 3)
    expected = (F.conv2d(x.square(), window, stride=2, padding=1, groups=5) + 1e-12).sqrt()
    torch.testing.assert_close(L2Pool()(x), expected)


def test_a_large_mean_does_not_cancel_the_variance():
    """Relative variance 1e-6 in float32: E[x²] - E[x]² would keep no digit of it."""
    x = 1000 + maps(1, 2, 64, 64, dtype=torch.float64)
    variance = joint_moments(x.float(), moments(x.float()))[1]
    torch.testing.assert_close(variance.double(), x.float().double().var((2, 3), correction=0), rtol=1e-4, atol=0)


def test_the_gradient_of_a_channel_that_hardly_varies_does_not_cancel():
    """The mean is 4,000 steps of the variation, and exact, so that nothing else is rounded."""
    half = torch.randint(-8, 9, (2, 1, 8, 16, 8), generator=torch.Generator().manual_seed(0))
    x, y = 4 + torch.cat([half, -half], -1) * 2.0**-12
    gradients = []
    for dtype in (torch.float32, torch.float64):
        leaf = x.to(dtype).requires_grad_()
        _, variance, covariance = joint_moments(leaf, moments(y.to(dtype)))
        gradients.append(torch.autograd.grad((1e6 * (variance + covariance)).sum(), leaf)[0].double())
    torch.testing.assert_close(*gradients, rtol=1e-5, atol=1e-6 * gradients[1].abs().max().item())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_features_have_float32_statistics(dtype):
    # Squares of 300 overflow float16; sums of 4096 values lose all digits in bfloat16.
    x, y = (300 * maps(1, 8, 64, 64, dtype=torch.float32, seed=s).to(dtype) for s in (0, 1))
    with torch.autocast("cpu", dtype=dtype):
        results = joint_moments(x.requires_grad_(), moments(y))
        pooled = L2Pool()(x)
    for result, expected in zip(results, joint_moments(x.detach().double(), moments(y.double())), strict=True):
        assert result.dtype == torch.float32
        torch.testing.assert_close(result.double(), expected, rtol=1e-5, atol=1e-3)
    assert pooled.dtype == dtype
    torch.testing.assert_close(pooled.double(), L2Pool()(x.double()), rtol=1e-2, atol=0)
    (results[1].sum() + pooled.float().sum()).backward()
    assert x.grad is not None
    assert torch.isfinite(x.grad).all()


def test_silent_and_infinite_features_are_not_hidden():
    silent = torch.zeros(1, 2, 4, 4, requires_grad=True)
    L2Pool()(silent).sum().backward()
    assert silent.grad is not None
    assert torch.equal(silent.grad, torch.zeros_like(silent))
    broken = torch.full((1, 2, 4, 4), torch.nan)
    assert all(r.isnan().all() for r in joint_moments(broken, moments(torch.zeros(1, 2, 4, 4))))


@pytest.mark.usefixtures("block")
@pytest.mark.parametrize("references", [2, 1])
def test_unit_distance_and_its_derivatives(references):
    x = maps(2, 3, 4, 5).requires_grad_()
    y = F.normalize(maps(references, 3, 4, 5, seed=1), dim=1)
    weights = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)
    expected = ((F.normalize(x, dim=1) - y).square() * weights[:, None, None]).sum(1)
    torch.testing.assert_close(unit_distance(x, y, weights), expected)
    assert gradcheck(lambda z: unit_distance(z, y, weights), x)
    assert gradgradcheck(lambda z: unit_distance(z, y, weights), x)


def test_unit_distance_of_a_silent_place_has_a_finite_gradient():
    x = torch.zeros(1, 3, 1, 1, requires_grad=True)
    unit_distance(x, F.normalize(torch.ones(1, 3, 1, 1), dim=1), torch.ones(3)).sum().backward()
    assert x.grad is not None
    assert torch.isfinite(x.grad).all()
