"""SRCC of measures, no-reference models and multimodal LLMs on the same images."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.lines import Line2D

from ..raters import LLM, MEASURE, MODEL
from ..statistics.frames import grouped, records
from .canvas import Drawn, Given, Panels, figure, note, require_one_of
from .style import BLUE, GREY, ORANGE, VERMILION, count, most_rows, pretty

LOOK = {MEASURE: ("o", BLUE), MODEL: ("s", VERMILION), LLM: ("D", ORANGE)}


@figure
def raters_forest(raters: pd.DataFrame, names: Mapping[str, str] | None = None, *, ax: Given = None) -> Drawn:
    """Draw one panel per data set with one row per rater, best SRCC on top; better is to the right.

    Args:
        raters: Part ``raters`` of the study, the first table of ``compare_raters``.
        names: Raters as people write them, where that is not their key.
        ax: Axes to draw on, one per data set; a new figure if left out.

    Returns:
        The Axes, or an array of them for several data sets. A rater without an SRCC says why.

    Raises:
        AnalysisError: Another number of Axes than of data sets.

    Examples:
        >>> from lopsided.analysis import figures
        >>> row = {"dataset": "live", "kind": "measure", "n": 97, "n_references": 5, "status": "ok"}
        >>> raters = pd.DataFrame([{"rater": "ssim", "srcc": 0.9, "srcc_low": 0.8, "srcc_high": 0.95, **row}])
        >>> figures.raters_forest(raters).get_yticklabels()[0].get_text()
        'SSIM'
    """
    require_one_of(raters, [], "raters_forest", "no data set was rated by two kinds of rater")
    known = names or {}
    panels = Panels(ax, raters["dataset"].nunique(), height=0.9 + 0.24 * max(3, most_rows(raters, "dataset")))
    for axis, (dataset, of) in zip(panels.axes, grouped(raters, "dataset"), strict=True):
        rows = records(of.sort_values("srcc", ascending=False, kind="stable", na_position="last"))
        axis.axvline(0, color=GREY, linewidth=0.9)
        axis.grid(axis="x")
        for y, row in enumerate(rows):
            marker, colour = LOOK[row["kind"]]
            if np.isnan(row["srcc"]):
                note(axis, y, row["status"], VERMILION, wrap=60)
                continue
            axis.plot([row["srcc_low"], row["srcc_high"]], [y, y], color=colour, linewidth=1.4)
            axis.plot(row["srcc"], y, marker, color=colour, markersize=4)
        sample = f"{count(int(rows[0]['n']), 'image')}, {count(int(rows[0]['n_references']), 'reference')}"
        axis.set_title(f"{pretty(dataset)}   ({sample})")
        axis.set_yticks(range(len(rows)), [known.get(row["rater"], pretty(row["rater"])) for row in rows])
        axis.set_ylim(len(rows) - 0.4, -0.6)
        axis.set_xlabel("SRCC with people (1 is perfect, higher is better)")
        axis.tick_params(axis="y", length=0)
    kinds = [kind for kind in LOOK if (raters["kind"] == kind).any()]
    handles = [Line2D([], [], marker=LOOK[kind][0], color=LOOK[kind][1], label=kind, markersize=4) for kind in kinds]
    panels.legend(handles, columns=3)
    return panels.drawn
