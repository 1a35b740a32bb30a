"""SRCC, KRCC and PLCC of every measure with their intervals."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ..statistics.frames import grouped, records, where
from .style import BLUE, GREEN, GREY, ORANGE, VERMILION, count, most_rows, panels, pretty, require_one_of, styled

MARKS = {"srcc": ("o", BLUE, "SRCC"), "krcc": ("s", ORANGE, "KRCC (τ-b)"), "plcc": ("D", GREEN, "PLCC (raw)")}

LONG = 24  # characters of a name


@styled
def assessment_forest(assessment: pd.DataFrame) -> Figure:
    """Draw one panel per data set with one row per measure, best SRCC on top; better is to the right.

    Args:
        assessment: ``Assessment.table``.

    Raises:
        AnalysisError: No rows.
    """
    require_one_of(assessment, [], "assessment_forest")
    datasets = sorted(assessment["dataset"].unique())
    most = most_rows(assessment, "dataset")
    # Names of multimodal LLMs are long: two panels side by side would leave no room for the values.
    per_row = 2 if len(datasets) > 1 and max(len(pretty(key)) for key in assessment["measure"]) <= LONG else 1
    figure, axes = panels(len(datasets), per_row, 1.5 + 0.36 * most, width=11.0 if per_row == 2 else 7.0)
    for axis, dataset in zip(axes, datasets, strict=True):
        rows = where(assessment, dataset=dataset).sort_values("srcc", ascending=False, na_position="last")
        axis.axvline(0, color=GREY, linewidth=0.9)
        axis.grid(axis="x")
        for y, row in enumerate(records(rows)):
            if np.isnan(row["srcc"]):
                text = {"x": 0.5, "y": y, "s": row["status"], "ha": "center", "va": "center", "fontsize": 8}
                axis.text(**text, transform=axis.get_yaxis_transform(), color=VERMILION)
                continue
            for offset, (name, (marker, colour, _)) in zip((-0.24, 0.0, 0.24), MARKS.items(), strict=True):
                axis.plot([row[f"{name}_low"], row[f"{name}_high"]], [y + offset] * 2, color=colour, linewidth=1.5)
                axis.plot(row[name], y + offset, marker, color=colour, markersize=4.5 if marker == "D" else 5)
        axis.set_title(
            f"{pretty(dataset)}   ({count(int(rows['n'].max()), 'image')},"
            f" {count(int(rows['n_references'].max()), 'reference')})"
        )
        axis.set_yticks(range(len(rows)), [pretty(key) for key in rows["measure"]])
        axis.set_ylim(len(rows) - 0.4, -0.6)
        low = np.nanmin(np.append(rows[[f"{name}_low" for name in MARKS]].to_numpy(dtype=float), 0.0))
        axis.set_xlim(min(-0.02, float(low) - 0.05), 1.02)
        axis.set_xlabel("correlation with the labels (1 is perfect, higher is better)")
        axis.tick_params(axis="y", length=0)
    handles = [axes[0].plot([], [], marker, color=colour, label=label)[0] for marker, colour, label in MARKS.values()]
    figure.legend(handles=handles, loc="outside lower center", ncols=3)
    return figure


def caption(assessment: pd.DataFrame, method: str) -> str:
    """Return what the figure shows; ``method`` says how the intervals were made."""
    kinds = "; ".join(
        f"{pretty(dataset)}: {str(rows['label_kind'].iloc[0]).replace('_', ' ')}"
        for dataset, rows in grouped(assessment, "dataset")
    )
    return (
        "Agreement of each measure with the labels, signed so that + is always agreement. Labels: "
        f"{kinds}. PLCC is raw (no logistic fit). Lines: {method}."
    )
