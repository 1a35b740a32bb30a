"""Trained with × judged by: what each judge prefers, and whether it favours measures related to it."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.patches import Rectangle

from ..statistics.frames import grouped, where
from .canvas import Drawn, Given, Panels, figure, require_one_of, text_width
from .matrix import draw_matrix
from .style import GREY, INK, WIDTH, minus, of_setting, pretty, setting_name, settings_of

CELL_WIDTH, CELL_HEIGHT, LABEL = 0.56, 0.3, 0.9  # inches


@figure
def judge_heatmap(by_judge: pd.DataFrame, *, ax: Given = None) -> Drawn:
    """Draw one panel per adversarial setting; rows are fidelity measures, columns judges, values gains in judge SDs.

    Rows are in the order of ``gain_forest``: by mean gain, best on top. Below each gain is its interval. Purple is
    better than pixel-only, orange worse, on one scale for all panels. A thick frame marks a judge related to the row's
    measure or to pixel-only training, which is left out of the gain. A white cell with "–" has a status other than
    "ok" (its score is missing or not finite, or the judge has no spread).

    Args:
        by_judge: ``Gains.by_judge`` of one generator.
        ax: Axes to draw on, one per adversarial setting; a new figure if left out.

    Returns:
        The Axes, or an array of them for several settings.

    Raises:
        AnalysisError: Several generators, or another number of Axes than of settings.

    Examples:
        >>> from lopsided.analysis import figures
        >>> by_judge = pd.DataFrame({"fidelity": ["ssim", "gmsd"], "gain": [0.1, 0.9]}).assign(
        ...     generator="unet", discriminator="none", gan_weight=0.0, related=False, judge="vif",
        ...     gain_low=0.0, gain_high=1.0,
        ... )
        >>> drawn = figures.judge_heatmap(by_judge)
        >>> [label.get_text() for label in drawn.get_yticklabels()], [text.get_text() for text in drawn.texts]
        (['GMSD', 'SSIM'], ['0.9', '0.0, 1.0', '0.1', '0.0, 1.0'])
    """
    require_one_of(by_judge, ["generator"], "judge_heatmap", "no judge has scored a trained cell")
    chosen = settings_of(by_judge)
    judges = sorted(by_judge["judge"].unique())
    everywhere = by_mean_gain(by_judge)
    names = max(text_width(pretty(str(key))) for key in everywhere)
    most = max(rows["fidelity"].nunique() for _, rows in grouped(by_judge, "discriminator", "gan_weight"))
    width = min(max(WIDTH, 0.4 + names + CELL_WIDTH * len(judges)), 16.0)
    below = LABEL + 0.65 * max(text_width(pretty(judge)) for judge in judges)
    panels = Panels(ax, len(chosen), height=below + CELL_HEIGHT * most, width=width)
    finite = by_judge["gain"].dropna().abs()
    # One wild cell would leave no colour for the others.
    bound = max(float(finite.quantile(0.95)), 0.1) if len(finite) else 1.0
    for axis, setting in zip(panels.axes, chosen, strict=True):
        rows = of_setting(by_judge, setting)
        order = [key for key in everywhere if key in set(rows["fidelity"])]

        def values(column: str, rows: pd.DataFrame = rows, order: list[str] = order) -> pd.DataFrame:
            return rows.pivot(index="fidelity", columns="judge", values=column).reindex(index=order, columns=judges)

        gain, low, high = (values(name).to_numpy(dtype=float) for name in ("gain", "gain_low", "gain_high"))
        texts = [[minus(value, 1) if np.isfinite(value) else "" for value in row] for row in gain]
        small = [
            [f"{minus(a, 1)}, {minus(b, 1)}" if np.isfinite(a) else "" for a, b in zip(*ends, strict=True)]
            for ends in zip(low, high, strict=True)
        ]
        measures, columns = [pretty(key) for key in order], [pretty(judge) for judge in judges]
        look = {"cmap": "PuOr", "limits": (-1.15 * bound, 1.15 * bound), "small": small}
        draw_matrix(axis, gain, texts, measures, columns, **look)
        for y, x in np.argwhere(np.isnan(gain)):
            axis.text(float(x) + 0.5, float(y) + 0.5, "–", ha="center", va="center", color=GREY, in_layout=False)
        related = values("related").fillna(False).to_numpy(dtype=bool)
        for y, x in np.argwhere(related):
            frame = Rectangle((float(x) + 0.05, float(y) + 0.07), 0.9, 0.86, in_layout=False)
            frame.set(fill=False, edgecolor=INK, linewidth=1.6)
            axis.add_patch(frame)
        axis.set_title(f"{setting_name(*setting)}\ngain over pixel-only (judge SDs, higher is better)")
        axis.set_xlabel("judged by")
        axis.set_ylabel("trained with")
    return panels.drawn


def by_mean_gain(table: pd.DataFrame) -> list[str]:
    """Return the measures of a table of gains by their mean over settings, best first; those without a gain last.

    Args:
        table: ``Gains.table``, or ``Gains.by_judge``, of which only judges that count are taken.
    """
    counted = where(table, related=False) if "related" in table else table
    means = {
        fidelity: np.mean([found["gain"].mean() for _, found in grouped(rows, "discriminator", "gan_weight")])
        for fidelity, rows in grouped(counted.loc[counted["gain"].notna()], "fidelity")
    }
    return sorted(sorted(table["fidelity"].unique()), key=lambda key: -means.get(key, -np.inf))


def caption(by_judge: pd.DataFrame) -> str:
    """Return what the figure shows."""
    return (
        f"Gain over pixel-only training by each of {by_judge['judge'].nunique()} judges, in that judge's SDs, signed"
        " so that positive is better for every judge; below it the ends of its interval, not corrected. Best mean gain"
        " on top. Framed: the judge is what the row or the pixel-only cell was trained with or is related to it, and is"
        " left out of the gain; whether judges prefer their own kind is tested under “Self-preference”. “–”: not"
        " computed; see “Values that could not be computed” for the reason."
    )
