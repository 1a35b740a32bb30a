"""Gain of every trained cell with its interval."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ..statistics.frames import grouped, records
from .style import (
    BLUE,
    GREY,
    VERMILION,
    gain_sample,
    of_setting,
    panels,
    pretty,
    require_one_of,
    setting_title,
    settings_of,
    styled,
)


@styled
def gain_forest(gains: pd.DataFrame) -> Figure:
    """Draw one panel per adversarial setting with one row per fidelity measure, on one scale; better is to the right.

    Filled blue: the interval is above 0; filled vermilion: below; hollow: it includes 0. A cell without a gain says
    why.

    Args:
        gains: ``Gains.table`` of one generator.

    Raises:
        AnalysisError: No rows, or several generators.
    """
    require_one_of(gains, ["generator"], "gain_forest")
    chosen = settings_of(gains)
    # One order for all panels: by mean gain, best on top.
    means = {fidelity: rows["gain"].mean() for fidelity, rows in grouped(gains, "fidelity")}
    order = sorted(means, key=lambda key: -np.nan_to_num(means[key], nan=-np.inf))
    figure, axes = panels(len(chosen), 4, 1.3 + 0.28 * len(order), share=True, width=min(11.0, 3.4 + 2.6 * len(chosen)))
    for index, (axis, setting) in enumerate(zip(axes, chosen, strict=True)):
        rows = {row["fidelity"]: row for row in records(of_setting(gains, setting))}
        axis.axvline(0, color=GREY, linewidth=0.9)
        axis.grid(axis="x")
        for y, fidelity in enumerate(order):
            if fidelity not in rows:
                # The pixel-only cell itself is the zero line, not a missing one.
                note = "baseline" if fidelity == "none" and setting[0] == "none" else "not trained"
                axis.text(
                    0.5, y, note, transform=axis.get_yaxis_transform(), ha="center", va="center", color=GREY, fontsize=8
                )
                continue
            row = rows[fidelity]
            if np.isnan(row["gain"]):
                text = {"x": 0.5, "y": y, "s": row["status"], "ha": "center", "va": "center"}
                axis.text(**text, transform=axis.get_yaxis_transform(), color=VERMILION, fontsize=7, wrap=True)
                continue
            low, high = row["gain_low"], row["gain_high"]
            colour = BLUE if low > 0 else VERMILION if high < 0 else GREY
            axis.plot([low, high], [y, y], color=colour, linewidth=1.6)
            face = "white" if colour == GREY else colour
            axis.plot(row["gain"], y, "o", color=colour, markerfacecolor=face, markersize=5.5)
        axis.set_title(setting_title(setting))
        axis.set_yticks(range(len(order)), [pretty(key) for key in order])
        axis.set_ylim(len(order) - 0.4, -0.6)
        axis.set_xlabel("gain (judge SDs, higher is better)")
        axis.tick_params(axis="y", length=0)
        if index % 4:
            axis.tick_params(axis="y", labelleft=False)
    return figure


def caption(gains: pd.DataFrame, method: str) -> str:
    """Return what the figure shows; ``method`` says how the intervals were made."""
    return (
        f"Gain over pixel-only training (0) by independent judges, in judge SDs; {gain_sample(gains)}. Lines:"
        f" {method}. Filled blue: better than pixel-only; filled vermilion: worse; hollow grey: the interval includes"
        " 0. Intervals are per cell and not corrected for the number of cells; compare measures with different"
        " sets of independent judges with care."
    )
