"""Loss terms over steps: did training work, and did the discriminator win?"""

from __future__ import annotations

from collections import defaultdict
from typing import Any, cast

import numpy as np
import pandas as pd
from matplotlib.collections import LineCollection
from matplotlib.lines import Line2D
from matplotlib.ticker import LogFormatter

from ..statistics.frames import grouped, where
from .canvas import Drawn, Given, Panels, figure, require_one_of
from .style import GREY, SMALL, line_style, pretty, setting_title, settings_of

TERMS = {
    "pixel": "pixel loss\n(lower is better)",
    "fidelity": "fidelity loss\n(each in its unit)",
    "adversarial": "adversarial loss\nof the generator",
    "d_accuracy": "discriminator's\naccuracy (0.5: chance)",
}
WHERE = ("discriminator", "gan_weight", "term")
# A screen shows no more than this many points per line; longer curves are averaged in equal blocks of steps.
MAX_POINTS = 200
# Positive terms that span more than this factor are drawn on a logarithmic axis.
LOG_SPAN = 20.0


@figure
def training_curves(training: pd.DataFrame, *, ax: Given = None) -> Drawn:
    r"""Draw one row of panels per adversarial setting, one column per term, one thin line per seed.

    These are losses on the crops of a batch: whether restored images got better is in ``validation_curves``.

    Args:
        training: The table of that name, for one generator; only its fine-tuning stage and the terms pixel, fidelity,
            adversarial and d_accuracy are drawn.
        ax: Axes to draw on, terms of the first setting first; a new figure if left out.

    Returns:
        An array of Axes, or the Axes where there is one term and one setting.

    Raises:
        AnalysisError: Several generators, or another number of Axes than of panels.

    Examples:
        >>> from lopsided.analysis import figures
        >>> training = pd.DataFrame({"step": [1, 2, 3], "value": [0.3, 0.2, 0.1]}).assign(
        ...     stage="finetune", generator="unet", fidelity="ssim", discriminator="none", gan_weight=0.0, seed=0,
        ...     term="pixel",
        ... )
        >>> figures.training_curves(training).get_title(loc="left")
        'pixel loss\n(lower is better)'
    """
    rows = where(training, stage="finetune")
    rows = rows.loc[rows["term"].isin(list(TERMS))]
    require_one_of(rows, ["generator"], "training_curves", "no fine-tuning has recorded its losses")
    terms = [term for term in TERMS if (rows["term"] == term).any()]
    settings = settings_of(rows)
    fidelities = sorted(rows["fidelity"].unique(), key=lambda key: (key != "none", key))
    panels = Panels(ax, len(settings) * len(terms), per_row=len(terms), height=1.35, share="x")
    spans = {
        term: (rows.loc[rows["term"] == term, "value"].min(), rows.loc[rows["term"] == term, "value"].max())
        for term in terms
    }
    curves: dict[tuple, list[np.ndarray]] = defaultdict(list)
    styles: dict[tuple, list[dict]] = defaultdict(list)
    for (*panel, fidelity, _), curve in grouped(rows.sort_values("step"), *WHERE, "fidelity", "seed"):
        curves[tuple(panel)].append(thinned(curve.loc[:, ["step", "value"]]).to_numpy(dtype=float))
        styles[tuple(panel)].append(line_style(fidelities.index(fidelity)))
    places = [(setting, term) for setting in settings for term in terms]
    for index, (axis, (setting, term)) in enumerate(zip(panels.axes, places, strict=True)):
        panel = curves[(*setting, term)]
        look: dict[str, Any] = {
            f"{name}s": [style[name] for style in styles[(*setting, term)]] for name in ("color", "linestyle")
        }
        axis.add_collection(LineCollection(panel, linewidths=0.9, alpha=0.85, **look))  # single lines are slow to draw
        axis.autoscale_view()
        low, high = spans[term]
        if term != "d_accuracy" and low > 0 and high > LOG_SPAN * low:
            axis.set_yscale("log")
            axis.yaxis.set_major_formatter(LogFormatter())  # the default one writes mathematics
            axis.yaxis.set_minor_formatter(LogFormatter(minor_thresholds=(1, 0.4)))
            axis.tick_params(which="minor", labelsize=6.5)
        if not panel:
            middle = {"transform": axis.transAxes, "ha": "center", "va": "center", "color": GREY, "fontsize": SMALL}
            axis.text(0.5, 0.5, "none in this setting", **middle)
        elif term == "d_accuracy":
            axis.axhline(0.5, color=GREY, linewidth=0.8, linestyle=(0, (4, 3)))
        if term == "d_accuracy":
            axis.set_ylim(0, 1.02)
        if term != "d_accuracy" and high > low:  # one scale for a column
            room = 0.05 * (high - low)
            axis.set_ylim(*((low / 1.1, high * 1.1) if axis.get_yscale() == "log" else (low - room, high + room)))
        axis.grid(axis="y")
        if index < len(terms):
            axis.set_title(TERMS[term], fontsize=7.5)
        if index % len(terms) == 0:
            axis.set_ylabel(setting_title(setting), fontweight="bold")
        if index >= len(places) - len(terms):
            axis.set_xlabel("fine-tuning step")
        elif ax is None:
            axis.tick_params(labelbottom=False)
    handles = [Line2D([], [], label=pretty(key), linewidth=2, **line_style(i)) for i, key in enumerate(fidelities)]
    panels.legend(handles, columns=4, title="trained with")
    return panels.drawn


def thinned(curve: pd.DataFrame) -> pd.DataFrame:
    """Return ``curve`` averaged in equal blocks so that at most ``MAX_POINTS`` remain."""
    if len(curve) <= MAX_POINTS:
        return curve
    block = np.arange(len(curve)) * MAX_POINTS // len(curve)
    return cast(pd.DataFrame, curve.groupby(block).mean())


def caption(training: pd.DataFrame) -> str:
    """Return what the figure shows."""
    n = training.loc[training["stage"] == "finetune", "seed"].nunique()
    return (
        f"Training terms over fine-tuning steps; one line per seed ({n}), no smoothing beyond block means, at most"
        f" {MAX_POINTS} points per line. Columns share their scale. Fidelity losses of different measures have"
        " different units: compare their course, not their height. Dashed: a discriminator at chance."
    )
