"""SRCC, KRCC and PLCC of every measure with their intervals."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.lines import Line2D

from ..statistics.frames import grouped, records, where
from .canvas import Drawn, Given, Panels, figure, note, require_one_of, text_width
from .style import BLUE, GREEN, GREY, ORANGE, VERMILION, count, label_name, pretty

MARKS = {"srcc": ("o", BLUE, "SRCC"), "krcc": ("s", ORANGE, "KRCC (τ-b)"), "plcc": ("D", GREEN, "PLCC (raw)")}

LONG = 1.6  # inches of a name: two panels side by side leave no room for the values
FLOOR = -0.3  # an interval may leave the axis below this: it would flatten all others


@figure
def assessment_forest(assessment: pd.DataFrame, *, ax: Given = None) -> Drawn:
    r"""Draw one panel per data set with one row per measure, best SRCC on top; better is to the right.

    Args:
        assessment: ``Assessment.table``.
        ax: Axes to draw on, one per data set; a new figure if left out.

    Returns:
        The Axes, or an array of them for several data sets. A measure without correlations says why.

    Raises:
        AnalysisError: Another number of Axes than of data sets.

    Examples:
        >>> from lopsided.analysis import figures
        >>> values = {f"{of}{end}": 0.7 for of in ("srcc", "krcc", "plcc") for end in ("", "_low", "_high")}
        >>> table = pd.DataFrame([{"measure": "ssim", "dataset": "live", "n": 779, "n_references": 29, **values}])
        >>> figures.assessment_forest(table).get_title(loc="left")
        'live\n(779 images, 29 references)'
    """
    require_one_of(assessment, [], "assessment_forest", "no measure was assessed")
    datasets = sorted(assessment["dataset"].unique())
    longest = max(text_width(pretty(key)) for key in assessment["measure"])
    per_row = 2 if len(datasets) > 1 and longest <= LONG else 1
    rows_of = [max(3, int((assessment["dataset"] == dataset).sum())) for dataset in datasets]
    panels = Panels(ax, len(datasets), per_row=per_row, height=1.0)
    lines = [max(rows_of[start : start + per_row]) for start in range(0, len(datasets), per_row)]
    panels.resize([1.0 + 0.27 * rows for rows in lines])
    for axis, dataset in zip(panels.axes, datasets, strict=True):
        rows = where(assessment, dataset=dataset).sort_values("srcc", ascending=False, na_position="last")
        axis.axvline(0, color=GREY, linewidth=0.9)
        axis.grid(axis="x")
        for y, row in enumerate(records(rows)):
            if np.isnan(row["srcc"]):
                note(axis, y, row["status"], VERMILION, wrap=60)
                continue
            for offset, (name, (marker, colour, _)) in zip((-0.24, 0.0, 0.24), MARKS.items(), strict=True):
                axis.plot([row[f"{name}_low"], row[f"{name}_high"]], [y + offset] * 2, color=colour, linewidth=1.4)
                axis.plot(row[name], y + offset, marker, color=colour, markersize=3.6 if marker == "D" else 4)
        axis.set_title(
            f"{pretty(dataset)}\n({count(int(rows['n'].max()), 'image')},"
            f" {count(int(rows['n_references'].max()), 'reference')})"
        )
        axis.set_yticks(range(len(rows)), [pretty(key) for key in rows["measure"]])
        axis.set_ylim(max(3, len(rows)) - 0.4, -0.6)
        values = rows[list(MARKS)].to_numpy(dtype=float)
        lows = np.clip(rows[[f"{name}_low" for name in MARKS]].to_numpy(dtype=float), FLOOR, None)
        low = np.nanmin(np.concatenate([values.ravel(), lows.ravel(), [0.0]]))
        axis.set_xlim(min(-0.02, float(low) - 0.05), 1.02)
        axis.set_xlabel("correlation with the labels\n(1 is perfect, higher is better)")
        axis.tick_params(axis="y", length=0)
    handles = [
        Line2D([], [], marker=marker, color=colour, label=label, markersize=4)
        for marker, colour, label in MARKS.values()
    ]
    panels.legend(handles, columns=3)
    return panels.drawn


def caption(assessment: pd.DataFrame, method: str) -> str:
    """Return what the figure shows; ``method`` says how the intervals were made."""
    kinds = "; ".join(
        f"{pretty(dataset)}: {label_name(rows['label_kind'].iloc[0])}"
        for dataset, rows in grouped(assessment, "dataset")
    )
    return (
        "Agreement of each measure with the labels, signed so that + is always agreement. Labels: "
        f"{kinds}. PLCC is raw (no logistic fit). Lines: {method}."
    )
