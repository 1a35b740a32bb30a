"""What a report is made of: paragraphs, pictures and tables, and how a value is written in a table."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import pandas as pd
from matplotlib.figure import Figure

from ..figures.style import WIDTH, interval, minus, pretty, setting_name
from ..statistics.frames import Row, records
from ..study import Study

DPI = 200  # twice the 100 px per inch at which figures are shown

Cell = Callable[[Row], str]


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    text: str


@dataclass(frozen=True)
class Picture:
    """A figure as a PNG in the page; ``width`` is its share of the column, so that all figures share one font size."""

    png: str
    alt: str
    caption: str
    width: float


@dataclass(frozen=True)
class Table:
    """A table of ready-made strings; a folded one opens on a click."""

    title: str
    note: str
    header: list[str]
    rows: list[list[str]]
    folded: bool = False


Block = Text | Picture | Table


@dataclass(frozen=True)
class Section:
    """A heading and what is under it; without blocks the report leaves it out."""

    key: str
    title: str
    blocks: list[Block] = field(default_factory=list)


def method(study: Study, what: str) -> str:
    """Say how intervals were made, for captions; ``what`` is what was resampled."""
    return f"{study.level:.0%} percentile intervals from {study.n_boot:,} bootstrap resamples of {what}"


def picture(figure: Figure, alt: str, caption: str) -> Picture:
    """Draw a figure into a PNG at twice its shown size."""
    buffer = io.BytesIO()
    # No software stamp: the same study gives the same bytes.
    figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    width = min(1.0, figure.get_size_inches()[0] / WIDTH)
    return Picture(base64.b64encode(buffer.getvalue()).decode(), alt, caption, 100 * width)


def table(
    frame: pd.DataFrame, title: str, columns: Mapping[str, Cell], *, note: str = "", folded: bool = False
) -> Table:
    """Format a data frame: one line per row, one column per entry of ``columns`` (heading → text of a row)."""
    rows = [[cell(row) for cell in columns.values()] for row in records(frame)]
    return Table(title, note, list(columns), rows, folded)


def text(column: str) -> Cell:
    """Show a column as it is, "–" if empty."""
    return lambda row: "–" if pd.isna(row[column]) or row[column] == "" else str(row[column])


def name(column: str) -> Cell:
    """Show a key as people write it."""
    return lambda row: pretty(str(row[column]))


def named_list(column: str) -> Cell:
    """Show a ";"-joined list of keys as people write them, "–" if empty."""
    return lambda row: ", ".join(pretty(key) for key in str(row[column]).split(";") if key) or "–"


def setting(row: Row) -> str:
    """Show the adversarial setting of a row."""
    return setting_name(row["discriminator"], row["gan_weight"])


def number(column: str, digits: int = 2) -> Cell:
    """Show a number, "–" if undefined."""
    return lambda row: "–" if pd.isna(row[column]) else minus(float(row[column]), digits)


def with_interval(column: str, digits: int = 2) -> Cell:
    """Show a value with its interval."""
    return lambda row: interval(row[column], row[f"{column}_low"], row[f"{column}_high"], digits)


def with_range(column: str, digits: int = 2) -> Cell:
    """Show a mean with the least and the largest value, "–" if there is none."""

    def cell(row: Row) -> str:
        if pd.isna(row[column]):
            return "–"
        low, high = (minus(float(row[f"{column}_{end}"]), digits) for end in ("low", "high"))
        return f"{minus(float(row[column]), digits)} ({low}–{high})"

    return cell


def significant(column: str) -> Cell:
    """Show a number with four significant digits, "–" if undefined."""
    return lambda row: "–" if pd.isna(row[column]) else f"{row[column]:#.4g}".rstrip(".").replace("-", "−")


def p_value(column: str) -> Cell:
    """Show a p-value."""
    return lambda row: "–" if pd.isna(row[column]) else "< 0.001" if row[column] < 0.0005 else f"{row[column]:.3f}"


def yes(column: str) -> Cell:
    """Show a flag."""
    return lambda row: "yes" if row[column] else "no"
