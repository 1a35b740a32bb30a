"""The claims and what became of them, as a table to print."""

from __future__ import annotations

import textwrap

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from ..statistics.frames import Row, records
from ..verdicts import CONTRADICTED, SUPPORTED
from .canvas import Panels, figure, require_one_of, wrapped
from .claim_summary import MARKS, summarise_claims
from .style import INK, SMALL, WIDTH

COLUMNS = ((0.055, "claim"), (0.465, "verdict"), (0.665, "strongest test, or what is missing"))
STATEMENT, OUTCOME, WHY = 2.7, 1.25, 2.3  # inches of each column
REASON = 160  # characters of what is missing
LINE = 0.135  # inches


@figure
def claim_table(claims: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
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
    rows = [_wrapped(row) for row in records(summarise_claims(claims))]
    lines = [max(row[name].count("\n") + 1 for name in ("statement", "tests", "evidence")) for row in rows]
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
        axis.text(COLUMNS[1][0], top, row["tests"], color=colour, fontweight=bold, **look)
        axis.text(COLUMNS[2][0], top, row["evidence"], color=INK, **look)
        y += deep
    return axis


def _wrapped(row: Row) -> Row:
    evidence = (
        textwrap.shorten(row["evidence"], REASON, placeholder=" …") if "\n" not in row["evidence"] else row["evidence"]
    )
    return row | {
        "statement": wrapped(row["statement"], STATEMENT),
        "tests": wrapped(row["tests"], OUTCOME),
        "evidence": "\n".join(wrapped(line, WHY) for line in evidence.split("\n")),
    }


def caption() -> str:
    """Return what the figure shows."""
    return (
        "Claims of the asymmetry paper (arXiv 2509.20878) and its reviews in our own operational form; a verdict is"
        " about these tables and no replication. ✓ supported, ✗ contradicted, ? undecided (no evidence against), – not"
        " testable with these tables. Estimates above 0, or ratios above 1, speak for a claim; p is corrected for the"
        " tests of the claim."
    )
