"""Restoring images of any size and kind, in tiles; generators as files that other programs load."""

import json
import re
import runpy
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import spandrel
import torch
from PIL import Image
from support.paths import ROOT
from support.restoring import broken_set, lively, photograph, save
from torch import nn

from lopsided.common.basicsr_compat import load_basicsr
from lopsided.common.errors import ImageError
from lopsided.common.images import read_layers, to_tensor, to_uint8
from lopsided.sr import (
    GeneratorSpec,
    LoadedGenerator,
    RestoreSettings,
    Tiling,
    export_generator,
    load_exported,
    restore_folder,
    restore_image,
    super_resolve,
)
from lopsided.sr.degradation import bicubic_resize
from lopsided.sr.errors import SuperResolutionError
from lopsided.sr.export import read_metadata

HOW_TO = (ROOT / "docs" / "restore.md").read_text(encoding="utf-8")
TILED = RestoreSettings(Tiling(50, 16))  # 48 for SwinIR


class Convolutions(nn.Module):
    """A generator whose outputs depend on inputs up to ``reach`` pixels away, ×2, for sides that are multiples of 4."""

    def __init__(self, reach: int) -> None:
        super().__init__()
        self.body = nn.Sequential(*(nn.Conv2d(3, 3, 3, padding=1, bias=False) for _ in range(reach)))
        self.tail = nn.Conv2d(3, 12, 1)

    def forward(self, images):
        assert images.shape[-2] % 4 == images.shape[-1] % 4 == 0
        for conv in self.body:
            images = images + torch.tanh(conv(images))
        return torch.pixel_shuffle(self.tail(images), 2)


@pytest.fixture(scope="module")
def convolutions():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Convolutions(reach=6)


@pytest.fixture(scope="module")
def swinir():
    return lively("swinir-tiny", 4)


@pytest.fixture(scope="module")
def exported(swinir, tmp_path_factory):
    path = tmp_path_factory.mktemp("generator") / "x4.safetensors"
    export_generator(path, swinir)
    return path


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


# --- tiles ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(97, 130), (16, 200), (33, 32), (200, 9), (64, 64)])
@pytest.mark.parametrize(("tile", "overlap", "batch"), [(32, 16, 1), (32, 18, 3), (40, 24, 7), (48, 16, 64)])
def test_tiles_of_a_convolutional_generator_are_the_whole_image(convolutions, size, tile, overlap, batch):
    images = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(1))
    whole = super_resolve(convolutions, images, 2, multiple=4)
    tiled = super_resolve(convolutions, images, 2, multiple=4, tiling=Tiling(tile, overlap, batch))
    assert whole.shape == tiled.shape == (2, 3, 2 * size[0], 2 * size[1])
    assert whole.std() > 0.05
    torch.testing.assert_close(tiled, whole, rtol=0, atol=2e-6)


def test_tiles_with_too_little_overlap_are_not_the_whole_image(convolutions):
    images = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    whole = super_resolve(convolutions, images, 2, multiple=4)
    tiled = super_resolve(convolutions, images, 2, multiple=4, tiling=Tiling(32, 4))
    assert (tiled - whole).abs().max() > 1e-3


def test_seams_of_swinir_are_below_a_grey_level(swinir):
    image = to_tensor(photograph(100, 132))
    whole = super_resolve(swinir.generator, image, 4)

    def worst(tiling: Tiling) -> float:
        return float(255 * (super_resolve(swinir.generator, image, 4, tiling=tiling) - whole).abs().max())

    assert worst(Tiling(64, 32, 2)) < 0.5
    assert worst(Tiling(64, 0)) > 5  # what the overlap is for


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (7, 8), (8, 7), (9, 61), (50, 3)])
def test_any_size_is_restored(swinir, size):
    image = photograph(*size)
    restored = restore_image(image, swinir, TILED)
    assert restored.shape == (4 * size[0], 4 * size[1], 3)
    whole = super_resolve(swinir.generator, to_tensor(image), 4)
    assert np.abs(restored.astype(int) - to_uint8(whole)).max() <= 1


