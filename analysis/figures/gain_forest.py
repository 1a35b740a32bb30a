"""Gain of every trained cell with its interval."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ..statistics.frames import grouped, records
from ..statistics.multiplicity import ALPHA
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

    Filled blue: better than pixel-only, corrected for all gains of the generator; filled vermilion: worse; hollow: no
    such finding. A diamond marks a cell that lost seeds. A cell without a gain says why.

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
            sure = row["p_holm"] < ALPHA
            colour = GREY if not sure else BLUE if row["gain"] > 0 else VERMILION
            axis.plot([row["gain_low"], row["gain_high"]], [y, y], color=colour, linewidth=1.6)
            marker = "D" if row["n_lost"] else "o"
            axis.plot(row["gain"], y, marker, color=colour, markerfacecolor=colour if sure else "white", markersize=5)
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
    lost = " Diamond: seeds of the cell are lost, so what is left may flatter it." if gains["n_lost"].any() else ""
    return (
        f"Gain over pixel-only training (0) by independent judges, in judge SDs; {gain_sample(gains)}. Lines:"
        f" {method}, not corrected. Filled blue: better than pixel-only (p < {ALPHA:g}, Holm, over all gains of the"
        f" generator); filled vermilion: worse; hollow grey: no such finding.{lost} Cells are judged by different"
        " judges: the tables of the asymmetry compare measures by common ones."
    )
