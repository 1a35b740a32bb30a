"""Gain by each judge against SRCC as a metric: one panel per judge."""

from __future__ import annotations

import textwrap

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ..statistics.frames import Row, records, where
from .scatter import limits
from .style import BLUE, GREY, INK, count, minus, panels, pretty, require_one_of, styled

PER_ROW = 4
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


@styled
def judge_scatter(by_judge: pd.DataFrame, assessed: pd.DataFrame, found: pd.DataFrame) -> Figure:
    """Draw x = SRCC as a metric, y = gain by one judge, multimodal LLMs among the judges; both better when higher.

    Letters name the measures, A being the best metric. Filled: the interval of the gain excludes 0; hollow grey: it
    does not, or there is none; ×: the measure does not count here, as it is related to the judge.

    Args:
        by_judge: ``Gains.by_judge`` of one generator and adversarial setting.
        assessed: ``Assessment.table`` of one data set, without measures that have no SRCC.
        found: ``Asymmetry.by_judge`` of the same generator, setting and data set.

    Raises:
        AnalysisError: No rows, or several generators, settings or data sets.
    """
    rows = by_judge.merge(
        assessed.loc[:, ["measure", "srcc", "srcc_low", "srcc_high"]], left_on="fidelity", right_on="measure"
    )
    rows = rows.loc[rows["gain"].notna()]
    require_one_of(rows, ["generator", "discriminator", "gan_weight"], "judge_scatter")
    require_one_of(assessed, ["dataset"], "judge_scatter")
    named = rows.drop_duplicates("measure").sort_values(["srcc", "measure"], ascending=[False, True])
    letters = {measure: LETTERS[number % len(LETTERS)] for number, measure in enumerate(named["measure"])}
    judges = sorted(rows["judge"].unique())
    titles = {judge: textwrap.wrap(pretty(judge), 30, break_long_words=True) for judge in judges}
    tallest = max(map(len, titles.values()))
    legend = int(np.ceil(len(letters) / PER_ROW))
    figure, axes = panels(len(judges), PER_ROW, 2.65 + 0.16 * tallest + 0.2 * legend / np.ceil(len(judges) / PER_ROW))
    for axis, judge in zip(axes, judges, strict=True):
        of_judge = where(rows, judge=judge)
        summary = records(where(found, judge=judge))[0]
        related = set(str(summary["excluded"]).split(";"))
        axis.axhline(0, color=GREY, linewidth=0.8, linestyle=(0, (4, 3)))
        for row in records(of_judge):
            x, y = row["srcc"], row["gain"]
            sure = row["gain_low"] > 0 or row["gain_high"] < 0
            colour = BLUE if sure and row["measure"] not in related else GREY
            if row["measure"] in related:
                axis.plot(x, y, "x", color=colour, markersize=6)
            else:
                axis.plot([row["srcc_low"], row["srcc_high"]], [y, y], color=colour, linewidth=1.0, alpha=0.6)
                axis.plot([x, x], [row["gain_low"], row["gain_high"]], color=colour, linewidth=1.0, alpha=0.6)
                axis.plot(x, y, "o", color=colour, markerfacecolor=colour if sure else "white", markersize=5)
            axis.annotate(
                letters[row["measure"]], (x, y), (3, 3), textcoords="offset points", fontsize=8, color=INK, zorder=5
            )
        axis.set_xlim(*limits(rows, "srcc"))
        axis.set_ylim(*limits(of_judge, "gain"))
        axis.set_title("\n".join([*titles[judge], *said(summary)]), fontsize=9)
        axis.locator_params(nbins=5)
        axis.set_xlabel("SRCC (higher is better)")
    for axis in axes[::PER_ROW]:
        axis.set_ylabel("gain (judge SDs,\nhigher is better)")
    handles = [
        axes[0].plot([], [], linestyle="none", label=f"{letter}  {pretty(measure)}")[0]
        for measure, letter in letters.items()
    ]
    figure.legend(
        handles=handles, loc="outside lower center", ncols=min(PER_ROW, len(letters)), handlelength=0, handletextpad=0
    )
    return figure


def said(summary: Row) -> list[str]:
    """Return ρ and the verdict on the trend of one judge, or why there are none."""
    if summary["status"] != "ok":
        return textwrap.wrap(str(summary["status"]), 34)
    return [f"ρ = {minus(summary['rho'])}, {summary['n']} measures", f"trend: {summary['trend_verdict']}"]


def caption(by_judge: pd.DataFrame, method: str) -> str:
    """Return what the figure shows; ``method`` says how the intervals were made."""
    return (
        f"SRCC as a metric against the gain by each of {count(by_judge['judge'].nunique(), 'judge')}; a letter names a"
        " measure, A being the best metric. Filled: the interval of the gain excludes 0 (not corrected for the number"
        " of points); hollow grey: it does not, so that the point is no finding; ×: related to the judge or without all"
        " scores, left out of ρ and trend. Dashed: pixel-only training. Vertical scales differ. Lines:"
        f" {method}. Trend: gain with the best metric minus that with the worst, on a line through ranks."
    )