@pytest.mark.parametrize(
    ("tiling", "message"),
    [
        (Tiling(7, 0), "tile 7: must be at least 8"),
        (Tiling(-64, 0), "tile -64"),
        (Tiling(64, 60), "overlap 60: must be between 0 and 56"),
        (Tiling(64, -1), "overlap -1"),
        (Tiling(64, 32, 0), "batch 0"),
    ],
)
def test_tiles_that_cannot_cover_an_image_are_refused(swinir, tiling, message):
    with pytest.raises(SuperResolutionError, match=re.escape(message)):
        restore_image(photograph(9, 9), swinir, RestoreSettings(tiling))


def test_the_generator_is_left_in_the_mode_it_was_in(swinir):
    swinir.generator.train()
    try:
        first, second = (super_resolve(swinir.generator, to_tensor(photograph(16, 16)), 4) for _ in range(2))
        assert swinir.generator.training
        assert torch.equal(first, second)  # stochastic depth was off
    finally:
        swinir.generator.eval()


def test_a_wrong_scale_is_noticed(swinir):
    with pytest.raises(SuperResolutionError, match="not ×2"):
        super_resolve(swinir.generator, to_tensor(photograph(16, 16)), 2)


def test_bf16_is_close_and_fp16_is_refused(swinir):
    image = photograph(24, 40)
    exact, rounded = (restore_image(image, swinir, RestoreSettings(precision=kind)) for kind in ("fp32", "bf16"))
    difference = np.abs(exact.astype(int) - rounded)
    assert difference.max() > 0
    assert difference.mean() < 3
    with pytest.raises(SuperResolutionError, match=r"fp16.*65504.*bf16"):
        restore_image(image, swinir, RestoreSettings(precision="fp16"))


def test_a_result_that_is_not_finite_is_an_error():
    class Broken(nn.Module):
        def forward(self, images):
            return images / 0

    broken = LoadedGenerator(Broken(), GeneratorSpec(name="swinir-tiny"), 1)
    with pytest.raises(SuperResolutionError, match="not finite"):
        restore_image(photograph(9, 9), broken)


# --- kinds of images ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(9, 12), (9, 12, 1), (9, 12, 2), (9, 12, 3), (9, 12, 4)])
def test_the_kind_of_array_is_kept(swinir, shape):
    image = np.random.default_rng(0).integers(0, 255, shape, dtype=np.uint8)
    restored = restore_image(image, swinir)
    assert restored.dtype == np.uint8
    assert restored.shape == (36, 48, *shape[2:])


def test_alpha_is_resized_bicubically_and_colours_do_not_depend_on_it(swinir):
    alpha = np.random.default_rng(0).integers(0, 255, (9, 12), dtype=np.uint8)
    image = photograph(9, 12)
    with_alpha = np.dstack([image, alpha])
    restored = restore_image(with_alpha, swinir)
    assert np.array_equal(restored[..., 3], bicubic_resize(alpha, 4))
    assert np.array_equal(restored[..., :3], restore_image(image, swinir))
    assert np.array_equal(restore_image(with_alpha, swinir, RestoreSettings(alpha="drop")), restored[..., :3])
    with pytest.raises(ImageError, match="transparent"):
        restore_image(with_alpha, swinir, RestoreSettings(alpha="refuse"))
    opaque = np.dstack([image, np.full((9, 12), 255, dtype=np.uint8)])
    assert restore_image(opaque, swinir, RestoreSettings(alpha="refuse")).shape == (36, 48, 3)


def test_grey_is_the_mean_of_the_restored_channels(swinir):
    grey = photograph(9, 12)[..., 0]
    colours = super_resolve(swinir.generator, to_tensor(np.dstack([grey] * 3)), 4)
    expected = colours.mean(1, keepdim=True).expand(-1, 3, -1, -1)
    assert np.array_equal(restore_image(grey, swinir), to_uint8(expected)[..., 0])


@pytest.mark.parametrize("array", [np.zeros((4, 4), np.uint16), np.zeros((4, 4, 5), np.uint8), np.zeros(4, np.uint8)])
def test_other_arrays_are_refused(swinir, array):
    with pytest.raises(ImageError, match="Expected a uint8 array"):
        restore_image(array, swinir)


