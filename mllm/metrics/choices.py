"""Metrics of multiple-choice answers: accuracy by any group, compared with blind guessing on the same items."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ...analysis.statistics import grouped, where
from ..table import BY, NO_GROUP, SCORER, require
from .intervals import Bootstrap, ratio


def choice_accuracy(
    table: pd.DataFrame,
    group: str = "",
    *,
    by: Sequence[str] = BY,
    bootstrap: Bootstrap = Bootstrap(),  # noqa: B008 - frozen
) -> pd.DataFrame:
    """Count right answers, and say what blind guessing would get on the same items.

    Args:
        table: see ``join_items``; rows of other tasks than ``answer`` are left out.
        group: a column to break down by, e.g. ``category``, ``criterion`` or ``template``; "" for none. Items without
            a value in it are the group "(none)", so that counts add up.
        by: columns to break down by in any case, besides the scorer.
        bootstrap: how intervals are made.

    Returns:
        One row per scorer and group: ``n`` items whose answer is known, ``n_valid`` of them with a valid reply,
        ``n_right``, ``n_without_target``, ``n_references`` (clusters of the intervals); ``accuracy`` with failed
        replies counted wrong and ``accuracy_valid`` without them, each with ``_low`` and ``_high``; ``chance``, the
        mean of 1 / number of options over the ``n`` items. In [0, 1], higher is better.

    Raises:
        MllmError: columns missing.

    Examples:
        >>> names = {"scorer": "s", "scorer_id": "1", "benchmark": "own", "dimension": "detail", "task": "answer"}
        >>> replies = pd.DataFrame({"target": ["A", "B"], "choice": ["A", "A"], "reference": ["i", "j"]})
        >>> table = replies.assign(**names, n_options=4, status="ok")
        >>> choice_accuracy(table)[["n", "n_right", "accuracy", "chance"]].to_dict("records")
        [{'n': 2, 'n_right': 1, 'accuracy': 0.5, 'chance': 0.25}]
    """
    columns = [*SCORER, *by, *([group] if group else [])]
    require(table, *columns, "task", "target", "choice", "n_options", "reference", "status")
    asked = where(table, task="answer")
    if group:
        asked = asked.assign(**{group: asked[group].fillna("").replace("", NO_GROUP)})
    rows = []
    for names, items in grouped(asked, *columns):
        known = items.loc[items["target"].notna()]
        valid = np.asarray(known["status"] == "ok", dtype=bool)
        right = valid & np.asarray(known["choice"] == known["target"], dtype=bool)
        clusters = np.asarray(known["reference"])
        rows.append(
            {
                **dict(zip(columns, names, strict=True)),
                "n": len(known),
                "n_valid": int(valid.sum()),
                "n_right": int(right.sum()),
                "n_without_target": len(items) - len(known),
                "n_references": len(set(clusters)),
                **ratio(right, np.ones(len(known)), clusters, bootstrap).row("accuracy"),
                **ratio(right, valid, clusters, bootstrap).row("accuracy_valid"),
                "chance": float((1 / known["n_options"]).mean()) if len(known) else float("nan"),
            }
        )
    return pd.DataFrame(rows)
