"""SRCC against gain, with both intervals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.lines import Line2D

from ..statistics.frames import records
from .canvas import Drawn, Given, Panels, figure, gain_limits, inches, require_one_of, say
from .style import (
    GREY,
    INK,
    SMALL,
    family,
    family_style,
    interval,
    minus,
    most_rows,
    of_setting,
    pretty,
    setting_name,
    settings_of,
    spread_labels,
)

LINE = 0.135  # inches a label needs
PER_ROW = 2


@figure
def scatter(points: pd.DataFrame, settings: pd.DataFrame, *, ax: Given = None) -> Drawn:
    """Draw one panel per adversarial setting: x = SRCC as a metric, y = gain as an objective; both better when higher.

    Crosses are the intervals; colour and mark give the family of the measure; names are at the right, joined to their
    points, so that they never overlap. A measure far from the others does not stretch the axis: an arrow at the edge
    gives its gain.

    Args:
        points: ``Asymmetry.points`` of one generator and data set.
        settings: ``Asymmetry.settings`` of the same.
        ax: Axes to draw on, one per adversarial setting; a new figure if left out.

    Returns:
        The Axes, or an array of them for several settings. A setting without gains says why.

    Raises:
        AnalysisError: Several generators or data sets, or another number of Axes than of settings.

    Examples:
        >>> from lopsided.analysis import figures
        >>> here = {"generator": "unet", "dataset": "live", "discriminator": "none", "gan_weight": 0.0}
        >>> points = pd.DataFrame({"measure": ["ssim", "gmsd"], "srcc": [0.7, 0.9], "gain": [0.2, 0.1]}).assign(
        ...     **here, srcc_low=0.6, srcc_high=0.95, gain_low=0.0, gain_high=0.3
        ... )
        >>> nothing = dict.fromkeys(["rho", "rho_low", "rho_high", "trend", "trend_low", "trend_high"], np.nan)
        >>> settings = pd.DataFrame([here | nothing | {"trend_verdict": "", "status": "too few measures"}])
        >>> figures.scatter(points, settings).get_xlabel()
        'SRCC as a metric (higher is better)'
    """
    require_one_of(settings, ["generator", "dataset"], "scatter", "no measure was both assessed and trained with")
    points = points.loc[points["gain"].notna()]
    chosen = settings_of(settings)
    most = most_rows(points, "discriminator", "gan_weight") if len(points) else 1
    per_row = 1 if len(chosen) == 1 else PER_ROW
    panels = Panels(ax, len(chosen), per_row=per_row, height=max(3.0, 1.2 + LINE * most))
    for index, (axis, setting) in enumerate(zip(panels.axes, chosen, strict=True)):
        summary = records(of_setting(settings, setting))[0]
        known = np.isfinite(summary["rho"])
        said = (
            f"ρ = {interval(summary['rho'], summary['rho_low'], summary['rho_high'])}\ntrend"
            f" {interval(summary['trend'], summary['trend_low'], summary['trend_high'])}: {summary['trend_verdict']}"
        )
        axis.set_title(f"{setting_name(*setting)}\n{said if known else summary['status']}")
        rows = of_setting(points, setting)
        if rows.empty:
            say(axis, f"No gains: {summary['status']}.")
            continue
        cross_plot(axis, rows, srcc_limits(points), gain_limits(points), pretty)
        axis.set_xlabel("SRCC as a metric (higher is better)")
        if index % panels.per_row == 0:
            axis.set_ylabel("gain over pixel-only\n(judge SDs, higher is better)")
    if len(points):
        panels.legend(family_handles(points["measure"]), columns=6)
    return panels.drawn


def family_handles(measures: pd.Series) -> list[Artist]:
    """Return a legend's handles of the families of these measures."""
    names = sorted({family(str(measure)) for measure in measures})
    return [Line2D([], [], linestyle="", markersize=5, label=name, **family_style(name)) for name in names]


