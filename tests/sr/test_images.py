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
from lopsided.common.images import check_images, read_rgb, to_tensor, to_uint8, upright_size, write_png
from lopsided.iqa.ladder import distort
from lopsided.sr.corruption import jpeg

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


def test_16_bits_in_separate_planes_are_16_bits(tmp_path: Path) -> None:
    """Pillow opens such a file as 8-bit RGB and takes single bytes of its planes for pixels."""
    planes = np.full((3, 8, 8), 0x1234, "<u2").tobytes()
    tags = [(256, 3, 1, 8), (257, 3, 1, 8), (258, 3, 3, 134), (259, 3, 1, 1), (262, 3, 1, 2), (273, 4, 3, 140)]
    tags += [(277, 3, 1, 3), (278, 3, 1, 8), (279, 4, 3, 152), (284, 3, 1, 2)]
    head = b"II*\0" + struct.pack("<IH", 8, len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags)
    head += struct.pack("<I", 0)
    assert len(head) == 134
    offsets = struct.pack("<3I", *(164 + 128 * plane for plane in range(3)))
    body = struct.pack("<3H", 16, 16, 16) + offsets + struct.pack("<3I", *[128] * 3) + planes
    (tmp_path / "planes.tif").write_bytes(head + body)
    with pytest.raises(ImageError, match=r"planes\.tif: 16 bits per channel"):
        read_rgb(tmp_path / "planes.tif")


def test_a_bitmap_of_5_6_5_bits_is_read(tmp_path: Path) -> None:
    """Its 16 bits are those of a pixel; the largest values become 255."""
    masks = struct.pack("<3I", 0xF800, 0x07E0, 0x001F)
    pixels = struct.pack("<2H", 0xF800, 0x07FF)
    info = struct.pack("<IiiHHIIiiII", 40, 2, 1, 1, 16, 3, len(pixels), 0, 0, 0, 0)
    size = 14 + len(info) + len(masks) + len(pixels)
    head = b"BM" + struct.pack("<IHHI", size, 0, 0, size - len(pixels))
    (tmp_path / "565.bmp").write_bytes(head + info + masks + pixels)
    assert read_rgb(tmp_path / "565.bmp").tolist() == [[[255, 0, 0], [0, 255, 255]]]


XMP = '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="{}"/></x:xmpmeta>'


def png_with(path: Path, image: Image.Image, kind: bytes, body: bytes, *, late: bool) -> None:
    """Save a PNG with one more chunk, before its pixels or behind them."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    data = buffer.getvalue()
    place = len(data) - 12 if late else 33
    chunk = struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    path.write_bytes(data[:place] + chunk + data[place:])


@pytest.mark.parametrize("orientation", [None, *range(10)])
@pytest.mark.parametrize("kind", ["png", "jpg", "tif", "webp", "eXIf", "late eXIf", "XMP", "late XMP"])
def test_the_header_has_the_size_of_the_decoded_image(tmp_path: Path, kind: str, orientation: int | None) -> None:
    image, exif = Image.fromarray(RGB), Image.Exif()
    if orientation is not None:
        exif[0x0112] = orientation
    path = tmp_path / f"image.{kind if len(kind) < 5 and kind.islower() else 'png'}"
    if kind.endswith("eXIf"):
        png_with(path, image, b"eXIf", exif.tobytes()[6:], late=kind.startswith("late"))
    elif kind.endswith("XMP"):
        body = b"XML:com.adobe.xmp\0\0\0\0\0" + XMP.format(orientation or 1).encode()
        png_with(path, image, b"iTXt", body, late=kind.startswith("late"))
    else:
        image.save(path, exif=exif)
    height, width, _ = read_rgb(path).shape
    assert upright_size(path) == (width, height)
    assert (width > height) == (orientation not in (5, 6, 7, 8))


def test_an_image_above_the_limit_names_it_and_how_to_raise_it(tmp_path: Path, monkeypatch) -> None:
    path = save(tmp_path / "large.png", Image.fromarray(RGB))
    monkeypatch.setenv("LOPSIDED_MAX_PIXELS", "863")
    for read in (read_rgb, upright_size):
        with pytest.raises(ImageError, match=r"36×24 pixels, 864 in all, .* limit of 863.*LOPSIDED_MAX_PIXELS=864"):
            read(path)
    monkeypatch.setenv("LOPSIDED_MAX_PIXELS", "864")
    assert upright_size(path) == (36, 24)
    assert np.array_equal(read_rgb(path), RGB)
    monkeypatch.setenv("LOPSIDED_MAX_PIXELS", "many")
    with pytest.raises(ImageError, match="LOPSIDED_MAX_PIXELS is 'many'"):
        read_rgb(path)


def test_pillows_own_limit_does_not_count(tmp_path: Path, monkeypatch) -> None:
    path = save(tmp_path / "image.png", Image.fromarray(RGB))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert upright_size(path) == (36, 24)
    assert np.array_equal(read_rgb(path), RGB)
    assert jpeg(to_tensor(RGB)[0], 90).shape == (3, 24, 36)
    for kind in ("jpeg", "jpeg2000"):
        assert distort(RGB, kind, 1, np.random.default_rng(0)).shape == RGB.shape
    assert Image.MAX_IMAGE_PIXELS == 100


def test_a_file_that_claims_to_be_huge_is_refused_by_its_header(tmp_path: Path) -> None:
    path = save(tmp_path / "huge.png", Image.fromarray(RGB))
    data = bytearray(path.read_bytes())
    data[16:24] = struct.pack(">II", 60_000, 60_000)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    path.write_bytes(data)
    for read in (read_rgb, upright_size):
        with pytest.raises(ImageError, match=r"60000×60000 pixels, 3,600,000,000 in all, .* limit of 178,956,970"):
            read(path)


def test_stand_ins_are_called_what_they_are(tmp_path: Path) -> None:
    path = tmp_path / "image.png"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 7\n")
    for read in (read_rgb, upright_size):
        with pytest.raises(ImageError, match="Git LFS pointer"):
            read(path)


def test_missing_empty_and_foreign_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"none\.png.*No such file"):
        read_rgb(tmp_path / "none.png")
    with pytest.raises(ImageError, match="cannot be read"):
        read_rgb(tmp_path)
    (tmp_path / "empty.png").touch()
    with pytest.raises(ImageError, match=r"empty\.png.*0 bytes"):
        read_rgb(tmp_path / "empty.png")
    (tmp_path / "text.jpg").write_text("<!DOCTYPE html>")
    with pytest.raises(ImageError, match=r"text\.jpg: it is a web page"):
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
