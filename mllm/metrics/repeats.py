"""How much a scorer's replies to the same question differ."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ...analysis.statistics import grouped
from ..table import BY, SCORER

REPEAT = "#"  # stands between an item's name and the number of the repetition, from 2


def repeat_spread(table: pd.DataFrame) -> pd.DataFrame:
    """Summarise the replies to each item that was asked several times.

    Args:
        table: as ``join_items`` makes it, with items of names such as ``photo.png`` and ``photo.png#2``.

    Returns:
        One row per scorer and item, in the items' order: ``n`` times asked, ``n_valid`` replies with a value; of
        ratings ``mean``, ``sd`` (sample standard deviation; NaN below two values), ``low`` and ``high``; ``same``:
        whether value, choice and status were the same each time; ``status``: "ok" if all replies have a value,
        "partial" if only some have (``mean`` is theirs, and says less), else that of the first reply.

    Examples:
        >>> table = pd.DataFrame({"item": ["a.png", "a.png#2"], "value": [3.0, 4.0], "choice": None, "status": "ok"})
        >>> names = {"scorer": "s", "scorer_id": "0", "benchmark": "images", "dimension": "quality"}
        >>> repeat_spread(table.assign(**names))[["item", "n", "mean", "sd", "same"]].round(2).to_dict("records")
        [{'item': 'a.png', 'n': 2, 'mean': 3.5, 'sd': 0.71, 'same': False}]
    """
    first = table["item"].str.replace(rf"{REPEAT}\d+$", "", regex=True)
    rows = []
    for names, replies in grouped(table.assign(item=first), *SCORER, *BY, "item"):
        values = replies["value"].dropna().to_numpy(dtype=float)
        known = len(values) > 0
        rows.append(
            {
                **dict(zip([*SCORER, *BY, "item"], names, strict=True)),
                "n": len(replies),
                "n_valid": int((replies["status"] == "ok").sum()),
                "mean": float(values.mean()) if known else np.nan,
                "sd": float(values.std(ddof=1)) if len(values) > 1 else np.nan,
                "low": float(values.min()) if known else np.nan,
                "high": float(values.max()) if known else np.nan,
                "status": _status(replies["status"]),
                "same": len(replies[["value", "choice", "status"]].drop_duplicates()) == 1,
            }
        )
    order = {name: n for n, name in enumerate(dict.fromkeys(first))}
    return pd.DataFrame(rows).sort_values("item", key=lambda item: item.map(order), kind="stable", ignore_index=True)


def _status(statuses: pd.Series) -> str:
    """Return the status of the mean of several replies."""
    valid = statuses == "ok"
    return "partial" if valid.any() and not valid.all() else str(statuses.iloc[0])
