"""Loss terms over steps: did training work, and did the discriminator win?"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter

from ..statistics.frames import grouped, where
from .style import GREY, line_style, of_setting, pretty, require_one_of, setting_title, settings_of, styled

TERMS = {
    "pixel": "pixel loss\n(lower is better)",
    "fidelity": "fidelity loss\n(in each measure's unit)",
    "adversarial": "adversarial loss\nof the generator",
    "d_accuracy": "discriminator accuracy\n(0.5: chance, 1: perfect)",
}
# A screen shows no more than this many points per line; longer curves are averaged in equal blocks of steps.
MAX_POINTS = 200
# Positive terms that span more than this factor are drawn on a logarithmic axis.
LOG_SPAN = 20.0


@styled
def training_curves(training: pd.DataFrame) -> Figure:
    """Draw one row of panels per adversarial setting, one column per term, one thin line per seed, coloured by measure.

    Args:
        training: The table of that name, for one generator; only its fine-tuning stage and the terms pixel, fidelity,
            adversarial and d_accuracy are drawn.

    Raises:
        AnalysisError: No such rows, or several generators.
    """
    rows = where(training, stage="finetune")
    rows = rows.loc[rows["term"].isin(list(TERMS))]
    require_one_of(rows, ["generator"], "training_curves")
    terms = [term for term in TERMS if (rows["term"] == term).any()]
    settings = settings_of(rows)
    fidelities = sorted(rows["fidelity"].unique(), key=lambda key: (key != "none", key))
    figure = Figure(
        figsize=(11.0, 0.8 + 1.75 * len(settings) + 0.2 * np.ceil(len(fidelities) / 5)), layout="constrained"
    )
    grid = figure.subplots(len(settings), len(terms), squeeze=False, sharex=True, sharey="col")
    for axes, setting in zip(grid, settings, strict=True):
        for axis, term in zip(axes, terms, strict=True):
            panel = of_setting(where(rows, term=term), setting)
            for (fidelity, _), curve in grouped(panel, "fidelity", "seed"):
                curve = thinned(curve.sort_values("step"))
                axis.plot(
                    curve["step"], curve["value"], linewidth=0.9, alpha=0.85, **line_style(fidelities.index(fidelity))
                )
            if panel.empty:
                axis.text(
                    0.5, 0.5, "none in this setting", transform=axis.transAxes, ha="center", va="center", color=GREY
                )
            elif term == "d_accuracy":
                axis.axhline(0.5, color=GREY, linewidth=0.8, linestyle=(0, (4, 3)))
                axis.set_ylim(0, 1.02)
            axis.grid(axis="y")
        axes[0].set_ylabel(setting_title(setting), fontweight="bold")
    for axes, term in zip(grid.T, terms, strict=True):
        values = rows.loc[rows["term"] == term, "value"]
        if term != "d_accuracy" and values.min() > 0 and values.max() > LOG_SPAN * values.min():
            axes[0].set_yscale("log")
            axes[0].yaxis.set_major_formatter(LogFormatter())  # the default one writes mathematics
            axes[0].yaxis.set_minor_formatter(LogFormatter(minor_thresholds=(1, 0.4)))
        axes[0].set_title(TERMS[term], fontsize=9)
        axes[-1].set_xlabel("fine-tuning step")
    handles = [
        grid[0, 0].plot([], [], label=pretty(key), linewidth=2, **line_style(i))[0] for i, key in enumerate(fidelities)
    ]
    columns = math.ceil(len(handles) / math.ceil(len(handles) / 5))
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, title="trained with")
    return figure


def thinned(curve: pd.DataFrame) -> pd.DataFrame:
    """Return ``curve`` averaged in equal blocks so that at most ``MAX_POINTS`` remain."""
    if len(curve) <= MAX_POINTS:
        return curve
    block = np.arange(len(curve)) * MAX_POINTS // len(curve)
    return curve.loc[:, ["step", "value"]].groupby(block).mean()


def caption(training: pd.DataFrame) -> str:
    """Return what the figure shows."""
    n = training.loc[training["stage"] == "finetune", "seed"].nunique()
    return (
        f"Training terms over fine-tuning steps; one line per seed ({n}), no smoothing beyond block means, at most"
        f" {MAX_POINTS} points per line. Columns share their scale. Fidelity losses of different measures have"
        " different units: compare their course, not their height. Dashed: a discriminator at chance."
    )
