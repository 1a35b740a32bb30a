"""SRCC of measures, no-reference models and multimodal LLMs on the same images."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from ..raters import LLM, MEASURE, MODEL
from ..statistics.frames import grouped, records
from .style import BLUE, GREY, ORANGE, VERMILION, count, most_rows, panels, pretty, require_one_of, styled

COLOURS = {MEASURE: BLUE, MODEL: VERMILION, LLM: ORANGE}


@styled
def raters_forest(raters: pd.DataFrame, names: dict[str, str]) -> Figure:
    """Draw one panel per data set with one row per rater, best SRCC on top; better is to the right.

    Args:
        raters: First table of ``compare_raters``.
        names: Raters as people write them.

    Raises:
        AnalysisError: No rater with an SRCC.
    """
    raters = raters.loc[raters["srcc"].notna()]
    require_one_of(raters, [], "raters_forest")
    n_sets = raters["dataset"].nunique()
    figure, axes = panels(n_sets, 1, 1.3 + 0.26 * most_rows(raters, "dataset"), width=9.0)
    for axis, (dataset, of) in zip(axes, grouped(raters, "dataset"), strict=True):
        rows = records(of.sort_values("srcc", ascending=False, kind="stable"))
        axis.axvline(0, color=GREY, linewidth=0.9)
        axis.grid(axis="x")
        for y, row in enumerate(rows):
            colour = COLOURS[row["kind"]]
            axis.plot([row["srcc_low"], row["srcc_high"]], [y, y], color=colour, linewidth=1.6)
            axis.plot(row["srcc"], y, "o", color=colour, markersize=5.5)
        sample = f"{count(rows[0]['n'], 'image')}, {count(rows[0]['n_references'], 'reference')}"
        axis.set_title(f"{pretty(dataset)}   ({sample})")
        axis.set_yticks(range(len(rows)), [names[row["rater"]] for row in rows])
        axis.set_ylim(len(rows) - 0.4, -0.6)
        axis.set_xlabel("SRCC with people (1 is perfect, higher is better)")
        axis.tick_params(axis="y", length=0)
    kinds = [kind for kind in COLOURS if (raters["kind"] == kind).any()]
    handles = [axes[0].plot([], [], "o-", color=COLOURS[kind], label=kind)[0] for kind in kinds]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    return figure
