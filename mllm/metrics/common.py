"""What all metrics of multimodal LLMs start from: results joined with their items, statuses, shares with intervals."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from ...analysis.statistics import LEVEL, Counts, Floats, draw_resamples, grouped, percentile_interval
from ..errors import MllmError
from ..item import Item

NAME = ["benchmark", "dimension", "item"]
SCORER = ["scorer", "scorer_id"]
# Items that belong to no group of a break-down, so that its counts still add up to all.
NO_GROUP = "(none)"
N_BOOT = 2000


@dataclass(frozen=True)
class Bootstrap:
    """How intervals are made: whole clusters (a reference image, a dish) are drawn with replacement.

    Attributes:
        n_boot: number of resamples.
        seed: of the draw; the same clusters are drawn for whatever is computed from the same items.
        level: coverage of the intervals, in (0, 1).
    """

    n_boot: int = N_BOOT
    seed: int = 0
    level: float = LEVEL

    def rng(self) -> np.random.Generator:
        """Return the generator of the draw."""
        return np.random.default_rng([self.seed, 0])

    def interval(self, replicates: ArrayLike, n_clusters: int) -> tuple[float, float]:
        """Return the interval; (NaN, NaN) for a single cluster, of which nothing can be learnt."""
        if n_clusters < 2:
            return float("nan"), float("nan")
        return percentile_interval(replicates, self.level, n_clusters=n_clusters)


@dataclass(frozen=True)
class Estimate:
    """A value with its interval; NaN where it is not defined."""

    value: float
    low: float
    high: float

    def row(self, name: str) -> dict[str, float]:
        """Return it as the columns ``name``, ``name_low`` and ``name_high``."""
        return {name: self.value, f"{name}_low": self.low, f"{name}_high": self.high}


def join_items(results: pd.DataFrame, items: Iterable[Item]) -> pd.DataFrame:
    """Put beside each result what its item says: the table that all metrics take.

    Args:
        results: ``mllm_scores`` with the column ``choice``, one row for each scorer and item.
        items: of the benchmarks rated.

    Returns:
        ``results`` with ``task``, ``n_options``, ``target``, ``target_higher_is_better``, ``scale_low``,
        ``scale_high``, ``reference`` and one column for each group, "" where an item has none of that name; as many
        rows as before.

    Raises:
        MllmError: a result without item, an item that a scorer lacks, or one that it has twice.
    """
    described = pd.DataFrame([_described(item) for item in items])
    if described.empty or described.duplicated(NAME).any():
        raise MllmError("items to join results with must be given, each once.")
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
        raise MllmError(f"{len(unknown)} of {len(joined)} results are of no item, first {_first(unknown)}.")
    return cast(pd.DataFrame, joined.drop(columns="found"))


def status_shares(table: pd.DataFrame, by: Sequence[str] = ("benchmark", "dimension")) -> pd.DataFrame:
    """Count the statuses of the replies.

    Args:
        table: as ``join_items`` makes it, or ``mllm_scores`` itself.
        by: what is broken down by, besides the scorer.

    Returns:
        One row for each scorer and group: ``n`` rows, then for each status that occurs its count ``n_<status>`` and
        share ``share_<status>``; the counts add up to ``n``.
    """
    statuses = sorted(table["status"].unique(), key=lambda status: (status != "ok", status))
    rows = []
    for values, group in grouped(table, *SCORER, *by):
        counts = {status: int((group["status"] == status).sum()) for status in statuses}
        rows.append(
            {
                **dict(zip([*SCORER, *by], values, strict=True)),
                "n": len(group),
                **{f"n_{status}": count for status, count in counts.items()},
                **{f"share_{status}": count / len(group) for status, count in counts.items()},
            }
        )
    return pd.DataFrame(rows)


def ratio(numerator: ArrayLike, denominator: ArrayLike, clusters: ArrayLike, bootstrap: Bootstrap) -> Estimate:
    """Return Σ numerator / Σ denominator, e.g. right over asked, with an interval by clusters.

    Args:
        numerator: ``(n,)``.
        denominator: ``(n,)``, 1 for what counts and 0 for what does not, or weights.
        clusters: ``(n,)``, what is not independent of each other.
        bootstrap: how the interval is made.
    """
    over, under = np.asarray(numerator, dtype=np.float64), np.asarray(denominator, dtype=np.float64)
    if not len(over) or not under.sum():
        return Estimate(float("nan"), float("nan"), float("nan"))
    resamples = draw_resamples(clusters, bootstrap.n_boot, bootstrap.rng())
    # Sums by cluster first: a resample is then one small product.
    sums = [np.bincount(resamples.cluster, weights=values) for values in (over, under)]

    def statistic(counts: Counts) -> Floats:
        with np.errstate(invalid="ignore", divide="ignore"):
            return (counts @ sums[0]) / (counts @ sums[1])

    interval = bootstrap.interval(statistic(resamples.counts), len(sums[0]))
    return Estimate(float(over.sum() / under.sum()), *interval)


def require(table: pd.DataFrame, *columns: str) -> None:
    """Raise MllmError naming the columns that a metric needs and the table lacks."""
    if missing := [column for column in columns if column not in table.columns]:
        raise MllmError(
            f"the table of results lacks {', '.join(missing)}: join the results with their items first (join_items)."
        )


_FACTS = (*NAME, "task", "n_options", "target", "target_higher_is_better", "scale_low", "scale_high", "reference")


def _described(item: Item) -> Mapping[str, Any]:
    low, high = item.scale or (float("nan"), float("nan"))
    if clash := sorted(set(item.groups) & {*_FACTS, *SCORER, "value", "choice", "status", "raw"}):
        raise MllmError(f"{item.benchmark}: a group cannot be called {clash[0]!r}, which is a column of its own.")
    facts = (item.benchmark, item.dimension, item.id, item.task, len(item.options), item.target)
    return dict(zip(_FACTS, (*facts, item.higher_is_better, low, high, item.cluster), strict=True)) | dict(item.groups)


def _first(rows: pd.DataFrame) -> str:
    return " / ".join(map(str, rows.iloc[0][NAME]))
