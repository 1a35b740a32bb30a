"""A matrix of coloured cells with texts, as the heat maps draw it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.colors import Normalize

from ..statistics.correlation import Floats
from .style import INK, SMALL

DARK = 0.58  # luminance below which a text is white


def draw_matrix(
    axis: Axes,
    values: Floats,
    texts: Sequence[Sequence[str]],
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    cmap: str,
    limits: tuple[float, float],
    small: Sequence[Sequence[str]] | None = None,
) -> None:
    """Draw values ``(rows, columns)`` as cells with a text in each, and a small one below it; NaN stays white."""
    norm, colours = Normalize(*limits), mpl.colormaps[cmap]
    limited = {"cmap": cmap, "vmin": limits[0], "vmax": limits[1], "cbar": False, "linewidths": 1.0}
    # seaborn draws the whole figure to see whether names overlap: hidden, that costs nothing. They are turned below.
    whole = axis.figure
    seen = whole.get_visible()
    whole.set_visible(False)
    sns.heatmap(values, mask=np.isnan(values), ax=axis, xticklabels=list(columns), yticklabels=list(rows), **limited)
    whole.set_visible(seen)
    luminance = colours(norm(np.nan_to_num(values, nan=limits[0])))[..., :3] @ [0.299, 0.587, 0.114]
    for y, x in itertools.product(range(len(rows)), range(len(columns))):
        value = values[y, x]
        colour = "white" if np.isfinite(value) and luminance[y, x] < DARK else INK
        look: dict[str, Any] = {"ha": "center", "color": colour, "in_layout": False}
        below = small[y][x] if small else ""
        if texts[y][x]:
            axis.text(x + 0.5, y + (0.36 if below else 0.5), texts[y][x], va="center", fontsize=SMALL, **look)
        if below:
            axis.text(x + 0.5, y + 0.74, below, va="center", fontsize=5.5, **look)
    plt.setp(axis.get_xticklabels(), rotation=40, ha="right", rotation_mode="anchor")
    plt.setp(axis.get_yticklabels(), rotation=0)
    axis.tick_params(length=0)
