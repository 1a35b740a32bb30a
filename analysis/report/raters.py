"""The report's section on measures, no-reference models and multimodal LLMs on the same images."""

from __future__ import annotations

from .. import figures
from ..figures.style import count
from ..statistics.frames import records
from ..statistics.multiplicity import ALPHA
from ..study import Study
from .blocks import Block, Cell, Text, name, p_value, picture, readable, table, text, with_interval


def rater_blocks(study: Study) -> list[Block]:
    """Return forest, table and paired tests; nothing where no data set has two to compare."""
    raters, differences = study.parts["raters"], study.parts["rater_differences"]
    if raters.empty:
        return []
    shown = readable("rater")
    blocks: list[Block] = []
    across = differences.loc[differences["kind_a"] != differences["kind_b"]]
    if len(across):
        sure = int((across["p_holm"] < ALPHA).sum())
        blocks.append(
            Text(
                f"Of {count(len(across), 'comparison')} between raters of unlike kinds, {sure} are beyond noise (Holm p"
                f" < 0.05 over all pairs of a data set); {len(across) - sure} are undecided."
            )
        )
    if raters["srcc"].notna().any():
        blocks.append(
            picture(
                figures.raters_forest(raters, {row["rater"]: shown(row) for row in records(raters)}),
                "Forest plot of raters on the same images: values as below.",
                "Agreement with people on the same images, + is agreement; of no-reference models on test images, mean"
                f" over splits and seeds. Lines: {study.level:.0%} t intervals of a jackknife over references.",
            )
        )
    columns: dict[str, Cell] = {
        "data set": name("dataset"),
        "rater": shown,
        "kind": text("kind"),
        "SRCC": with_interval("srcc", 3),
        "images": text("n"),
        "references": text("n_references"),
        "splits": text("n_splits"),
        "seeds": text("n_seeds"),
        "failed": text("n_failed"),
        "direction": lambda row: "higher is better" if row["higher_is_better"] else "lower is better",
        "status": text("status"),
    }
    note = (
        "All on the images that every kind of rater has. A multimodal LLM's failed replies count as its mean. Intervals"
        " and tests hold for new references, with these models as they were trained."
    )
    blocks.append(
        table(raters, "Agreement with people", columns, note=note, optional=["seeds", "failed", "status"], folded=True)
    )
    if len(differences):
        pairs: dict[str, Cell] = {
            "data set": name("dataset"),
            "a": readable("rater_a"),
            "b": readable("rater_b"),
            "SRCC of a − b": with_interval("difference", 3),
            "p": p_value("p"),
            "p, Holm": p_value("p_holm"),
        }
        note = "Paired over references: t test of a jackknife. Holm: over all pairs of a data set."
        blocks.append(table(differences, "Differences between raters", pairs, note=note, folded=True))
    return blocks