def files(folder: Path) -> dict[str, tuple[int, ...]]:
    """Write one file of every kind; returns the axes each should have once read."""
    rgb, rng = photograph(10, 12), np.random.default_rng(0)
    half = np.where(rng.random((10, 12)) < 0.5, 0, 255).astype(np.uint8)
    save(folder / "rgb.jpg", rgb)
    save(folder / "rgb.webp", rgb, lossless=True)
    save(folder / "rgb.bmp", rgb)
    save(folder / "rgb.tiff", rgb)
    save(folder / "grey.png", rgb[..., 0])
    save(folder / "grey-alpha.png", np.dstack([rgb[..., 0], half]))
    save(folder / "rgba.png", np.dstack([rgb, half]))
    Image.fromarray(half).convert("1").save(folder / "bilevel.png")
    palette = Image.fromarray(rgb).quantize(8)
    palette.save(folder / "palette.png")
    palette.save(folder / "palette-key.png", transparency=int(np.asarray(palette)[0, 0]))
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.dstack([rgb, half])).save(folder / "turned.png", exif=exif)
    colours, grey = dict.fromkeys(("rgb.jpg", "rgb.webp", "rgb.bmp", "rgb.tiff", "palette.png"), (10, 12, 3)), (10, 12)
    alphas = {"grey-alpha.png": (10, 12, 2), "rgba.png": (10, 12, 4), "palette-key.png": (10, 12, 4)}
    return {**colours, **alphas, "grey.png": grey, "bilevel.png": grey, "turned.png": (12, 10, 4)}


def test_files_of_every_kind_are_read_as_they_look(tmp_path):
    for name, shape in files(tmp_path).items():
        assert read_layers(tmp_path / name).shape == shape, name
    with Image.open(tmp_path / "rgba.png") as image:
        assert np.array_equal(read_layers(tmp_path / "rgba.png"), np.asarray(image))
    with Image.open(tmp_path / "palette-key.png") as image:
        assert np.array_equal(read_layers(tmp_path / "palette-key.png"), np.asarray(image.convert("RGBA")))


def test_files_that_are_no_8_bit_images_are_refused(tmp_path):
    Image.fromarray(np.full((9, 9), 300, dtype=np.uint16)).save(tmp_path / "deep.png")
    Image.new("CMYK", (9, 9)).save(tmp_path / "cmyk.jpg")
    rgba = np.random.default_rng(0).integers(0, 255, (40, 40, 4), dtype=np.uint8)
    whole = save(tmp_path / "cut.png", rgba).read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    for name, message in (("deep.png", "16"), ("cmyk.jpg", "CMYK"), ("cut.png", "truncated")):
        with pytest.raises(ImageError, match=message):
            read_layers(tmp_path / name)


# --- folders --------------------------------------------------------------------------------------------------------


@pytest.fixture
def photos(tmp_path):
    return broken_set(tmp_path / "photos")


def test_a_broken_file_stops_nothing_and_every_image_is_counted(swinir, photos, tmp_path):
    seen = []
    summary = restore_folder(photos, tmp_path / "out", swinir, TILED, progress=lambda *told: seen.append(told))
    assert str(summary) == "restored 2, skipped 0, failed 1 of 3; other files left alone: 1"
    ((path, reason),) = summary.failed
    assert path == photos / "sub" / "broken.jpg"
    assert reason.startswith("corrupt or truncated")
    assert names(tmp_path / "out") == {"a.png", "sub/a.png", "restore.json"}
    assert [done for done, _, _ in seen] == sorted(done for done, _, _ in seen)
    assert seen[-1][:2] == (3, 3)
    with Image.open(tmp_path / "out" / "sub" / "a.png") as image:
        expected = restore_image(read_layers(photos / "sub" / "a.jpg"), swinir, TILED)
        assert np.array_equal(np.asarray(image), expected)


def test_what_is_there_is_skipped_and_overwritten_on_request(swinir, photos, tmp_path):
    out = tmp_path / "out"
    restore_folder(photos, out, swinir, TILED)
    before = {name: (out / name).stat().st_mtime_ns for name in names(out)}
    (out / "a.png").unlink()
    again = restore_folder(photos, out, swinir, TILED)
    assert (again.restored, again.skipped, len(again.failed)) == (1, 1, 1)
    assert (out / "sub" / "a.png").stat().st_mtime_ns == before["sub/a.png"]
    other = RestoreSettings(Tiling(32, 16))
    with pytest.raises(SuperResolutionError, match="made with tile 50, not 32; replace it with --overwrite"):
        restore_folder(photos, out, swinir, other)
    (photos / "a.png").write_bytes(b"damaged since")
    replaced = restore_folder(photos, out, swinir, other, overwrite=True)
    assert (replaced.restored, replaced.skipped, len(replaced.failed)) == (1, 0, 2)
    assert names(out) == {"sub/a.png", "restore.json"}  # the other's result of earlier settings is gone
    assert json.loads((out / "restore.json").read_text())["tile"] == 32