def cross_plot(
    axis: Axes,
    rows: pd.DataFrame,
    across: tuple[float, float],
    up: tuple[float, float],
    label: Callable[[str], str],
    *,
    sure: np.ndarray | None = None,
    counted: np.ndarray | None = None,
) -> None:
    """Draw points with both intervals and their labels at the right.

    Args:
        axis: The panel.
        rows: ``measure``, ``srcc`` and ``gain`` with ``_low`` and ``_high``.
        across: Limits of x.
        up: Limits of y; points beyond them become triangles at the edge.
        label: What is written for a measure.
        sure: Which points are filled; all if left out.
        counted: Which points are shown as such; the others are a grey ×.
    """
    rows = rows.assign(sure=True if sure is None else sure, counted=True if counted is None else counted).sort_values(
        "gain"
    )
    (x_low, x_high), (y_low, y_high) = across, up
    axis.set_xlim(x_low, x_high)
    axis.set_ylim(y_low, y_high)
    axis.axhline(0, color=GREY, linewidth=0.8, linestyle=(0, (4, 3)), zorder=1)
    height = inches(axis)[1]
    gap = LINE / height * (y_high - y_low)
    shown = np.clip(rows["gain"].to_numpy(dtype=float), y_low, y_high)
    labels = spread_labels(shown, gap, y_low + gap / 2, y_high - gap / 2)
    margin = axis.get_yaxis_transform()
    leaders, crosses, colours = [], [], []
    for row, y, label_y in zip(records(rows), shown.tolist(), labels.tolist(), strict=True):
        look: dict[str, Any] = (
            family_style(family(row["measure"])) if row["counted"] else {"color": GREY, "marker": "x"}
        )
        x = row["srcc"]
        leaders.append([((x - x_low) / (x_high - x_low), y), (1.02, label_y), (1.05, label_y)])
        outside = row["gain"] != y
        name = label(row["measure"]) + f"  {minus(row['gain'], 1)}" * outside
        axis.text(1.06, label_y, name, va="center", fontsize=SMALL, transform=margin, color=INK)
        if outside:
            mark = "^" if row["gain"] > y else "v"
            axis.plot(x, y, mark, color=look["color"], markersize=6, clip_on=False, zorder=4)
            continue
        if row["counted"]:
            crosses += [[(row["srcc_low"], y), (row["srcc_high"], y)], [(x, row["gain_low"]), (x, row["gain_high"])]]
            colours += [look["color"]] * 2
        face = look["color"] if row["sure"] else "white"
        axis.plot(x, y, linestyle="", markersize=4.8, markerfacecolor=face, zorder=3, **look)
    # Lines in two collections: hundreds of single ones are slow to draw.
    lines = LineCollection(leaders, colors="#b8b8b8", linewidths=0.5, transform=margin, clip_on=False, zorder=1)
    axis.add_collection(lines, autolim=False)
    axis.add_collection(LineCollection(crosses, colors=colours, linewidths=1.0, alpha=0.7, zorder=2), autolim=False)
    axis.locator_params(nbins=5)
    axis.locator_params(axis="x", nbins=3)


def srcc_limits(points: pd.DataFrame) -> tuple[float, float]:
    """Return limits for SRCCs with their intervals."""
    finite = points[["srcc", "srcc_low", "srcc_high"]].to_numpy(dtype=float)
    finite = finite[np.isfinite(finite)]
    margin = 0.05 * (np.ptp(finite) or 1.0)
    return float(finite.min() - margin), float(min(finite.max() + margin, 1.02))


def caption(points: pd.DataFrame, method: str) -> str:
    """Return what the figure shows; ``method`` says how the intervals were made."""
    return (
        f"Assessment against optimization for {points['measure'].nunique()} measures: if the better metric were always"
        " the better objective, each panel would rise from left to right. Dashed line: pixel-only training. Crosses"
        f" and brackets of points: {method}; gains by the judges common to the panel's measures. A triangle at the"
        " edge: the gain lies outside the axis, at the number after the name. ρ: bracket of the noise-free ρ. Trend:"
        " gain with the best metric minus that with the worst, on a line through ranks."
    )
