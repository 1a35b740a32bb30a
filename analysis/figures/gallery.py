"""Crops of restored images, with their errors, next to the reference and to what needs no training."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from ..errors import AnalysisError
from ..result_tables import UNTRAINED
from .canvas import Drawn, Given, NothingToDraw, Panels, figure
from .style import INK, VERMILION, count, minus

MOST = 6  # restorations of one image: more than six nobody compares
COLUMNS, WIDE = 4, 1.5  # crops beside the whole image; how many crops wide that is
TITLE = 0.36  # of a crop's side
FULL_SCALE = 40  # grey levels of error that are white in the error maps
Image = NDArray[np.uint8]


class _Required(TypedDict):
    label: str
    crops: dict[str, Image]


class GalleryRow(_Required, total=False):
    """One image of the gallery.

    Attributes:
        label: What the image is and how it was made, seed included, e.g. "butterfly.png, seed 0".
        crops: Title (two lines at most, split at a line break or wrapped) → crop, ``(H, W, 3)`` or ``(H, W)`` uint8.
            "reference" and "bicubic" or "input" are required and come first; the others keep their order.
        whole: The whole reference image, with the crop's place marked on it.
        box: Top, left, height and width of the crop in ``whole``, in pixels.
    """

    whole: Image
    box: tuple[int, int, int, int]


@figure
def gallery(rows: Sequence[GalleryRow], *, ax: Given = None) -> Drawn:
    """Draw one panel per image: crops enlarged by pixel repetition, the PSNR of each, and below it its error map.

    At most six restorations of an image are shown, those that differ most from each other (``contrasting``). The place
    of the crop is marked on the whole image. An error map is the mean absolute difference to the reference over
    colours, black for none and white for 40 grey levels or more.

    Args:
        rows: The images.
        ax: Axes to draw on, one per image; a new figure if left out.

    Returns:
        The Axes, or an array of them for several images.

    Raises:
        AnalysisError: A row without reference, or without bicubic and input; a crop that is not uint8 of the row's
            size; another number of Axes than of images.

    Examples:
        >>> from lopsided.analysis import figures
        >>> dark, light = np.zeros((8, 8, 3), np.uint8), np.full((8, 8, 3), 20, np.uint8)
        >>> row = {"label": "a.png, seed 0", "crops": {"reference": dark, "bicubic": light, "SSIM": dark}}
        >>> figures.gallery([row]).get_title(loc="left")
        'a.png, seed 0'
    """
    if not rows:
        raise NothingToDraw("no restored images")
    shown = [contrasting(checked(row)) for row in rows]
    sizes = [_size(row, crops) for row, crops in zip(rows, shown, strict=True)]
    width = 7.2
    panels = Panels(ax, len(rows), height=width * max(high / wide for wide, high in sizes) + 0.25, width=width)
    panels.resize([width * high / wide + 0.25 for wide, high in sizes])
    for axis, row, crops in zip(panels.axes, rows, shown, strict=True):
        _panel(axis, row, crops)
    return panels.drawn


def _size(row: GalleryRow, crops: Mapping[str, Image]) -> tuple[float, float]:
    """Return width and height of a panel in crop widths."""
    ratio = crops["reference"].shape[0] / crops["reference"].shape[1]
    lines = -(-len(crops) // COLUMNS)
    return COLUMNS * 1.04 + (WIDE + 0.1 if "whole" in row and "box" in row else 0), lines * (2 * ratio + TITLE + 0.14)


def _panel(axis: Axes, row: GalleryRow, crops: Mapping[str, Image]) -> None:
    reference = crops["reference"]
    ratio = reference.shape[0] / reference.shape[1]
    start = 0.0
    wide, high = _size(row, crops)
    if "whole" in row and "box" in row:
        whole = row["whole"]
        tall = WIDE * whole.shape[0] / whole.shape[1]
        _show(axis, whole, 0, TITLE, WIDE, tall)
        top, left, h, w = row["box"]
        scale = WIDE / whole.shape[1]
        place: dict[str, Any] = {"facecolor": "none", "in_layout": False}
        corner = (left * scale, TITLE + top * scale)
        axis.add_patch(Rectangle(corner, w * scale, h * scale, edgecolor="white", linewidth=2.6, **place))
        axis.add_patch(Rectangle(corner, w * scale, h * scale, edgecolor=VERMILION, linewidth=1.3, **place))
        _title(axis, 0, "whole image", "")
        start = WIDE + 0.1
    for number, (title, crop) in enumerate(crops.items()):
        x = start + 1.04 * (number % COLUMNS)
        y = (number // COLUMNS) * (2 * ratio + TITLE + 0.14)
        _title(axis, x, title, "" if title == "reference" else f"{minus(psnr(crop, reference), 1)} dB", y)
        _show(axis, crop, x, y + TITLE, 1, ratio)
        if title != "reference":
            _show(axis, error_map(crop, reference), x, y + TITLE + ratio + 0.03, 1, ratio)
    axis.text(
        start + 0.5,
        TITLE + 1.5 * ratio,
        f"below each crop:\nits error,\nwhite at {FULL_SCALE}\ngrey levels\nor more",
        ha="center",
        va="center",
        fontsize=7,
        color=INK,
        in_layout=False,
    )
    axis.set_xlim(0, wide)
    axis.set_ylim(high, 0)
    axis.set_aspect("equal")
    axis.set_title(row["label"])
    axis.set_axis_off()


def _show(axis: Axes, image: Image, x: float, y: float, width: float, height: float) -> None:
    look: dict[str, Any] = {"cmap": "gray", "vmin": 0, "vmax": 255, "interpolation": "nearest", "aspect": "equal"}
    axis.imshow(image, extent=(x, x + width, y + height, y), **look)


def _title(axis: Axes, x: float, title: str, score: str, y: float = 0.0) -> None:
    lines = title.split("\n") if "\n" in title else textwrap.wrap(title, 20)
    lines = [textwrap.shorten(line, 25, placeholder="…") for line in lines[:2]]
    text = "\n".join([*lines, *([score] if score else [])])
    axis.text(x, y + TITLE - 0.02, text, va="bottom", fontsize=6.5, color=INK, linespacing=1.05, in_layout=False)


def error_map(crop: Image, reference: Image) -> Image:
    """Return the mean absolute difference over colours, ``(H, W)``: 255 at ``FULL_SCALE`` grey levels or more.

    Examples:
        >>> error_map(np.full((1, 1, 3), 20, np.uint8), np.zeros((1, 1, 3), np.uint8))
        array([[127]], dtype=uint8)
    """
    difference = np.abs(crop.astype(np.float32) - reference.astype(np.float32))
    if difference.ndim == 3:
        difference = difference.mean(axis=2)
    return np.clip(255 * difference / FULL_SCALE, 0, 255).astype(np.uint8)


def psnr(image: Image, reference: Image) -> float:
    """Return the peak signal-to-noise ratio over all colours, dB; ∞ for equal images.

    Examples:
        >>> round(psnr(np.full((2, 2), 20, np.uint8), np.zeros((2, 2), np.uint8)), 1)
        22.1
    """
    error = float(np.mean((image.astype(np.float64) - reference.astype(np.float64)) ** 2))
    return float("inf") if error == 0 else float(10 * np.log10(255**2 / error))


def contrasting(crops: Mapping[str, Image], most: int = MOST) -> dict[str, Image]:
    """Return reference, untrained image and at most ``most`` restorations, those that differ most from each other.

    The first restoration is kept: it is the pixel-only one where there is one. Each next one has the largest mean
    absolute difference to the nearest of those already chosen. Their order stays.

    Examples:
        >>> crops = {name: np.full((1, 1), value, np.uint8) for name, value in zip("rbxyz", (0, 9, 10, 11, 90))}
        >>> list(contrasting(crops, most=2))
        ['r', 'b', 'x', 'z']
    """
    names = list(crops)
    restored = names[2:]
    chosen = restored[:1]
    while len(chosen) < min(most, len(restored)):
        nearest = {
            name: min(float(np.abs(crops[name].astype(np.float32) - crops[other]).mean()) for other in chosen)
            for name in restored
            if name not in chosen
        }
        chosen.append(max(nearest, key=nearest.__getitem__))
    return {name: crops[name] for name in names if name in names[:2] or name in chosen}


def checked(row: GalleryRow) -> dict[str, Image]:
    """Return the crops of a row, reference and bicubic or input first.

    Raises:
        AnalysisError: See ``gallery``.
    """
    label, crops = row["label"], row["crops"]
    first = ("reference", next((name for name in UNTRAINED if name in crops), UNTRAINED[0]))
    if absent := [name for name in first if name not in crops]:
        raise AnalysisError(f"gallery row {label!r} has no {' and no '.join(absent)} crop; it has {', '.join(crops)}.")
    size = crops["reference"].shape[:2]
    for name, crop in crops.items():
        if crop.dtype != np.uint8 or crop.shape[:2] != size or crop.shape[2:] not in ((), (3,)):
            raise AnalysisError(
                f"gallery row {label!r}: crop {name!r} is {crop.dtype} of shape {crop.shape}, expected uint8 of {size}"
                " with three channels or none."
            )
    return {name: crops[name] for name in (*first, *(name for name in crops if name not in first))}


def caption(rows: Sequence[GalleryRow]) -> str:
    """Return what the figure shows."""
    return (
        f"Crops of {count(len(rows), 'image')}, enlarged by pixel repetition, with the PSNR of the crop; below each its"
        f" error, white at {FULL_SCALE} grey levels or more. At most {MOST} restorations, those that differ most from"
        " each other. The label says how the crop was chosen. Crops illustrate the numbers; they prove nothing."
    )
