"""Rank as a metric → rank as an objective: the asymmetry at a glance."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ..statistics.frames import records
from .style import (
    BLUE,
    GREY,
    INK,
    VERMILION,
    WIDTH,
    interval,
    minus,
    most_rows,
    of_setting,
    panels,
    pretty,
    require_one_of,
    setting_name,
    settings_of,
    styled,
)


@styled
def slope_chart(points: pd.DataFrame, settings: pd.DataFrame) -> Figure:
    """Draw one panel per adversarial setting; a line joins a measure's rank by SRCC to its rank by gain (1 is best).

    Lines that rise are blue, those that fall vermilion, those that keep their rank grey. Labels give SRCC and gain (in
    judge SDs) with their intervals. Tied measures are listed in alphabetical order and keep their shared rank number.

    Args:
        points: ``Asymmetry.points`` of one generator and data set.
        settings: ``Asymmetry.settings`` of the same.

    Raises:
        AnalysisError: No rows, or several generators or data sets.
    """
    require_one_of(points, ["generator", "dataset"], "slope_chart")
    chosen = settings_of(points)
    most = most_rows(points, "discriminator", "gan_weight")
    # Labels take more room than lines, so two panels make a row.
    figure, axes = panels(len(chosen), 2, 1.15 + 0.37 * most, width=WIDTH if len(chosen) > 1 else WIDTH * 0.6)
    for axis, setting in zip(axes, chosen, strict=True):
        measures = of_setting(points, setting).sort_values("measure")
        summary = records(of_setting(settings, setting))[0]
        left = measures["rank_assessment"].rank(method="first").to_numpy()
        right = measures["rank_gain"].rank(method="first").to_numpy()
        for row, y0, y1 in zip(records(measures), left, right, strict=True):
            moved = np.sign(row["rank_assessment"] - row["rank_gain"])
            colour = {1.0: BLUE, -1.0: VERMILION, 0.0: GREY}[float(moved)]
            axis.plot([0, 1], [y0, y1], "-o", color=colour, linewidth=1.8, markersize=5, solid_capstyle="round")
            metric = interval(row["srcc"], row["srcc_low"], row["srcc_high"])
            objective = interval(row["gain"], row["gain_low"], row["gain_high"])
            name = pretty(row["measure"])
            axis.text(
                -0.05, y0, f"{name}  {row['rank_assessment']:g}\n{metric}", ha="right", va="center", linespacing=1.15
            )
            axis.text(1.05, y1, f"{row['rank_gain']:g}  {name}\n{objective}", ha="left", va="center", linespacing=1.15)
        rho = f"ρ = {minus(summary['rho'])}" if np.isfinite(summary["rho"]) else summary["status"]
        verdict = f", trend {summary['trend_verdict']}" if np.isfinite(summary["trend"]) else ""
        axis.set_title(f"{setting_name(*setting)}:  {rho}{verdict}", x=0.0, pad=20)
        for x, align, text in (
            (-0.05, "right", "rank as a metric\n(SRCC)"),
            (1.05, "left", "rank as an objective\n(gain, judge SDs)"),
        ):
            axis.text(x, 0.42, text, ha=align, va="bottom", color=INK, fontsize=8, style="italic")
        axis.set_xlim(-0.72, 1.72)
        axis.set_ylim(most + 0.5, 0.3)
        axis.axis("off")
    return figure


def caption(points: pd.DataFrame, method: str) -> str:
    """Return what the figure shows, in full; ``method`` says how the intervals were made."""
    n = points["measure"].nunique()
    return (
        f"Rank of {n} fidelity measures as a metric (left, by SRCC) and as a training objective (right, by gain over"
        " pixel-only training in judge SDs); 1, on top, is best and higher values are better on both sides. Blue:"
        f" better as an objective than as a metric; vermilion: worse; grey: same rank. Brackets: {method}, by"
        " the judges common to the panel's measures. A crossing is no finding by itself: most are within noise."
    )
