"""Several scorers on one benchmark: how well each agrees with people, and which differences are more than noise."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..analysis.statistics import (
    LEVEL,
    VALID,
    Estimate,
    Floats,
    grouped,
    holm,
    jackknife,
    leave_one_out,
    orientation,
    srcc,
)
from ..analysis.statistics import srcc_replicates as replicates_of_srcc
from ..common.errors import one_line
from .errors import MllmError
from .metrics.choices import choice_accuracy
from .metrics.ratings import AS_WORST, as_worst, rating_metrics
from .metrics.statuses import by_judge
from .published.training_sets import trained_on
from .rating_folder import ITEMS, META, SCORES
from .table import NAME, SCORER

ALPHA = 0.05
MOST_GROUPS = 200  # with more clusters, groups of them are left out in turn instead of single ones
OF_TASK = {"rate": "srcc", "answer": "accuracy"}  # what scorers are ordered by
TESTS = [
    *("benchmark", "dimension", "of", "scorer_a", "scorer_b", "difference", "difference_low", "difference_high"),
    *("p", "p_holm", "n", "n_references"),
]


@dataclass(frozen=True)
class Leaderboard:
    """What several scorers make of one benchmark; values that are not defined are NaN.

    Attributes:
        benchmark: its name.
        table: one row per benchmark (a benchmark can have several sets), dimension and scorer, best first: ``of``
            (``srcc`` or ``accuracy``, what the order is by), ``rank_low`` and ``rank_high`` (the places that the tests
            leave open), ``n`` items, ``n_valid`` replies, ``n_references``; of ratings ``srcc``, ``plcc`` with failed
            replies counted as the worst value, and ``srcc_valid``, ``plcc_valid`` without them; of choices
            ``accuracy`` with failed replies counted as wrong, ``accuracy_valid`` and ``chance``; each with ``_low`` and
            ``_high``; ``n_by_judge``, values that a judge of replies found; ``items_per_second``, ``tokens_per_item``
            and ``cost`` of its runs; ``trained_on_it``: "yes", "no" or "unknown".
        tests: one row per pair of scorers of a dimension, a being ahead: the ``difference`` in what the order is by,
            on the same items and with failed replies counted as worst, with interval, two-sided ``p``, and ``p_holm``,
            corrected for the number of pairs.
        scores: ``mllm_scores`` of all scorers, on the items that all of them have.
    """

    benchmark: str
    table: pd.DataFrame
    tests: pd.DataFrame
    scores: pd.DataFrame


def compare_runs(folders: Sequence[str | Path], *, level: float = LEVEL) -> Leaderboard:
    """Compare the scorers whose ratings of one benchmark are in folders that ``rate_into`` filled.

    Args:
        folders: two or more, each of another scorer.
        level: coverage of the intervals, in (0, 1).

    Raises:
        MllmError: a folder without ratings, another benchmark, the same scorer twice, or nothing that has targets.
    """
    runs = [_Run(Path(folder)) for folder in folders]
    if len(runs) < 2:
        raise MllmError(f"give two folders of ratings or more, got {len(runs)}")
    first = runs[0]
    for run in runs[1:]:
        if run.meta["benchmark"]["identity"] != first.meta["benchmark"]["identity"]:
            raise MllmError(
                f"'{run.folder}' rates {run.meta['benchmark']['name']} and '{first.folder}' "
                f"{first.meta['benchmark']['name']}, or another version of it; compare runs of the same benchmark"
            )
    scores = _joined(runs)
    rows = [*_rated(scores), *_answered(scores)]
    if not rows:
        raise MllmError(f"{first.meta['benchmark']['name']} has no ratings or choices with targets to compare on")
    table, tests = pd.DataFrame(rows), pd.DataFrame(paired_tests(scores, level), columns=TESTS)
    table["n_by_judge"] = _judged(scores, table)
    took = {run.name: run.took() for run in runs}
    table = table.assign(**{name: [took[scorer][name] for scorer in table["scorer"]] for name in took[first.name]})
    table["trained_on_it"] = [
        _trained_on_it(scorer, benchmark) for scorer, benchmark in zip(table["scorer"], table["benchmark"], strict=True)
    ]
    return Leaderboard(first.meta["benchmark"]["name"], _ordered(table, tests), tests, scores)


class _Run:
    """A folder of ratings."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            self.meta: dict[str, Any] = json.loads((folder / META).read_text(encoding="utf-8"))
            self.scores = pd.read_parquet(folder / SCORES)
        except (OSError, ValueError) as error:
            raise MllmError(f"'{folder}' is no folder of ratings ({one_line(error)}); give what rate wrote") from None
        self.name = str(self.meta["scorer"])

    def took(self) -> dict[str, float]:
        """Return speed, tokens and cost over all runs; NaN where they are not known."""
        runs = [run for run in self.meta["runs"] if run["asked"]]
        asked, seconds = (sum(run[name] for run in runs) for name in ("asked", "seconds"))
        tokens = sum(run["prompt_tokens"] + run["new_tokens"] for run in runs)
        costs = [run["cost"] for run in runs]
        return {
            "items_per_second": asked / seconds if seconds else np.nan,
            "tokens_per_item": tokens / asked if asked and tokens else np.nan,
            "cost": sum(costs) if costs and None not in costs else np.nan,
        }


