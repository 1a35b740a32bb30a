"""What descending each measure makes of a degraded image: the reference recovery, as pictures."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from .canvas import Drawn, Given, NothingToDraw, Panels, figure
from .gallery import GalleryRow, Image, checked, psnr
from .style import INK, count, minus

PER_LINE, TITLE = 6, 0.36
WIDTH = 7.2


@figure
def recovery_strips(rows: Sequence[GalleryRow], *, ax: Given = None) -> Drawn:
    r"""Draw one strip per start: the reference, the start, and what each measure recovered, with the PSNR of each.

    Args:
        rows: One per start: its ``crops`` are "reference", "input" and one per measure.
        ax: Axes to draw on, one per start; a new figure if left out.

    Returns:
        The Axes, or an array of them for several starts.

    Raises:
        AnalysisError: A row without reference or input; a picture that is not uint8 of the row's size; another number
            of Axes than of starts.

    Examples:
        >>> import numpy as np
        >>> from lopsided.analysis import figures
        >>> dark, light = np.zeros((8, 8, 3), np.uint8), np.full((8, 8, 3), 20, np.uint8)
        >>> strip = {"label": "a.png, from noise", "crops": {"reference": dark, "input": light, "SSIM": dark}}
        >>> [text.get_text() for text in figures.recovery_strips([strip]).texts]
        ['reference', 'input\n22.1 dB', 'SSIM\n∞ dB']
    """
    if not rows:
        raise NothingToDraw("no recoveries: the study has no diagnostics with pictures")
    shown = [checked(row) for row in rows]
    sizes = [_lines(crops) * (_ratio(crops) + TITLE) / (1.03 * PER_LINE) for crops in shown]
    heights = [WIDTH * size + 0.25 for size in sizes]
    panels = Panels(ax, len(rows), height=max(heights), width=WIDTH)
    panels.resize(heights)
    for axis, row, crops in zip(panels.axes, rows, shown, strict=True):
        ratio = _ratio(crops)
        for number, (title, crop) in enumerate(crops.items()):
            x, y = 1.03 * (number % PER_LINE), (number // PER_LINE) * (ratio + TITLE) + TITLE
            extent = (x, x + 1, y + ratio, y)
            axis.imshow(crop, extent=extent, cmap="gray", vmin=0, vmax=255, interpolation="nearest", aspect="equal")
            name = textwrap.shorten(title.replace("\n", " "), 23, placeholder="…")
            said = "" if title == "reference" else f"\n{minus(psnr(crop, crops['reference']), 1)} dB"
            axis.text(x, y - 0.03, name + said, va="bottom", fontsize=6.5, color=INK, linespacing=1.05, in_layout=False)
        axis.set_xlim(0, 1.03 * PER_LINE)
        axis.set_ylim(_lines(crops) * (ratio + TITLE), 0)
        axis.set_title(row["label"])
        axis.set_axis_off()
    return panels.drawn


def _ratio(crops: dict[str, Image]) -> float:
    height, width = crops["reference"].shape[:2]
    return height / width


def _lines(crops: dict[str, Image]) -> int:
    return -(-len(crops) // PER_LINE)


def caption(rows: Sequence[GalleryRow]) -> str:
    """Return what the figure shows."""
    return (
        f"What descending each measure on pixels made of {count(len(rows), 'start')}, with the PSNR to the reference. A"
        " measure that cannot bring the reference back has other images that it likes as well; PSNR says nothing of"
        " those that look right."
    )
