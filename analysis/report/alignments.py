"""The report's section on the training of multimodal LLMs: agreement before and after, curves, replies over time."""

from __future__ import annotations

import numpy as np
import pandas as pd

from .. import figures
from ..figures.alignment_curves import caption
from ..statistics.frames import Row, grouped
from ..study import Study
from .blocks import Block, Cell, Section, jackknifed, number, picture, table, text, with_interval

HEADING = ("alignments", "Training multimodal LLMs")
MOST_STEPS = 6  # of sample replies, evenly spread
REPLIES = "replies/"


def section(study: Study) -> Section:
    """Return the agreement before and after, and of each alignment its curves and sample replies."""
    log, changes = study.tables.alignment_log, study.parts["alignment_changes"]
    blocks: list[Block] = []
    if len(changes):
        columns: dict[str, Cell] = {
            "alignment": text("alignment"),
            "method": text("method"),
            "benchmark": text("benchmark"),
            "dimension": text("dimension"),
            "SRCC before": with_interval("srcc_before"),
            "SRCC after": with_interval("srcc_after"),
            "change of SRCC": with_interval("srcc_change"),
            "RMSE before": number("rmse_before", 3),
            "RMSE after": number("rmse_after", 3),
            "read before": _share("valid_before"),
            "read after": _share("valid_after"),
            "items": text("n"),
            "steps": text("step"),
            "loss": number("loss", 3),
            "KL": number("kl", 3),
            "minutes": lambda row: "–" if pd.isna(row["seconds"]) else f"{row['seconds'] / 60:.1f}",
        }
        note = (
            f"Greedy ratings of items that were not trained on; in brackets: {jackknifed(study)}. RMSE is on the scale"
            " of the question. Read: share of replies that have a value. Change: paired, of items that were"
            " read both times. Loss and KL are the last that were logged."
            " One run of one seed: how much another would differ is not in the intervals."
        )
        blocks.append(table(changes, "Agreement with people before and after", columns, note=note, optional=("KL",)))
    for alignment, rows in grouped(log, "alignment"):
        drawn = figures.alignment_curves(rows)
        blocks.append(picture(drawn, f"Curves of {alignment}.", f"{alignment}. {caption()}"))
        replies = rows.loc[rows["text"].ne("")]
        if len(replies):
            blocks.append(_replies(str(alignment), replies))
    return Section(*HEADING, blocks)


def _share(column: str) -> Cell:
    def cell(row: Row) -> str:
        return "–" if pd.isna(row[column]) else f"{row[column]:.0%}"

    return cell


def _replies(alignment: str, replies: pd.DataFrame) -> Block:
    """Return the replies to the same items at some of the steps."""
    steps = sorted(replies["step"].unique())
    kept = [steps[int(n)] for n in np.unique(np.linspace(0, len(steps) - 1, min(MOST_STEPS, len(steps))).round())]
    wide = replies.assign(item=replies["term"].str.removeprefix(REPLIES)).pivot(
        index="item", columns="step", values="text"
    )
    shown = wide[kept].add_prefix("step ").reset_index()
    note = "Greedy replies to the same items over time; step 0 is before training. Long ones are cut."
    columns = {str(name): text(str(name)) for name in shown}
    return table(shown, f"Sample replies, {alignment}", columns, note=note, folded=True)
