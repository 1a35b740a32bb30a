"""Ratings of several scorers against those of people, image by image, with the mean people give at each rating."""

from __future__ import annotations

import textwrap

import numpy as np
import pandas as pd
from matplotlib.lines import Line2D

from ..statistics.correlation import Floats
from ..statistics.frames import where
from .canvas import Drawn, Given, Panels, figure, require_one_of, say
from .style import GREY, VERMILION

BINS = 8  # of about equally many ratings
PER_ROW = 3
TITLE = 24  # characters of a line
FEW = 3  # ratings, below which a mean says nothing


@figure
def rating_calibration(scores: pd.DataFrame, *, ax: Given = None) -> Drawn:
    """Draw one panel per scorer, in their order in the table: x = its rating, y = what people gave, and means of y.

    A scorer whose means rise steadily orders images as people do; where they are flat, its ratings say nothing.

    Args:
        scores: Ratings of one benchmark and dimension: ``scorer``, ``value``, ``target`` and ``status``.
        ax: Axes to draw on, one per scorer; a new figure if left out.

    Returns:
        The Axes, or an array of them for several scorers. A scorer without a valid rating says so.

    Raises:
        AnalysisError: Another number of Axes than of scorers.

    Examples:
        >>> from lopsided.analysis import figures
        >>> scores = pd.DataFrame({"value": [1.0, 2.0, 3.0], "target": [10, 30, 20], "status": "ok", "scorer": "tiny"})
        >>> figures.rating_calibration(scores).get_title(loc="left")
        'tiny'
    """
    require_one_of(scores, [], "rating_calibration", "nothing was rated")
    panels = Panels(ax, scores["scorer"].nunique(), per_row=PER_ROW, height=2.5)
    for index, (axis, scorer) in enumerate(zip(panels.axes, scores["scorer"].unique(), strict=True)):
        axis.set_title(textwrap.fill(str(scorer), TITLE))
        valid = where(scores, scorer=scorer, status="ok")
        if valid.empty:
            say(axis, "No valid rating.")
            continue
        value, target = (valid[name].to_numpy(dtype=float) for name in ("value", "target"))
        axis.plot(value, target, ".", color=GREY, markersize=3, alpha=0.6)
        axis.plot(*bin_means(value, target), "-o", color=VERMILION, linewidth=1.4, markersize=3.5)
        axis.set_xlabel("rating")
        if index % panels.per_row == 0:
            axis.set_ylabel("people")
    if len(scores):
        point = Line2D([], [], linestyle="", marker=".", color=GREY, label="an image")
        panels.legend([point, Line2D([], [], marker="o", markersize=3.5, color=VERMILION, label="mean at this rating")])
    return panels.drawn


def bin_means(value: Floats, target: Floats) -> tuple[Floats, Floats]:
    """Return the means of both over groups of about equally many ratings; equal ratings stay together."""
    edges = np.unique(np.quantile(value, np.linspace(0, 1, BINS + 1)[1:-1]))
    group = np.searchsorted(edges, value, side="left")
    found = [group == n for n in range(len(edges) + 1) if (group == n).sum() >= min(FEW, len(value))]
    return np.array([value[of].mean() for of in found]), np.array([target[of].mean() for of in found])
