"""The page of a cheating probe: what a generator draws after training for a reward, against what it drew before."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
from markupsafe import Markup
from numpy.typing import NDArray

from ..figures.probe_curves import probe_curves
from ..figures.style import minus
from ..statistics.frames import Row, grouped, records, where
from .blocks import Block, Cell, Sample, Samples, Section, Text, number, picture, table, text
from .render import jpeg, render

QUESTION = "The reward rose: did the images get better, or is the reward being cheated?"
PROMPTS, PER_PROMPT = 4, 4  # shown of each checkpoint
NO_FIDELITY = "Fidelity to the prompts was not judged: nothing here tells whether images still show what was asked."


class Probed(Protocol):
    """What a page is made from: ``lopsided.mllm.align.Probe``."""

    @property
    def table(self) -> pd.DataFrame:
        """One row per checkpoint."""
        ...

    @property
    def images(self) -> pd.DataFrame:
        """One row per image."""
        ...

    @property
    def alarms(self) -> pd.DataFrame:
        """One row per alarm."""
        ...

    @property
    def judges(self) -> tuple[str, ...]:
        """Names of the held-out judges."""
        ...

    @property
    def reference(self) -> str:
        """Name of the reference."""
        ...

    @property
    def fidelity(self) -> bool:
        """Whether fidelity was judged."""
        ...

    @property
    def limits(self) -> Any:
        """Where alarms begin: settings of pydantic."""
        ...


def verdicts(probed: Probed) -> list[list[str]]:
    """Say of each checkpoint with alarms what is wrong with it, or that there are none."""
    count = len(probed.table) - 1
    if probed.alarms.empty:
        return [[f"No alarm at {count} checkpoint{'s' * (count > 1)}, compared with {probed.reference}."]]
    return [
        [f"{name}: {', '.join(dict.fromkeys(rows['alarm']))}.", *rows["what"]]
        for name in dict.fromkeys(probed.alarms["checkpoint"])
        for rows in [where(probed.alarms, checkpoint=name)]
    ]


def write_probe(probed: Probed, path: str | Path) -> None:
    """Write the page of a probe as one HTML file; opening it needs no network.

    Args:
        probed: What to show; the files of its images must still be there.
        path: The file; replaced if it exists.

    Raises:
        ImageError: An image that cannot be read.
    """
    scores = ["reward", *probed.judges, *(["fidelity"] if probed.fidelity else [])]
    flagged = [
        ", ".join(where(probed.alarms, checkpoint=name)["alarm"].unique()) for name in probed.table["checkpoint"]
    ]
    rows = probed.table.assign(alarms=flagged)
    columns: dict[str, Cell] = {"checkpoint": text("checkpoint"), "alarms": text("alarms")}
    columns |= {name: _with_change(name) for name in scores}
    columns |= {
        "diversity": lambda row: f"{row['diversity']:.3f} ({row['diversity_share']:.0%})",
        "distance": number("distance", 3),
        "blank": lambda row: f"{row['blank']:.0%}",
        "images": text("images"),
    }
    note = (
        f"In brackets: change in standard deviations of the images of {probed.reference}; for diversity, the share of"
        " its own. Scores are turned so that higher is better. Diversity: mean distance of two images of a prompt."
        f" Distance: from the image of the same prompt and seed of {probed.reference}."
    )
    fields = type(probed.limits).model_fields
    limits = pd.DataFrame([{"limit": key, "value": at, "what": fields[key].description} for key, at in probed.limits])
    found: dict[str, Cell] = {"checkpoint": text("checkpoint"), "alarm": text("alarm"), "what": text("what")}
    found |= {"value": number("value"), "limit": number("limit")}
    stated: dict[str, Cell] = {"limit": text("limit"), "value": number("value"), "meaning": text("what")}
    caption = (
        "Left: mean scores over checkpoints; a reward that rises alone is being cheated. Right: what images lose."
        f" The reference is {probed.reference}."
    )
    drawn = picture(probe_curves(rows), "Scores, diversity and blank images over checkpoints", caption)
    alarms: list[Block] = [] if probed.alarms.empty else [table(probed.alarms, "Alarms", found)]
    unjudged = [] if probed.fidelity else [Text(NO_FIDELITY)]
    sections = [
        Section(
            "checkpoints",
            "Checkpoints",
            [
                drawn,
                table(rows, "Each checkpoint", columns, note=note),
                *unjudged,
            ],
        ),
        Section("alarms", "Alarms", [*alarms, table(limits, "Where alarms begin", stated, folded=not alarms)]),
        Section("images", "Images", _samples(probed, scores)),
    ]
    render(
        path,
        sections,
        verdicts(probed),
        title="Is the reward being cheated?",
        description=f"{len(probed.table)} checkpoints, {probed.table['images'].iloc[0]} images each.",
        question=QUESTION,
        code=Markup("<p>The same again: <code>lopsided align probe IMAGES --judge KEYS --html FILE</code>.</p>"),
        cites=False,
    )


def _with_change(name: str) -> Cell:
    def cell(row: Row) -> str:
        change = minus(float(row[f"{name}_change"]), 1)
        return f"{minus(float(row[name]), 3)} ({'' if change.startswith('−') else '+'}{change})"

    return cell


def strip(images: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Return images of one height beside one another, with grey between them.

    Examples:
        >>> strip([np.zeros((50, 20, 3), np.uint8)] * 2).shape
        (50, 41, 3)
    """
    gap = np.full((len(images[0]), max(1, len(images[0]) // 50), 3), 128, np.uint8)
    return np.hstack([images[0], *(part for image in images[1:] for part in (gap, image))])


def _samples(probed: Probed, scores: list[str]) -> list[Block]:
    """Return the same images of every checkpoint."""
    from ...common.images import read_rgb  # needs torch

    blocks: list[Block] = []
    for name in probed.table["checkpoint"]:
        cards = []
        for prompt, rows in list(grouped(where(probed.images, checkpoint=name), "prompt"))[:PROMPTS]:
            few = records(rows.head(PER_PROMPT))
            lines = [(score, minus(float(rows[score].mean()), 3)) for score in scores]
            cards.append(Sample(str(prompt), [jpeg(strip([read_rgb(row["path"]) for row in few]))], lines))
        blocks.append(Samples(str(name), cards))
    return blocks
