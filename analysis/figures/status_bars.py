"""How many replies of each scorer have a value, and why the others have none."""

from __future__ import annotations

import pandas as pd

from ..statistics.frames import where
from .canvas import Drawn, Given, Panels, figure, require_one_of
from .style import BLUE, GREY, ORANGE, PURPLE, SKY, VERMILION

COLOURS = {
    "ok": BLUE,
    "ambiguous": ORANGE,
    "refused": PURPLE,
    "out_of_range": "#e6c200",
    "truncated": SKY,
    "unparsable": VERMILION,
    "empty": GREY,
    "failed": "#333333",
}


@figure
def status_bars(scores: pd.DataFrame, *, ax: Given = None) -> Drawn:
    """Draw one bar per scorer in their order in the table, with the share of replies of each status.

    Args:
        scores: ``scorer`` and ``status``, one row per reply.
        ax: Axes to draw on; a new figure if left out.

    Examples:
        >>> from lopsided.analysis import figures
        >>> scores = pd.DataFrame({"scorer": "tiny", "status": ["ok", "ok", "refused", "ok"]})
        >>> [float(bar.get_width()) for bar in figures.status_bars(scores).patches]
        [0.75, 0.25]
    """
    require_one_of(scores, [], "status_bars", "nothing was asked")
    replies = {scorer: where(scores, scorer=scorer)["status"].tolist() for scorer in scores["scorer"].unique()}
    panels = Panels(ax, 1, height=0.9 + 0.28 * len(replies))
    (axis,) = panels.axes
    used = [status for status in COLOURS if (scores["status"] == status).any()]
    handles = []
    left = [0.0] * len(replies)
    for status in used:
        widths = [of.count(status) / len(of) for of in replies.values()]
        bars = axis.barh(range(len(replies)), widths, left=left, height=0.62, color=COLOURS[status], label=status)
        left = [at + width for at, width in zip(left, widths, strict=True)]
        handles.append(bars)
    axis.set_yticks(range(len(replies)), list(replies))
    axis.set_ylim(len(replies) - 0.4, -0.6)
    axis.set_xlim(0, 1)
    axis.xaxis.set_major_formatter("{x:.0%}")
    axis.set_xlabel("share of replies")
    axis.tick_params(axis="y", length=0)
    panels.legend(handles, columns=4)
    return panels.drawn
