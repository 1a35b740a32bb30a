"""Gain of every trained cell with its interval."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ..statistics.frames import records
from ..statistics.multiplicity import ALPHA
from .canvas import Drawn, Given, Panels, figure, gain_limits, note, require_one_of, span, text_width
from .judge_heatmap import by_mean_gain
from .style import BLUE, GREY, VERMILION, WIDTH, gain_sample, of_setting, pretty, setting_title, settings_of

PER_ROW = 3


@figure
def gain_forest(gains: pd.DataFrame, *, ax: Given = None) -> Drawn:
    """Draw one panel per adversarial setting with one row per fidelity measure, on one scale; better is to the right.

    Filled blue: better than pixel-only, corrected for all gains of the generator; filled vermilion: worse; hollow: no
    such finding. A diamond marks a cell that lost seeds. A cell without a gain says why; one far
    from the others does not stretch the axis: an arrow at the edge gives its gain.

    Args:
        gains: ``Gains.table`` of one generator.
        ax: Axes to draw on, one per adversarial setting; a new figure if left out.

    Returns:
        The Axes, or an array of them for several settings.

    Raises:
        AnalysisError: Several generators, or another number of Axes than of settings.

    Examples:
        >>> from lopsided.analysis import figures
        >>> gains = pd.DataFrame({"fidelity": ["ssim", "gmsd"], "gain": [0.1, 0.9], "p_holm": [0.8, 0.01]}).assign(
        ...     generator="unet", discriminator="none", gan_weight=0.0, gain_low=-0.1, gain_high=1.1, n_lost=0
        ... )
        >>> [label.get_text() for label in figures.gain_forest(gains).get_yticklabels()]
        ['GMSD', 'SSIM']
    """
    require_one_of(gains, ["generator"], "gain_forest", "no trained cell other than the pixel-only one")
    chosen = settings_of(gains)
    order = by_mean_gain(gains)  # one for all panels
    names = [pretty(key) for key in order]
    per_row = min(PER_ROW, len(chosen))
    width = min(WIDTH, 0.5 + max(map(text_width, names)) + (3.2 if per_row == 1 else 2.0 * per_row))
    panels = Panels(ax, len(chosen), per_row=per_row, height=0.85 + 0.19 * max(len(order), 3), width=width, share="xy")
    limits = gain_limits(gains)
    for index, (axis, setting) in enumerate(zip(panels.axes, chosen, strict=True)):
        rows = {row["fidelity"]: row for row in records(of_setting(gains, setting))}
        axis.axvline(0, color=GREY, linewidth=0.9)
        axis.grid(axis="x")
        for y, fidelity in enumerate(order):
            if fidelity not in rows:
                # The pixel-only cell itself is the zero line, not a missing one.
                note(axis, y, "baseline" if fidelity == "none" and setting[0] == "none" else "not trained")
                continue
            row = rows[fidelity]
            if np.isnan(row["gain"]):
                note(axis, y, row["status"], VERMILION)
                continue
            sure = row["p_holm"] < ALPHA
            colour = GREY if not sure else BLUE if row["gain"] > 0 else VERMILION
            look = {"color": colour, "marker": "D" if row["n_lost"] else "o"}
            span(axis, y, row, "gain", look | {"markerfacecolor": colour if sure else "white"}, limits)
        axis.set_title(setting_title(setting))
        axis.set_yticks(range(len(order)), names)
        axis.set_ylim(len(order) - 0.4, -0.6)
        axis.set_xlim(*limits)
        axis.set_xlabel("gain (judge SDs,\nhigher is better)" if per_row > 1 else "gain (judge SDs, higher is better)")
        axis.tick_params(axis="y", length=0, labelleft=ax is not None or index % panels.per_row == 0)
        axis.locator_params(axis="x", nbins=5)
    return panels.drawn


def caption(gains: pd.DataFrame, method: str) -> str:
    """Return what the figure shows; ``method`` says how the intervals were made."""
    lost = " Diamond: seeds of the cell are lost, so what is left may flatter it." if gains["n_lost"].any() else ""
    return (
        f"Gain over pixel-only training (0) by independent judges, in judge SDs; {gain_sample(gains)}. Lines:"
        f" {method}, not corrected. Filled blue: better than pixel-only (p < {ALPHA:g}, Holm, over all gains of the"
        f" generator); filled vermilion: worse; hollow grey: no such finding.{lost} Cells are judged by different"
        " judges: the tables of the asymmetry compare measures by common ones."
    )
