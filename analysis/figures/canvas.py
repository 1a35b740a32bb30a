"""The Axes that a figure is drawn on: the caller's, or those of a new figure; and what every figure does with them."""

from __future__ import annotations

import functools
import math
import textwrap
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, ParamSpec, TypeAlias, TypeVar, cast

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from numpy.typing import NDArray

from ..errors import AnalysisError
from ..statistics.correlation import Floats
from .style import GREY, INK, RC, SMALL, WIDTH, minus

# One panel is an Axes, several are an array of them, as matplotlib's own `subplots` gives them: which one depends on
# the table, so no type checker can know.
Drawn: TypeAlias = Any
Given: TypeAlias = "Axes | Sequence[Axes] | NDArray[np.object_] | None"
P = ParamSpec("P")
R = TypeVar("R")
LEGEND_LINE = 0.17  # inches
IN_PANEL = 44  # characters of a reason on one line of a panel


class NothingToDraw(Exception):  # noqa: N818 - no error: the figure says why
    """Why a figure has nothing to show; it becomes the text of its Axes."""


def figure(draw: Callable[P, R]) -> Callable[P, R]:
    """Decorate a figure function: it draws in the shared style, and where there is nothing to draw it says why.

    The caller's settings of matplotlib stay as they are.
    """

    @functools.wraps(draw)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> R:
        with mpl.rc_context(cast(Any, RC)):
            try:
                return draw(*args, **kwargs)
            except NothingToDraw as nothing:
                given = cast(Given, kwargs.get("ax"))
                panels = Panels(given, 1 if given is None else len(axes_of(given)), height=1.2, width=0.6 * WIDTH)
                for axis in panels.axes:
                    say(axis, str(nothing))
                return panels.drawn

    return drawn


def axes_of(drawn: Axes | Sequence[Axes] | NDArray[np.object_]) -> list[Axes]:
    """Return the Axes of a figure as a list, whether it has one panel or several.

    Examples:
        >>> figure, axis = plt.subplots()
        >>> len(axes_of(axis)), len(axes_of([axis, axis]))
        (1, 2)
        >>> plt.close(figure)
    """
    return [drawn] if isinstance(drawn, Axes) else list(np.ravel(cast(Any, drawn)))


def figure_of(drawn: Axes | Sequence[Axes] | NDArray[np.object_]) -> Figure:
    """Return the figure that the Axes belong to, for ``savefig``.

    Examples:
        >>> drawn = plt.subplots()
        >>> figure_of(drawn[1]) is drawn[0]
        True
        >>> plt.close(drawn[0])
    """
    return cast(Figure, axes_of(drawn)[0].get_figure(root=True))


def lay_out(drawn: Axes | Sequence[Axes] | NDArray[np.object_]) -> Figure:
    """Give everything its place once and for all, and return the figure: saving it is then nearly twice as fast."""
    whole = figure_of(drawn)
    if engine := whole.get_layout_engine():
        engine.execute(whole)
        whole.set_layout_engine("none")
    return whole


class Panels:
    """Equal panels in rows.

    Args:
        ax: The caller's Axes, as many as there are panels; None for a new figure.
        n: Number of panels.
        per_row: Most panels in a row.
        height: Inches of one row.
        width: Inches of the figure.
        share: Axes that all panels of a new figure share: "", "x", "y" or "xy".

    Attributes:
        axes: The panels.
        per_row: Panels in a row; all, if they are the caller's.

    Raises:
        AnalysisError: Another number of Axes than of panels.
    """

    def __init__(self, ax: Given, n: int, *, height: float, per_row: int = 1, width: float = WIDTH, share: str = ""):
        self._given = ax
        if ax is not None:
            self.axes = axes_of(ax)
            self.per_row = n
            if len(self.axes) != n:
                raise AnalysisError(
                    f"the table has {n} panels, ax has {len(self.axes)}: pass as many Axes, or filter the table."
                )
        else:
            self.per_row = min(n, per_row)
            rows = math.ceil(n / self.per_row)
            self.figure = plt.figure(figsize=(width, rows * height), layout="constrained")
            grid = self.figure.subplots(rows, self.per_row, squeeze=False, sharex="x" in share, sharey="y" in share)
            self.axes = list(grid.flat)[:n]
            for unused in grid.flat[n:]:
                unused.remove()
        for axis in self.axes:
            axis.spines[["top", "right"]].set_visible(False)
            axis.set_axisbelow(True)
            # Ticks are made when the figure is drawn, with the caller's settings by then: say now what they are like.
            axis.tick_params(labelsize=SMALL, color=GREY, labelcolor=INK, labelbottom=True)

    def resize(self, heights: Sequence[float]) -> None:
        """Give the rows of a new figure heights of their own, in inches."""
        if self._given is None:
            self.figure.set_size_inches(self.figure.get_figwidth(), sum(heights))
            cast(Any, self.axes[0].get_gridspec()).set_height_ratios(heights)

    @property
    def drawn(self) -> Drawn:
        """What the figure function returns."""
        if isinstance(self._given, Axes) or (self._given is None and len(self.axes) == 1):
            return self.axes[0]
        return np.array(self.axes, dtype=object)

    def legend(self, handles: Sequence[Artist], columns: int = 4, title: str | None = None) -> None:
        """Put a legend below a new figure, which grows for it, or below the last of the caller's Axes."""
        # Rows of one length: the last is not left nearly empty.
        columns = math.ceil(len(handles) / math.ceil(len(handles) / columns))
        look: dict[str, Any] = {
            "handles": handles,
            "ncols": columns,
            "title": title,
            "fontsize": SMALL,
            "handlelength": 2.8,
        }
        if self._given is None:
            lines = math.ceil(len(handles) / columns) + bool(title)
            width, height = self.figure.get_size_inches()
            self.figure.set_size_inches(width, height + LEGEND_LINE * lines)
            self.figure.legend(loc="outside lower center", **look)
        else:
            self.axes[-1].legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), **look)


