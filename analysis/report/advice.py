"""The report's section of advice."""

from __future__ import annotations

from ..advice import AVOID, CHOOSE
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


def _measures(row: Row, column: str = "measures") -> list[str]:
    return [pretty(key) for key in str(row[column]).split(";") if key]


def advised(row: Row) -> str:
    """Show the advice with the measure it is about."""
    found = _measures(row)
    return " ".join([row["advice"], *([", ".join(found)] if row["use"] == AVOID else found[:1])])


def alike(row: Row) -> str:
    """Show the measures that the best is not shown to beat, or those that it is, whichever are fewer."""
    if row["use"] in (AVOID, CHOOSE):
        return "–"
    rest, beaten = _measures(row)[1:], _measures(row, "beaten")
    if len(rest) <= len(beaten):
        return ", ".join(rest) or "none"
    return f"all others but {', '.join(beaten)}" if beaten else "all others"


def best_first(row: Row) -> str:
    """Show the best measure with those that it is not shown to beat; the measures to avoid are all shown alike."""
    found = _measures(row)
    if row["use"] == AVOID or len(found) < 2:
        return ", ".join(found) or "–"
    return f"{found[0]}; not shown to be worse: {alike(row)}"
