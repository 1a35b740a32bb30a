"""The table ``mllm_scores``: one row per item, beside what metrics break it down by."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from .item import Item
from .metrics.common import join_items
from .results import COLUMNS, Row

LEFT_OUT = ("key", "distribution")  # in the file of results only


def scores_table(items: Sequence[Item], rows: Sequence[Row]) -> pd.DataFrame:
    """Join results with their items.

    Args:
        items: what was rated; at least one.
        rows: the result of each; see :func:`~lopsided.mllm.rate.rate`.

    Returns:
        What :func:`~lopsided.mllm.metrics.common.join_items` makes of them: the columns of ``mllm_scores`` and more.

    Raises:
        MllmError: an item without result, or twice.
    """
    results = pd.DataFrame(list(rows), columns=[name for name in COLUMNS if name not in LEFT_OUT])
    for name in ("value", "mass"):
        results[name] = pd.to_numeric(results[name])
    return join_items(results, items)


def storable(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with targets as text where some are words, because a column of a file has one type."""
    words = table["target"].map(lambda target: isinstance(target, str))
    if not words.any():
        return table.assign(target=pd.to_numeric(table["target"]))
    return table.assign(target=table["target"].map(str, na_action="ignore"))
