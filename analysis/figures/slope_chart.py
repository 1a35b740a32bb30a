"""Rank as a metric → rank as an objective: the asymmetry at a glance."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from ..statistics.frames import Row, records, where
from ..verdicts import ESTABLISHED, SUGGESTED
from .canvas import Drawn, Given, Panels, figure, inches, require_one_of, say, text_width
from .style import (
    BLUE,
    GREY,
    INK,
    PALE,
    SMALL,
    VERMILION,
    WIDTH,
    interval,
    minus,
    most_rows,
    of_setting,
    pretty,
    setting_name,
    settings_of,
)

ROW, HEAD, LINES, BAR = 0.32, 0.85, 1.5, 0.055  # inches: a measure, the heading, the lines' width, one bar of P(rank)
GAP = 0.08
BELOW = 0.6  # rows left free under the last, so that the next panel's title stands apart
SEVERAL_LINES = 1.1


@figure
def slope_chart(
    points: pd.DataFrame,
    settings: pd.DataFrame,
    pairs: pd.DataFrame,
    ranks: pd.DataFrame | None = None,
    *,
    ax: Given = None,
) -> Drawn:
    """Draw one panel per adversarial setting; a line joins a measure's rank by SRCC to its rank by gain (1 is best).

    Only a measure in an inversion that is established has a coloured line: blue where it rises, vermilion where it
    falls. A dashed line is only suggested. Grey lines are within noise. Small bars give the probability of each rank,
    the dark one that of the rank drawn. Labels give SRCC and gain (in judge SDs) with their intervals.

    Args:
        points: ``Asymmetry.points`` of one generator and data set.
        settings: ``Asymmetry.settings`` of the same.
        pairs: ``Asymmetry.pairs`` of the same.
        ranks: Part ``rank_probabilities`` of the study, of the same; no bars if left out or empty.
        ax: Axes to draw on, one per adversarial setting; a new figure if left out.

    Returns:
        The Axes, or an array of them for several settings. A setting without ranks says why.

    Raises:
        AnalysisError: Several generators or data sets, or another number of Axes than of settings.

    Examples:
        >>> from lopsided.analysis import figures
        >>> here = {"generator": "unet", "dataset": "live", "discriminator": "none", "gan_weight": 0.0}
        >>> rows = [("ssim", 0.7, 0.1, 2, 2), ("dists-vgg16", 0.9, 0.5, 1, 1), ("lpips-alexnet", 0.6, 0.0, 3, 3)]
        >>> points = pd.DataFrame(rows, columns=["measure", "srcc", "gain", "rank_assessment", "rank_gain"])
        >>> points = points.assign(**here, srcc_low=0.5, srcc_high=0.95, gain_low=-0.1, gain_high=0.6)
        >>> settings = pd.DataFrame([here | {"rho": 1.0, "trend": 0.5, "trend_verdict": "undecided", "status": "ok"}])
        >>> pairs = pd.DataFrame(columns=[*here, "better_metric", "worse_metric", "verdict"])
        >>> figures.slope_chart(points, settings, pairs).get_title(loc="left")
        'no discriminator:  ρ = 1.00, trend undecided'
    """
    require_one_of(settings, ["generator", "dataset"], "slope_chart", "no measure was both assessed and trained with")
    chosen = settings_of(settings)
    most = max(3, most_rows(points, "discriminator", "gan_weight") if len(points) else 0)
    bars = 0.0 if ranks is None or ranks.empty else BAR * most + GAP
    labels = max([text_width("rank as an objective"), *(text_width(text) for text in _texts(points))])
    width = max(WIDTH, 2 * (labels + bars + 2 * GAP) + SEVERAL_LINES)
    panels = Panels(ax, len(chosen), height=HEAD + ROW * (most + BELOW), width=width)
    for axis, setting in zip(panels.axes, chosen, strict=True):
        summary = records(of_setting(settings, setting))[0]
        verdict = f", trend {summary['trend_verdict']}" if np.isfinite(summary["trend"]) else ""
        rho = f":  ρ = {minus(summary['rho'])}{verdict}" if np.isfinite(summary["rho"]) else ""
        axis.set_title(setting_name(*setting) + rho, x=0.0, pad=3)
        measures = of_setting(points, setting).sort_values("measure")
        if measures.empty:
            say(axis, f"No ranks: {summary['status']}.")
            continue
        probabilities = None if ranks is None else of_setting(ranks, setting)
        _panel(axis, measures, _moved(of_setting(pairs, setting)), probabilities, labels, most)
    grey = Line2D([], [], color=GREY, linewidth=1.0, label="within noise")
    solid = [
        Line2D([], [], color=c, linewidth=2.2, label=t)
        for c, t in ((BLUE, "rises, established"), (VERMILION, "falls, established"))
    ]
    dashed = Line2D([], [], color=GREY, linewidth=1.4, linestyle=(0, (4, 2)), label="suggested")
    panels.legend([*solid, dashed, grey])
    return panels.drawn


def _texts(points: pd.DataFrame) -> list[str]:
    rows = records(points)
    return [
        text for row in rows for text in (f"{pretty(row['measure'])}  10", _value(row, "srcc"), _value(row, "gain"))
    ]


def _value(row: Row, of: str) -> str:
    return interval(row[of], row[f"{of}_low"], row[f"{of}_high"])


def _moved(pairs: pd.DataFrame) -> dict[str, str]:
    """Return the verdict on each measure that is in an inversion of which anything is known."""
    found: dict[str, str] = {}
    for verdict in (SUGGESTED, ESTABLISHED):
        for row in records(where(pairs, verdict=verdict)):
            found |= dict.fromkeys((row["better_metric"], row["worse_metric"]), verdict)
    return found


def _panel(
    axis: Axes, measures: pd.DataFrame, moved: dict[str, str], ranks: pd.DataFrame | None, labels: float, most: int
) -> None:
    n = len(measures)
    bars = 0.0 if ranks is None or ranks.empty else BAR * n
    aside = labels + bars + (3 if bars else 2) * GAP
    per_inch = 1 / max(inches(axis)[0] / 0.775 - 2 * aside, 0.6)  # the default margins of a figure are taken away later
    left = measures["rank_assessment"].rank(method="first").to_numpy()
    right = measures["rank_gain"].rank(method="first").to_numpy()
    far = (bars + (2 if bars else 1) * GAP) * per_inch
    for row, y0, y1 in zip(records(measures), left, right, strict=True):
        verdict, up = moved.get(row["measure"]) if y0 != y1 else None, y1 < y0
        colour = GREY if verdict is None else BLUE if up else VERMILION
        width, dash = {ESTABLISHED: (2.2, "-"), SUGGESTED: (1.4, (0, (4, 2)))}.get(verdict or "", (1.0, "-"))
        face = colour if verdict == ESTABLISHED else "white"
        axis.plot([0, 1], [y0, y1], color=colour, linewidth=width, linestyle=dash, zorder=3 if verdict else 2)
        axis.plot([0, 1], [y0, y1], "o", color=colour, markerfacecolor=face, markersize=4.5, zorder=4)
        name = pretty(row["measure"])
        metric = f"{name}  {row['rank_assessment']:g}\n{_value(row, 'srcc')}"
        objective = f"{row['rank_gain']:g}  {name}\n{_value(row, 'gain')}"
        look = {"va": "center", "linespacing": 1.1, "fontsize": SMALL, "in_layout": False}
        axis.text(-far, y0, metric, ha="right", **look)
        axis.text(1 + far, y1, objective, ha="left", **look)
    if ranks is not None and bars:
        _bars(
            axis, measures, ranks, dict(zip(measures["measure"], zip(left, right, strict=True), strict=True)), per_inch
        )
    heads = ((-far, "right", "rank as a metric\n(SRCC)"), (1 + far, "left", "rank as an objective\n(gain, judge SDs)"))
    for x, align, text in heads:
        axis.text(x, 0.42, text, ha=align, va="bottom", color=INK, fontsize=SMALL, style="italic", in_layout=False)
    axis.set_xlim(-aside * per_inch, 1 + aside * per_inch)
    axis.set_ylim(most + 0.5 + BELOW, -0.55)
    axis.axis("off")


def _bars(axis: Axes, measures: pd.DataFrame, ranks: pd.DataFrame, at: dict, per_inch: float) -> None:
    """Draw the probability of each rank, rank 1 at the left, beside both ends of every line."""
    n, step = len(measures), BAR * per_inch
    starts = {"metric": -(GAP + BAR * n) * per_inch, "objective": 1 + GAP * per_inch}
    column = {"metric": "rank_assessment", "objective": "rank_gain"}
    points = 72 * BAR * 0.72
    for side, start in starts.items():
        rank_of = dict(zip(measures["measure"], measures[column[side]], strict=True))
        of = where(ranks, side=side)
        of = of.loc[of["measure"].isin(list(rank_of))]
        x = start + (of["rank"].to_numpy(dtype=float) - 0.5) * step
        y = np.array([at[measure][side == "objective"] for measure in of["measure"]]) + 0.34
        dark = np.abs(of["rank"].to_numpy(dtype=float) - of["measure"].map(rank_of).to_numpy(dtype=float)) < 1
        axis.vlines(
            x, y, y - 0.68 * of["probability"], linewidth=points, colors=[INK if own else "#9a9a9a" for own in dark]
        )
        lines = np.array([places[side == "objective"] for places in at.values()]) + 0.34
        axis.hlines(lines, start, start + n * step, linewidth=0.6, colors=PALE, zorder=1)
        middle = start + n * step / 2
        axis.text(middle, 0.42, f"P(rank)\n1–{n}", ha="center", va="bottom", color=GREY, fontsize=6.5, in_layout=False)


def caption(points: pd.DataFrame, method: str) -> str:
    """Return what the figure shows, in full; ``method`` says how the intervals were made."""
    n = points["measure"].nunique()
    return (
        f"Rank of {n} fidelity measures as a metric (left, by SRCC) and as a training objective (right, by gain over"
        " pixel-only training in judge SDs); 1, on top, is best and higher values are better on both sides. Coloured:"
        " the measure is part of an inversion that is established (blue: better as an objective than as a metric;"
        " vermilion: worse); dashed: such an inversion is suggested; grey: the move is within noise. Bars: probability"
        " of each rank given the noise, the dark one that of the rank drawn; they take the noise as known, which with"
        f" few seeds makes them too sure. Brackets: {method}, by the judges common to the panel's measures."
    )
