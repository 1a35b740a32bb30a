"""How probable it is that one measure is the better metric and the worse objective than another."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ..statistics.frames import grouped
from .canvas import Drawn, Given, Panels, figure, require_one_of, text_width
from .matrix import draw_matrix
from .style import of_setting, pretty, setting_name, settings_of

CELL, LABEL = 0.3, 0.75  # inches: a cell; the labels of the axes
SMALL_MATRIX = 6  # measures: two panels fit beside each other


@figure
def inversion_matrix(inversions: pd.DataFrame, points: pd.DataFrame, *, ax: Given = None) -> Drawn:
    """Draw one panel per adversarial setting: row = the better metric, column = the better objective, value = percent.

    Rows and columns are in the order of SRCC, the best metric first, so that inversions of what was measured are above
    the diagonal. A cell below half a percent has no number.

    Args:
        inversions: Part ``inversion_probabilities`` of the study, of one generator and data set.
        points: ``Asymmetry.points`` of the same.
        ax: Axes to draw on, one per adversarial setting; a new figure if left out.

    Returns:
        The Axes, or an array of them for several settings.

    Raises:
        AnalysisError: Several generators or data sets, or another number of Axes than of settings.

    Examples:
        >>> from lopsided.analysis import figures
        >>> here = {"generator": "unet", "dataset": "live", "discriminator": "none", "gan_weight": 0.0}
        >>> pairs = [("ssim", "gmsd", 0.1), ("gmsd", "ssim", 0.4)]
        >>> inversions = pd.DataFrame(pairs, columns=["first", "second", "probability"]).assign(**here)
        >>> points = pd.DataFrame({"measure": ["ssim", "gmsd"], "srcc": [0.7, 0.9]})
        >>> drawn = figures.inversion_matrix(inversions, points)
        >>> [label.get_text() for label in drawn.get_yticklabels()], [text.get_text() for text in drawn.texts]
        (['GMSD', 'SSIM'], ['40', '10'])
    """
    why = "no probabilities: the noise of the gains is not known from one seed or one image, or there is no pair"
    require_one_of(inversions, ["generator", "dataset"], "inversion_matrix", why)
    chosen = settings_of(inversions)
    by_srcc = points.drop_duplicates("measure").sort_values(["srcc", "measure"], ascending=[False, True])
    most = max(rows["first"].nunique() for _, rows in grouped(inversions, "discriminator", "gan_weight"))
    per_row = 2 if most <= SMALL_MATRIX and len(chosen) > 1 else 1
    longest = max(text_width(pretty(measure)) for measure in by_srcc["measure"])
    height = LABEL + 0.65 * longest + CELL * most
    width = per_row * min(7.2 / per_row, 0.5 + longest + 0.45 * most)
    panels = Panels(ax, len(chosen), per_row=per_row, height=height, width=max(width, 3.6))
    for index, (axis, setting) in enumerate(zip(panels.axes, chosen, strict=True)):
        rows = of_setting(inversions, setting)
        measures = [measure for measure in by_srcc["measure"] if measure in set(rows["first"])]
        percent = 100 * rows.pivot(index="first", columns="second", values="probability").reindex(
            index=measures, columns=measures
        ).to_numpy(dtype=float)
        texts = [["" if np.isnan(value) or value < 0.5 else f"{value:.0f}" for value in row] for row in percent]
        names = [pretty(measure) for measure in measures]
        draw_matrix(axis, percent, texts, names, names, cmap="Purples", limits=(0, 115))
        axis.set_title(setting_name(*setting))
        axis.set_xlabel("better objective (gain)")
        axis.set_ylabel("better metric (SRCC)" if index % panels.per_row == 0 else "")
    return panels.drawn


def caption(n_draws: int) -> str:
    """Return what the figure shows."""
    return (
        "Probability in percent that the measure of the row is the better metric and that of the column the better"
        f" objective, from {n_draws:,} draws with the noise of both; best metrics first; no number: below 0.5."
        " Near 25 nothing is known of the pair. These are no tests: the noise is taken as known, which with few seeds"
        " makes them too sure. Whether an inversion is established is in the table of pairs in opposite order."
    )
