"""Reading, writing and checking images, on real files that are cut and damaged for real."""

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageFile

from lopsided.common.errors import ImageError
from lopsided.common.images import check_images, read_rgb, to_tensor, to_uint8, write_png

RGB = np.random.default_rng(0).integers(0, 256, (24, 36, 3), dtype=np.uint8)
GREY = RGB[:, :, 0]


def save(path: Path, image: Image.Image, **options: Any) -> Path:
    image.save(path, **options)
    return path


def rgba(alpha: int) -> Image.Image:
    return Image.fromarray(np.dstack([RGB, np.full(RGB.shape[:2], alpha, np.uint8)]))


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "webp"])
def test_lossless_rgb_is_read_as_it_is(tmp_path: Path, suffix: str) -> None:
    options = {"lossless": True} if suffix == "webp" else {}
    read = read_rgb(save(tmp_path / f"image.{suffix}", Image.fromarray(RGB), **options))
    assert read.dtype == np.uint8
    assert np.array_equal(read, RGB)


def test_jpeg_is_read(tmp_path: Path) -> None:
    smooth = Image.fromarray(np.full((24, 36, 3), (200, 100, 50), np.uint8))
    assert np.abs(read_rgb(save(tmp_path / "image.jpg", smooth)).astype(int) - (200, 100, 50)).max() <= 2


def test_grey_is_replicated(tmp_path: Path) -> None:
    read = read_rgb(save(tmp_path / "grey.png", Image.fromarray(GREY)))
    assert np.array_equal(read, np.repeat(GREY[:, :, None], 3, axis=2))
    bilevel = read_rgb(save(tmp_path / "bilevel.png", Image.fromarray(GREY > 99)))
    assert np.array_equal(bilevel, np.repeat(np.uint8(255 * (GREY[:, :, None] > 99)), 3, axis=2))


def test_palettes_are_looked_up(tmp_path: Path) -> None:
    palette = Image.fromarray(RGB).quantize(16)
    expected = np.array(palette.getpalette(), np.uint8).reshape(-1, 3)[np.array(palette)]
    for suffix in ("png", "gif"):
        assert np.array_equal(read_rgb(save(tmp_path / f"palette.{suffix}", palette)), expected)


def test_opaque_alpha_is_dropped_and_transparency_refused(tmp_path: Path) -> None:
    assert np.array_equal(read_rgb(save(tmp_path / "opaque.png", rgba(255))), RGB)
    grey_alpha = Image.merge("LA", [Image.fromarray(GREY), Image.new("L", (36, 24), 255)])
    assert np.array_equal(read_rgb(save(tmp_path / "grey_alpha.png", grey_alpha))[:, :, 2], GREY)
    with pytest.raises(ImageError, match=r"glass\.png.*lowest alpha 254.*flatten it first"):
        read_rgb(save(tmp_path / "glass.png", rgba(254)))


def test_a_colour_key_is_transparency_only_where_it_occurs(tmp_path: Path) -> None:
    used, unused = tuple(int(v) for v in RGB[3, 4]), (1, 2, 3)
    assert not np.equal(RGB, unused).all(axis=2).any()
    assert np.array_equal(read_rgb(save(tmp_path / "no.png", Image.fromarray(RGB), transparency=unused)), RGB)
    with pytest.raises(ImageError, match="flatten it first"):
        read_rgb(save(tmp_path / "yes.png", Image.fromarray(RGB), transparency=used))
    with pytest.raises(ImageError, match="flatten it first"):
        read_rgb(save(tmp_path / "palette.png", Image.fromarray(RGB).quantize(4), transparency=0))


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    upright = {1: RGB, 3: RGB[::-1, ::-1], 6: np.rot90(RGB, -1), 8: np.rot90(RGB), 2: RGB[:, ::-1], 4: RGB[::-1]}
    for orientation, expected in upright.items():
        exif = Image.Exif()
        exif[0x0112] = orientation
        path = save(tmp_path / f"{orientation}.png", Image.fromarray(RGB), exif=exif)
        assert np.array_equal(read_rgb(path), expected)


def png_16_bit_rgb() -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    rows = b"".join(b"\0" + bytes(12) for _ in range(2))
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 2, 16, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("name", "make", "seen"),
    [
        ("deep.png", lambda path: save(path, Image.fromarray(GREY.astype(np.uint16) * 257)), "16"),
        ("deep_rgb.png", lambda path: path.write_bytes(png_16_bit_rgb()), "16 bits"),
        ("float.tif", lambda path: save(path, Image.fromarray(GREY.astype(np.float32))), "mode F"),
        ("cmyk.jpg", lambda path: save(path, Image.fromarray(RGB).convert("CMYK")), "mode CMYK"),
        ("lab.tif", lambda path: save(path, Image.new("LAB", (8, 8))), "mode LAB"),
        (
            "moving.gif",
            lambda path: save(path, Image.new("L", (8, 8)), save_all=True, append_images=[Image.new("L", (8, 8), 99)]),
            "2 frames",
        ),
    ],
)
def test_what_has_no_single_8_bit_rgb_form_is_refused(tmp_path: Path, name: str, make, seen: str) -> None:
    make(tmp_path / name)
    with pytest.raises(ImageError, match=f"{name}.*{seen}"):
        read_rgb(tmp_path / name)


