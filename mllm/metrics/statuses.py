"""How many replies have each status: look at this before any metric."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from ...analysis.statistics import grouped
from ..table import BY, SCORER


def status_shares(table: pd.DataFrame, by: Sequence[str] = BY) -> pd.DataFrame:
    """Count the statuses of the replies.

    Args:
        table: as ``join_items`` makes it, or ``mllm_scores`` itself.
        by: columns to break down by, besides the scorer.

    Returns:
        One row per scorer and group: ``n`` rows, then for each status that occurs its count ``n_<status>`` and
        share ``share_<status>``; the counts add up to ``n``. If a judge read replies that the preset could not,
        ``n_by_judge`` counts the values that it found.
    """
    statuses = sorted(table["status"].unique(), key=lambda status: (status != "ok", status))
    judged = by_judge(table)
    rows = []
    for values, group in grouped(table, *SCORER, *by):
        counts = {status: int((group["status"] == status).sum()) for status in statuses}
        rows.append(
            {
                **dict(zip([*SCORER, *by], values, strict=True)),
                "n": len(group),
                **{f"n_{status}": count for status, count in counts.items()},
                **{f"share_{status}": count / len(group) for status, count in counts.items()},
                **({} if judged is None else {"n_by_judge": int(judged[group.index].sum())}),
            }
        )
    return pd.DataFrame(rows)


def by_judge(table: pd.DataFrame) -> pd.Series | None:
    """Return which values a judge of replies found; None if no reply was given to one."""
    if "parsed_by" not in table or not (table["parsed_by"] == "judge").any():
        return None
    return (table["parsed_by"] == "judge") & (table["status"] == "ok")