def test_a_changed_image_of_the_same_name_is_restored_again(swinir, photos, tmp_path):
    restore_folder(photos, tmp_path / "out", swinir, TILED)
    before = {name: (tmp_path / "out" / name).stat().st_mtime_ns for name in names(tmp_path / "out")}
    photo = read_layers(photos / "sub" / "a.jpg")
    Image.fromarray(photo[::-1]).save(photos / "sub" / "a.jpg")
    again = restore_folder(photos, tmp_path / "out", swinir, TILED)
    assert (again.restored, again.changed, again.skipped, len(again.failed)) == (1, 1, 1, 1)
    assert "restored 1 (1 again, because the image had changed), skipped 1" in str(again)
    expected = restore_image(read_layers(photos / "sub" / "a.jpg"), swinir, TILED)
    with Image.open(tmp_path / "out" / "sub" / "a.png") as image:
        assert np.array_equal(np.asarray(image), expected)
    assert (tmp_path / "out" / "a.png").stat().st_mtime_ns == before["a.png"]
    with mock.patch.object(Image, "MAX_IMAGE_PIXELS", 1):  # Pillow's own limit does not count
        assert restore_folder(photos, tmp_path / "out", swinir, TILED).restored == 0


def test_a_result_of_an_earlier_version_is_skipped(swinir, photos, tmp_path):
    restore_folder(photos, tmp_path / "out", swinir, TILED)
    with Image.open(tmp_path / "out" / "a.png") as image:
        pixels = np.asarray(image)
    Image.fromarray(pixels).save(tmp_path / "out" / "a.png")
    assert restore_folder(photos, tmp_path / "out", swinir, TILED).restored == 0


def test_an_interrupted_overwrite_does_not_pass_for_a_finished_one(swinir, photos, tmp_path):
    restore_folder(photos, tmp_path / "out", swinir, TILED)

    def interrupt(done, total, name):
        if done >= 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        restore_folder(photos, tmp_path / "out", swinir, overwrite=True, progress=interrupt)
    with pytest.raises(SuperResolutionError, match=r"no restore.json records its origin; replace it with --overwrite"):
        restore_folder(photos, tmp_path / "out", swinir)


@pytest.mark.parametrize("twin", ["a.jpg", "A.PNG"])
def test_images_that_would_become_one_file_are_refused(swinir, photos, tmp_path, twin):
    save(photos / twin, photograph(9, 9))
    if len(list(photos.glob("*.[pPjJ]*"))) < 2:
        pytest.skip("this file system ignores case")
    with pytest.raises(SuperResolutionError, match="would both become"):
        restore_folder(photos, tmp_path / "out", swinir)
    assert not (tmp_path / "out").exists()


def test_output_may_lie_inside_the_input_but_not_be_it(swinir, photos):
    with pytest.raises(SuperResolutionError, match="folder of the input"):
        restore_folder(photos, photos, swinir)
    with pytest.raises(SuperResolutionError, match="folder of the input"):
        restore_folder(photos / "a.png", photos, swinir)
    for restored, skipped in ((2, 0), (0, 2)):
        summary = restore_folder(photos, photos / "x4", swinir)
        assert (summary.restored, summary.skipped, len(summary.failed)) == (restored, skipped, 1)


def test_folders_without_images_are_refused(swinir, tmp_path):
    with pytest.raises(SuperResolutionError, match="no image or folder"):
        restore_folder(tmp_path / "absent", tmp_path / "out", swinir)
    (tmp_path / "empty").mkdir()
    with pytest.raises(SuperResolutionError, match="holds no image"):
        restore_folder(tmp_path / "empty", tmp_path / "out", swinir)


