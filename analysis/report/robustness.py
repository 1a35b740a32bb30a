"""The report's section on what the comparison rests on: single measures, single judges, ranks, inversions."""

from __future__ import annotations

import pandas as pd

from .. import figures
from ..asymmetry import WHERE
from ..figures.inversion_matrix import caption as inversion_matrix_caption
from ..figures.style import pretty, setting_name
from ..robustness import N_DRAWS
from ..statistics.frames import Row, grouped, where
from ..study import Study
from ..verdicts import MIN_RANKED
from .asymmetry import PLACE
from .blocks import Block, name, named_list, number, p_value, picture, span, table, text, yes


def robustness_blocks(study: Study) -> list[Block]:
    """Return what turns a trend, how sure ranks are, and the inversion matrices."""
    blocks: list[Block] = []
    influence, ranks = study.parts["influence"], study.parts["rank_probabilities"]
    if len(influence):
        columns = {
            **PLACE,
            "trend (judge SDs)": number("trend"),
            "without any one measure": span("measure_low", "measure_high"),
            "without any one judge": span("judge_low", "judge_high"),
            "ρ": number("rho"),
            "ρ without any one": span("rho_low", "rho_high"),
            "what turns the trend": named_list("turned_by"),
        }
        note = (
            "The least and the largest value when one measure, or one judge of the common panel, is left out. What"
            " turns the trend: without any of these its sign changes. A dash for judges: the panel has only one."
        )
        summed = pd.DataFrame([_summary(key, rows) for key, rows in grouped(influence, *WHERE)])
        blocks.append(table(summed, "What single measures and judges decide", columns, note=note))
        columns = {
            **PLACE,
            "left out": name("left_out"),
            "a": text("of"),
            "trend (judge SDs)": number("trend"),
            "p": p_value("trend_p"),
            "ρ": number("rho"),
            "turns the trend": yes("turns"),
        }
        blocks.append(table(influence, "Trend and ρ without each", columns, folded=True))
    blocks += draw_blocks(study.parts["draws"])
    inversions = study.parts["inversion_probabilities"]
    several = inversions.groupby(["generator", "dataset"]).ngroups > 1
    for (generator, dataset), rows in grouped(inversions, "generator", "dataset"):
        points = where(study.asymmetry.points, generator=generator, dataset=dataset)
        if several and points["measure"].nunique() < MIN_RANKED:
            continue
        of = f"{pretty(generator)} on {pretty(dataset)}"
        drawn = figures.inversion_matrix(rows, points)
        prefix = f"{of}. " if several else ""
        blocks.append(picture(drawn, f"Probabilities of inversions, {of}.", prefix + inversion_matrix_caption(N_DRAWS)))
    if len(ranks):
        columns = {
            **PLACE,
            "measure": name("measure"),
            **{
                f"{heading} as {side}": number(f"{column}_{key}", digits)
                for side, key in (("a metric", "metric"), ("an objective", "objective"))
                for heading, column, digits in (("mean rank", "expected", 1), ("P(best)", "best", 2))
            },
            "ranks as a metric": text("likely_metric"),
            "ranks as an objective": text("likely_objective"),
        }
        note = (
            f"From {N_DRAWS:,} draws of both sides with their noise; 1 is best. Ranks: the shortest list of most"
            f" probable ranks that together have {study.level:.0%}."
        )
        likely = pd.DataFrame([_ranks(key, rows, study.level) for key, rows in grouped(ranks, *WHERE, "measure")])
        likely = likely.sort_values([*WHERE, "expected_metric"], kind="stable")
        blocks.append(table(likely, "How sure each rank is", columns, note=note, folded=True))
    return blocks


def draw_blocks(draws: pd.DataFrame) -> list[Block]:
    """Return how much draws of random weights of one measure differ."""
    if draws.empty:
        return []
    columns = {
        "measure": name("measure"),
        "as": _place,
        "draws": text("n_draws"),
        "mean": number("mean"),
        "SD over draws": number("sd"),
        "lowest and highest": span("lowest", "highest"),
    }
    note = (
        "In ρ, trends, pairs and spreads, the mean over draws of random weights is one measure, so that none counts"
        " more for having more draws. SRCC as a metric; judge SDs as an objective, where the SD over draws holds the"
        " noise of seeds and images as well. The variance over draws is part of every error of a mean."
    )
    return [table(draws, "Draws of random weights", columns, note=note)]


def _place(row: Row) -> str:
    if row["side"] == "metric":
        return f"metric on {pretty(row['dataset'])}"
    return f"objective of {pretty(row['generator'])}, {setting_name(row['discriminator'], row['gan_weight'])}"


def _summary(key: tuple, rows: pd.DataFrame) -> Row:
    first = rows.iloc[0]
    row: Row = dict(zip(WHERE, key, strict=True)) | {"trend": first["trend_all"], "rho": first["rho_all"]}
    for of in ("measure", "judge"):
        without = where(rows, of=of)["trend"]
        row |= {f"{of}_low": without.min(), f"{of}_high": without.max()}
    row |= {"rho_low": rows["rho"].min(), "rho_high": rows["rho"].max()}
    return row | {"turned_by": ";".join(where(rows, turns=True)["left_out"])}


def _ranks(key: tuple, rows: pd.DataFrame, level: float) -> Row:
    row: Row = dict(zip([*WHERE, "measure"], key, strict=True))
    for side, of_side in grouped(rows, "side"):
        ordered = of_side.sort_values("probability", ascending=False, kind="stable")
        enough = ordered.loc[ordered["probability"].cumsum().shift(fill_value=0.0) < level, "rank"]
        row |= {
            f"expected_{side}": ordered["expected"].iloc[0],
            f"best_{side}": float(where(of_side, rank=1)["probability"].iloc[0]),
            f"likely_{side}": ", ".join(map(str, sorted(enough))),
        }
    return row