def _joined(runs: Sequence[_Run]) -> pd.DataFrame:
    """Return the scores of all scorers on the items that all have; two scorers of one name get their folder's."""
    names = [run.name for run in runs]
    for run in runs:
        if sum(other.meta["scorer_id"] == run.meta["scorer_id"] for other in runs) > 1:
            raise MllmError(f"'{run.folder}' holds ratings of {run.name} that another folder holds, too; leave one out")
        if names.count(run.name) > 1:
            run.name = f"{run.name} ({run.folder.name})"
    common = set.intersection(*(set(map(tuple, run.scores[NAME].to_numpy())) for run in runs))
    tables = []
    for run in runs:
        kept = [tuple(name) in common for name in run.scores[NAME].to_numpy()]
        tables.append(run.scores.loc[kept].assign(scorer=run.name, folder=str(run.folder)))
    if not common:
        raise MllmError("these runs have no item in common: rate more items of the benchmark")
    return pd.concat(tables, ignore_index=True)


def _judged(scores: pd.DataFrame, table: pd.DataFrame) -> list[int]:
    """Return how many of the values of each row of the table a judge of replies found."""
    of = by_judge(scores)
    key = ["scorer", "benchmark", "dimension", "task"]
    counts = {} if of is None else scores.loc[of].groupby(key).size().to_dict()
    tasks = {of: task for task, of in OF_TASK.items()}
    rows = table[["scorer", "benchmark", "dimension", "of"]].itertuples(index=False)
    return [int(counts.get((scorer, name, dimension, tasks[of]), 0)) for scorer, name, dimension, of in rows]


def _of_task(scores: pd.DataFrame, task: str) -> pd.DataFrame:
    found = scores.loc[(scores["task"] == task) & scores["target"].notna()]
    return found.assign(target=pd.to_numeric(found["target"])) if task == "rate" else found


def _rated(scores: pd.DataFrame) -> list[dict[str, Any]]:
    """Return a row per scorer and dimension of ratings."""
    rated = _of_task(scores, "rate")
    metrics = rating_metrics(rated) if len(rated) else pd.DataFrame()
    rows = []
    for names, of in grouped(metrics, *SCORER, "benchmark", "dimension") if len(metrics) else ():
        valid, worst = (of.loc[of["reading"] == reading].iloc[0] for reading in (VALID, AS_WORST))
        row = dict(zip([*SCORER, "benchmark", "dimension"], names, strict=True)) | {"of": "srcc"}
        row |= {name: valid[name] for name in ("n", "n_valid", "n_references", "status")}
        for name in ("srcc", "plcc"):
            row |= {name + end: worst[name + end] for end in ("", "_low", "_high")}
            row |= {f"{name}_valid{end}": valid[name + end] for end in ("", "_low", "_high")}
        rows.append(row)
    return rows


def _answered(scores: pd.DataFrame) -> list[dict[str, Any]]:
    """Return a row per scorer and dimension of choices."""
    answered = _of_task(scores, "answer")
    if answered.empty:
        return []
    metrics = choice_accuracy(answered).drop(columns=["n_right", "n_without_target"])
    return metrics.assign(of="accuracy", status="ok").to_dict("records")  # pyright: ignore[reportReturnType]


def paired_tests(scores: pd.DataFrame, level: float) -> list[dict[str, Any]]:
    """Compare every two scorers of a dimension on the same items."""
    rows = []
    for task, of in OF_TASK.items():
        found = _of_task(scores, task)
        for (benchmark, dimension), group in grouped(found, "benchmark", "dimension") if len(found) else ():
            values = {str(scorer): _agreement(task, rows_) for scorer, rows_ in grouped(group, "scorer")}
            known = sorted((name for name in values if np.isfinite(values[name][0])), key=lambda name: -values[name][0])
            pairs = []
            for a, b in combinations(known, 2):
                found_ = _difference(values[a], values[b])
                ends = found_.interval(level)
                items = group.loc[group["scorer"] == a]
                head = (benchmark, dimension, of, a, b, found_.value, *ends, found_.p, np.nan)
                pairs.append(dict(zip(TESTS, (*head, len(items), items["reference"].nunique()), strict=True)))
            for pair, p in zip(pairs, holm([pair["p"] for pair in pairs]), strict=True):
                pair["p_holm"] = p
            rows += pairs
    return rows


