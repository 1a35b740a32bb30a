"""What a report is made of: paragraphs, pictures and tables, and how a value is written in a table."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ..figures.canvas import Drawn, figure_of
from ..figures.style import interval, minus, pretty, setting_name
from ..statistics.frames import Row, records
from ..study import Study

# What a word of a text written from keys can be: an adversarial setting at the end of a part, a key, a minus sign.
WORDS = re.compile(
    r"(?P<d>(?!at\b)[A-Za-z](?:[\w.+:@-]*[\w+])?) (?P<w>\d[\d.e-]*)(?=$| ·)"
    r"|(?P<key>[A-Za-z](?:[\w.+:@-]*[\w+])?)|(?<!\w)-(?=\d)"
)

Cell = Callable[[Row], str]


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    text: str


@dataclass(frozen=True)
class Picture:
    """A figure that is ready to be drawn."""

    figure: Figure
    alt: str
    caption: str


@dataclass(frozen=True)
class Crop:
    """A picture of a gallery, with its error map if there is one."""

    title: str
    pixels: NDArray[np.uint8]
    error: NDArray[np.uint8] | None = None


@dataclass(frozen=True)
class Crops:
    """Crops of one image, any of which can be flipped to any other; their place in the whole image, if it is known."""

    label: str
    crops: list[Crop]
    caption: str
    whole: NDArray[np.uint8] | None = None
    box: tuple[int, int, int, int] | None = None  # top, left, height, width


@dataclass(frozen=True)
class Table:
    """A table of ready-made strings; a folded one opens on a click. ``frame`` has the numbers behind it."""

    title: str
    note: str
    header: list[str]
    rows: list[list[str]]
    frame: pd.DataFrame
    folded: bool = False


@dataclass(frozen=True)
class Sample:
    """An item that a scorer was shown: addresses of its images, and what was asked, written and read of it."""

    title: str
    images: Sequence[str]
    lines: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Samples:
    """Items beside one another, as cards."""

    title: str
    samples: Sequence[Sample]


Block = Text | Picture | Crops | Table | Samples


@dataclass(frozen=True)
class Section:
    """A heading and what is under it; without blocks the report leaves it out."""

    key: str
    title: str
    blocks: list[Block] = field(default_factory=list)


def jackknifed(study: Study) -> str:
    """Say how the intervals of correlations with labels were made, for captions."""
    return f"{study.level:.0%} intervals from leaving out one reference after another (t of Fisher’s z)"


def tested(study: Study) -> str:
    """Say how the intervals of gains and their differences were made, for captions."""
    return f"{study.level:.0%} t intervals over new seeds and images"


def picture(drawn: Drawn, alt: str, caption: str) -> Picture:
    """Return the figure of some Axes for the page."""
    figure = figure_of(drawn)
    plt.close(figure)  # pyplot would keep it
    return Picture(figure, alt, caption)


def table(
    frame: pd.DataFrame,
    title: str,
    columns: Mapping[str, Cell],
    *,
    note: str = "",
    folded: bool = False,
    optional: Collection[str] = (),
) -> Table:
    """Format a data frame: one line per row, one column per entry of ``columns`` (heading → text of a row).

    Of the ``optional`` columns, those that say nothing ("–", "ok" or "0" in every row) are left out. Generator and data
    set go to the title if they are the same in every row.
    """
    rows = records(frame)
    found = {heading: [cell(row) for row in rows] for heading, cell in columns.items()}
    same = [heading for heading in ("generator", "data set") if len(set(found.get(heading, []))) == 1]
    if named := [found[heading][0] for heading in same if found[heading][0]]:
        title += f" ({', '.join(named)})"
    empty = [heading for heading in optional if set(found[heading]) <= {"–", "ok", "0"}]
    kept = [heading for heading in found if heading not in (*same, *empty)]
    cells = [list(row) for row in zip(*(found[heading] for heading in kept), strict=True)]
    return Table(title, note, kept, cells, frame, folded)


def text(column: str) -> Cell:
    """Show a column as it is, "–" if empty."""
    return lambda row: "–" if pd.isna(row[column]) or row[column] == "" else str(row[column])


def name(column: str) -> Cell:
    """Show a key as people write it."""
    return lambda row: pretty(str(row[column]))


def readable(column: str) -> Cell:
    """Show a text with keys in it, such as "unet · patch-vgg16 0.1", as people write it."""

    def word(found: re.Match[str]) -> str:
        if found["d"]:
            return setting_name(found["d"], float(found["w"]))
        key = found["key"]
        if not key:
            return "−"
        return pretty(key) if key == key.lower() and key != "none" else key

    return lambda row: WORDS.sub(word, row[column]) or "–"


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


def between(value: str, low: str, high: str, digits: int = 2) -> Cell:
    """Show a value with its interval, from three columns."""
    return lambda row: interval(row[value], row[low], row[high], digits)


def span(low: str, high: str, digits: int = 2) -> Cell:
    """Show a range, "–" if undefined."""

    def cell(row: Row) -> str:
        return "–" if pd.isna(row[low]) else f"{minus(row[low], digits)} to {minus(row[high], digits)}"

    return cell


def sample(row: Row) -> str:
    """Show how many seeds and images a row rests on, "–" if none."""
    return f"{row['n_seeds']} × {row['n_images']}" if row["n_seeds"] else "–"


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
