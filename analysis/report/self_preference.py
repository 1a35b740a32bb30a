"""The report's section on whether judges prefer what was trained with a measure of their own kind."""

from __future__ import annotations

from ..study import Study
from .blocks import Block, name, p_value, readable, sample, table, text, with_interval


def self_preference_blocks(study: Study) -> list[Block]:
    """Return the advantage of related cells, by kind of family."""
    found = study.parts["self_preference"]
    if found.empty:
        return []
    found = found.assign(advantage_low=found["low"], advantage_high=found["high"])
    columns = {
        "generator": name("generator"),
        "shared": text("kind"),
        "advantage (judge SDs)": with_interval("advantage"),
        "p, Holm": p_value("p_holm"),
        "verdict": text("verdict"),
        "measures": text("n_measures"),
        "judges": text("n_judges"),
        "related pairs": text("n_related"),
        "which": readable("related"),
        "seeds × images": sample,
        "status": text("status"),
    }
    note = (
        "By how many judge SDs a judge prefers what was trained with a measure that shares a backbone, or a form, with"
        " it, beyond what makes the measure good and the judge mild. The interval allows for tastes of judges that no"
        " family explains. Holm: over all rows."
    )
    title = "Trained with × judged by: the advantage of one's own kind"
    return [table(found, title, columns, note=note, optional=["which", "status", "related pairs"])]
