"""What moves the gain more, the measure or the adversarial setting: their spreads with noise subtracted."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from ..statistics.frames import records
from .canvas import Panels, figure, note, require_one_of
from .style import BLUE, INK, ORANGE, PALE, SMALL, VERMILION, WIDTH, count, interval, pretty

KINDS = (("sd_measure", "measures", BLUE, "o"), ("sd_setting", "settings", ORANGE, "s"))
FLAT = 3.0  # an interval is drawn to this many times the largest SD


@figure
def variance_components(spreads: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw the SD of true gains over measures and over adversarial settings, each with its interval.

    An interval that reaches far to the right ends in an arrow. The ratio of the two and its verdict are at the right.

    Args:
        spreads: ``Study.spreads``; one block of two rows per generator and scope.
        ax: The Axes to draw on; a new figure if left out.

    Returns:
        The Axes. A block without components says why.

    Examples:
        >>> from lopsided.analysis import figures
        >>> spreads = pd.DataFrame([{"generator": "unet", "scope": "all settings", "status": "one seed"}])
        >>> drawn = figures.variance_components(spreads.reindex(columns=[*spreads, "sd_measure", "sd_setting"]))
        >>> [text.get_text() for text in drawn.texts]
        ['one seed']
    """
    require_one_of(spreads, [], "variance_components", "no trained cells to compare")
    blocks = records(spreads)
    panels = Panels(ax, 1, height=0.75 + 0.62 * len(blocks), width=WIDTH)
    axis = panels.axes[0]
    several = spreads["generator"].nunique() > 1
    largest = np.nanmax(np.append(spreads[["sd_measure", "sd_setting"]].to_numpy(dtype=float), 0.0)) or 1.0
    axis.grid(axis="x")
    labels, places, end = [], [], 0.0
    for number, row in enumerate(blocks):
        y = 3.0 * number
        labels += [f"{row['scope']}" + (f", {pretty(row['generator'])}" if several else "")]
        places += [y + 0.5]
        if number:
            axis.axhline(y - 1, color=PALE, linewidth=0.8)
        if row["status"] != "ok":
            note(axis, y + 0.5, row["status"], VERMILION, wrap=70)
            continue
        for below, (name, _, colour, marker) in enumerate(KINDS):
            value, low, high = row[name], row[f"{name}_low"], row[f"{name}_high"]
            cut = min(high, FLAT * largest)
            axis.plot([low, cut], [y + below] * 2, color=colour, linewidth=1.6)
            axis.plot(value, y + below, marker, color=colour, markersize=5.5)
            if cut < high:
                axis.plot(cut, y + below, ">", color=colour, markersize=5)
            axis.annotate(
                interval(value, low, high),
                (cut, y + below),
                (6, 0),
                textcoords="offset points",
                va="center",
                fontsize=SMALL,
                color=INK,
                in_layout=False,
            )
            end = max(end, cut)
        ratio = interval(row["ratio"], row["ratio_low"], row["ratio_high"])
        said = f"{row['verdict']}\nsettings over measures: {ratio}"
        axis.text(1, y + 0.5, said, transform=axis.get_yaxis_transform(), ha="right", va="center", fontsize=SMALL)
    axis.set_xlim(-0.03 * (end or 1), 2.6 * (end or 1))
    axis.set_xticks([tick for tick in axis.get_xticks() if 0 <= tick <= 1.2 * (end or 1)])
    axis.set_ylim(3 * len(blocks) - 1.2, -0.8)
    axis.set_yticks(places, labels)
    axis.tick_params(axis="y", length=0)
    axis.set_xlabel("SD of true gains (judge SDs)", x=0.0, ha="left")
    handles = [axis.plot([], [], marker, color=c, label=f"over {name}")[0] for _, name, c, marker in KINDS]
    panels.legend(handles, columns=2)
    return axis


def caption(spreads: pd.DataFrame, method: str) -> str:
    """Return what the figure shows; ``method`` says how the intervals were made."""
    judges = count(int(spreads["n_judges"].max()), "judge") if len(spreads) else "no judge"
    return (
        "How much true gains differ between measures (their means over settings) and between adversarial settings"
        f" (their means over measures), noise of seeds and images subtracted, by {judges} independent of all. Lines:"
        f" {method}. The verdict names the larger one only if the interval of their ratio leaves out 1."
    )
