"""The claims and what became of them, as a table to print."""

from __future__ import annotations

import textwrap
from collections import Counter

import numpy as np
import pandas as pd
from matplotlib.patches import Rectangle

from ..claims import CONTRADICTED, SUPPORTED, UNDECIDED, UNTESTABLE
from ..statistics.frames import Row, records
from .canvas import Drawn, Given, Panels, figure, require_one_of, wrapped
from .style import BLUE, GREY, INK, SMALL, VERMILION, WIDTH, interval, p_text

# A mark besides the colour, so that a grey print says the same.
MARKS = {SUPPORTED: ("✓", BLUE), CONTRADICTED: ("✗", VERMILION), UNDECIDED: ("?", GREY), UNTESTABLE: ("–", GREY)}
COLUMNS = ((0.055, "claim"), (0.465, "verdict"), (0.665, "strongest test, or what is missing"))
STATEMENT, OUTCOME, WHY = 2.7, 1.25, 2.3  # inches of each column
REASON = 160  # characters of what is missing
LINE = 0.135  # inches


@figure
def claim_table(claims: pd.DataFrame, *, ax: Given = None) -> Drawn:
    r"""Draw one row per claim: statement, verdicts and strongest test.

    Args:
        claims: Part ``claims`` of the study.
        ax: The Axes to draw on; a new figure if left out.

    Returns:
        The Axes.

    Examples:
        >>> from lopsided.analysis import figures
        >>> claims = pd.DataFrame([{
        ...     "claim": "T1", "statement": "Better metrics are better objectives.", "where": "unet", "estimate": 0.4,
        ...     "low": 0.1, "high": 0.7, "unit": "judge SDs", "p_corrected": 0.01, "verdict": "supported",
        ... }])
        >>> [text.get_text() for text in figures.claim_table(claims).texts][-3:]
        ['✓', 'supported', '0.40 [0.10, 0.70] judge SDs\np = 0.010, corrected']
    """
    require_one_of(claims, [], "claim_table", "no claims were tested")
    rows = [_row(found) for _, found in claims.groupby("claim", sort=False)]
    lines = [max(text.count("\n") + 1 for text in (row["statement"], row["outcome"], row["why"])) for row in rows]
    tall = [LINE * n + 0.1 for n in lines]
    height = 0.3 + sum(tall)
    panels = Panels(ax, 1, height=height, width=WIDTH)
    axis = panels.axes[0]
    axis.set_axis_off()
    axis.set_xlim(0, 1)
    axis.set_ylim(height, 0)
    for x, head in COLUMNS:
        axis.text(x, 0.15, head, va="center", fontweight="bold", fontsize=8, in_layout=False)
    axis.plot([0, 1], [0.28, 0.28], color=INK, linewidth=0.8)
    y = 0.3
    for number, (row, deep) in enumerate(zip(rows, tall, strict=True)):
        if number % 2:
            axis.add_patch(Rectangle((0, y), 1, deep, facecolor="#f3f3f3", edgecolor="none", zorder=0))
        mark, colour = MARKS[row["verdict"]]
        top, look = y + 0.05, {"va": "top", "fontsize": SMALL, "linespacing": 1.25, "in_layout": False}
        axis.text(0.0, top, row["claim"], fontweight="bold", color=INK, **look)
        axis.text(COLUMNS[0][0], top, row["statement"], color=INK, **look)
        axis.text(COLUMNS[1][0] - 0.025, top, mark, color=colour, fontweight="bold", **look)
        bold = "bold" if row["verdict"] in (SUPPORTED, CONTRADICTED) else "normal"
        axis.text(COLUMNS[1][0], top, row["outcome"], color=colour, fontweight=bold, **look)
        axis.text(COLUMNS[2][0], top, row["why"], color=INK, **look)
        y += deep
    return panels.drawn


def _row(found: pd.DataFrame) -> Row:
    """Return the texts of one claim."""
    counts = Counter(found["verdict"])
    said = ", ".join(verdict if len(found) == 1 else f"{n} × {verdict}" for verdict, n in counts.most_common())
    # What its tests agree on; a claim supported here and contradicted there is undecided as a whole.
    decided = {verdict for verdict in (SUPPORTED, CONTRADICTED) if counts[verdict]}
    verdict = decided.pop() if len(decided) == 1 else UNTESTABLE if set(counts) == {UNTESTABLE} else UNDECIDED
    tested = found.loc[found["estimate"].notna()].sort_values("p_corrected")
    if len(tested):
        best = records(tested)[0]
        digits = 3 if str(best["unit"]).startswith("SRCC") else 2
        value = interval(best["estimate"], best["low"], best["high"], digits)
        why = wrapped(f"{value} {best['unit']}", WHY)
        if np.isfinite(best["p_corrected"]):
            why += f"\n{p_text(best['p_corrected'])}, corrected"
    else:
        reason = next((reason for reason in found["missing"] if reason), "")
        why = wrapped(textwrap.shorten(reason, REASON, placeholder=" …"), WHY)
    return {
        "claim": found["claim"].iloc[0],
        "statement": wrapped(found["statement"].iloc[0], STATEMENT),
        "verdict": verdict,
        "outcome": wrapped(said, OUTCOME),
        "why": why,
    }


def caption() -> str:
    """Return what the figure shows."""
    return (
        "Claims of the asymmetry paper (arXiv 2509.20878) and its reviews in our own operational form; a verdict is"
        " about these tables and no replication. ✓ supported, ✗ contradicted, ? undecided (no evidence against), – not"
        " testable with these tables. Estimates above 0, or ratios above 1, speak for a claim; p is corrected for the"
        " tests of the claim."
    )
