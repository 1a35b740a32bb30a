"""Trained with × judged by: what each judge prefers, and whether it favours measures related to it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from .style import (
    GREY,
    INK,
    minus,
    most_rows,
    of_setting,
    panels,
    pretty,
    require_one_of,
    setting_name,
    settings_of,
    styled,
)


@styled
def judge_heatmap(by_judge: pd.DataFrame) -> Figure:
    """Draw one panel per adversarial setting; rows are fidelity measures, columns judges, values gains in judge SDs.

    Purple is better than pixel-only, orange worse, on one scale for all panels. A thick frame marks a judge related to
    the row's measure or to pixel-only training, which is left out of the gain. An empty cell with "–" has a status
    other than "ok" (its score is missing or not finite, or the judge has no spread).

    Args:
        by_judge: ``Gains.by_judge`` of one generator.

    Raises:
        AnalysisError: No rows, or several generators.
    """
    require_one_of(by_judge, ["generator"], "judge_heatmap")
    chosen = settings_of(by_judge)
    judges = sorted(by_judge["judge"].unique())
    most = most_rows(by_judge, "discriminator", "gan_weight") // len(judges)
    per_row = 2 if len(judges) <= 8 and len(chosen) > 1 else 1
    longest = max(len(pretty(judge)) for judge in judges)
    figure, axes = panels(len(chosen), per_row, max(1.5, 1.1 + 0.04 * longest) + 0.3 * most)
    finite = by_judge["gain"].dropna().abs()
    bound = max(float(finite.max()), 0.1) if len(finite) else 1.0
    for axis, setting in zip(axes, chosen, strict=True):
        rows = of_setting(by_judge, setting)
        order = sorted(rows["fidelity"].unique(), key=lambda key: (key != "none", key))
        gain = rows.pivot(index="fidelity", columns="judge", values="gain").reindex(index=order, columns=judges)
        related = rows.pivot(index="fidelity", columns="judge", values="related").reindex_like(gain)
        sns.heatmap(
            gain,
            ax=axis,
            annot=gain.map(lambda value: minus(value, 1)),
            fmt="",
            annot_kws={"fontsize": 8},
            cmap="PuOr",
            vmin=-1.15 * bound,
            vmax=1.15 * bound,
            cbar=False,
            linewidths=1.0,
            linecolor="white",
        )
        for y, x in np.argwhere(gain.isna().to_numpy()):
            axis.text(float(x) + 0.5, float(y) + 0.5, "–", ha="center", va="center", color=GREY)
        for y, x in np.argwhere(related.fillna(False).to_numpy(dtype=bool)):
            frame = Rectangle((float(x) + 0.06, float(y) + 0.06), 0.88, 0.88)
            frame.set(fill=False, edgecolor=INK, linewidth=1.8)
            axis.add_patch(frame)
        axis.set_title(setting_name(*setting))
        axis.set_xticks(np.arange(len(judges)) + 0.5, [pretty(judge) for judge in judges], rotation=35, ha="right")
        axis.set_yticks(np.arange(len(gain)) + 0.5, [pretty(str(key)) for key in gain.index], rotation=0)
        axis.tick_params(length=0)
        axis.set_xlabel("judged by")
        axis.set_ylabel("trained with")
    mappable = axes[0].collections[0]
    bar = figure.colorbar(mappable, ax=axes, location="bottom", shrink=0.4, aspect=40, pad=0.02)
    bar.set_label("gain over pixel-only (judge SDs, higher is better)")
    bar.outline.set_visible(False)
    return figure


def caption(by_judge: pd.DataFrame) -> str:
    """Return what the figure shows."""
    return (
        f"Gain over pixel-only training by each of {by_judge['judge'].nunique()} judges, in that judge's SDs, signed"
        " so that positive is better for every judge. Framed: the judge is what the row or the pixel-only cell was"
        " trained with or is related to it, and is left out of the gain; whether judges prefer their own kind is tested"
        " under “Self-preference”. “–”: not computed; see “Values that could not be computed” for the reason."
    )
