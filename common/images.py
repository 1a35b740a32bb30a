"""Reading, writing and checking 8-bit RGB images: one treatment of every kind of file, stated here and tested.

What a file becomes (``read_rgb``):

=============================  ====================================================================================
grey, bilevel                  replicated to three equal channels
palette                        converted to the colours of its palette
alpha channel, colour key      dropped if every pixel is opaque; otherwise an error: flattening is the user's choice
EXIF orientation               applied, so that pixels are upright as viewers show them
colour profile, gamma          ignored: the stored numbers are the image
16-bit, float, CMYK, Lab, HSV  an error, never a silent conversion (colours of a BMP in 5 or 6 bits become 8)
several frames                 an error (except a phone's MPO file: its first frame, the photograph, is read)
empty, corrupt, truncated      an error, even if another library has told Pillow to load truncated files
more than 178,956,970 pixels   an error, because a small damaged file may claim to be huge; the environment variable
                               ``LOPSIDED_MAX_PIXELS`` sets another limit
=============================  ====================================================================================
"""

from __future__ import annotations

import io
import os
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageFile, ImageOps, TiffImagePlugin

from .errors import ImageError, one_line
from .files import atomic_path
from .paths import read_file, stand_in
from .value_range import range_hint

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP")
EXTENSIONS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp")
# What Pillow's decoders raise for damaged data.
_DAMAGE = (OSError, SyntaxError, ValueError, EOFError, IndexError, TypeError, KeyError, Image.DecompressionBombError)
# Rounding of a clamp or an interpolation in float32 is far below this; a wrong scale (0..255, -1..1) far above.
RANGE_TOLERANCE = 1e-4

MAX_PIXELS = "LOPSIDED_MAX_PIXELS"  # environment variable: the most pixels that an image may have
MOST_PIXELS = 178_956_970  # without it: where Pillow takes a file for a bomb

_pillow_lock = threading.Lock()
_ORIENTATION, _WIDTH, _HEIGHT, _BITS = 0x0112, 256, 257, 258  # tags of EXIF and TIFF


def read_rgb(path: Path | str) -> NDArray[np.uint8]:
    """Read an image file as 8-bit RGB, as the table at the top of this module says.

    Args:
        path: a PNG, JPEG, BMP, GIF, TIFF or WebP file.

    Returns:
        Array of shape (H, W, 3), uint8, 0..255.

    Raises:
        ImageError: the file is missing, empty, not an image, corrupt, truncated, or of a kind that has no exact
            8-bit RGB form; the message names the file and what was seen.
    """
    return _decoded(Path(path), _to_rgb)


def read_layers(path: Path | str) -> NDArray[np.uint8]:
    """Read an image file with the channels that it has: like :func:`read_rgb`, but transparent images too.

    Returns:
        uint8: (H, W) grey, (H, W, 2) grey and alpha, (H, W, 3) RGB or (H, W, 4) RGBA; colours as stored.

    Raises:
        ImageError: as for :func:`read_rgb`, except for transparency.
    """
    return _decoded(Path(path), _to_layers)


class ImageHeader(NamedTuple):
    """What a file says about its image before its pixels are decoded.

    Attributes:
        size: (width, height) of the upright image.
        mode: Pillow's name of its channels, such as ``L`` or ``RGB``.
    """

    size: tuple[int, int]
    mode: str


def read_header(path: Path | str) -> ImageHeader:
    """Read the size and the channels of an image file without decoding it.

    Raises:
        ImageError: the file is missing, no image, or larger than the limit.
    """
    path = Path(path)
    try:
        with as_written(), path.open("rb") as file, Image.open(file, formats=FORMATS) as image:
            size = _upright(image, file)
            _check_pixels(path, size)
            return ImageHeader(size, image.mode)
    except Image.UnidentifiedImageError as error:
        with path.open("rb") as file:
            raise _no_image(path, file.read(64)) from error
    except OSError as error:
        raise ImageError(f"{path}: cannot be read ({error.strerror or one_line(error)}).") from error
    except _DAMAGE as error:
        raise ImageError(f"{path}: corrupt or truncated image ({one_line(error)}).") from error


def upright_size(path: Path | str) -> tuple[int, int]:
    """Return the (width, height) that :func:`read_rgb` gives an image, from the head of its file: EXIF included.

    Raises:
        ImageError: as for :func:`read_header`.
    """
    return read_header(path).size


