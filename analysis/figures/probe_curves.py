"""A reward over checkpoints beside what was not trained for: does anything else get better, and what is lost?"""

from __future__ import annotations

from typing import Any

import pandas as pd

from .canvas import Drawn, Given, Panels, figure, require_one_of
from .style import COLOURS, GREY, MARKERS, SMALL


@figure
def probe_curves(table: pd.DataFrame, *, ax: Given = None) -> Drawn:
    """Draw scores over checkpoints, and beside them diversity and blank images.

    Args:
        table: One row per checkpoint: ``checkpoint``, ``<score>_change`` of each score, ``diversity_share``, ``blank``.
        ax: Two Axes to draw on; a new figure if left out.

    Examples:
        >>> from lopsided.analysis import figures
        >>> table = pd.DataFrame({"checkpoint": ["0", "9"], "reward_change": [0.0, 2.0], "blank": [0.0, 1.0]})
        >>> left, right = figures.probe_curves(table.assign(diversity_share=[1.0, 0.2]))
        >>> [float(value) for value in left.get_lines()[1].get_ydata()]
        [0.0, 2.0]
    """
    require_one_of(table, [], "probe_curves", "there is no checkpoint")
    panels = Panels(ax, 2, height=2.4, per_row=2)
    left, right = panels.axes
    places = range(len(table))
    left.axhline(0, color=GREY, linewidth=0.7)
    scores = [name.removesuffix("_change") for name in table.columns if name.endswith("_change")]
    for number, name in enumerate(scores):
        look: dict[str, Any] = {"color": COLOURS[number % len(COLOURS)], "marker": MARKERS[number % len(MARKERS)]}
        look["linewidth"] = 2.0 if name == "reward" else 1.2
        left.plot(places, table[f"{name}_change"], label=name, markersize=4, **look)
    left.set_ylabel("change\n(SDs of the reference)")
    small = {"markersize": 4, "linewidth": 1.2}
    shares = table["diversity_share"], table["blank"]
    right.plot(places, shares[0], label="diversity, of the reference's", color=COLOURS[0], marker="o", **small)
    right.plot(places, shares[1], label="blank images", color=COLOURS[1], marker="s", linestyle="--", **small)
    right.set_ylim(bottom=-0.03)
    right.yaxis.set_major_formatter("{x:.0%}")
    for axis in (left, right):
        axis.set_xticks(places, table["checkpoint"], rotation=30 if len(table) > 4 else 0)
        axis.set_xlabel("checkpoint")
        axis.legend(fontsize=SMALL)
    return panels.drawn