def say(axis: Axes, reason: str, *, wrap: int = IN_PANEL) -> None:
    """Write on an empty panel why it is empty."""
    axis.set_axis_off()
    text = textwrap.fill(reason, wrap)
    axis.text(0.5, 0.5, text, transform=axis.transAxes, ha="center", va="center", color=GREY, fontsize=RC["font.size"])


def note(axis: Axes, y: float, text: str, colour: str = GREY, wrap: int = 30) -> None:
    """Write in the middle of a row of a forest plot why it has no value."""
    across = axis.get_yaxis_transform()
    text = textwrap.shorten(text, wrap, placeholder=" …")
    axis.text(0.5, y, text, transform=across, ha="center", va="center", color=colour, fontsize=SMALL, in_layout=False)


def require_one_of(table: pd.DataFrame, columns: Sequence[str], figure: str, why: str = "no rows to draw") -> None:
    """Say why there is nothing to draw, or raise AnalysisError if a figure would mix values of a column."""
    if table.empty:
        raise NothingToDraw(why)
    for column in columns:
        if (n := table[column].nunique()) > 1:
            raise AnalysisError(f"{figure} shows one {column}, got {n}: filter the table and draw one figure each.")


def span(
    axis: Axes, y: float, row: Mapping[str, float], name: str, look: dict[str, Any], limits: tuple[float, float]
) -> None:
    """Draw a value with its interval on a row of a forest plot; beyond the limits an arrow at the edge says its value.

    Args:
        axis: The panel.
        y: The row.
        row: Has ``name`` and its ``_low`` and ``_high``.
        name: The value's column.
        look: ``color``, ``marker`` and ``markerfacecolor``.
        limits: Of the axis.
    """
    value, (left, right) = row[name], limits
    colour = look["color"]
    axis.plot([row[f"{name}_low"], row[f"{name}_high"]], [y, y], color=colour, linewidth=1.5)
    if left <= value <= right:
        axis.plot(value, y, linestyle="", markersize=4.5, **look)
        return
    low = value < left
    edge = left + (right - left) * (0.015 if low else 0.985)  # clear of the names beside the axis
    axis.plot(edge, y, "<" if low else ">", color=colour, markersize=5, clip_on=False)
    text = minus(value, 1)
    place = {"textcoords": "offset points", "va": "center", "ha": "left" if low else "right", "fontsize": SMALL}
    axis.annotate(text, (edge, y), (6 if low else -6, 0), color=INK, in_layout=False, **place)


def wrapped(text: str, width: float, size: float = SMALL) -> str:
    r"""Return a text broken into lines of at most ``width`` inches.

    Examples:
        >>> wrapped("two words", 0.4)
        'two\nwords'
    """
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and text_width(longer, size) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return "\n".join(lines)


def robust_limits(values: Floats, low: Floats, high: Floats) -> tuple[float, float]:
    """Return limits for values with intervals that one outlier does not stretch.

    Values further than three interquartile ranges from the quartiles are left outside; intervals widen the limits by
    no more than the range of the other values on each side.

    Examples:
        >>> none = np.full(5, np.nan)
        >>> [round(end, 2) for end in robust_limits(np.array([1.0, 2.0, 3.0, 4.0, 90.0]), none, none)]
        [0.85, 4.15]
    """
    finite = values[np.isfinite(values)]
    if not len(finite):
        return -1.0, 1.0
    first, last = np.percentile(finite, [25, 75])
    reach = 3 * (last - first) or np.inf
    inside = np.isfinite(values) & (values >= first - reach) & (values <= last + reach)
    least, most = values[inside].min(), values[inside].max()
    room = (most - least) or max(abs(most), 1.0)
    least = max(least - room, np.nanmin(np.append(low[inside], least)))
    most = min(most + room, np.nanmax(np.append(high[inside], most)))
    margin = 0.05 * ((most - least) or 1.0)
    return float(least - margin), float(most + margin)


def gain_limits(gains: pd.DataFrame) -> tuple[float, float]:
    """Return limits for gains with their intervals, 0 included, outliers left outside."""
    value, low, high = (gains[f"gain{end}"].to_numpy(dtype=float) for end in ("", "_low", "_high"))
    least, most = robust_limits(value, low, high)
    margin = 0.05 * (most - least)
    return min(least, -margin), max(most, margin)


@lru_cache(maxsize=4096)
def text_width(text: str, size: float = SMALL, weight: str = "normal") -> float:
    """Return the inches that the longest line of a text takes."""
    font = get_font(findfont(FontProperties(family=RC["font.family"], weight=weight)))
    font.set_size(size, 72)
    widest = 0.0
    for line in text.split("\n"):
        font.set_text(line, 0.0)
        widest = max(widest, font.get_width_height()[0] / 64 / 72)
    return widest


def inches(axis: Axes) -> tuple[float, float]:
    """Return width and height of an Axes; those of a new figure are about right before it is laid out."""
    box = axis.get_window_extent()
    dpi = axis.figure.dpi
    return box.width / dpi, box.height / dpi
