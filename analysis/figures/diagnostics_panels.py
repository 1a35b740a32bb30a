"""What measures are like as objectives: one panel per diagnostic, one colour per measure."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, NullFormatter

from ..statistics.frames import grouped, where
from .canvas import Drawn, Given, NothingToDraw, Panels, figure
from .style import GREY, count, mark_style, pretty

CONDITION = "effective share"


@figure
def diagnostics_panels(summary: pd.DataFrame, *, ax: Given = None) -> Drawn:
    """Draw alignment, frequencies, conditioning, invariances, recovery and colour drift, where there are any.

    Args:
        summary: Part ``diagnostics_summary`` of the study; rows of maximum differentiation are left out.
        ax: Axes to draw on, one per diagnostic that has values; a new figure if left out.

    Returns:
        An array of Axes, or the Axes where there is one diagnostic.

    Raises:
        AnalysisError: Another number of Axes than of diagnostics.

    Examples:
        >>> from lopsided.analysis import figures
        >>> summary = pd.DataFrame({"start": ["noise", "bicubic"], "mean": [0.2, 0.5]}).assign(
        ...     measure="ssim", other="", diagnostic="alignment", detail="residual"
        ... )
        >>> figures.diagnostics_panels(summary).get_title(loc="left")
        'Gradient against the residual'
    """
    drawn = panels_of(summary)
    if not drawn:
        raise NothingToDraw("no diagnostics of measures, or none with a value")
    measures = sorted({str(key) for found in drawn.values() for key in found["measure"]})
    panels = Panels(ax, len(drawn), per_row=2, height=2.35)
    for axis, (name, found) in zip(panels.axes, drawn.items(), strict=True):
        _PANELS[name](axis, found, measures)
        axis.grid(axis="y")
    handles = [Line2D([], [], label=pretty(key), markersize=4, **mark_style(i)) for i, key in enumerate(measures)]
    panels.legend(handles, columns=4)
    return panels.drawn


def panels_of(summary: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return the rows of each panel that has any, by its diagnostic."""
    rows = where(summary, other="")
    rows = rows.loc[rows["mean"].notna()]
    found = {
        "alignment": where(rows, diagnostic="alignment", detail="residual"),
        "frequency": where(rows, diagnostic="frequency"),
        "curvature": where(rows, diagnostic="curvature", detail=CONDITION),
        "invariance": where(rows, diagnostic="invariance"),
        "recovery": where(rows, diagnostic="recovery"),
        "colour": where(rows, diagnostic="colour", detail="size"),
    }
    return {name: panel for name, panel in found.items() if len(panel)}


def _alignment(axis: Axes, found: pd.DataFrame, measures: list[str]) -> None:
    _lines(axis, found, measures, "start")
    axis.axhline(0, color=GREY, linewidth=0.8)
    axis.set(title="Gradient against the residual", ylabel="cosine (1: straight back)")


def _frequency(axis: Axes, found: pd.DataFrame, measures: list[str]) -> None:
    _lines(axis, found, measures, "detail")
    axis.tick_params(axis="x", labelrotation=30)
    axis.set(title="Gradient energy by frequency", ylabel="share", xlabel="cycles per pixel", ylim=(0, None))


def _curvature(axis: Axes, found: pd.DataFrame, measures: list[str]) -> None:
    for index, measure in enumerate(measures):
        rows = where(found, measure=measure)
        if len(rows):
            low, high = rows["low"].iloc[0], rows["high"].iloc[0]
            axis.plot([index, index], [low, high], linewidth=1.6, color=mark_style(index)["color"])
            axis.plot(index, rows["mean"].iloc[0], **{**mark_style(index), "linestyle": ""})
    axis.set_yscale("log")
    axis.yaxis.set_major_formatter(FuncFormatter(_plain))
    low, high = axis.get_ylim()
    # Over few decades the powers of ten alone are too few labels, over many all others are too many.
    axis.yaxis.set_minor_formatter(FuncFormatter(_plain) if high < 30 * low else NullFormatter())
    axis.tick_params(which="minor", labelsize=6.5)
    axis.set_xticks([])
    axis.set(title="Conditioning near the optimum", ylabel="share of directions curved alike")


def _invariance(axis: Axes, found: pd.DataFrame, measures: list[str]) -> None:
    _lines(axis, found, measures, "detail", linestyle="")
    axis.axhline(1, color=GREY, linewidth=0.8, linestyle=(0, (4, 3)))
    axis.tick_params(axis="x", labelrotation=30)
    axis.set_yscale("symlog", linthresh=0.1)
    axis.yaxis.set_major_formatter(FuncFormatter(_plain))
    axis.set(title="What a measure sees", ylabel="loss (1: that of noise)")
    axis.set_ylim(min(-0.02, 1.3 * found["mean"].min()), 1.3 * max(1, found["mean"].max()))


def _recovery(axis: Axes, found: pd.DataFrame, measures: list[str]) -> None:
    steps = found.assign(step=found["detail"].astype(int))
    for index, measure in enumerate(measures):
        course = {step: rows["mean"].mean() for step, rows in grouped(where(steps, measure=measure), "step")}
        gained = [value - course[min(course)] for value in course.values()]
        axis.plot(list(course), gained, markersize=3, **mark_style(index))
    axis.axhline(0, color=GREY, linewidth=0.8)
    axis.set(title="Recovery of the reference", ylabel="PSNR gained, dB", xlabel="step")


def _colour(axis: Axes, found: pd.DataFrame, measures: list[str]) -> None:
    _lines(axis, found, measures, "start", linestyle="")
    axis.set(title="Colour drift during recovery", ylabel="grey levels", ylim=(0, None))


def _lines(axis: Axes, found: pd.DataFrame, measures: list[str], along: str, **style: str) -> None:
    """Draw the means of each measure along the values of a column, in the order of the table."""
    order = list(dict.fromkeys(found[along]))
    for index, measure in enumerate(measures):
        own = where(found, measure=measure)
        values = [where(own, **{along: value})["mean"].mean() for value in order]
        axis.plot(range(len(order)), values, markersize=4, **{**mark_style(index), **style})
    axis.set_xticks(range(len(order)), order)


def _plain(value: float, _: float) -> str:
    return f"{value:g}"


_PANELS = {
    "alignment": _alignment,
    "frequency": _frequency,
    "curvature": _curvature,
    "invariance": _invariance,
    "recovery": _recovery,
    "colour": _colour,
}


def caption(summary: pd.DataFrame) -> str:
    """Return what the figure shows."""
    return (
        f"Diagnostics of measures as objectives, means over {count(int(summary['n'].max()), 'crop')}; nothing was"
        " trained. Alignment: cosine of the measure's gradient with the way from the reference to the degraded image."
        " Conditioning: 1 for the squared error, lower where few directions are curved much more than the others; lines"
        " from the least to the largest crop. What a measure sees: its loss after a change that people hardly see, over"
        " its loss after noise (dashed). Recovery: descent on pixels from degraded images, mean over the starts."
    )
