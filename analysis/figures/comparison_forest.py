"""Two studies beside one another: what each trained cell gained more in the second than in the first."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes

from ..statistics.frames import records
from ..verdicts import ESTABLISHED
from .canvas import Panels, figure, require_one_of, span, text_width
from .style import BLUE, GREY, SMALL, VERMILION, WIDTH, minus, pretty, setting_name

MOST = 30  # rows; the table has them all


@figure
def comparison_forest(gains: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw the differences in gain that were tested, the largest first, with the gain in either study at the right.

    Filled blue: the gain is larger in the second study, established; filled vermilion: smaller; hollow: no such
    finding.

    Args:
        gains: ``Comparison.gains`` of one pair of studies; rows without a test are left out, and of more than 30 those
            with the largest p.
        ax: The Axes to draw on; a new figure if left out.

    Returns:
        The Axes.

    Raises:
        AnalysisError: Several pairs of studies.

    Examples:
        >>> from lopsided.analysis import figures
        >>> gains = pd.DataFrame({
        ...     "a": "first", "b": "second", "generator": "unet", "fidelity": ["ssim", "gmsd"], "discriminator": "none",
        ...     "gan_weight": 0.0, "gain_a": [0.1, 0.2], "gain_b": [0.9, 0.1], "difference": [0.8, -0.1],
        ...     "difference_low": [0.5, -0.4], "difference_high": [1.1, 0.2], "p": [0.001, 0.6],
        ...     "verdict": ["established", "undecided"],
        ... })
        >>> [label.get_text() for label in figures.comparison_forest(gains).get_yticklabels()]
        ['SSIM, no discriminator', 'GMSD, no discriminator']
    """
    tested = gains.loc[gains["p"].notna()] if len(gains) else gains
    require_one_of(tested, ["a"], "comparison_forest", "no difference in gain was tested")
    require_one_of(tested, ["b"], "comparison_forest")
    shown = tested.nsmallest(MOST, "p", keep="first").sort_values("difference", ascending=False, kind="stable")
    rows = records(shown)
    several = shown["generator"].nunique() > 1
    names = [_name(row, several) for row in rows]
    beside = [f"{minus(row['gain_a'], 2)} → {minus(row['gain_b'], 2)}" for row in rows]
    width = min(WIDTH, 3.6 + max(map(text_width, names)) + max(map(text_width, beside)))
    panels = Panels(ax, 1, height=0.85 + 0.19 * max(len(rows), 3), width=width)
    axis = panels.axes[0]
    low, high = min(0.0, shown["difference_low"].min()), max(0.0, shown["difference_high"].max())
    margin = 0.05 * (high - low)
    limits = low - margin, high + margin  # nothing is cut off: what is far from the others is what is looked for
    axis.axvline(0, color=GREY, linewidth=0.9)
    axis.grid(axis="x")
    for y, (row, gained) in enumerate(zip(rows, beside, strict=True)):
        sure = row["verdict"] == ESTABLISHED
        colour = GREY if not sure else BLUE if row["difference"] > 0 else VERMILION
        look = {"color": colour, "marker": "o", "markerfacecolor": colour if sure else "white"}
        span(axis, y, row, "difference", look, limits)
        axis.text(1.02, y, gained, transform=axis.get_yaxis_transform(), va="center", fontsize=SMALL)
    axis.set_yticks(range(len(names)), names)
    axis.set_ylim(len(names) - 0.4, -0.6)
    axis.set_xlim(*limits)
    axis.tick_params(axis="y", length=0)
    axis.locator_params(axis="x", nbins=6)
    axis.set_xlabel(f"gain in {rows[0]['b']} minus gain in {rows[0]['a']} (judge SDs)")
    return axis


def _name(row: dict, several: bool) -> str:
    """Name a trained cell, with its generator where there are several."""
    parts = [pretty(row["generator"])] if several else []
    return ", ".join([*parts, pretty(row["fidelity"]), setting_name(row["discriminator"], row["gan_weight"])])


def caption(gains: pd.DataFrame) -> str:
    """Return what the figure shows."""
    tested = gains.loc[gains["p"].notna()]
    first = tested.iloc[0]
    most = f" Of {len(tested)} that were tested, the {MOST} with the smallest p." if len(tested) > MOST else ""
    return (
        f"What each trained cell gained more in {first['b']} than in {first['a']}, by the judges, seeds and images of"
        " both, with 95 % intervals that are not corrected. Filled blue: established to be more, corrected for all"
        f" differences that were tested; filled vermilion: less; hollow grey: no such finding.{most} Right: the gain in"
        " either study by its own judges, seeds and images, so the two need not differ by what is drawn. The row of the"
        " pixel loss compares the two baselines."
    )
