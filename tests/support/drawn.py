"""What is seen on a figure: its texts with their places, which of them overlap, and which are cut off."""

from __future__ import annotations

import itertools
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text


def visible_texts(figure: Figure) -> list[tuple[Text, Any]]:
    """Return (text, box in pixels) of everything written on a figure."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    # matplotlib keeps, but does not draw, the labels of ticks outside the limits and of axes that are off.
    hidden = set()
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            for tick in axis.get_major_ticks() + axis.get_minor_ticks():
                if not (axes.axison and low <= tick.get_loc() <= high):
                    hidden |= set(tick.findobj(Text))
    found = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()]
    boxes = [(text, text.get_window_extent(canvas.get_renderer())) for text in found if text not in hidden]
    return [(text, box) for text, box in boxes if box.width > 0 and box.height > 0]


def overlapping(seen: list[tuple[Text, Any]]) -> list[tuple[str, str]]:
    """Return pairs of texts that overlap by more than a pixel; slanted ones are left out, as their boxes are not."""
    level = [(text.get_text(), box) for text, box in seen if text.get_rotation() % 90 == 0]
    return [
        (a, b)
        for (a, box_a), (b, box_b) in itertools.combinations(level, 2)
        if min(box_a.x1, box_b.x1) - max(box_a.x0, box_b.x0) > 1
        and min(box_a.y1, box_b.y1) - max(box_a.y0, box_b.y0) > 1
    ]


def cut_off(figure: Figure, seen: list[tuple[Text, Any]]) -> list[str]:
    """Return the texts that reach beyond the figure."""
    width, height = figure.get_size_inches() * figure.dpi
    return [
        text.get_text() for text, box in seen if box.x0 < -2 or box.y0 < -2 or box.x1 > width + 2 or box.y1 > height + 2
    ]
