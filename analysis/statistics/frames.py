"""Rows and groups of a table, and the checks that every analysis makes before it trusts a table."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import numpy as np
import pandas as pd

from ..errors import AnalysisError

Row = dict[str, Any]


def records(table: pd.DataFrame) -> list[Row]:
    """Return the rows of a table, in order, as column → value."""
    return cast(list[Row], table.to_dict("records"))


def where(table: pd.DataFrame, **equal: object) -> pd.DataFrame:
    """Return the rows whose columns have the given values.

    Examples:
        >>> table = pd.DataFrame({"measure": ["a", "b"], "status": ["ok", "failed"]})
        >>> where(table, status="ok")["measure"].tolist()
        ['a']
    """
    chosen = np.ones(len(table), dtype=bool)
    for column, value in equal.items():
        chosen &= np.asarray(table[column] == value, dtype=bool)
    return cast(pd.DataFrame, table[chosen])


def grouped(table: pd.DataFrame, *keys: str) -> Iterator[tuple[Any, pd.DataFrame]]:
    """Yield the groups of a table in the order of their keys: (value, rows), or (values, rows) for several keys.

    Examples:
        >>> table = pd.DataFrame({"measure": ["b", "a", "b"]})
        >>> [(measure, len(rows)) for measure, rows in grouped(table, "measure")]
        [('a', 1), ('b', 2)]
    """
    for key, rows in table.groupby(list(keys), sort=True):
        yield (key if len(keys) > 1 else cast(tuple, key)[0]), rows


def require_unique(table: pd.DataFrame, key: list[str], name: str) -> None:
    """Raise AnalysisError naming the first two rows that share ``key``."""
    if repeated := records(table.loc[table.duplicated(key)]):
        raise AnalysisError(
            f"table {name} has {len(repeated)} repeated row(s), first {describe(repeated[0], key)}:"
            " one row per observation is expected."
        )


def require_one(table: pd.DataFrame, key: list[str], of: str, name: str) -> None:
    """Raise AnalysisError if one ``key`` has two values of ``of``, so that it names two different things."""
    pairs = table.loc[:, [*key, of]].drop_duplicates()
    if twice := records(pairs.loc[pairs.duplicated(key)]):
        row = twice[0]
        values = where(pairs, **{column: row[column] for column in key})[of].tolist()
        raise AnalysisError(
            f"table {name}: {describe(row, key)} has {len(values)} values of {of} ({', '.join(map(str, values))}):"
            " analyse them separately."
        )


def require_finite_where_ok(table: pd.DataFrame, column: str, name: str) -> None:
    """Raise AnalysisError if a row of status "ok" has a ``column`` that is not a finite number."""
    values = np.asarray(pd.to_numeric(table[column], errors="coerce"), dtype=float)
    bad = (table["status"] == "ok").to_numpy(dtype=bool) & ~np.isfinite(values)
    if bad.any():
        shown = describe(
            records(table.loc[bad])[0], [c for c in ("cell", "measure", "judge", "image") if c in table.columns]
        )
        raise AnalysisError(
            f"table {name}: {int(bad.sum())} row(s) of status ok have a {column} that is not finite, first {shown}:"
            " give such rows another status."
        )


def incomplete(n_not_ok: int, n_missing: int, n: int) -> str:
    """Say how many of ``n`` scores cannot be used, or "" if all can."""
    found = [f"{count} {what}" for count, what in ((n_not_ok, "not ok"), (n_missing, "missing")) if count]
    return f"{' and '.join(found)} of {n} scores" if found else ""


def describe(row: Row, columns: list[str]) -> str:
    """Return "column value, column value" for an error message."""
    return ", ".join(f"{column} {row[column]}" for column in columns)
