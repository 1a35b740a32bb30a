"""SRCC of every no-reference model by its initialisation, with every split and the interval."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from ..no_reference import DISCRIMINATOR, SOURCE, ZERO_LABEL
from ..result_tables import SHARE
from ..statistics.frames import Row, grouped, records
from .canvas import Drawn, Given, Panels, figure, note, require_one_of
from .style import BLUE, GREEN, GREY, INK, ORANGE, PALE, PURPLE, VERMILION, count, label_name, pretty, strength

COLOURS = {
    "pretrained": BLUE,
    DISCRIMINATOR: VERMILION,
    ZERO_LABEL: PURPLE,
    "self": GREEN,
    "random": GREY,
}
ORDER = {kind: index for index, kind in enumerate(COLOURS)}
ROW, PANEL = 0.2, 0.85  # inches


@figure
def no_reference_forest(table: pd.DataFrame, splits: pd.DataFrame, *, ax: Given = None) -> Drawn:
    """Draw one panel per data set, one block per model and one row per initialisation; better is to the right.

    Args:
        table: ``NoReference.table``; probes of single layers are left out.
        splits: ``NoReference.splits``.
        ax: Axes to draw on, one per data set; a new figure if left out.

    Returns:
        The Axes, or an array of them for several data sets. An initialisation without an SRCC says why.

    Raises:
        AnalysisError: Another number of Axes than of data sets.

    Examples:
        >>> from lopsided.analysis import figures
        >>> columns = ["stage", "dataset", "model", "initialisation", "srcc"]
        >>> drawn = figures.no_reference_forest(pd.DataFrame(columns=columns), pd.DataFrame(columns=columns))
        >>> drawn.texts[0].get_text()
        'no no-reference model was assessed'
    """
    table = table.loc[table["stage"].isna()]
    splits = splits.loc[splits["stage"].isna()]
    require_one_of(table, [], "no_reference_forest", "no no-reference model was assessed")
    blocks = {dataset: lines(rows) for dataset, rows in grouped(table, "dataset")}
    heights = [PANEL + ROW * max(len(found), 3) for found in blocks.values()]
    panels = Panels(ax, len(blocks), height=max(heights))
    panels.resize(heights)
    sources = source_names(table)
    for axis, (dataset, found) in zip(panels.axes, blocks.items(), strict=True):
        axis.axvline(0, color=GREY, linewidth=0.9)
        axis.grid(axis="x")
        labels, lowest = [], 0.0
        for y, row in enumerate(found):
            if isinstance(row, str):
                labels.append(row)
                if y:
                    axis.axhline(y - 0.5, color=PALE, linewidth=0.8)
                continue
            colour = COLOURS.get(row["initialisation"], ORANGE)
            labels.append(arm_name(row, sources))
            if np.isnan(row["srcc"]):
                note(axis, y, row["status"], VERMILION, wrap=60)
                continue
            runs = np.array([found["srcc"].mean() for _, found in grouped(of_arm(splits, row), "split")])
            if len(runs) > 1:
                axis.plot(runs, np.full(len(runs), y), "|", color=colour, alpha=0.4, markersize=8)
            axis.plot([row["srcc_low"], row["srcc_high"]], [y, y], color=colour, linewidth=1.6)
            axis.plot(row["srcc"], y, "o", color=colour, markersize=5)
            lowest = float(np.nanmin(np.append(runs, [lowest, row["srcc_low"]])))
        rows = [row for row in found if not isinstance(row, str)]
        first = rows[0]
        axis.set_title(
            f"{pretty(dataset)}   ({count(max(row['n'] for row in rows), 'test image')}, "
            f"{count(first['n_splits'], 'split')})"
        )
        axis.set_yticks(range(len(found)), labels)
        for tick, row in zip(axis.get_yticklabels(), found, strict=True):
            tick.set_fontweight("bold" if isinstance(row, str) else "normal")
            tick.set_color(INK)
        axis.set_ylim(len(found) - 0.4, -0.6)
        axis.set_xlim(min(-0.02, float(lowest) - 0.03), 1.02)
        axis.set_xlabel("SRCC with the labels (1 is perfect, higher is better)")
        axis.tick_params(axis="y", length=0)
    return panels.drawn


def lines(table: pd.DataFrame) -> list[str | Row]:
    """Return the lines of one data set: the name of each model, and under it its initialisations."""
    found: list[str | Row] = []
    for model, rows in grouped(table, "model"):
        ordered = sorted(records(rows), key=lambda row: (ORDER.get(row["initialisation"], len(ORDER)), -row["srcc"]))
        found += [model_name(model), *ordered]
    return found


def of_arm(splits: pd.DataFrame, row: Row) -> pd.DataFrame:
    """Return the rows of ``NoReference.splits`` of one whole model."""
    chosen = np.ones(len(splits), dtype=bool)
    for column in ("dataset", "model", "initialisation", *SOURCE):
        chosen &= (splits[column] == row[column]).to_numpy(dtype=bool)
    return splits.loc[chosen]


def model_name(key: str) -> str:
    """Return a model's key as people write it: "SqueezeNet 1.1, linear probe" for ``squeezenet1_1/linear-probe``."""
    backbone, *rest = key.split("/")
    return ", ".join([pretty(backbone), *(part.replace("-", " ").replace("+", " +") for part in rest)])


def source_names(table: pd.DataFrame) -> dict[tuple[Any, ...], str]:
    """Return the name of each discriminator: its key, and, where they differ, how it was trained."""
    sources = table.loc[table["discriminator"] != "", SOURCE].drop_duplicates()
    several = {column for column in SOURCE if sources[column].nunique() > 1}
    names = {}
    for row in records(sources):
        parts = [pretty(row["discriminator"].removesuffix(SHARE))]
        parts += [f"with {pretty(row['fidelity'])}"] if "fidelity" in several else []
        parts += [f"{strength(row['discriminator'])} {row['gan_weight']:g}"] if "gan_weight" in several else []
        parts += [f"of {pretty(row['generator'])}"] if "generator" in several else []
        names[tuple(row[column] for column in SOURCE)] = ", ".join(parts)
    return names


def arm_name(row: Row, sources: Mapping[tuple[Any, ...], str]) -> str:
    """Return an initialisation as people write it: "random", "discriminator: patch VGG-16-R"."""
    if row["initialisation"] == "random" and row["model"].endswith(f"/{ZERO_LABEL}"):
        return "untrained"
    source = sources.get(tuple(row[column] for column in SOURCE))
    return f"{row['initialisation']}: {source}" if source else str(row["initialisation"])


def caption(table: pd.DataFrame, level: float) -> str:
    """Return what the figure shows; ``level`` is the coverage of the intervals."""
    kinds = "; ".join(
        f"{pretty(dataset)}: {label_name(rows['label_kind'].iloc[0])}" for dataset, rows in grouped(table, "dataset")
    )
    seeds = sorted({int(n) for n in table["n_seeds"]})
    several = count(seeds[0], "seed") if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]} seeds"
    return (
        f"Agreement of no-reference models with the labels of test images ({kinds}), by the weights that the backbone"
        f" starts from; {several}. Ticks: single splits, means over seeds."
        f" Dots: medians over splits. Lines: {level:.0%} t intervals whose variance allows for the images that splits"
        " share (Nadeau & Bengio 2003) or, for a single split, is that of resampled references, and for the spread over"
        " seeds. Zero-label: the logit of the discriminator itself, which has seen no label."
    )