def _decoded(path: Path, convert: Callable[[Path, Image.Image], NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Decode a file, upright and with a colour key turned into alpha, and convert it."""
    try:
        data = read_file(path)
    except OSError as error:
        raise ImageError(f"{path}: cannot be read ({error.strerror or one_line(error)}).") from error
    try:
        with as_written():
            image = _open(path, data)
            image.load()
            if "transparency" in image.info:
                image = image.convert("LA" if image.mode in ("1", "L") else "RGBA")
            return convert(path, ImageOps.exif_transpose(image))
    except Image.UnidentifiedImageError as error:
        raise _no_image(path, data[:64]) from error
    except _DAMAGE as error:
        raise ImageError(f"{path}: corrupt or truncated image, {len(data)} bytes ({one_line(error)}).") from error


def _no_image(path: Path, head: bytes) -> ImageError:
    what = stand_in(head) or f"not a PNG, JPEG, BMP, GIF, TIFF or WebP image (it begins with {head[:8]!r})"
    return ImageError(f"{path}: {what}.")


def to_tensor(array: NDArray[np.uint8]) -> torch.Tensor:
    """Turn an 8-bit RGB image into a batch of one.

    Args:
        array: (H, W, 3), uint8.

    Returns:
        Float32 tensor (1, 3, H, W) in [0, 1]; it owns its memory.

    Raises:
        ImageError: another shape or dtype.
    """
    _check_array(array)
    return torch.from_numpy(np.ascontiguousarray(array.transpose(2, 0, 1))).unsqueeze(0).float().div_(255)


def to_uint8(tensor: torch.Tensor) -> NDArray[np.uint8]:
    """Turn a float image into 8-bit RGB: clamped to [0, 1], times 255, rounded with halves to the even number.

    Args:
        tensor: (1, 3, H, W) or (3, H, W), floating point, nominally in [0, 1]; values outside are clamped.

    Returns:
        Array (H, W, 3), uint8.

    Raises:
        ImageError: another shape or dtype, or NaN, which clamping cannot fix.

    Examples:
        >>> array = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
        >>> bool((to_uint8(to_tensor(array)) == array).all())
        True
    """
    image = tensor.detach()
    if image.ndim == 4 and image.shape[0] == 1:
        image = image[0]
    if not image.is_floating_point() or image.ndim != 3 or image.shape[0] != 3:
        raise ImageError(f"Expected one float image (1, 3, H, W), got {_seen(tensor)}.")
    if bool(image.isnan().any()):
        raise ImageError("The image holds NaN and cannot be stored as 8 bits; look for the step that produced it.")
    return image.float().clamp(0, 1).mul(255).round().to(torch.uint8).permute(1, 2, 0).cpu().contiguous().numpy()


def recompressed(array: NDArray[np.uint8], form: str, **options: Any) -> NDArray[np.uint8]:
    """Write an 8-bit RGB image in a lossy format to memory, and read it back; no limit on pixels applies.

    Args:
        array: (H, W, 3), uint8.
        form: Pillow's name of the format, such as ``JPEG``.
        options: those of Pillow's writer.

    Returns:
        Array of the same shape.

    Examples:
        >>> recompressed(np.full((8, 8, 3), 100, np.uint8), "JPEG", quality=50)[0, 0].tolist()
        [100, 100, 100]
    """
    file = io.BytesIO()
    Image.fromarray(array).save(file, form, **options)
    with as_written(), Image.open(file) as image:
        return np.array(image.convert("RGB"))


def write_png(path: Path | str, array: NDArray[np.uint8]) -> None:
    """Write an 8-bit RGB image as PNG, atomically.

    Args:
        path: where; the suffix must be ``.png``.
        array: (H, W, 3), uint8.

    Raises:
        ImageError: another suffix, shape or dtype.
    """
    path = Path(path)
    if path.suffix.lower() != ".png":
        raise ImageError(f"{path}: write_png writes PNG only; name the file {path.stem}.png.")
    _check_array(array)
    with atomic_path(path) as temporary:
        Image.fromarray(np.ascontiguousarray(array)).save(temporary, format="PNG")


def check_images(tensor: torch.Tensor, name: str) -> None:
    """Check that a tensor is a batch of RGB images in [0, 1], as losses and judges expect.

    Values can exceed the range by ``RANGE_TOLERANCE`` (1e-4). The cost is one pass for minimum and maximum; on a GPU
    it waits for the tensor.

    Args:
        tensor: expected to be (N, 3, H, W), floating point, in [0, 1], not empty.
        name: what the message calls it, such as ``"reference"``.

    Raises:
        ImageError: wrong type, dtype, shape or range, or NaN; the message says what was seen.
    """
    if not isinstance(tensor, torch.Tensor):
        raise ImageError(f"{name}: expected a float tensor (N, 3, H, W) in [0, 1], got {type(tensor).__name__}.")
    if not tensor.is_floating_point() or tensor.ndim != 4 or tensor.shape[1] != 3 or tensor.numel() == 0:
        raise ImageError(f"{name}: expected a float tensor (N, 3, H, W) in [0, 1], got {_seen(tensor)}.")
    extremes = torch.aminmax(tensor.detach())
    low, high = float(extremes.min), float(extremes.max)
    # Written so that NaN, which compares false with everything, fails too.
    if not (low >= -RANGE_TOLERANCE and high <= 1 + RANGE_TOLERANCE):
        what = "it holds NaN" if low != low or high != high else f"its values span {low:.6g} to {high:.6g}"
        raise ImageError(f"{name}: expected values in [0, 1], but {what} ({_seen(tensor)}){range_hint(low, high)}.")


@contextmanager
def as_written() -> Iterator[None]:
    """Make Pillow refuse truncated files and leave the limit on pixels to us, whatever its global switches say.

    Some IQA libraries turn the first one on at import.
    """
    with _pillow_lock:
        before = ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS
        ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS = False, None
        try:
            yield
        finally:
            ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS = before


def _open(path: Path, data: bytes) -> Image.Image:
    """Open image bytes without decoding them, refusing what decoding would silently alter."""
    image = Image.open(io.BytesIO(data), formats=FORMATS)
    _check_pixels(path, image.size)
    if image.format == "PNG":
        # Decoding stops at the last row and does not check every checksum; verifying reads all chunks to the end.
        image.verify()
        image = Image.open(io.BytesIO(data), formats=("PNG",))
    # Pillow quietly drops the low byte of 16-bit RGB, or takes bytes of 16-bit planes for pixels.
    if image.mode != "F" and (bits := _bits(image, data)) > 8:
        raise ImageError(f"{path}: {bits} bits per channel; convert it to 8 bits first.")
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format != "MPO":
        raise ImageError(f"{path}: holds {frames} frames; save the one you mean as a separate image.")
    return image


def _bits(image: Image.Image, data: bytes) -> int:
    """Return the bits of the deepest channel, as the file states them; 8 for formats without deeper ones."""
    if image.format == "PNG":
        return data[24]
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        return max(image.tag_v2.get(_BITS, (1,)))
    return 8


def _upright(image: Image.Image, file: BinaryIO) -> tuple[int, int]:
    """Return (width, height) after the EXIF orientation, of an image whose pixels are not decoded."""
    width, height = image.size
    if isinstance(image, TiffImagePlugin.TiffImageFile):  # some versions of Pillow turn the size, others do not
        width, height = image.tag_v2[_WIDTH], image.tag_v2[_HEIGHT]
    if image.format == "PNG" and not ("exif" not in image.info and _late_exif(file)):
        exif = Image.Image.getexif(image)  # PngImageFile's own decodes the pixels to see what follows them
    else:
        exif = image.getexif()
    return (height, width) if exif.get(_ORIENTATION) in (5, 6, 7, 8) else (width, height)


def _late_exif(file: BinaryIO) -> bool:
    """Tell whether EXIF data follow the pixels of a PNG file."""
    before = file.tell()
    try:
        return _exif_behind_pixels(file)
    finally:
        file.seek(before)


def _exif_behind_pixels(file: BinaryIO) -> bool:
    file.seek(8)
    pixels_seen = False
    while len(head := file.read(8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        begin = file.read(min(length, 22))
        named = kind == b"eXIf" or begin.startswith((b"Raw profile type exif", b"XML:com.adobe.xmp"))
        if pixels_seen and named:
            return True
        pixels_seen = pixels_seen or kind == b"IDAT"
        file.seek(length - len(begin) + 4, io.SEEK_CUR)
    return False


def _to_layers(path: Path, image: Image.Image) -> NDArray[np.uint8]:
    """Convert a decoded image to its own channels in 8 bits or refuse it."""
    if image.mode in ("LA", "PA", "RGBA"):
        return np.array(image.convert("LA" if image.mode == "LA" else "RGBA"))
    colours = _to_rgb(path, image)
    return colours[..., 0] if image.mode in ("1", "L") else colours


def _to_rgb(path: Path, image: Image.Image) -> NDArray[np.uint8]:
    """Convert a decoded image to (H, W, 3) uint8 or refuse it."""
    if image.mode in ("LA", "PA", "RGBA"):
        image = image.convert("RGBA")
        lowest = np.asarray(image.getchannel("A")).min()
        if lowest < 255:
            raise ImageError(f"{path}: has transparent pixels (lowest alpha {lowest} of 255); flatten it first.")
    elif image.mode not in ("1", "L", "P", "RGB"):
        raise ImageError(f"{path}: mode {image.mode} has no exact 8-bit RGB form; convert it to 8-bit RGB first.")
    return np.array(image.convert("RGB"))


def _check_pixels(path: Path, size: tuple[int, int]) -> None:
    """Raise if an image is larger than the limit."""
    stated = os.environ.get(MAX_PIXELS, "")
    if stated and not stated.isdecimal():
        raise ImageError(f"{MAX_PIXELS} is '{stated}'; it must be a whole number of pixels.")
    most = int(stated or MOST_PIXELS)
    if size[0] * size[1] > most:
        raise ImageError(
            f"{path}: {size[0]}×{size[1]} pixels, {size[0] * size[1]:,} in all, above the limit of {most:,}; "
            f"if the file is right, set the environment variable {MAX_PIXELS}={size[0] * size[1]}."
        )


def _check_array(array: NDArray[np.uint8]) -> None:
    """Raise unless ``array`` is (H, W, 3) uint8 with at least one pixel."""
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or array.size == 0:
        raise ImageError(f"Expected a uint8 array (H, W, 3), got {array.dtype} {array.shape}.")


def _seen(tensor: torch.Tensor) -> str:
    """Describe a tensor's dtype and shape for a message."""
    return f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"
