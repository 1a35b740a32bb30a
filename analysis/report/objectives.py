"""The report's section on measures as objectives."""

from __future__ import annotations

import pandas as pd

from .. import figures
from ..figures.gain_forest import caption as gain_forest_caption
from ..figures.judge_heatmap import caption as judge_heatmap_caption
from ..figures.style import pretty
from ..result_tables import UNTRAINED
from ..statistics.frames import grouped, where
from ..study import Study
from .blocks import (
    Block,
    Cell,
    Table,
    Text,
    method,
    name,
    named_list,
    number,
    picture,
    setting,
    significant,
    table,
    text,
    with_interval,
)


def gain_blocks(study: Study) -> list[Block]:
    """Return forest, heatmap and tables of the gains."""
    gains = study.gains
    if gains.table.empty:
        return []
    blocks: list[Block] = [
        Text(
            "Gain: per image, seed and judge, the score minus that of the same generator trained with the pixel loss"
            " alone, signed so that positive is better, divided by the judge's SD of such differences, and averaged"
            " over the judges that share nothing with the measure. 1 judge SD is as much as a difference varies"
            " between images."
        )
    ]
    for generator, rows in grouped(gains.table, "generator"):
        of = pretty(generator)
        forest = gain_forest_caption(rows, method(study, "seeds and images"))
        blocks.append(
            picture(figures.gain_forest(rows), f"Forest plot of gains, {of}: values as below.", f"{of}. {forest}")
        )
        by_judge = where(gains.by_judge, generator=generator)
        heat = picture(
            figures.judge_heatmap(by_judge),
            f"Heat map of gains, trained with by judged by, {of}.",
            f"{of}. {judge_heatmap_caption(by_judge)}",
        )
        blocks.append(heat)
    columns = {
        "generator": name("generator"),
        "trained with": name("fidelity"),
        "adversarial setting": setting,
        "gain (judge SDs)": with_interval("gain"),
        "seeds": text("n_seeds"),
        "images": text("n_images"),
        "judges": text("n_judges"),
        "left out, related": named_list("judges_related"),
        "left out, no spread": named_list("judges_no_spread"),
        "not ok": text("n_not_ok"),
        "missing": text("n_missing"),
        "status": text("status"),
    }
    ordered = gains.table.sort_values(["generator", "gain"], ascending=[True, False])
    blocks.append(table(ordered, "Gains, largest first", columns, folded=True))
    blocks.append(means_table(gains.means))
    spread = study.asymmetry.spread
    if len(spread):
        columns = {
            "generator": name("generator"),
            "over": text("scope"),
            "measures": text("n_fidelities"),
            "settings": text("n_settings"),
            "SD across measures": with_interval("sd_fidelity"),
            "SD across settings": with_interval("sd_setting"),
            "ratio": with_interval("ratio"),
            "share of resamples with ratio > 1": number("probability"),
            "status": text("status"),
        }
        note = (
            "Spread of the gain (judge SDs) when only the measure changes and when only the adversarial setting does."
            " A ratio above 1: the adversarial part matters more than the choice of measure. Noise adds to both."
        )
        blocks.append(table(spread, "What matters more, the measure or the discriminator?", columns, note=note))
    return blocks


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
        "generator": name("generator"),
        "trained with": name("fidelity"),
        "adversarial setting": lambda row: "–" if row["fidelity"] in UNTRAINED else setting(row),
    }
    for judge, higher in direction.items():
        columns[f"{pretty(str(judge))} {'↑' if higher else '↓'}"] = significant(judge)
    note = "Means over seeds and images, in the judge's unit; ↑ higher is better, ↓ lower; “–”: a score is not ok."
    return table(wide, "Mean scores", columns, note=note, folded=True)
