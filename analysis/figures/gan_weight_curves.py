"""Gain over the weight of the adversarial loss, one panel per measure."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.lines import Line2D

from ..result_tables import SHARE
from ..statistics.frames import records, where
from .canvas import Drawn, Given, NothingToDraw, Panels, figure, gain_limits, require_one_of
from .judge_heatmap import by_mean_gain
from .style import COLOURS, DASHES, GREY, INK, MARKERS, minus, pretty, strength

PER_ROW = 4


@figure
def gan_weight_curves(gains: pd.DataFrame, *, ax: Given = None) -> Drawn:
    """Draw one panel per fidelity measure: x = weight of the adversarial loss, y = gain, one line per discriminator.

    Weight 0 is the training without a discriminator. Bands are the intervals. Weights are equally spaced, in order.

    Args:
        gains: ``Gains.table`` of one generator.
        ax: Axes to draw on, one per measure; a new figure if left out.

    Returns:
        The Axes, or an array of them for several measures, best mean gain first.

    Raises:
        AnalysisError: Several generators, or another number of Axes than of measures.

    Examples:
        >>> from lopsided.analysis import figures
        >>> rows = [("none", 0.0, 0.2), ("patch", 0.02, 0.6), ("patch", 0.1, -0.4)]
        >>> gains = pd.DataFrame(rows, columns=["discriminator", "gan_weight", "gain"]).assign(
        ...     generator="unet", fidelity="ssim", gain_low=-1.0, gain_high=1.0
        ... )
        >>> drawn = figures.gan_weight_curves(gains)
        >>> drawn.get_title(loc="left"), [label.get_text() for label in drawn.get_xticklabels()]
        ('SSIM', ['0', '0.02', '0.1'])
    """
    require_one_of(gains, ["generator"], "gan_weight_curves", "no trained cell other than the pixel-only one")
    gains = gains.loc[gains["gain"].notna()]
    discriminators = sorted(set(gains["discriminator"]) - {"none"})
    if not discriminators:
        raise NothingToDraw("no training with a discriminator has a gain")
    weights = sorted({0.0, *gains["gan_weight"].astype(float)})
    order = [key for key in by_mean_gain(gains) if (where(gains, fidelity=key)["discriminator"] != "none").any()]
    per_row = min(PER_ROW, len(order))
    panels = Panels(
        ax, len(order), per_row=per_row, height=1.75, width=7.2 if per_row > 2 else 3.6 * max(per_row, 1.2), share="xy"
    )
    bottom, top = gain_limits(gains)
    for index, (axis, fidelity) in enumerate(zip(panels.axes, order, strict=True)):
        own = where(gains, fidelity=fidelity)
        start = records(where(own, discriminator="none"))
        # The pixel-only training itself is the zero line.
        first = (0.0, 0.0, 0.0) if fidelity == "none" else (np.nan,) * 3
        first = tuple(start[0][of] for of in ("gain", "gain_low", "gain_high")) if start else first
        axis.axhline(0, color=GREY, linewidth=0.8, linestyle=(0, (4, 3)))
        for number, discriminator in enumerate(discriminators):
            rows = records(where(own, discriminator=discriminator).sort_values("gan_weight"))
            if not rows:
                continue
            # Side by side, so that intervals of several discriminators do not hide each other.
            shift = 0.08 * (number - (len(discriminators) - 1) / 2)
            x = np.array([weights.index(float(row["gan_weight"])) for row in rows]) + shift
            y, lows, highs = (np.array([row[of] for row in rows]) for of in ("gain", "gain_low", "gain_high"))
            # All start from the training without a discriminator, at the same place.
            if np.isfinite(first[0]):
                x, y = np.append(0, x), np.append(first[0], y)
                lows, highs = np.append(first[1], lows), np.append(first[2], highs)
            colour, dash = COLOURS[number % len(COLOURS)], DASHES[number // len(COLOURS) % len(DASHES)]
            marker = MARKERS[number % len(MARKERS)]
            axis.fill_between(x, lows, highs, color=colour, alpha=0.16, linewidth=0)
            axis.vlines(x, lows, highs, color=colour, linewidth=0.8, alpha=0.8)
            axis.plot(x, y, color=colour, linestyle=dash, marker=marker, markersize=3.8, linewidth=1.3)
            for place, value in zip(x[(y < bottom) | (y > top)], y[(y < bottom) | (y > top)], strict=True):
                low = value < bottom
                edge, name = bottom if low else top, "v" if low else "^"
                axis.plot(place, edge, name, color=colour, markersize=5, clip_on=False)
                offset: dict[str, Any] = {
                    "textcoords": "offset points",
                    "ha": "center",
                    "va": "bottom" if low else "top",
                }
                axis.annotate(minus(value, 1), (place, edge), (0, 5 if low else -5), fontsize=6.5, **offset)
        if start:
            axis.plot(0, first[0], "o", color=INK, markersize=4.2, zorder=5)
        axis.set_title(pretty(fidelity), fontsize=7.5)
        axis.set_xticks(range(len(weights)), [f"{weight:g}" for weight in weights])
        axis.set_xlim(-0.3, len(weights) - 0.7)
        axis.set_ylim(bottom, top)
        axis.grid(axis="y")
        axis.locator_params(axis="y", nbins=5)
        if index + panels.per_row >= len(order):
            axis.set_xlabel(f"adversarial {strength(*discriminators)}")
        elif ax is None:
            axis.tick_params(labelbottom=False)
        if index % panels.per_row == 0:
            axis.set_ylabel("gain (judge SDs,\nhigher is better)")
    mixed = " or " in strength(*discriminators)
    handles = [
        Line2D(
            [],
            [],
            label=pretty(key if mixed else key.removesuffix(SHARE)),
            color=COLOURS[i % len(COLOURS)],
            marker=MARKERS[i % len(MARKERS)],
            markersize=3.8,
            linestyle=DASHES[i // len(COLOURS) % len(DASHES)],
        )
        for i, key in enumerate(discriminators)
    ]
    panels.legend(handles, columns=3, title="discriminator")
    return panels.drawn


def caption(gains: pd.DataFrame, method: str) -> str:
    """Return what the figure shows; ``method`` says how the intervals were made."""
    discriminators = set(gains["discriminator"]) - {"none"}
    what = strength(*discriminators)
    meant = "its share of the gradient on the image, held in training" if what == "share" else f"its {what}"
    return (
        f"Gain over pixel-only training (dashed: 0) by the strength of the adversarial loss ({meant}), one panel per"
        f" fidelity measure, best mean gain first, one line per discriminator ({len(discriminators)}). 0: no"
        f" discriminator. Values are equally spaced. Bands: {method}, not corrected; one that leaves the axis is cut."
    )
