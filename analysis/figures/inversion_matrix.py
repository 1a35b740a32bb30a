"""How probable it is that one measure is the better metric and the worse objective than another."""

from __future__ import annotations

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from ..statistics.frames import grouped
from .style import of_setting, panels, pretty, require_one_of, setting_name, settings_of, styled


@styled
def inversion_matrix(inversions: pd.DataFrame, points: pd.DataFrame) -> Figure:
    """Draw one panel per adversarial setting: row = the better metric, column = the better objective, value = percent.

    Rows and columns are in the order of SRCC, the best metric first, so that inversions of what was measured are above
    the diagonal.

    Args:
        inversions: ``inversion_probabilities`` of one generator and data set.
        points: ``Asymmetry.points`` of the same.

    Raises:
        AnalysisError: No rows, or several generators or data sets.
    """
    require_one_of(inversions, ["generator", "dataset"], "inversion_matrix")
    chosen = settings_of(inversions)
    by_srcc = points.drop_duplicates("measure").sort_values(["srcc", "measure"], ascending=[False, True])
    most = max(rows["first"].nunique() for _, rows in grouped(inversions, "discriminator", "gan_weight"))
    per_row = 3 if most <= 6 else 2
    longest = max(len(pretty(measure)) for measure in by_srcc["measure"])
    figure, axes = panels(len(chosen), per_row, 1.2 + 0.055 * longest + 0.26 * most)
    for index, (axis, setting) in enumerate(zip(axes, chosen, strict=True)):
        rows = of_setting(inversions, setting)
        measures = [measure for measure in by_srcc["measure"] if measure in set(rows["first"])]
        percent = rows.pivot(index="first", columns="second", values="probability").reindex(
            index=measures, columns=measures
        )
        percent = 100 * percent
        sns.heatmap(
            percent,
            ax=axis,
            annot=percent.map(lambda value: "" if np.isnan(value) else f"{value:.0f}"),
            fmt="",
            annot_kws={"fontsize": 8},
            cmap="Purples",
            vmin=0,
            vmax=100,
            cbar=False,
            linewidths=1.0,
            linecolor="white",
        )
        names = [pretty(measure) for measure in measures]
        axis.set_title(setting_name(*setting))
        axis.set_xticks(np.arange(len(names)) + 0.5, names, rotation=40, ha="right")
        axis.set_yticks(np.arange(len(names)) + 0.5, names, rotation=0)
        axis.tick_params(length=0)
        axis.set_xlabel("better objective (gain)")
        axis.set_ylabel("better metric (SRCC)" if index % per_row == 0 else "")
    return figure


def caption(n_draws: int) -> str:
    """Return what the figure shows."""
    return (
        "Probability in percent that the measure of the row is the better metric and that of the column the better"
        f" objective, from {n_draws:,} draws with the noise of both; best metrics first. Near 25 nothing is known of"
        " the pair. These are no tests: the noise is taken as known, which with few seeds makes them too sure. Whether"
        " an inversion is established is in the table of pairs in opposite order."
    )
