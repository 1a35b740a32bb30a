"""Crops of restored images next to the reference and to what needs no training: bicubic upsampling, or the input."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import TypedDict

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ..errors import AnalysisError
from ..result_tables import UNTRAINED
from .style import WIDTH, count, styled

PER_LINE = 7


class GalleryRow(TypedDict):
    """One image of the gallery.

    Attributes:
        label: What the image is, e.g. "butterfly.png, seed 0".
        crops: Title (two lines at most, split at a line break or wrapped) → crop, ``(H, W, 3)`` or ``(H, W)`` uint8.
            "reference" and "bicubic" or "input" are required and come first; the others keep their order.
    """

    label: str
    crops: dict[str, NDArray[np.uint8]]


@styled
def gallery(rows: Sequence[GalleryRow]) -> Figure:
    """Draw the crops of each image on lines of seven, enlarged by pixel repetition (nothing is smoothed).

    Raises:
        AnalysisError: No rows; a row without reference, or without bicubic and input; a crop that is not uint8 of the
            row's size.
    """
    if not rows:
        raise AnalysisError("gallery: no rows to draw.")
    ordered = [checked(row) for row in rows]
    lines = [math.ceil(len(crops) / PER_LINE) for crops in ordered]
    columns = min(PER_LINE, max(len(crops) for crops in ordered))
    side = WIDTH / PER_LINE
    # A line is as tall as its crops, plus two lines of title; an image's first line also carries its label.
    heights = [
        side * crops["reference"].shape[0] / crops["reference"].shape[1] + 0.38 + (0.36 if line == 0 else 0.0)
        for crops, n in zip(ordered, lines, strict=True)
        for line in range(n)
    ]
    figure = Figure(figsize=(side * columns, sum(heights)))
    top = sum(heights)
    y = top
    for row, crops, n in zip(rows, ordered, lines, strict=True):
        titles = list(crops)
        for line in range(n):
            if line == 0:
                y -= 0.36
                figure.text(0.004, (y + 0.08) / top, row["label"], fontsize=10, fontweight="bold", va="bottom")
            y -= 0.38
            for column, title in enumerate(titles[line * PER_LINE : (line + 1) * PER_LINE]):
                image = crops[title]
                height = side * image.shape[0] / image.shape[1]
                box = (column / columns + 0.004, (y - height) / top, 1 / columns - 0.008, height / top)
                axis = figure.add_axes(box)
                axis.imshow(image, cmap="gray", vmin=0, vmax=255, interpolation="nearest", aspect="auto")
                axis.axis("off")
                lines_of_title = title.split("\n") if "\n" in title else textwrap.wrap(title, 22)
                axis.set_title("\n".join(lines_of_title[:2]), fontsize=8, fontweight="normal", loc="center", pad=2)
            y -= side * crops["reference"].shape[0] / crops["reference"].shape[1]
    return figure


def checked(row: GalleryRow) -> dict[str, NDArray[np.uint8]]:
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
        f"Crops of {count(len(rows), 'image')}, enlarged by pixel repetition. They illustrate"
        " the numbers; they prove nothing."
    )
