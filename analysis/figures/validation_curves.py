"""Scores of whole validation images over fine-tuning steps: did training help, and was it long enough?"""

from __future__ import annotations

import textwrap
from collections import defaultdict

import pandas as pd
from matplotlib.lines import Line2D

from ..statistics.frames import grouped, where
from .canvas import Drawn, Given, Panels, figure, require_one_of
from .style import count, line_style, pretty, setting_name, settings_of

VALIDATION = "validation/"
PER_ROW = 3
BANDS = 6  # measures: bands of more hide each other


@figure
def validation_curves(training: pd.DataFrame, *, ax: Given = None) -> Drawn:
    r"""Draw one panel per adversarial setting and validation judge; lines are means over seeds.

    Bands are the range over seeds, for six measures at most. These are scores of whole images that no
    training saw, unlike the losses of ``training_curves``.

    Args:
        training: The table of that name, for one generator; its terms ``validation/<judge>`` of fine-tuning are drawn.
        ax: Axes to draw on, judges of the first setting first; a new figure if left out.

    Returns:
        An array of Axes, or the Axes where there is one judge and one setting.

    Raises:
        AnalysisError: Several generators, or another number of Axes than of panels.

    Examples:
        >>> from lopsided.analysis import figures
        >>> training = pd.DataFrame({"step": [100, 200, 300], "value": [27.0, 27.4, 27.5]}).assign(
        ...     stage="finetune", generator="unet", fidelity="ssim", discriminator="none", gan_weight=0.0, seed=0,
        ...     term="validation/psnr_y",
        ... )
        >>> figures.validation_curves(training).get_title(loc="left")
        'PSNR-Y\nno discriminator'
    """
    rows = where(training, stage="finetune")
    rows = rows.loc[rows["term"].astype(str).str.startswith(VALIDATION)]
    why = "no validation scores: give the training a validation set, see docs/training.md"
    require_one_of(rows, ["generator"], "validation_curves", why)
    judges, settings = sorted(rows["term"].unique()), settings_of(rows)
    fidelities = sorted(rows["fidelity"].unique(), key=lambda key: (key != "none", key))
    places = [(setting, judge) for setting in settings for judge in judges]
    per_row = min(PER_ROW, len(places) if len(settings) == 1 else len(judges) if len(judges) > 1 else PER_ROW)
    panels = Panels(ax, len(places), per_row=per_row, height=1.9, width=7.2 if per_row > 1 else 4.6)
    by_panel = defaultdict(lambda: rows.head(0), grouped(rows, "discriminator", "gan_weight", "term"))
    for index, (axis, (setting, judge)) in enumerate(zip(panels.axes, places, strict=True)):
        for fidelity, curves in grouped(by_panel[(*setting, judge)], "fidelity"):
            over = curves.groupby("step")["value"].agg(["mean", "min", "max"])
            style = line_style(fidelities.index(fidelity))
            marker = "o" if len(over) <= 2 else ""
            axis.plot(over.index, over["mean"], linewidth=1.3, marker=marker, markersize=3, **style)
            if len(fidelities) <= BANDS and (over["max"] > over["min"]).any():
                axis.fill_between(over.index, over["min"], over["max"], color=style["color"], alpha=0.12, linewidth=0)
        title = "\n".join(textwrap.wrap(setting_name(*setting), 30))
        axis.set_title(f"{pretty(judge.removeprefix(VALIDATION))}\n{title}", fontsize=8)
        axis.grid(axis="y")
        axis.locator_params(axis="x", nbins=4)
        axis.ticklabel_format(axis="y", useOffset=False)
        if index + panels.per_row >= len(places):
            axis.set_xlabel("fine-tuning step")
        if index % panels.per_row == 0:
            axis.set_ylabel("score, in the\njudge's own unit")
    handles = [Line2D([], [], label=pretty(key), linewidth=2, **line_style(i)) for i, key in enumerate(fidelities)]
    panels.legend(handles, columns=4, title="trained with")
    return panels.drawn


def caption(training: pd.DataFrame) -> str:
    """Return what the figure shows."""
    n = where(training, stage="finetune")["seed"].nunique()
    return (
        "Scores of restored validation images over fine-tuning steps, in each judge's own unit and direction; lines are"
        f" means over {count(n, 'seed')}; bands, if any, reach from the lowest to the highest seed. A curve"
        " that still rises or falls at the end says that a ranking at this length of training may not be final."
    )
