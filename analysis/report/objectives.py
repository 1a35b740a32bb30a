"""The report's section on measures as objectives."""

from __future__ import annotations

import pandas as pd

from .. import figures
from ..contrasts import MIN_TRIMMED
from ..figures.gain_forest import caption as gain_forest_caption
from ..figures.judge_heatmap import caption as judge_heatmap_caption
from ..figures.style import pretty
from ..figures.variance_components import caption as variance_components_caption
from ..result_tables import UNTRAINED
from ..statistics.frames import grouped, where
from ..study import Study
from .blocks import (
    Block,
    Cell,
    Table,
    Text,
    name,
    named_list,
    p_value,
    picture,
    sample,
    setting,
    significant,
    span,
    table,
    tested,
    text,
    with_interval,
    yes,
)


def gain_blocks(study: Study) -> list[Block]:
    """Return forest, heatmap and tables of the gains."""
    gains = study.gains
    if gains.table.empty:
        return []
    blocks: list[Block] = [
        Text(
            "Gain: the score minus that of the same generator trained with the pixel loss alone, for the same seed and"
            " image, signed so that positive is better, in judge SDs, and averaged over the judges that are independent"
            " of both. 1 judge SD is the spread of the pixel-only cell's own scores once differences between images and"
            " between seeds are taken out; its size in each judge's own unit is in the table of judges."
        )
    ]
    for generator, rows in grouped(gains.table, "generator"):
        of = pretty(generator)
        forest = gain_forest_caption(rows, tested(study))
        blocks.append(
            picture(figures.gain_forest(rows), f"Forest plot of gains, {of}: values as below.", f"{of}. {forest}")
        )
        by_judge = where(gains.by_judge, generator=generator)
        if by_judge["gain"].notna().any():
            drawn, caption = figures.judge_heatmap(by_judge), judge_heatmap_caption(by_judge)
            blocks.append(picture(drawn, f"Heat map of gains, trained with by judged by, {of}.", f"{of}. {caption}"))
    return [*blocks, gains_table(gains.table), judges_table(gains.by_judge), means_table(gains.means), *spreads(study)]


def gains_table(gains: pd.DataFrame) -> Table:
    """Return gains by the panel, by judges like these, and without any one judge."""
    columns = {
        "generator": name("generator"),
        "trained with": name("fidelity"),
        "adversarial setting": setting,
        "gain (judge SDs)": with_interval("gain"),
        "p, Holm": p_value("p_holm"),
        "for judges like these": with_interval("general"),
        "without any one judge": span("without_one_low", "without_one_high"),
        "seeds × images": sample,
        "lost seeds": text("lost"),
        "judges": text("n_judges"),
        "left out, related": named_list("judges_related"),
        "left out, incomplete": named_list("judges_incomplete"),
        "left out, no unit": named_list("judges_no_unit"),
        "status": text("status"),
    }
    note = (
        "Gain and p speak of these judges and of new seeds and images. For judges like these: the mean over judges,"
        f" from {MIN_TRIMMED} on without the lowest and the highest fifth, with judges as a source of chance as well."
        " Without any one judge: the least and the largest gain when one judge is left out. Holm: over all gains of a"
        " generator."
    )
    ordered = gains.sort_values(["generator", "gain"], ascending=[True, False])
    optional = [heading for heading in columns if heading.startswith(("lost", "left out", "status"))]
    return table(ordered, "Gains, largest first", columns, note=note, folded=True, optional=optional)


def judges_table(by_judge: pd.DataFrame) -> Table:
    """Return gains by single judges, in the judge's own unit and in judge SDs."""
    columns = {
        "generator": name("generator"),
        "trained with": name("fidelity"),
        "adversarial setting": setting,
        "judge": name("judge"),
        "gain in the judge's unit": lambda row: " ".join(
            (significant("raw_gain")(row), f"[{significant('raw_low')(row)}, {significant('raw_high')(row)}]")
        ),
        "gain (judge SDs)": with_interval("gain"),
        "related": yes("related"),
        "not ok": text("n_not_ok"),
        "missing": text("n_missing"),
        "status": text("status"),
    }
    note = (
        "+ is better, whatever the direction of the judge. Related: to the measure or to the pixel loss, so that it"
        " does not count in the gain. Intervals are not corrected."
    )
    optional = ("not ok", "missing", "status")
    return table(by_judge, "Gains by single judges", columns, note=note, folded=True, optional=optional)


def spreads(study: Study) -> list[Block]:
    """Return what matters more, the measure or the setting."""
    if study.spreads.empty:
        return []
    columns = {
        "generator": name("generator"),
        "over": text("scope"),
        "verdict": text("verdict"),
        "SD over measures": with_interval("sd_measure"),
        "SD over settings": with_interval("sd_setting"),
        "ratio": with_interval("ratio"),
        "measures": text("n_measures"),
        "settings": text("n_settings"),
        "seeds × images": sample,
        "judges": named_list("judges"),
        "left out": named_list("left_out"),
        "status": text("status"),
    }
    note = (
        "Spread of true gains (judge SDs) over these measures, averaged over settings, and over these settings,"
        " averaged over measures, with noise subtracted. Ratio: settings over measures. A verdict needs an interval of"
        " the ratio that leaves out 1. Left out: measures or settings that lack a cell."
    )
    title = "What matters more, the measure or the adversarial setting?"
    drawn = figures.variance_components(study.spreads)
    shown = variance_components_caption(study.spreads, tested(study))
    return [
        picture(drawn, "SD of true gains over measures and over settings: values as below.", shown),
        table(study.spreads, title, columns, note=note, optional=["left out", "status"]),
    ]


def means_table(means: pd.DataFrame) -> Table:
    """Return mean scores in the judges' own units, including untrained and pixel-only ones, one column per judge."""
    direction = dict(zip(means["judge"], means["higher_is_better"], strict=True))
    wide = means.pivot(index=["generator", "discriminator", "gan_weight", "fidelity"], columns="judge", values="mean")
    wide = wide.reset_index()
    # Untrained, then pixel-only, then the rest.
    first = {**dict.fromkeys(UNTRAINED, 0), "none": 1}
    wide = wide.sort_values(
        ["generator", "fidelity", "discriminator", "gan_weight"],
        key=lambda column: column.map(lambda key: (first.get(key, 2), key)) if column.name == "fidelity" else column,
    )
    columns: dict[str, Cell] = {
        "generator": lambda row: "–" if row["fidelity"] in UNTRAINED else pretty(row["generator"]),
        "trained with": name("fidelity"),
        "adversarial setting": lambda row: "–" if row["fidelity"] in UNTRAINED else setting(row),
    }
    for judge, higher in direction.items():
        columns[f"{pretty(str(judge))} {'↑' if higher else '↓'}"] = significant(judge)
    note = "Means over seeds and images, in the judge's unit; ↑ higher is better, ↓ lower; “–”: a score is not ok."
    return table(wide, "Mean scores", columns, note=note, folded=True)