def test_missing_empty_and_foreign_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"none\.png.*No such file"):
        read_rgb(tmp_path / "none.png")
    with pytest.raises(ImageError, match="cannot be read"):
        read_rgb(tmp_path)
    (tmp_path / "empty.png").touch()
    with pytest.raises(ImageError, match=r"empty\.png.*0 bytes"):
        read_rgb(tmp_path / "empty.png")
    (tmp_path / "text.jpg").write_text("<!DOCTYPE html>")
    with pytest.raises(ImageError, match=r"text\.jpg: not a PNG.*<!DOCTY"):
        read_rgb(tmp_path / "text.jpg")


@pytest.mark.filterwarnings("ignore:Truncated File Read")
@pytest.mark.parametrize("switch", [False, True])
@pytest.mark.parametrize("form", ["PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP"])
def test_truncated_files_are_refused_wherever_they_are_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str, switch: bool
) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", switch)
    whole = io.BytesIO()
    Image.fromarray(RGB).save(whole, form)
    data = whole.getvalue()
    path = tmp_path / "cut"
    path.write_bytes(data)
    assert read_rgb(path).shape == RGB.shape
    # The last four bytes may only close the file after the picture: a PNG's final checksum, a GIF's trailer.
    for length in [*range(1, len(data) - 5, 97), len(data) - 30, len(data) - 5]:
        path.write_bytes(data[:length])
        with pytest.raises(ImageError, match="cut"):
            read_rgb(path)
    assert ImageFile.LOAD_TRUNCATED_IMAGES is switch  # left as it was


def test_a_flipped_bit_in_a_png_is_noticed(tmp_path: Path) -> None:
    path = save(tmp_path / "flip.png", Image.fromarray(RGB))
    data = bytearray(path.read_bytes())
    for position in range(40, len(data), 83):
        damaged = bytearray(data)
        damaged[position] ^= 1
        path.write_bytes(damaged)
        with pytest.raises(ImageError, match=r"flip\.png"):
            read_rgb(path)


def test_tensors_round_trip_every_grey_level() -> None:
    levels = np.repeat(np.arange(256, dtype=np.uint8).reshape(16, 16, 1), 3, axis=2)
    tensor = to_tensor(levels)
    assert tensor.shape == (1, 3, 16, 16)
    assert tensor.dtype == torch.float32
    assert (tensor.min().item(), tensor.max().item()) == (0, 1)
    assert np.array_equal(to_uint8(tensor), levels)
    assert np.array_equal(to_uint8(to_tensor(RGB)), RGB)
    assert to_tensor(RGB)[0, 2, 5, 7].item() == pytest.approx(RGB[5, 7, 2] / 255)


def test_to_uint8_clamps_and_rounds_halves_to_even() -> None:
    values = torch.tensor([-1, 2, 0.5 / 255, 1.5 / 255, 2.5 / 255, 2.6 / 255], dtype=torch.float64)
    image = values.reshape(1, 1, 6).expand(3, 1, 6)
    assert to_uint8(image)[0, :, 0].tolist() == [0, 255, 0, 2, 2, 3]


def test_conversions_refuse_other_shapes_dtypes_and_nan() -> None:
    arrays: list[Any] = [GREY, RGB.astype(np.float32), RGB[:, :, :2], RGB[:0]]
    for array in arrays:
        with pytest.raises(ImageError, match="Expected a uint8 array"):
            to_tensor(array)
    for tensor in (torch.zeros(2, 3, 4, 4), torch.zeros(1, 4, 4), torch.zeros(3, 4, 4, dtype=torch.uint8)):
        with pytest.raises(ImageError, match="Expected one float image"):
            to_uint8(tensor)
    with pytest.raises(ImageError, match="NaN"):
        to_uint8(torch.full((3, 2, 2), float("nan")))


def test_write_png_is_lossless_and_atomic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "new" / "image.png"
    write_png(path, RGB)
    assert np.array_equal(read_rgb(path), RGB)

    def fail(*_: object, **__: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(Image.Image, "save", fail)
    with pytest.raises(OSError, match="No space"):
        write_png(path, RGB[::-1])
    assert np.array_equal(read_rgb(path), RGB)
    assert list(path.parent.iterdir()) == [path]
    with pytest.raises(ImageError, match=r"image\.jpg.*PNG only"):
        write_png(tmp_path / "image.jpg", RGB)
    with pytest.raises(ImageError, match="uint8"):
        write_png(path, GREY)


def test_check_images_accepts_images_and_rounding() -> None:
    for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        check_images(torch.rand(2, 3, 5, 7).to(dtype), "images")
    check_images(torch.tensor([-9e-5, 1 + 9e-5, 0.5]).reshape(1, 3, 1, 1).requires_grad_(), "images")


@pytest.mark.parametrize(
    ("tensor", "seen"),
    [
        (torch.rand(3, 5, 5), r"float32 \(3, 5, 5\)"),
        (torch.rand(1, 1, 5, 5), r"\(1, 1, 5, 5\)"),
        (torch.rand(0, 3, 5, 5), r"\(0, 3, 5, 5\)"),
        (torch.zeros(1, 3, 5, 5, dtype=torch.uint8), "uint8"),
        (np.zeros((1, 3, 5, 5)), "ndarray"),
        (torch.full((1, 3, 5, 5), 255.0), "span 255 to 255"),
        (torch.full((1, 3, 5, 5), -0.01), "span -0.01"),
        (torch.tensor([0.5, float("nan"), 0.5]).reshape(1, 3, 1, 1), "NaN"),
        (torch.tensor([0.5, float("inf"), 0.5]).reshape(1, 3, 1, 1), "to inf"),
    ],
)
def test_check_images_says_what_it_saw(tensor: torch.Tensor, seen: str) -> None:
    with pytest.raises(ImageError, match=f"^restored: .*{seen}"):
        check_images(tensor, "restored")
