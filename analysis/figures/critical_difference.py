"""Critical-difference diagram: mean ranks of measures, and which of them a Nemenyi test cannot tell apart."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from ..statistics.frames import records
from .canvas import Panels, figure, require_one_of, text_width
from .style import GREY, INK, SMALL, WIDTH, count, p_text, pretty

ROW, HEAD = 0.2, 0.95  # inches


@figure
def critical_difference(ranks: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw mean ranks on a line, 1 (best) at the left, and a bar under every group within the critical difference.

    Source: Demšar, Statistical comparisons of classifiers over multiple data sets, JMLR 7 (2006), figure 1.

    Args:
        ranks: ``Assessment.ranks`` of one data set over its references, or those over data sets.
        ax: The Axes to draw on; a new figure if left out.

    Returns:
        The Axes.

    Raises:
        AnalysisError: Ranks of several data sets, or of both kinds.

    Examples:
        >>> from lopsided.analysis import figures
        >>> ranks = pd.DataFrame({"measure": ["ssim", "gmsd", "vif"], "mean_rank": [1.2, 1.9, 2.9]}).assign(
        ...     dataset="live", over="references", n_blocks=12, friedman_p=0.0001, critical_difference=0.957
        ... )
        >>> figures.critical_difference(ranks).get_title(loc="left")
        'live: 12 references, Friedman p < 0.001'
    """
    ranks = ranks.loc[ranks["mean_rank"].notna() & ranks["critical_difference"].notna()]
    why = "no ranks: they need two measures and two references or data sets at least"
    require_one_of(ranks, ["dataset", "over"], "critical_difference", why)
    rows = records(ranks.sort_values(["mean_rank", "measure"]))
    first, n = rows[0], len(rows)
    mean = np.array([row["mean_rank"] for row in rows])
    groups = groups_within(mean, first["critical_difference"])
    half = (n + 1) // 2  # names at the left, those of the worse half at the right
    names = [f"{pretty(row['measure'])}  {row['mean_rank']:.2f}" for row in rows]
    labels = max(map(text_width, names)) + 0.15
    width = max(WIDTH, 2 * labels + 2.6)
    panels = Panels(ax, 1, height=HEAD + ROW * half + 0.11 * len(groups), width=width)
    axis = panels.axes[0]
    per_inch = (n - 1) / (width - 2 * labels - 0.2)
    left, right = 1 - labels * per_inch, n + labels * per_inch
    bar = 0.55  # rows per group bar
    below = 0.5 + bar * len(groups)
    axis.plot([1, n], [0, 0], color=INK, linewidth=1.0)
    axis.vlines(range(1, n + 1), -0.28, 0, color=INK, linewidth=0.8)
    for rank in range(1, n + 1):
        axis.text(rank, -0.4, str(rank), ha="center", va="bottom", fontsize=SMALL, in_layout=False)
    for number, (start, stop) in enumerate(groups):
        y = 0.45 + bar * number
        axis.plot(
            [mean[start] - 0.02 * n, mean[stop] + 0.02 * n], [y, y], color=INK, linewidth=3.0, solid_capstyle="butt"
        )
    for index, name in enumerate(names):
        at_left = index < half
        y = below + 0.5 + (index if at_left else n - 1 - index)
        side = 1 - 0.05 * per_inch if at_left else n + 0.05 * per_inch
        axis.plot([mean[index], mean[index], side], [0, y, y], color=GREY, linewidth=0.8, zorder=1)
        shown = {"ha": "right" if at_left else "left", "va": "center", "fontsize": SMALL, "in_layout": False}
        text = name if at_left else f"{rows[index]['mean_rank']:.2f}  {pretty(rows[index]['measure'])}"
        axis.text(side, y, f"{text} " if at_left else f" {text}", **shown)
    cd = first["critical_difference"]
    axis.add_line(Line2D([1, 1 + cd], [-2.0, -2.0], color=INK, linewidth=1.2, marker="|", markersize=6, clip_on=False))
    axis.text(1 + cd, -2.0, f"  critical difference {cd:.2f}", va="center", fontsize=SMALL, in_layout=False)
    place = f"{pretty(first['dataset'])}: " if first["dataset"] else ""
    blocks = count(int(first["n_blocks"]), "data set" if first["over"] == "data sets" else "reference")
    axis.set_title(f"{place}{blocks}, Friedman {p_text(first['friedman_p'])}")
    axis.set_xlim(left, right)
    axis.set_ylim(below + half + 0.2, -2.6)
    axis.axis("off")
    return axis


def groups_within(mean_ranks: np.ndarray, critical_difference: float) -> list[tuple[int, int]]:
    """Return the largest groups of neighbours whose first and last mean rank differ by less than the difference.

    Args:
        mean_ranks: ``(k,)``, ascending.
        critical_difference: Of mean ranks.

    Returns:
        First and last index of every group of two or more that is no part of a larger one.

    Examples:
        >>> groups_within(np.array([1.0, 1.5, 2.2, 3.9]), 1.0)
        [(0, 1), (1, 2)]
    """
    found: list[tuple[int, int]] = []
    for start in range(len(mean_ranks)):
        stop = int(np.flatnonzero(mean_ranks - mean_ranks[start] < critical_difference)[-1])
        if stop > start and (not found or stop > found[-1][1]):
            found.append((start, stop))
    return found


def caption(ranks: pd.DataFrame) -> str:
    """Return what the figure shows."""
    left = int(ranks["n_left_out"].max()) if len(ranks) else 0
    lost = f" {left} without an SRCC of every measure are left out." if left else ""
    return (
        "Mean rank of each measure by SRCC (1 is best). A thick bar joins measures whose mean ranks differ by less than"
        f" Nemenyi's critical difference at 0.05, so that the test cannot tell them apart (Demšar 2006).{lost} It says"
        " nothing of how large a difference in SRCC is."
    )
