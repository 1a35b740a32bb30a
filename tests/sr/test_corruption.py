"""The steps of degradations against other libraries and closed forms."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage

from lopsided.common.basicsr_compat import load_basicsr
from lopsided.common.images import read_rgb, to_tensor, to_uint8
from lopsided.sr.corruption import filter_image, gaussian_noise, jpeg, poisson_noise, resize, unsharp_mask
from lopsided.sr.kernels import gaussian_kernel, motion_kernel, sinc_kernel


def photograph(height: int, width: int) -> torch.Tensor:
    y, x = np.mgrid[:height, :width]
    channels = [np.sin(x / 3 + k) * np.cos(y / (4 + k)) + 0.4 * ((x // 11 + y // 9) % 2) for k in range(3)]
    image = np.stack(channels)
    return torch.from_numpy(((image - image.min()) / np.ptp(image)).astype(np.float32))


@pytest.mark.parametrize("kernel", [gaussian_kernel(21, 2.0, 0.7, 0.4), sinc_kernel(7, 2.0), motion_kernel(9, 0.5)])
@pytest.mark.parametrize("size", [(40, 57), (4, 31), (1, 1)])
def test_filtering_mirrors_at_the_border_as_often_as_it_must(kernel: np.ndarray, size: tuple[int, int]) -> None:
    image = photograph(*size) if size != (1, 1) else torch.full((3, 1, 1), 0.3)
    expected = np.stack([ndimage.convolve(c, kernel, mode="mirror") for c in image.double().numpy()])
    assert filter_image(image, kernel).numpy() == pytest.approx(expected, abs=2e-6)


def test_filtering_is_basicsrs() -> None:
    load_basicsr()
    from basicsr.utils.img_process_util import filter2D

    image, kernel = photograph(64, 48), gaussian_kernel(21, 2.0, 0.7, 0.4)
    expected = filter2D(image[None], torch.from_numpy(kernel).float()[None])[0]
    torch.testing.assert_close(filter_image(image, kernel), expected, atol=2e-6, rtol=0)


def test_unsharp_masking_is_basicsrs() -> None:
    load_basicsr()
    from basicsr.utils.img_process_util import USMSharp

    image = photograph(96, 80)
    sharpened = unsharp_mask(image)
    torch.testing.assert_close(sharpened, USMSharp()(image[None])[0], atol=1e-5, rtol=0)
    assert (sharpened - image).abs().max() > 0.05


@pytest.mark.parametrize("size", [(20, 90), (48, 64), (61, 33)])
@pytest.mark.parametrize(("mode", "flag"), [("bilinear", cv2.INTER_LINEAR), ("bicubic", cv2.INTER_CUBIC)])
def test_resizing_is_opencvs(mode, flag: int, size: tuple[int, int]) -> None:
    image = photograph(40, 60)
    expected = cv2.resize(image.permute(1, 2, 0).numpy(), size[::-1], interpolation=flag)
    assert resize(image, size, mode).permute(1, 2, 0).numpy() == pytest.approx(expected, abs=2e-4)


def test_area_resizing_takes_means() -> None:
    image = photograph(40, 60)
    blocks = image.reshape(3, 10, 4, 20, 3).mean((2, 4))
    torch.testing.assert_close(resize(image, (10, 20), "area"), blocks)
    assert resize(image, (40, 60), "area") is image


@pytest.mark.parametrize("sigma", [0.0, 5.0, 25.0])
def test_gaussian_noise_has_its_deviation_and_independent_channels(sigma: float) -> None:
    noise = gaussian_noise(torch.zeros(3, 200, 200), sigma, np.random.default_rng(0))
    assert noise.shape == (3, 200, 200)
    assert noise.mean().item() == pytest.approx(0, abs=4 * sigma / 255 / 346)
    assert noise.std().item() == pytest.approx(sigma / 255, rel=0.02)
    if sigma:
        assert np.corrcoef(noise.flatten(1).numpy()) == pytest.approx(np.eye(3), abs=0.02)


def test_grey_noise_is_one_channel() -> None:
    image = photograph(50, 60)
    assert gaussian_noise(image, 9, np.random.default_rng(0), grey=True).shape == (1, 50, 60)
    assert poisson_noise(image, 1, np.random.default_rng(0), grey=True).shape == (1, 50, 60)


@pytest.mark.parametrize(("levels", "photons"), [(256, 256), (200, 256), (100, 128), (5, 8), (1, 1)])
@pytest.mark.parametrize("scale", [0.5, 2.0])
def test_poisson_noise_has_the_variance_of_counted_photons(levels: int, photons: int, scale: float) -> None:
    values = np.arange(256 - levels, 256) / 255
    image = torch.from_numpy(np.tile(values.astype(np.float32)[:, None], (3, 1, 4000)))
    noise = poisson_noise(image, scale, np.random.default_rng(1)).numpy()
    samples = noise.transpose(1, 0, 2).reshape(levels, -1)  # 12,000 for each level
    expected = scale * np.sqrt(values / photons)
    assert (np.abs(samples.mean(1)) <= 5 * expected / np.sqrt(12_000) + 1e-7).all()
    assert samples.std(1) == pytest.approx(expected, rel=0.06, abs=1e-7)


def test_grey_poisson_noise_counts_the_photons_of_the_luma() -> None:
    image = torch.zeros(3, 100, 400)
    image[1] = torch.linspace(0, 1, 256).repeat_interleave(400)[: 100 * 400].reshape(100, 400)
    luma = (0.587 * image[1] * 255).round() / 255
    noise = poisson_noise(image, 1.0, np.random.default_rng(0), grey=True)[0]
    photons = 2 ** np.ceil(np.log2(len(luma.unique())))
    assert (noise**2).sum().item() == pytest.approx(luma.sum().item() / photons, rel=0.03)


@pytest.mark.parametrize("quality", [1, 10, 30, 95, 100])
def test_jpeg_is_what_a_file_gives_back(tmp_path: Path, quality: int) -> None:
    image = photograph(50, 61)
    Image.fromarray(to_uint8(image)).save(tmp_path / "a.jpg", quality=quality, subsampling="4:2:0")
    assert np.array_equal(to_uint8(jpeg(image, quality)), read_rgb(tmp_path / "a.jpg"))


@pytest.mark.filterwarnings("ignore:The image decoding and encoding capabilities of TorchVision")
@pytest.mark.parametrize("quality", [10, 60, 95])
def test_jpeg_is_that_of_another_encoder(quality: int) -> None:
    from torchvision.io import decode_jpeg, encode_jpeg

    image = photograph(64, 80)
    pixels = torch.from_numpy(to_uint8(image)).permute(2, 0, 1).contiguous()
    file = encode_jpeg(pixels, quality)
    assert isinstance(file, torch.Tensor)
    theirs = decode_jpeg(file)
    assert isinstance(theirs, torch.Tensor)
    assert np.abs(to_uint8(jpeg(image, quality)) - theirs.permute(1, 2, 0).numpy().astype(int)).max() <= 2


def test_chroma_subsampling_costs_colour_and_no_luma() -> None:
    image = photograph(64, 64)
    errors = [(jpeg(image, 95, s) - image).square().mean().item() for s in (444, 422, 420)]
    assert errors == sorted(errors)
    assert errors[2] > 3 * errors[0]
    grey = image[:1].expand(3, -1, -1)
    torch.testing.assert_close(jpeg(grey, 95, 420), jpeg(grey, 95, 444), atol=1.01 / 255, rtol=0)


def test_jpeg_clamps_what_filters_overshoot() -> None:
    loud = to_tensor(np.full((16, 16, 3), 255, np.uint8))[0] * 1.5
    assert jpeg(loud, 100).min() == 1
