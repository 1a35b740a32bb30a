"""SSIM and MS-SSIM: against scikit-image, at the ends of their range, and their variants."""

import pytest
import skimage.metrics
import torch
from support.photograph import build, crop, degrade, score_and_gradient

from lopsided.losses import MeasureError, create_measure, parse_measure
from lopsided.losses.luma import full_luma, studio_luma


@pytest.mark.parametrize("color", ["luma", "gray", "rgb"])
def test_ssim_equals_scikit_image(color):
    reference = crop(96, torch.float64)
    image = degrade(reference)
    convert = {"luma": studio_luma, "gray": full_luma, "rgb": lambda x: x}[color]
    x, y = (convert(z)[0].permute(1, 2, 0).numpy() for z in (image, reference))
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1}
    expected = skimage.metrics.structural_similarity(x, y, channel_axis=2, **options)
    assert create_measure({"measure": "ssim", "color": color}).score(image, reference).item() == pytest.approx(
        expected, rel=1e-9
    )


def test_studio_luma_has_the_range_of_bt_601():
    black_and_white = torch.tensor([0.0, 1.0], dtype=torch.float64).view(2, 1, 1, 1).expand(2, 3, 1, 1)
    assert (255 * studio_luma(black_and_white)).flatten().tolist() == pytest.approx([16, 235])
    assert full_luma(black_and_white).flatten().tolist() == pytest.approx([0, 1])


def test_reversed_structure_scores_below_zero_in_ssim_and_zero_in_ms_ssim():
    image = crop(181)
    assert build("ssim").score(1 - image, image) < 0
    score, gradient = score_and_gradient(build("ms_ssim"), 1 - image, image)
    assert score == 0
    assert not gradient.any()


def test_downsampled_ssim_is_ssim_of_the_average():
    image, reference = degrade(crop(512)), crop(512)
    small = [torch.nn.functional.avg_pool2d(x, 2) for x in (image, reference)]
    downsampled = create_measure({"measure": "ssim", "downsample": True})
    assert downsampled.score(image, reference).item() == pytest.approx(build("ssim").score(*small).item(), rel=1e-6)
    assert torch.equal(downsampled.score(*small), build("ssim").score(*small))  # small enough already
    with pytest.raises(MeasureError, match="'downsample' belongs to ssim"):
        parse_measure({"measure": "ms_ssim", "downsample": True})


def test_variants_have_names_and_identities_of_their_own():
    options = [{}, {"color": "rgb"}, {"color": "gray"}, {"downsample": True}]
    specs = [parse_measure({"measure": "ssim", **option}) for option in options]
    assert len({spec.identity for spec in specs}) == len({spec.key for spec in specs}) == 4
    assert specs[0].key == "ssim"