def _difference(a: tuple[float, Floats], b: tuple[float, Floats]) -> Estimate:
    return jackknife(a[0] - b[0], a[1] - b[1])


def _agreement(task: str, rows: pd.DataFrame) -> tuple[float, Floats]:
    """Return SRCC or accuracy with failed replies counted as worst, and the same without each group of clusters."""
    codes, references = pd.factorize(rows["reference"], sort=True)
    group = (codes % min(len(references), MOST_GROUPS)).astype(np.intp)
    n = int(group.max()) + 1
    if task == "answer":
        right = np.asarray((rows["status"] == "ok") & (rows["choice"] == rows["target"]), dtype=float)
        sums, counts = (np.bincount(group, weights=of, minlength=n) for of in (right, np.ones(len(right))))
        with np.errstate(invalid="ignore"):
            return float(right.mean()), (right.sum() - sums) / (len(right) - counts)
    valid = np.asarray(rows["status"] == "ok", dtype=bool)
    if not valid.any():
        return np.nan, np.full(n, np.nan)
    value = as_worst(rows, valid)
    target = np.asarray(rows["target"], dtype=float)
    if np.ptp(value) == 0 or np.ptp(target) == 0:
        return np.nan, np.full(n, np.nan)
    score, label = bool(rows["higher_is_better"].iloc[0]), bool(rows["target_higher_is_better"].iloc[0])
    again = orientation(score, label) * replicates_of_srcc(value, target, leave_one_out(group, n))[1:]
    return srcc(value, target, score_higher_is_better=score, label_higher_is_better=label), again


def _ordered(table: pd.DataFrame, tests: pd.DataFrame) -> pd.DataFrame:
    """Sort by dimension and agreement, and say between which places the tests leave each scorer."""
    table = table.assign(agreement=[row[row["of"]] for row in table.to_dict("records")])
    low, high = [], []
    for row in table.to_dict("records"):
        here = tests.loc[(tests["benchmark"] == row["benchmark"]) & (tests["dimension"] == row["dimension"])]
        here = here.loc[here["of"] == row["of"]]
        sure = here.loc[here["p_holm"] < ALPHA]
        rivals = table.loc[(table["benchmark"] == row["benchmark"]) & (table["dimension"] == row["dimension"])]
        n = int(((rivals["of"] == row["of"]) & rivals["agreement"].notna()).sum())
        known = np.isfinite(row["agreement"])
        low.append(1 + int((sure["scorer_b"] == row["scorer"]).sum()) if known else np.nan)
        high.append(n - int((sure["scorer_a"] == row["scorer"]).sum()) if known else np.nan)
    table = table.assign(rank_low=low, rank_high=high)
    order = ["benchmark", "dimension", "of", "agreement"]
    return table.sort_values(order, ascending=[True, True, True, False], kind="stable", ignore_index=True)


def _trained_on_it(scorer: str, benchmark: str) -> str:
    """Say whether the published weights of a scorer were trained on the ratings of this benchmark."""
    sets = trained_on(scorer.rpartition("/")[0] or scorer)
    if sets is None:
        return "unknown"
    here = _plain(benchmark.rpartition("/")[2])
    return "yes" if any(_plain(name) in here or here in _plain(name) for name in sets) else "no"


def _plain(name: str) -> str:
    return "".join(character for character in name.lower() if character.isalnum())


def shown_items(folders: Sequence[str | Path]) -> dict[str, pd.DataFrame]:
    """Return what each folder knows of its items: where the images are, seen from the folder, and what was asked."""
    files = {str(Path(folder)): Path(folder) / ITEMS for folder in folders}
    return {folder: pd.read_parquet(file) for folder, file in files.items() if file.exists()}


def without_common_model(board: Leaderboard) -> tuple[Leaderboard, str]:
    """Return a leaderboard whose scorers are called by their presets if all have one model, and that model or ""."""
    models = {str(scorer).rpartition("/")[0] for scorer in board.table["scorer"]}
    if len(models) != 1:
        return board, ""
    (model,) = models
    names = {"scorer": len(model) + 1, "scorer_a": len(model) + 1, "scorer_b": len(model) + 1}
    short = [
        frame.assign(**{name: frame[name].str.slice(start) for name, start in names.items() if name in frame})
        for frame in (board.table, board.tests, board.scores)
    ]
    return Leaderboard(board.benchmark, *short), model
