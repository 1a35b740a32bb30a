"""Audit of accuracy tables: a printed percentage is a whole number of hits over a whole number of items, or wrong.

A percentage with two digits fits at most one number of hits for a given number of items, and for most numbers of items
it fits none. So a table of accuracies by category and by template shows from how many items it was computed, whether
its columns have the right headings, and whether its parts add up to its totals.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from ..errors import MllmError

SLACK = 6  # a group can have this many items more or fewer in another snapshot of the benchmark
DIGITS = 2


@dataclass(frozen=True)
class Finding:
    """One contradiction in a table.

    Attributes:
        kind: ``headings`` (a column's numbers fit another group's size, and not its own), ``repeated rows``,
            ``identical columns``, ``other total`` (a row fits another number of items than the table's) or ``does not
            add up`` (no numbers of items near the stated ones make the row's parts agree with each other).
        subject: the columns or rows.
        detail: what was found, in words and numbers.
    """

    kind: Literal["headings", "repeated rows", "identical columns", "other total", "does not add up"]
    subject: tuple[str, ...]
    detail: str


def hits(percent: float, items: int) -> int | None:
    """Return the number of hits out of ``items`` that is printed as ``percent``, or None if there is none.

    Args:
        percent: in [0, 100], rounded to two digits; halves may be rounded up or down.
        items: number of items.

    Examples:
        >>> hits(64.62, 195), hits(64.62, 194)
        (126, None)
    """
    count = round(percent * items / 100)
    return count if abs(100 * count / items - percent) <= 0.5 * 10**-DIGITS + 1e-9 else None


def audit_accuracies(table: pd.DataFrame, sizes: pd.DataFrame) -> list[Finding]:
    """Audit a table of accuracies in per cent.

    Args:
        table: a column ``model``, one column per group, and one per total.
        sizes: columns ``grouping``, ``group`` and ``items``, the stated number of items per group. The groups of one
            grouping are disjoint and together hold all items. The total's grouping is ``all``.

    Returns:
        The findings, in the order of the table's rows and columns; none if the table is sound.

    Raises:
        MllmError: a group without a column, or a value that is not a percentage.
    """
    for name, frame, needed in (("accuracies", table, ("model",)), ("sizes", sizes, ("grouping", "group", "items"))):
        if missing := [column for column in needed if column not in frame.columns]:
            raise MllmError(f"{name}: no column {', '.join(missing)}; it has {', '.join(frame.columns)}")
    columns = list(sizes["group"])
    if missing := [column for column in columns if column not in table.columns]:
        raise MllmError(f"the table lacks the column(s) {', '.join(missing)}; it has {', '.join(table.columns)}")
    values = table.set_index("model")[columns].astype(float)
    if not ((values >= 0) & (values <= 100)).all(axis=None):
        raise MllmError("accuracies must be percentages from 0 to 100; one is not, or is missing")
    headings, items = _true_sizes(values, sizes)
    return [*headings, *_repeated_rows(values), *_identical_columns(values), *_totals(values, sizes, items)]


def _fits(column: pd.Series, items: int) -> bool:
    return all(hits(value, items) is not None for value in column)


def _true_sizes(values: pd.DataFrame, sizes: pd.DataFrame) -> tuple[list[Finding], dict[str, int]]:
    """Return the columns with another group's heading, and the size that each column's numbers fit."""
    found, items = [], {}
    for _, groups in sizes.groupby("grouping", sort=False):
        stated = dict(zip(groups["group"], groups["items"].astype(int), strict=True))
        for column, own in stated.items():
            others = [other for other, size in stated.items() if size != own and _fits(values[column], size)]
            items[column] = own
            if len(others) == 1 and not _fits(values[column], own):
                items[column] = stated[others[0]]
                text = f"all {len(values)} rows fit {stated[others[0]]} items, the size of '{others[0]}', not {own}"
                found.append(Finding("headings", (column, others[0]), text))
    return found, items


def _repeated_rows(values: pd.DataFrame) -> list[Finding]:
    groups = values.groupby(list(values.columns), sort=False).groups.values()
    return [
        Finding("repeated rows", tuple(map(str, models)), f"equal in all {values.shape[1]} columns")
        for models in groups
        if len(models) > 1
    ]


def _identical_columns(values: pd.DataFrame) -> list[Finding]:
    names = list(values.columns)
    return [
        Finding("identical columns", (one, other), f"equal in all {len(values)} rows: they are the same items")
        for index, one in enumerate(names)
        for other in names[index + 1 :]
        if values[one].equals(values[other].rename(one))
    ]


def _totals(values: pd.DataFrame, sizes: pd.DataFrame, items: dict[str, int]) -> list[Finding]:
    """Return the rows whose parts fit another number of items than stated, or no number."""
    groupings = {str(name): list(groups["group"]) for name, groups in sizes.groupby("grouping", sort=False)}
    (total,) = groupings.pop("all")
    stated = items[total]
    found = []
    for model, row in values.to_dict("index").items():
        parts = {name: _sums((row[column], items[column]) for column in of) for name, of in groupings.items()}
        whole = _sums([(row[total], stated)])
        agreeing = set(whole).intersection(*parts.values())
        best = min(agreeing, key=lambda both: sum(part[both] for part in parts.values()), default=None)
        if best is None:
            found.append(Finding("does not add up", (str(model),), _disagreement(row, items, total, groupings)))
        elif best[0] != stated:
            text = f"fits {best[0]} items ({best[1]} hits), not {stated}"
            found.append(Finding("other total", (str(model),), text))
    return found


def _sums(columns: Iterable[tuple[float, int]]) -> dict[tuple[int, int], int]:
    """Return every (items, hits) that the columns can sum to, with its smallest distance from the stated sizes."""
    sums = {(0, 0): 0}
    for percent, stated in columns:
        longer: dict[tuple[int, int], int] = {}
        for items in range(max(1, stated - SLACK), stated + SLACK + 1):
            count = hits(percent, items)
            if count is None:
                continue
            for (n, h), off in sums.items():
                key, distance = (n + items, h + count), off + abs(items - stated)
                longer[key] = min(distance, longer.get(key, distance))
        sums = longer
    return sums


def _disagreement(row: dict[str, float], items: dict[str, int], total: str, groupings: dict[str, list[str]]) -> str:
    def counted(columns: list[str]) -> str:
        counts = [hits(row[column], items[column]) for column in columns]
        return "no whole number of" if None in counts else str(sum(count or 0 for count in counts))

    parts = [f"{counted(columns)} hits by {name}" for name, columns in groupings.items()]
    return f"{counted([total])} hits in all, {', '.join(parts)}, at the stated numbers of items"


def domain_averages(table: pd.DataFrame) -> pd.DataFrame:
    """Recompute the averages of a rating table: plain means over the data sets with a value.

    Args:
        table: columns ``model``, ``domain``, ``dataset`` (``average`` for a printed average), ``srcc``, ``plcc``.

    Returns:
        One row per model and domain with a printed average: ``n`` data sets, ``srcc`` and ``plcc`` recomputed, and the
        printed ones as ``srcc_printed`` and ``plcc_printed``. NaN where nothing could be averaged.
    """
    printed = table[table["dataset"] == "average"].set_index(["model", "domain"])[["srcc", "plcc"]]
    single = table[table["dataset"] != "average"].groupby(["model", "domain"], sort=False)
    means = single[["srcc", "plcc"]].mean().assign(n=single["srcc"].count())
    return printed.add_suffix("_printed").join(means, how="left").reset_index()
