"""The report's section on diagnostics of measures as objectives."""

from __future__ import annotations

from .. import figures
from ..figures.diagnostics_panels import caption as diagnostics_panels_caption
from ..figures.diagnostics_panels import panels_of
from ..statistics.frames import where
from ..study import Study
from .blocks import Block, Cell, Section, Text, name, number, picture, table, text

HEADING = ("diagnostics", "Why: measures as objectives, without training")
WHAT = (
    "What is a measure like as an objective, before anything is trained with it? These numbers describe its gradient"
    " and curvature on a few crops. They explain nothing by themselves: where they differ between measures, they may be"
    " why gains differ, but have to predict the gain of a measure that was left out."
)


def section(study: Study) -> Section:
    """Return the panels and the tables of the diagnostics."""
    summary, predictors = (study.parts[f"diagnostics_{name}"] for name in ("summary", "predictors"))
    if summary.empty:
        return Section(*HEADING)
    blocks: list[Block] = [Text(WHAT)]
    if panels_of(summary):
        described = "Panels of the diagnostics of each measure: values as in the tables below."
        blocks.append(picture(figures.diagnostics_panels(summary), described, diagnostics_panels_caption(summary)))
    if len(predictors):
        shown = [column for column in predictors.columns if column != "measure" and predictors[column].notna().any()]
        columns: dict[str, Cell] = {"measure": name("measure"), **{column: number(column) for column in shown}}
        note = "Means over crops and starts; logarithms to the base 10; “–”: the measure has none."
        blocks.append(table(predictors, "Measures in numbers", columns, note=note))
    paired = summary.loc[summary["other"] != ""]
    if len(paired):
        columns = {
            "moved": name("measure"),
            "held": name("other"),
            "direction": text("detail"),
            "loss over that at the start": number("mean"),
            "crops": text("n"),
        }
        note = (
            "Maximum differentiation: from a noisy image, one measure is made as good or as bad as possible while the"
            " other keeps its value (“held”: what it has at the end, 1 if it was kept). Pictures are in the store."
        )
        blocks.append(table(paired, "Pairs of measures", columns, note=note))
    own = where(summary, other="")
    columns = {
        "measure": name("measure"),
        "diagnostic": text("diagnostic"),
        "start": text("start"),
        "detail": text("detail"),
        "mean": number("mean", 3),
        "SD": number("sd", 3),
        "unit": text("unit"),
        "crops": text("n"),
        **({"computed by": text("note")} if own["note"].ne("").any() else {}),
        **({"status": text("status")} if own["status"].ne("ok").any() else {}),
    }
    blocks.append(table(own, "Every diagnostic", columns, note="Mean and SD over crops.", folded=True))
    return Section(*HEADING, blocks)
