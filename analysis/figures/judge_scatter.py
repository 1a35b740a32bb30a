"""Gain by each judge against SRCC as a metric: one panel per judge."""

from __future__ import annotations

import textwrap

import pandas as pd
from matplotlib.lines import Line2D

from ..statistics.frames import Row, records, where
from .canvas import Drawn, Given, Panels, figure, gain_limits, require_one_of
from .scatter import LINE, cross_plot, srcc_limits
from .style import count, family, family_style, minus, pretty

PER_ROW = 3
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


@figure
def judge_scatter(by_judge: pd.DataFrame, assessed: pd.DataFrame, found: pd.DataFrame, *, ax: Given = None) -> Drawn:
    r"""Draw x = SRCC as a metric, y = gain by one judge, multimodal LLMs among the judges; both better when higher.

    Letters name the measures, A being the best metric; colour and mark give the family. Filled: the interval of the
    gain excludes 0; hollow: it does not, or there is none; ×: the measure does not count here, as it is related to the
    judge. A measure far from the others does not stretch the axis: an arrow at the edge gives its gain.

    Args:
        by_judge: ``Gains.by_judge`` of one generator and adversarial setting.
        assessed: ``Assessment.table`` of one data set.
        found: ``Asymmetry.by_judge`` of the same generator, setting and data set.
        ax: Axes to draw on, one per judge; a new figure if left out.

    Returns:
        The Axes, or an array of them for several judges.

    Raises:
        AnalysisError: Several generators, settings or data sets, or another number of Axes than of judges.

    Examples:
        >>> from lopsided.analysis import figures
        >>> by_judge = pd.DataFrame({"fidelity": ["ssim", "gmsd"], "gain": [0.2, 0.1]}).assign(
        ...     generator="unet", discriminator="none", gan_weight=0.0, judge="vif", gain_low=0.0, gain_high=0.3
        ... )
        >>> assessed = pd.DataFrame({"measure": ["ssim", "gmsd"], "srcc": [0.7, 0.9]}).assign(
        ...     dataset="live", srcc_low=0.6, srcc_high=0.95
        ... )
        >>> found = pd.DataFrame([{"judge": "vif", "excluded": "", "status": "too few measures"}])
        >>> figures.judge_scatter(by_judge, assessed, found).get_title(loc="left")
        'VIF\ntoo few measures'
    """
    assessed = assessed.loc[assessed["srcc"].notna()]
    require_one_of(assessed, ["dataset"], "judge_scatter", "no measure has an SRCC")
    rows = by_judge.merge(
        assessed.loc[:, ["measure", "srcc", "srcc_low", "srcc_high"]], left_on="fidelity", right_on="measure"
    )
    rows = rows.loc[rows["gain"].notna() & rows["judge"].isin(list(found["judge"]))]
    columns = ["generator", "discriminator", "gan_weight"]
    require_one_of(rows, columns, "judge_scatter", "no judge gives a gain to a measure that has an SRCC")
    named = rows.drop_duplicates("measure").sort_values(["srcc", "measure"], ascending=[False, True])
    letters = {measure: LETTERS[number % len(LETTERS)] for number, measure in enumerate(named["measure"])}
    judges = sorted(rows["judge"].unique())
    titles = {judge: textwrap.wrap(pretty(judge), 28, break_long_words=True) for judge in judges}
    tallest = max(map(len, titles.values()))
    panels = Panels(ax, len(judges), per_row=PER_ROW, height=max(2.2, 0.95 + LINE * len(letters)) + 0.15 * tallest)
    for index, (axis, judge) in enumerate(zip(panels.axes, judges, strict=True)):
        of_judge = where(rows, judge=judge)
        summary = records(where(found, judge=judge))[0]
        sure = (of_judge["gain_low"] > 0) | (of_judge["gain_high"] < 0)
        counted = ~of_judge["measure"].isin(str(summary["excluded"]).split(";"))
        name, filled = letters.__getitem__, {"sure": sure.to_numpy(bool), "counted": counted.to_numpy(bool)}
        cross_plot(axis, of_judge, srcc_limits(rows), gain_limits(of_judge), name, **filled)
        axis.set_title("\n".join([*titles[judge], *said(summary)]), fontsize=8)
        axis.set_xlabel("SRCC (higher is better)")
        if index % panels.per_row == 0:
            axis.set_ylabel("gain (judge SDs,\nhigher is better)")
    handles = [
        Line2D(
            [], [], linestyle="", markersize=5, label=f"{letter}  {pretty(measure)}", **family_style(family(measure))
        )
        for measure, letter in letters.items()
    ]
    panels.legend(handles, columns=3)
    return panels.drawn


def said(summary: Row) -> list[str]:
    """Return ρ and the verdict on the trend of one judge, or why there are none."""
    if summary["status"] != "ok":
        return textwrap.wrap(str(summary["status"]), 30)
    return [f"ρ = {minus(summary['rho'])}, {summary['n']} measures", f"trend: {summary['trend_verdict']}"]


def caption(by_judge: pd.DataFrame, method: str) -> str:
    """Return what the figure shows; ``method`` says how the intervals were made."""
    return (
        f"SRCC as a metric against the gain by each of {count(by_judge['judge'].nunique(), 'judge')}; a letter names a"
        " measure, A being the best metric; colour and mark give its family. Filled: the interval of the gain excludes"
        " 0 (not corrected for the number of points); hollow: it does not, so that the point is no finding; ×: related"
        " to the judge or without all scores, left out of ρ and trend. A triangle at the edge: the gain lies outside"
        " the axis, at the number after the letter. Dashed: pixel-only training. Vertical scales differ. Lines:"
        f" {method}. Trend: gain with the best metric minus that with the worst, on a line through ranks."
    )
