"""SRCC against gain, with both intervals."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ..statistics.frames import records
from .style import (
    BLUE,
    GREY,
    interval,
    most_rows,
    of_setting,
    panels,
    pretty,
    require_one_of,
    setting_name,
    settings_of,
    spread_labels,
    styled,
)

LINE = 0.155  # inches a label needs


@styled
def scatter(points: pd.DataFrame, settings: pd.DataFrame) -> Figure:
    """Draw one panel per adversarial setting: x = SRCC as a metric, y = gain as an objective; both better when higher.

    Crosses are the intervals; names are at the right, joined to their points, so that they never overlap.

    Args:
        points: ``Asymmetry.points`` of one generator and data set.
        settings: ``Asymmetry.settings`` of the same.

    Raises:
        AnalysisError: No rows, or several generators or data sets.
    """
    require_one_of(points, ["generator", "dataset"], "scatter")
    chosen = settings_of(points)
    most = most_rows(points, "discriminator", "gan_weight")
    height = max(3.4, 1.3 + LINE * most)
    figure, axes = panels(len(chosen), 3, height, share=True)
    x_low, x_high = limits(points, "srcc")
    y_low, y_high = limits(points, "gain")
    label_x = x_high + 0.06 * (x_high - x_low)
    for index, (axis, setting) in enumerate(zip(axes, chosen, strict=True)):
        rows = of_setting(points, setting).sort_values("gain")
        summary = records(of_setting(settings, setting))[0]
        axis.plot([x_low, x_high], [0, 0], color=GREY, linewidth=0.8, linestyle=(0, (4, 3)))
        gap = LINE / (height - 1.2) * (y_high - y_low)
        labels = spread_labels(rows["gain"].to_numpy(dtype=float), gap, y_low + gap / 2, y_high - gap / 2)
        for row, label_y in zip(records(rows), labels.tolist(), strict=True):
            x, y = row["srcc"], row["gain"]
            axis.plot([x, x_high, label_x], [y, label_y, label_y], color="#b5b5b5", linewidth=0.6, zorder=1)
            axis.plot([row["srcc_low"], row["srcc_high"]], [y, y], color=BLUE, linewidth=1.1, alpha=0.65)
            axis.plot([x, x], [row["gain_low"], row["gain_high"]], color=BLUE, linewidth=1.1, alpha=0.65)
            axis.plot(x, y, "o", color=BLUE, markersize=4.5)
            axis.text(label_x, label_y, f" {pretty(row['measure'])}", va="center", fontsize=8)
        axis.set_title(
            f"{setting_name(*setting)}\nρ = {interval(summary['rho'], summary['rho_low'], summary['rho_high'])}"
            f"\ntrend {interval(summary['trend'], summary['trend_low'], summary['trend_high'])}:"
            f" {summary['trend_verdict']}"
        )
        axis.set_xlim(x_low, x_high + 0.75 * (x_high - x_low))
        axis.set_ylim(y_low, y_high)
        axis.set_xticks([tick for tick in axis.get_xticks() if x_low <= tick <= min(1.0, x_high)])
        axis.spines["bottom"].set_bounds(x_low, x_high)
        axis.set_xlabel("SRCC as a metric (higher is better)", x=0.285)
        if index % 3 == 0:
            axis.set_ylabel("gain over pixel-only\n(judge SDs, higher is better)")
    return figure


def limits(points: pd.DataFrame, name: str) -> tuple[float, float]:
    """Return the range of a quantity and its intervals, a little widened, 0 included for gains."""
    values = points[[name, f"{name}_low", f"{name}_high"]].to_numpy(dtype=float)
    values = np.append(values[np.isfinite(values)], 0.0 if name == "gain" else [])
    margin = 0.05 * (np.ptp(values) or 1.0)
    return float(values.min() - margin), float(values.max() + margin)


def caption(points: pd.DataFrame, method: str) -> str:
    """Return what the figure shows; ``method`` says how the intervals were made."""
    return (
        f"Assessment against optimization for {points['measure'].nunique()} measures: if the better metric were always"
        " the better objective, each panel would rise from left to right. Dashed line: pixel-only training. Crosses"
        f" and brackets of points: {method}; gains by the judges common to the panel's measures. ρ: bracket of the"
        " noise-free ρ. Trend: gain with the best metric minus that with the worst, on a line through ranks."
    )
