"""What an alignment logged over its steps: did the reward rise, are replies read, do ratings agree with people?"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd

from ..statistics.frames import grouped
from .canvas import Drawn, Given, Panels, figure, require_one_of
from .style import line_style

PER_ROW = 2
UNREADABLE, SRCC = "replies that cannot be read", "SRCC with people, rated greedily"


def _reward(term: str) -> str:
    return term.removeprefix("rewards/").removesuffix("/mean") if term.endswith("/mean") else ""


def _status(term: str) -> str:
    name = term.removeprefix("status/")
    return name.replace("_", " ") if name not in (term, "ok") else ""


def _agreement(term: str) -> str:
    return term.removeprefix("eval/").removesuffix("/srcc") if term.endswith("/srcc") else ""


# Title and what a line of the panel is called, by term; "" for a term of another panel.
PANELS: Mapping[str, Callable[[str], str]] = {
    "reward of drawn replies": lambda term: _reward(term) if term.startswith("rewards/") else "",
    UNREADABLE: _status,
    SRCC: lambda term: _agreement(term) if term.startswith("eval/") else "",
    "distance from the start (KL)": lambda term: "KL" if term == "kl" else "",
    "loss": lambda term: "loss" if term == "loss" else "",
}


@figure
def alignment_curves(log: pd.DataFrame, *, ax: Given = None) -> Drawn:
    """Draw rewards, statuses of replies, agreement with people, and KL or loss, a panel each, where they were logged.

    Of a reinforcement the loss is left out: it says nothing about progress.

    Args:
        log: The table ``alignment_log`` of one alignment, or what ``lopsided.mllm.align.read_log`` returns: ``step``,
            ``term`` and ``value``.
        ax: Axes to draw on, as many as there are panels; a new figure if left out.

    Returns:
        An array of Axes, or the Axes where there is one panel.

    Raises:
        AnalysisError: Several alignments, or another number of Axes than of panels.

    Examples:
        >>> from lopsided.analysis import figures
        >>> log = pd.DataFrame({"step": [1, 2], "term": "rewards/window/mean", "value": [0.1, 0.4]})
        >>> figures.alignment_curves(log).get_title(loc="left")
        'reward of drawn replies'
    """
    rows = log.dropna(subset=["value"]).sort_values("step", kind="stable")
    panels_of = {title: {term: name(term) for term in rows["term"].unique()} for title, name in PANELS.items()}
    if any(panels_of["reward of drawn replies"].values()):
        del panels_of["loss"]
    shown = rows.loc[rows["term"].isin([term for names in panels_of.values() for term in names if names[term]])]
    columns = ["alignment"] if "alignment" in log else []
    require_one_of(shown, columns, "alignment_curves", "the log has no reward, status, evaluation or loss")
    curves = dict(grouped(shown, "term"))
    titles = [title for title, names in panels_of.items() if any(names.values())]
    panels = Panels(ax, len(titles), per_row=PER_ROW, height=2.1)
    for axis, title in zip(panels.axes, titles, strict=True):
        lines = {name: curves[term] for term, name in panels_of[title].items() if name}
        if title == UNREADABLE:
            seen = {name: curve for name, curve in lines.items() if curve["value"].gt(0).any()}
            lines = seen or {"none": next(iter(lines.values()))}
            axis.yaxis.set_major_formatter("{x:.0%}")
        for number, (name, curve) in enumerate(lines.items()):
            marker = "o" if len(curve) <= 12 else ""
            look = line_style(number)
            axis.plot(curve["step"], curve["value"], label=name, linewidth=1.3, marker=marker, markersize=3, **look)
        if title == UNREADABLE:
            axis.set_ylim(bottom=0)
        axis.set_title(title)
        axis.set_xlabel("step")
        axis.set_xlim(left=0)
        axis.grid(axis="y")
        axis.margins(y=0.12)
        if title == SRCC:  # small changes are not to look large
            values = np.concatenate([curve["value"].to_numpy(float) for curve in lines.values()])
            axis.set_ylim(min(values.min(), values.max() - 0.3) - 0.03, min(values.max() + 0.1, 1.03))
        if list(lines) not in (["KL"], ["loss"]):
            axis.legend(fontsize=7)
    return panels.drawn


def caption() -> str:
    """Return what the figure shows."""
    return (
        "What was logged over training steps. Rewards and statuses are means over the replies that were drawn since the"
        " line before; SRCC is that of greedy ratings of items that were not trained on. A reward whose width follows"
        " the error (adaptive) is no measure of progress: read one of fixed width, and SRCC."
    )