# --- files of generators --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "scale", "architecture"),
    [
        ("swinir-tiny", 4, "SwinIR"),
        ("swinir-tiny", 1, "SwinIR"),
        ("swinir-small", 3, "SwinIR"),
        ("swinir-lightweight", 2, "SwinIR"),
        ("rrdb-small", 4, "ESRGAN"),
    ],
)
@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_spandrel_loads_what_is_exported(tmp_path, name, scale, architecture, suffix):
    generator = lively(name, scale)
    path = tmp_path / f"generator{suffix}"
    export_generator(path, generator)
    model = spandrel.ModelLoader().load_from_file(path).eval()
    assert (model.architecture.id, model.scale) == (architecture, scale)
    image = to_tensor(photograph(16, 24))
    with torch.inference_mode():
        ours, theirs = generator.generator(image), model.model(image)
    assert ours.std() > 0.01
    torch.testing.assert_close(theirs, ours, rtol=1e-4, atol=1e-5)


def test_a_pth_loads_in_basicsr(swinir, tmp_path):
    load_basicsr()
    from basicsr.archs.swinir_arch import SwinIR

    export_generator(tmp_path / "x4.pth", swinir)
    options = {"embed_dim": 32, "depths": (2, 2), "num_heads": (2, 2), "upsampler": "pixelshuffledirect"}
    network = SwinIR(upscale=4, img_size=64, window_size=8, mlp_ratio=2, **options).eval()
    network.load_state_dict(torch.load(tmp_path / "x4.pth", weights_only=True)["params"], strict=True)
    image = to_tensor(photograph(16, 24))
    with torch.inference_mode():
        torch.testing.assert_close(network(image), swinir.generator(image), rtol=1e-4, atol=1e-4)


def test_an_exported_file_says_what_it_is(swinir, exported, tmp_path):
    loaded = load_exported(exported)
    assert (loaded.spec.name, loaded.scale, loaded.digest) == ("swinir-tiny", 4, swinir.digest)
    assert read_metadata(exported)["side_multiple"] == 8
    with pytest.raises(SuperResolutionError, match="states that its scale is 4, not 2"):
        load_exported(exported, scale=2)
    export_generator(tmp_path / "x4.pth", swinir)
    with pytest.raises(SuperResolutionError, match="does not state what it holds"):
        load_exported(tmp_path / "x4.pth")
    assert load_exported(tmp_path / "x4.pth", "swinir-tiny", 4).digest == swinir.digest
    with pytest.raises(SuperResolutionError, match="did you mean 'swinir-tiny'"):
        load_exported(tmp_path / "x4.pth", "swinir-tinny", 4)
    with pytest.raises(SuperResolutionError, match="must end in"):
        export_generator(tmp_path / "x4.onnx", swinir)


def test_a_compact_file_is_small_and_gives_the_same_generator(swinir, tmp_path):
    for name, compact in (("whole", False), ("compact", True)):
        export_generator(tmp_path / f"{name}.safetensors", swinir, compact=compact)
    sizes = [(tmp_path / f"{name}.safetensors").stat().st_size for name in ("whole", "compact")]
    assert sizes[1] < sizes[0] / 4
    assert load_exported(tmp_path / "compact.safetensors").digest == swinir.digest


def test_missing_and_damaged_files_are_named(exported, tmp_path):
    with pytest.raises(SuperResolutionError, match="no generator file"):
        load_exported(tmp_path / "absent.safetensors")
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(exported.read_bytes()[:5000])
    with pytest.raises(SuperResolutionError, match=r"cannot read '.*cut"):
        load_exported(cut)


# --- the how-to -----------------------------------------------------------------------------------------------------


def test_the_examples_of_the_how_to_run_as_they_stand(exported, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save(Path("photo.png"), photograph(30, 40))
    save(Path("photos/one.jpg"), photograph(20, 20))
    Path("x4.safetensors").write_bytes(exported.read_bytes())
    blocks = re.findall(r"^```python\n(.*?)^```", HOW_TO, re.DOTALL | re.MULTILINE)
    assert len(blocks) == 2
    for block in blocks:
        Path("example.py").write_text(block, encoding="utf-8")
        runpy.run_path("example.py")
    assert read_layers(Path("photo-x4.png")).shape == (120, 160, 3)
    assert read_layers(Path("restored/one.png")).shape == (80, 80, 3)
