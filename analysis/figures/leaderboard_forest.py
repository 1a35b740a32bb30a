"""Agreement of several scorers with people on one benchmark, with intervals."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ..statistics.frames import grouped, records
from .canvas import Drawn, Given, Panels, figure, note, require_one_of
from .style import BLUE, GREY, VERMILION, count, most_rows

AXIS = {"srcc": "SRCC with people (1 is perfect, higher is better)", "accuracy": "accuracy (higher is better)"}

NEAR_ZERO = 0.2  # an SRCC from which on the line at 0 is shown


@figure
def leaderboard_forest(table: pd.DataFrame, *, ax: Given = None) -> Drawn:
    """Draw one panel per benchmark and dimension with one row per scorer, best on top; better is to the right.

    The grey line is chance: an SRCC of 0, where that is near, or the accuracy of guessing.

    Args:
        table: ``Leaderboard.table`` of ``lopsided.mllm``.
        ax: Axes to draw on, one per panel; a new figure if left out.

    Returns:
        The Axes, or an array of them for several panels. A scorer without a value says why.

    Raises:
        AnalysisError: Another number of Axes than of panels.

    Examples:
        >>> from lopsided.analysis import figures
        >>> row = {"benchmark": "own", "dimension": "quality", "of": "srcc", "n": 40, "n_references": 10}
        >>> row |= {"scorer": "tiny/q-align", "srcc": 0.9, "srcc_low": 0.8, "srcc_high": 0.95, "status": "ok"}
        >>> figures.leaderboard_forest(pd.DataFrame([row])).get_yticklabels()[0].get_text()
        'tiny/q-align'
    """
    require_one_of(table, [], "leaderboard_forest", "no scorer has a value")
    keys = ["benchmark", "dimension", "of"]
    panels = Panels(ax, table.groupby(keys).ngroups, height=0.9 + 0.28 * max(2, most_rows(table, *keys)))
    for axis, ((benchmark, dimension, of), group) in zip(panels.axes, grouped(table, *keys), strict=True):
        rows = records(group.sort_values(of, ascending=False, kind="stable", na_position="last"))
        axis.grid(axis="x")
        for y, row in enumerate(rows):
            if np.isnan(row[of]):
                why = row["status"] if row["n_valid"] else "no reply with a value"
                note(axis, y, why, VERMILION, wrap=60)
                continue
            axis.plot([row[f"{of}_low"], row[f"{of}_high"]], [y, y], color=BLUE, linewidth=1.4)
            axis.plot(row[of], y, "o", color=BLUE, markersize=4.5)
        if of == "accuracy":
            axis.axvline(float(group["chance"].mean()), color=GREY, linewidth=0.9)
        elif axis.get_xlim()[0] < NEAR_ZERO:
            axis.axvline(0, color=GREY, linewidth=0.9)
        sample = f"{count(int(rows[0]['n']), 'item')}, {count(int(rows[0]['n_references']), 'reference')}"
        axis.set_title(f"{benchmark}: {dimension}   ({sample})")
        axis.set_yticks(range(len(rows)), [row["scorer"] for row in rows])
        axis.set_ylim(len(rows) - 0.4, -0.6)
        axis.set_xlabel(AXIS[of])
        axis.tick_params(axis="y", length=0)
    return panels.drawn
