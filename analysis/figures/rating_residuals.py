"""What is left of people's opinions once a scorer's ratings are known: where it over- and where it underrates."""

from __future__ import annotations

import textwrap

import numpy as np
import pandas as pd
from matplotlib.lines import Line2D

from ..statistics.frames import where
from .canvas import Drawn, Given, Panels, figure, require_one_of, say
from .rating_calibration import PER_ROW, TITLE, bin_means
from .style import GREY, VERMILION


@figure
def rating_residuals(scores: pd.DataFrame, *, ax: Given = None) -> Drawn:
    """Draw one panel per scorer: x = its rating, y = people minus the straight line through all its ratings.

    Points above 0 are images that people like more than the scorer's rating says. Means that bend away from 0 show
    that its scale is not theirs; a point far away is an image that it misjudges.

    Args:
        scores: Ratings of one benchmark and dimension: ``scorer``, ``value``, ``target`` and ``status``.
        ax: Axes to draw on, one per scorer; a new figure if left out.

    Returns:
        The Axes, or an array of them for several scorers. A scorer whose valid ratings are all equal says so.

    Raises:
        AnalysisError: Another number of Axes than of scorers.

    Examples:
        >>> from lopsided.analysis import figures
        >>> scores = pd.DataFrame({"value": [1.0, 2.0, 3.0], "target": [10, 30, 20], "status": "ok", "scorer": "tiny"})
        >>> figures.rating_residuals(scores).lines[1].get_ydata().round(3).tolist()
        [-5.0, 10.0, -5.0]
    """
    require_one_of(scores, [], "rating_residuals", "nothing was rated")
    panels = Panels(ax, scores["scorer"].nunique(), per_row=PER_ROW, height=2.2)
    for index, (axis, scorer) in enumerate(zip(panels.axes, scores["scorer"].unique(), strict=True)):
        axis.set_title(textwrap.fill(str(scorer), TITLE))
        valid = where(scores, scorer=scorer, status="ok")
        value, target = valid[["value", "target"]].dropna().to_numpy(dtype=float).T
        if len(value) < 2 or np.ptp(value) == 0:
            say(axis, "No two unlike ratings.")
            continue
        slope, start = np.polyfit(value, target, 1)
        left = target - (start + slope * value)
        axis.axhline(0, color=GREY, linewidth=0.9)
        axis.plot(value, left, ".", color=GREY, markersize=3, alpha=0.6)
        axis.plot(*bin_means(value, left), "-o", color=VERMILION, linewidth=1.4, markersize=3.5)
        axis.set_xlabel("rating")
        if index % panels.per_row == 0:
            axis.set_ylabel("people − line")
    if len(scores):
        point = Line2D([], [], linestyle="", marker=".", color=GREY, label="an image")
        panels.legend([point, Line2D([], [], marker="o", markersize=3.5, color=VERMILION, label="mean at this rating")])
    return panels.drawn
