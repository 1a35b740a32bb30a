"""Bicubic resizing against MATLAB's own output, basicsr's port and closed forms."""

import numpy as np
import pytest
import torch
from support.paths import SHARED

from lopsided.common.basicsr_compat import load_basicsr
from lopsided.common.errors import ImageError
from lopsided.common.images import read_rgb, to_tensor
from lopsided.sr.degradation import bicubic_resize, mod_crop

DATA = SHARED / "sr" / "test"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="the optional data folder shared/data/sr is absent")
SETS = [("Set5/x2", 2), ("Set5/x4", 4), ("Set14/x4", 4)]


def photograph(height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    channels = [np.sin(x / 3 + k) * np.cos(y / (4 + k)) + 0.3 * ((x // 7 + y // 5) % 2) for k in range(3)]
    image = np.stack(channels, axis=-1)
    return (255 * (image - image.min()) / np.ptp(image)).astype(np.uint8)


def matlab_pairs(folder: str) -> list[tuple[np.ndarray, np.ndarray]]:
    found = sorted((DATA / folder).glob("*_HR.png"))
    assert found
    return [(read_rgb(hr), read_rgb(hr.with_name(hr.name.replace("_HR", "_LR")))) for hr in found]


@needs_data
@pytest.mark.parametrize(("folder", "scale"), SETS)
def test_matlab_made_lr_images_are_reproduced_exactly(folder: str, scale: int) -> None:
    for hr, lr in matlab_pairs(folder):
        assert np.array_equal(bicubic_resize(hr, 1 / scale, border="replicate"), lr)


@needs_data
@pytest.mark.parametrize(("folder", "scale"), SETS)
def test_default_border_differs_from_matlab_made_images_only_at_the_border(folder: str, scale: int) -> None:
    for hr, lr in matlab_pairs(folder):
        difference = np.abs(bicubic_resize(hr, 1 / scale).astype(int) - lr)
        assert (difference[2:-2, 2:-2] == 0).all()
        assert (difference <= 1).mean() > 0.97


@needs_data
def test_bicubic_x4_psnr_on_set5_is_the_published_one() -> None:
    luma = np.array([65.481, 128.553, 24.966]) / 255
    values = []
    for hr, lr in matlab_pairs("Set5/x4"):
        error = ((bicubic_resize(lr, 4).astype(float) - hr) @ luma)[4:-4, 4:-4]
        values.append(10 * np.log10(255**2 / (error**2).mean()))
    assert np.mean(values) == pytest.approx(28.43, abs=0.02)


@pytest.mark.parametrize("scale", [1 / 4, 1 / 3, 1 / 2, 2, 3, 4])
def test_float_images_agree_with_basicsr(scale: float) -> None:
    load_basicsr()
    from basicsr.utils.matlab_functions import imresize

    image = photograph(60, 84).astype(np.float32) / 255
    expected = imresize(image, scale)
    assert bicubic_resize(image, scale) == pytest.approx(expected, abs=2e-6)
    tensor = torch.from_numpy(image).permute(2, 0, 1)[None]
    resized = bicubic_resize(tensor, scale)
    assert resized.shape == (1, 3, *expected.shape[:2])
    assert resized[0].permute(1, 2, 0).numpy() == pytest.approx(expected, abs=2e-6)


def test_basicsr_loads_silently_and_repeatedly(capfd: pytest.CaptureFixture[str]) -> None:
    assert load_basicsr() is load_basicsr()
    from basicsr.archs.swinir_arch import SwinIR

    assert SwinIR.__name__ == "SwinIR"
    assert capfd.readouterr().out == ""


def test_eight_bit_images_are_rounded_between_the_axes_and_clamped() -> None:
    image = photograph(64, 64)
    rows = bicubic_resize(image.astype(float), 0.5)
    assert not np.array_equal(bicubic_resize(image, 0.5), np.uint8(np.clip(np.floor(rows + 0.5), 0, 255)))
    step = np.zeros((32, 32, 3))
    step[:, 16:] = 255
    assert bicubic_resize(step, 2).max() > 255  # floats keep the overshoot
    enlarged = bicubic_resize(step.astype(np.uint8), 2)
    assert enlarged.dtype == np.uint8
    assert set(enlarged[0, [0, -1]].ravel()) == {0, 255}


def test_constants_are_kept_and_cubics_reproduce_straight_lines() -> None:
    assert (bicubic_resize(np.full((13, 9, 3), 77, np.uint8), 1 / 3) == 77).all()
    ramp = np.tile(np.arange(48.0), (48, 1))
    inner = bicubic_resize(ramp, 0.25)[3:-3, 3:-3]
    assert inner == pytest.approx(np.tile(1.5 + 4 * np.arange(3.0, 9.0), (6, 1)))  # centres of blocks of four


@pytest.mark.parametrize("length", [3, 48, 129, 1023])
@pytest.mark.parametrize("divisor", [2, 3, 4])
def test_sides_are_rounded_up_as_in_matlab(length: int, divisor: int) -> None:
    assert bicubic_resize(np.zeros((length, 4)), 1 / divisor).shape[0] == -(-length // divisor)


def test_flipping_commutes_with_shrinking() -> None:
    image = photograph(48, 64).astype(float)
    assert bicubic_resize(image[:, ::-1], 0.25) == pytest.approx(bicubic_resize(image, 0.25)[:, ::-1])


def test_images_smaller_than_the_kernel_are_resized() -> None:
    assert bicubic_resize(photograph(4, 4), 0.25).shape == (1, 1, 3)


def test_tensors_keep_dtype_and_gradient() -> None:
    tensor = to_tensor(photograph(16, 16)).requires_grad_()
    small = bicubic_resize(tensor, 0.5)
    assert small.dtype == torch.float32
    small.sum().backward()
    assert tensor.grad is not None
    assert tensor.grad.sum().item() == pytest.approx(3 * 64, rel=1e-5)  # every weight row sums to 1


@pytest.mark.parametrize(
    ("image", "scale", "seen"),
    [
        (np.zeros((4, 4, 3), np.int32), 0.5, "int32"),
        (np.zeros((2, 4, 4, 3)), 0.5, r"\(2, 4, 4, 3\)"),
        (np.zeros((0, 4, 3)), 0.5, r"\(0, 4, 3\)"),
        (torch.zeros(3, 4, 4, dtype=torch.uint8), 0.5, "uint8"),
        (np.zeros((4, 4, 3)), 0.0, "factor of 0"),
        (np.zeros((4, 4, 3)), float("nan"), "factor of nan"),
    ],
)
def test_what_cannot_be_resized_is_refused(image: np.ndarray, scale: float, seen: str) -> None:
    with pytest.raises(ImageError, match=seen):
        bicubic_resize(image, scale)


def test_mod_crop_cuts_at_the_bottom_and_right_only_what_it_must() -> None:
    image = photograph(50, 61)
    assert np.array_equal(mod_crop(image, 4), image[:48, :60])
    assert np.array_equal(mod_crop(image, 1), image)
    with pytest.raises(ImageError, match="3×50 pixels is too small for ×4"):
        mod_crop(image[:, :3], 4)
