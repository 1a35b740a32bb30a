"""The report's section of advice."""

from __future__ import annotations

from ..advice import AVOID, CHOOSE, NO_BEST
from ..figures.style import pretty
from ..statistics.frames import Row
from ..study import Study
from ..verdicts import MIN_SEEDS
from .blocks import Block, readable, table, text


def advice_blocks(study: Study) -> list[Block]:
    """Return which measure to use for what, with the evidence and what would overturn it."""
    columns = {
        "use": text("use"),
        "where": readable("where"),
        "advice": advised,
        "not shown to be worse": alike,
        "evidence": text("evidence"),
        "because": readable("because"),
        "would be overturned by": readable("overturned_by"),
    }
    note = (
        "The best of a noisy comparison is partly luck: read it together with the measures that are not shown to be"
        " worse. Evidence, of the best against all others: established needs p below 0.05, corrected, from"
        f" {MIN_SEEDS} seeds or more where trainings are compared."
    )
    found = study.parts["advice"]
    return [table(found, "Which measure for which use", columns, note=note)] if len(found) else []


def _measures(row: Row) -> list[str]:
    return [pretty(key) for key in str(row["measures"]).split(";") if key]


def advised(row: Row) -> str:
    """Show the advice with the measure it is about."""
    found = _measures(row)
    return " ".join([row["advice"], *([", ".join(found)] if row["use"] == AVOID else found[:1])])


def alike(row: Row) -> str:
    """Show the measures that the best is not shown to beat."""
    if row["advice"] == NO_BEST:
        return "all others"
    return "–" if row["use"] in (AVOID, CHOOSE) else ", ".join(_measures(row)[1:]) or "none"
