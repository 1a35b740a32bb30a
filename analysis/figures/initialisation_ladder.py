"""The same measure on learnt weights, and on one or several draws of random ones: SRCC and gain."""

from __future__ import annotations

import re
from collections import defaultdict

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from ..statistics.frames import Row, records
from .canvas import (
    Drawn,
    Given,
    NothingToDraw,
    Panels,
    figure,
    gain_limits,
    note,
    require_one_of,
    span,
    text_width,
    wrapped,
)
from .style import BLUE, GREY, INK, ORANGE, PALE, VERMILION, of_setting, pretty, setting_name, settings_of

RUNG = re.compile(r"(?P<form>.+?)(?P<random>-r)?(?P<mark>(?:\+|@)[^+@]+)?$")
# The authors' names of LPIPS, whose random twins are named by the backbone.
SAME = {
    "lpips": "lpips-alexnet",
    "lpips-vgg": "lpips-vgg16",
    "lpips-squeeze": "lpips-squeezenet1_1",
    "dists": "dists-vgg16",
}
PER_ROW = 4


@figure
def initialisation_ladder(assessment: pd.DataFrame, gains: pd.DataFrame, *, ax: Given = None) -> Drawn:
    """Draw the SRCC, then the gain in each adversarial setting, of each measure by the weights of its backbone.

    One block per measure that was used with random weights: learnt weights first (filled), then every draw (hollow).
    A short line marks the mean of several draws.

    Args:
        assessment: ``Assessment.table`` of one data set.
        gains: ``Gains.table`` of one generator.
        ax: Axes to draw on, one for the SRCC and one per setting; a new figure if left out.

    Returns:
        An array of Axes, or the Axes where nothing was trained.

    Raises:
        AnalysisError: Several data sets or generators, or another number of Axes than of panels.

    Examples:
        >>> from lopsided.analysis import figures
        >>> table = pd.DataFrame({"measure": ["dists-vgg16", "dists-vgg16-r"], "srcc": [0.9, 0.7]}).assign(
        ...     dataset="live", srcc_low=0.6, srcc_high=0.95, status="ok"
        ... )
        >>> gains = pd.DataFrame(columns=["generator", "fidelity", "discriminator", "gan_weight", "gain"])
        >>> [label.get_text() for label in figures.initialisation_ladder(table, gains).get_yticklabels()]
        ['DISTS VGG-16', 'learnt', 'random']
    """
    require_one_of(pd.concat([assessment["measure"], gains["fidelity"]]).to_frame(), [], "", "no measures")
    for table, column in ((assessment, "dataset"), (gains, "generator")):
        if len(table):
            require_one_of(table, [column], "initialisation_ladder")
    lines = ladder([*assessment["measure"], *gains["fidelity"]])
    if not lines:
        raise NothingToDraw("no measure was used with random weights")
    panels_of = [
        ("metric: SRCC", "srcc", {row["measure"]: row for row in records(assessment)}),
        *(
            (setting_name(*setting), "gain", {row["fidelity"]: row for row in records(of_setting(gains, setting))})
            for setting in settings_of(gains)
        ),
    ]
    per_row = min(PER_ROW, len(panels_of))
    labels = [text for text, _ in lines]
    width = min(7.2, 0.4 + max(map(text_width, labels)) + 2.4 * per_row)
    panels = Panels(ax, len(panels_of), per_row=per_row, height=0.85 + 0.2 * max(4, len(lines)), width=width)
    used = {key for _, key in lines}
    gained = gain_limits(gains.loc[gains["fidelity"].isin(used)]) if len(gains) else (-1.0, 1.0)
    for index, (axis, (title, name, rows)) in enumerate(zip(panels.axes, panels_of, strict=True)):
        axis.grid(axis="x")
        _panel(axis, lines, rows, name, gained if name == "gain" else (-1.0, 1.02))
        axis.set_title(wrapped(title, 1.35, 8), fontsize=7.5)
        axis.set_xlabel("higher is better" if name == "srcc" else "gain (judge SDs,\nhigher is better)")
        axis.set_yticks(range(len(lines)), labels)
        for tick, (_, key) in zip(axis.get_yticklabels(), lines, strict=True):
            tick.set_fontweight("normal" if key else "bold")
        axis.set_ylim(len(lines) - 0.4, -0.6)
        axis.tick_params(axis="y", length=0, labelleft=ax is not None or index % panels.per_row == 0)
        axis.locator_params(axis="x", nbins=5)
        if name == "gain":
            axis.axvline(0, color=GREY, linewidth=0.8)
            axis.set_xlim(*gained)
    return panels.drawn


def ladder(measures: list[str]) -> list[tuple[str, str]]:
    """Return the lines of the figure: (name of the measure, "") and below it (weights, key), random draws last.

    Examples:
        >>> ladder(["dists-vgg16-r", "dists-vgg16", "dists-vgg16-r+f6ff", "ssim"])
        [('DISTS VGG-16', ''), ('learnt', 'dists-vgg16'), ('random', 'dists-vgg16-r'), ('random (f6ff)', 'dists-vgg16-r+f6ff')]
        >>> [label for label, _ in ladder(["lpips-squeeze", "lpips-squeezenet1_1-r@seed2"])]
        ['LPIPS SqueezeNet 1.1', 'learnt', 'random (draw 2)']
    """  # noqa: E501
    rungs: dict[str, list[tuple[bool, str, str]]] = defaultdict(list)
    for key in sorted(set(measures)):
        if found := RUNG.match(key):
            mark = f" ({found['mark'][1:].replace('seed', 'draw ')})" if found["mark"] else ""
            rungs[SAME.get(found["form"], found["form"])].append(
                (bool(found["random"]), f"{'random' if found['random'] else 'learnt'}{mark}", key)
            )
    lines: list[tuple[str, str]] = []
    for form, found in sorted(rungs.items()):
        if any(random for random, _, _ in found):
            lines += [(pretty(form), ""), *((label, key) for _, label, key in sorted(found))]
    return lines


def _panel(
    axis: Axes, lines: list[tuple[str, str]], rows: dict[str, Row], name: str, limits: tuple[float, float]
) -> None:
    draws: list[tuple[float, int]] = []
    for y, (label, key) in enumerate([*lines, ("", "")]):
        if not key:  # a new block: the one before is whole
            if len(draws) > 1:
                mean = float(np.mean([value for value, _ in draws]))
                axis.plot([mean, mean], [draws[0][1] - 0.45, draws[-1][1] + 0.45], color=INK, linewidth=1.4)
            draws = []
            if 0 < y < len(lines):
                axis.axhline(y - 0.5, color=PALE, linewidth=0.8)
            continue
        row, random = rows.get(key), label.startswith("random")
        if row is None or np.isnan(row[name]):
            why = ("not assessed" if name == "srcc" else "not trained") if row is None else row["status"]
            note(axis, y, why, VERMILION if row else GREY, wrap=24)
            continue
        colour = ORANGE if random else BLUE
        look = {"color": colour, "marker": "o", "markerfacecolor": "white" if random else colour}
        span(axis, y, row, name, look, limits)
        if random:
            draws.append((row[name], y))


def caption(method: str) -> str:
    """Return what the figure shows; ``method`` says how the intervals were made."""
    return (
        "The same measure on a backbone with learnt weights (filled) and with random ones (hollow, one row per draw of"
        f" weights; the short line is their mean): as a metric, and as an objective by its gain. Lines: {method}. Draws"
        " of weights are a sample like seeds: one draw says little of random weights in general."
    )
