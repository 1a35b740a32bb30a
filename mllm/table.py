"""The table ``mllm_scores``: one row per scorer and item, with what the item says; all metrics take it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

import pandas as pd

from ..analysis.statistics import grouped
from .errors import MllmError
from .item import Item
from .results import COLUMNS, Row

LEFT_OUT = ("key", "distribution")  # in the file of results only
NAME = ["benchmark", "dimension", "item"]
SCORER = ["scorer", "scorer_id"]
BY = ("benchmark", "dimension")  # what every metric is broken down by, unless told otherwise
# Items that belong to no group of a break-down, so that its counts still add up to all.
NO_GROUP = "(none)"
_FACTS = (*NAME, "task", "n_options", "target", "target_higher_is_better", "scale_low", "scale_high", "reference")


def join_items(results: pd.DataFrame, items: Iterable[Item]) -> pd.DataFrame:
    """Add to each result what its item says: this is the table that all metrics take.

    Args:
        results: ``mllm_scores`` with the column ``choice``, one row per scorer and item.
        items: of the benchmarks rated.

    Returns:
        ``results`` with ``task``, ``n_options``, ``target``, ``target_higher_is_better``, ``scale_low``,
        ``scale_high``, ``reference`` and one column per group, "" where an item lacks it; as many rows as before.

    Raises:
        MllmError: a result without its item, or an item for which a scorer has no result or two.

    Examples:
        >>> item = Item(benchmark="own", dimension="IQA", id="1", task="rate", images=(), target=3, scale=(1, 5))
        >>> row = {"scorer": "s", "scorer_id": "0", "benchmark": "own", "dimension": "IQA", "item": "1", "value": 2.5}
        >>> join_items(pd.DataFrame([row]), [item])[["value", "target", "scale_high"]].to_dict("records")
        [{'value': 2.5, 'target': 3, 'scale_high': 5}]
    """
    described = pd.DataFrame([_described(item) for item in items])
    if described.empty or described.duplicated(NAME).any():
        raise MllmError("give the items to join the results with, each once.")
    groups = [name for name in described.columns if name not in _FACTS]
    described[groups] = described[groups].fillna("")
    for (scorer, scorer_id), rows in grouped(results, *SCORER):
        if len(repeated := rows.loc[rows.duplicated(NAME)]):
            raise MllmError(f"{scorer} ({scorer_id}) has {len(repeated)} results twice, first {_first(repeated)}.")
        if absent := len(described) - len(rows.merge(described[NAME], on=NAME)):
            raise MllmError(f"{scorer} ({scorer_id}) lacks {absent} of {len(described)} items: finish its run first.")
    kept = [name for name in results.columns if name in NAME or name not in described.columns]
    joined = results[kept].merge(described, on=NAME, how="left", validate="many_to_one", indicator="found")
    if len(unknown := joined.loc[joined["found"] != "both"]):
        raise MllmError(f"{len(unknown)} of {len(joined)} results are of no item given, first {_first(unknown)}.")
    return cast(pd.DataFrame, joined.drop(columns="found"))


def scores_table(items: Sequence[Item], rows: Sequence[Row]) -> pd.DataFrame:
    """Join results with their items.

    Args:
        items: what was rated; at least one.
        rows: the result of each; see ``rate``.

    Returns:
        What ``join_items`` makes of them: the columns of ``mllm_scores`` and more.

    Raises:
        MllmError: an item without a result, or with two.
    """
    results = pd.DataFrame(list(rows), columns=[name for name in COLUMNS if name not in LEFT_OUT])
    for name in ("value", "mass"):
        results[name] = pd.to_numeric(results[name])
    return join_items(results, items)


def storable(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with all targets as text if some are words: a column of a file has one type."""
    words = table["target"].map(lambda target: isinstance(target, str))
    if not words.any():
        return table.assign(target=pd.to_numeric(table["target"]))
    return table.assign(target=table["target"].map(str, na_action="ignore"))


def require(table: pd.DataFrame, *columns: str) -> None:
    """Raise MllmError naming the columns that a metric needs and the table lacks, or leaves empty in a row."""
    if missing := [column for column in columns if column not in table.columns]:
        raise MllmError(
            f"the table of results lacks {', '.join(missing)}: join the results with their items first (join_items)."
        )
    for column in {"reference", "status"}.intersection(columns):
        if empty := int(table[column].isna().sum()):
            raise MllmError(
                f"{empty} of {len(table)} rows of the table of results have no {column}; join_items sets it."
            )


def _described(item: Item) -> Mapping[str, Any]:
    low, high = item.scale or (float("nan"), float("nan"))
    if clash := sorted(set(item.groups) & {*_FACTS, *SCORER, "value", "choice", "status", "raw"}):
        raise MllmError(f"{item.benchmark}: no group can be called {clash[0]!r}: another column has that name.")
    facts = (item.benchmark, item.dimension, item.id, item.task, len(item.options), item.target)
    return dict(zip(_FACTS, (*facts, item.higher_is_better, low, high, item.cluster), strict=True)) | dict(item.groups)


def _first(rows: pd.DataFrame) -> str:
    return " / ".join(map(str, rows.iloc[0][NAME]))
