"""Blur kernels against basicsr's, closed forms and symmetries."""

import math

import numpy as np
import pytest

from lopsided.common.basicsr_compat import load_basicsr
from lopsided.sr.kernels import gaussian_kernel, motion_kernel, plateau_kernel, sinc_kernel

SHAPES = [(7, 0.2, 3.0, 0.3), (13, 1.5, 0.8, -2.5), (21, 3.0, 3.0, 0.0), (21, 0.6, 5.0, 1.2)]


@pytest.mark.parametrize(("size", "sigma_x", "sigma_y", "angle"), SHAPES)
def test_gaussian_and_plateau_kernels_are_basicsrs(size: int, sigma_x: float, sigma_y: float, angle: float) -> None:
    load_basicsr()
    from basicsr.data import degradations as theirs

    args = (size, sigma_x, sigma_y, angle)
    assert gaussian_kernel(*args) == pytest.approx(theirs.bivariate_Gaussian(*args, isotropic=False), abs=1e-12)
    isotropic = theirs.bivariate_Gaussian(size, sigma_x, 0, 0, isotropic=True)
    assert gaussian_kernel(size, sigma_x) == pytest.approx(isotropic, abs=1e-12)
    for shape in (0.5, 0.9, 2.0, 4.0):
        generalised = theirs.bivariate_generalized_Gaussian(*args, shape, isotropic=False)
        assert gaussian_kernel(*args, shape) == pytest.approx(generalised, abs=1e-12)
        plateau = theirs.bivariate_plateau(*args, shape, isotropic=False)
        assert plateau_kernel(*args, shape) == pytest.approx(plateau, abs=1e-12)


@pytest.mark.parametrize("size", [7, 13, 21])
@pytest.mark.parametrize("cutoff", [math.pi / 5, math.pi / 3, 2.0, math.pi])
def test_sinc_kernels_are_basicsrs(size: int, cutoff: float) -> None:
    load_basicsr()
    from basicsr.data.degradations import circular_lowpass_kernel

    assert sinc_kernel(size, cutoff) == pytest.approx(circular_lowpass_kernel(cutoff, size), abs=1e-6)


def test_a_sinc_kernel_keeps_frequencies_below_the_cutoff_and_drops_those_above() -> None:
    spectrum = np.abs(np.fft.rfft2(sinc_kernel(201, math.pi / 2)))
    frequency = np.hypot(np.fft.fftfreq(201)[:, None], np.fft.rfftfreq(201)[None]) * 2 * math.pi
    assert spectrum[frequency < 0.8 * math.pi / 2] == pytest.approx(1, abs=0.1)
    assert spectrum[(frequency > 1.2 * math.pi / 2)] == pytest.approx(0, abs=0.1)


@pytest.mark.parametrize("length", [1, 3, 5, 9])
def test_motion_along_an_axis_is_a_box_of_its_length(length: int) -> None:
    kernel = motion_kernel(length, 0.0)
    assert kernel.shape == (length, length)
    assert kernel[length // 2] == pytest.approx(np.full(length, 1 / length))
    assert motion_kernel(length, math.pi / 2) == pytest.approx(kernel.T, abs=1e-12)


@pytest.mark.parametrize("angle", np.linspace(0, math.pi, 7))
@pytest.mark.parametrize("length", [2.0, 6.5, 20.0])
def test_motion_spreads_along_its_direction_like_a_uniform_path(length: float, angle: float) -> None:
    kernel = motion_kernel(length, angle)
    half = kernel.shape[0] // 2
    y, x = np.mgrid[-half : half + 1, -half : half + 1]
    along, across = x * math.cos(angle) + y * math.sin(angle), y * math.cos(angle) - x * math.sin(angle)
    assert (kernel * along**2).sum() == pytest.approx(length**2 / 12, rel=0.03, abs=0.2)
    assert (kernel * across**2).sum() < 0.25


@pytest.mark.parametrize(
    "kernel",
    [
        gaussian_kernel(9, 1.3, 2.1, 0.7, 0.6),
        plateau_kernel(7, 2.0, 0.4, 2),
        sinc_kernel(11, 1.1),
        motion_kernel(8.3, 1),
    ],
    ids=["gaussian", "plateau", "sinc", "motion"],
)
def test_kernels_sum_to_one_and_are_point_symmetric(kernel: np.ndarray) -> None:
    assert kernel.sum() == pytest.approx(1)
    assert kernel == pytest.approx(kernel[::-1, ::-1])
    assert kernel.shape[0] == kernel.shape[1]
    assert kernel.shape[0] % 2 == 1
