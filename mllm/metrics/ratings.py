"""Metrics of ratings: correlation with people, errors on their scale, and labels, in three readings of failed replies.

Readings: ``valid only`` leaves failed replies out, as published numbers do, and favours a scorer that fails on hard
items; ``failures as mean`` gives them the mean of the scorer's own values, i.e. no opinion; ``failures as worst`` gives
them its worst value where people rate above their median and its best where they rate below, i.e. the wrong opinion.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ...analysis.statistics import (
    AS_MEAN,
    STATISTICS,
    VALID,
    Floats,
    correlations,
    fit_logistic,
    grouped,
    orientation,
    require_finite_where_ok,
    require_one,
    where,
)
from ..benchmarks.cogip import LABELS, label_of
from ..errors import MllmError
from ..table import BY, SCORER, require
from .intervals import Bootstrap, ratio

AS_WORST = "failures as worst"
READINGS = (VALID, AS_MEAN, AS_WORST)
ERRORS = ("mae", "mse", "label_accuracy")


def rating_metrics(
    table: pd.DataFrame,
    *,
    by: Sequence[str] = BY,
    same_scale: bool = False,
    bootstrap: Bootstrap = Bootstrap(),  # noqa: B008 - frozen
) -> pd.DataFrame:
    """Compare ratings with people's.

    Args:
        table: see ``join_items``; rows of other tasks than ``rate`` are left out.
        by: columns to break down by, besides the scorer; each group must have one scale of targets.
        same_scale: values are on the targets' scale, so that errors and labels are defined.
        bootstrap: how intervals of errors are made; those of correlations take only its level.

    Returns:
        One row per scorer, group and reading: ``n`` items with a target, ``n_valid`` ratings, ``n_without_target``
        items, ``n_references`` (clusters of the intervals); SRCC, KRCC (tau-b) and raw PLCC, + agrees with people, each
        with ``_low`` and ``_high``; ``plcc_logistic`` after VQEG's four-parameter mapping, with ``logistic_status``;
        with ``same_scale`` MAE, MSE (lower is better) and, for dimensions of CogIP-Bench, ``label_accuracy`` (higher is
        better), with intervals; ``status`` "ok" or why there are no correlations. What is not defined is NaN.

    Raises:
        MllmError: columns missing.
        AnalysisError: a valid rating that is not finite, or a scorer with two directions in a group.

    Examples:
        >>> table = pd.DataFrame({"value": [1.0, 2.0, 4.0, 3.0], "target": [1, 2, 3, 4], "reference": list("abcd")})
        >>> table = table.assign(scorer="s", scorer_id="0", benchmark="own", dimension="IQA", task="rate", status="ok")
        >>> table = table.assign(higher_is_better=True, target_higher_is_better=True)
        >>> found = rating_metrics(table, same_scale=True)
        >>> found[["reading", "n", "srcc", "mae"]].round(3).to_dict("records")[0]
        {'reading': 'valid only', 'n': 4, 'srcc': 0.8, 'mae': 0.5}
    """
    require(table, *SCORER, *by, "task", "target", "target_higher_is_better", "higher_is_better", "reference", "status")
    rated = where(table, task="rate")
    require_finite_where_ok(rated, "value", "mllm_scores")
    for of in ("higher_is_better", "target_higher_is_better"):
        require_one(rated, [*SCORER, *by], of, "mllm_scores")
    rows = []
    for names, group in grouped(rated, *SCORER, *by):
        known = group.loc[group["target"].notna()]
        valid = np.asarray(known["status"] == "ok", dtype=bool)
        head = {
            **dict(zip([*SCORER, *by], names, strict=True)),
            "n": len(known),
            "n_valid": int(valid.sum()),
            "n_without_target": len(group) - len(known),
            "n_references": len(set(known["reference"])),
        }
        computed: dict[str, float | str] = {}
        for reading in READINGS:
            # Without failures the readings are one.
            if not computed or not valid.all():
                computed = _metrics(_read(known, valid, reading), same_scale, bootstrap)
            rows.append({**head, "reading": reading, **computed})
    return pd.DataFrame(rows)


def domain_averages(metrics: pd.DataFrame, *, by: Sequence[str] = ("dimension",)) -> pd.DataFrame:
    """Average correlations over data sets: the plain mean over those that a scorer has a value for.

    Args:
        metrics: of ``rating_metrics``.
        by: columns to keep apart, besides scorer and reading; the mean is over benchmarks.

    Returns:
        One row per scorer, reading and group: ``n_sets``, ``n_undefined`` of them without a correlation, which the
        means leave out, and the means.
    """
    rows = []
    for names, group in grouped(metrics, *SCORER, "reading", *by):
        defined = group[group["srcc"].notna()]
        means = {name: float(defined[name].mean()) for name in ("srcc", "krcc", "plcc", "plcc_logistic")}
        counts = {"n_sets": len(group), "n_undefined": len(group) - len(defined)}
        rows.append({**dict(zip([*SCORER, "reading", *by], names, strict=True)), **counts, **means})
    return pd.DataFrame(rows)


def _read(known: pd.DataFrame, valid: np.ndarray, reading: str) -> pd.DataFrame:
    """Return the rows of a reading, with a value in each."""
    if reading == VALID or not valid.any():
        return known.loc[valid]
    if reading == AS_WORST:
        return known.assign(value=as_worst(known, valid))
    values = np.array(pd.to_numeric(known["value"], errors="coerce"), dtype=np.float64)
    values[~valid] = values[valid].mean()
    return known.assign(value=values)


def as_worst(known: pd.DataFrame, valid: np.ndarray) -> Floats:
    """Return the values of rows with targets, failed replies as the wrong opinion; at least one must be ``valid``."""
    values = np.array(pd.to_numeric(known["value"], errors="coerce"), dtype=np.float64)
    targets = np.asarray(known["target"], dtype=np.float64)
    low, high = values[valid].min(), values[valid].max()
    agree = orientation(known["higher_is_better"].iloc[0], known["target_higher_is_better"].iloc[0]) > 0
    above = targets > np.median(targets)
    values[~valid] = np.where(above == agree, low, high)[~valid]
    return values


def _metrics(rows: pd.DataFrame, same_scale: bool, bootstrap: Bootstrap) -> dict[str, float | str]:
    names = (*STATISTICS, *(ERRORS if same_scale else ()))
    found: dict[str, float | str] = {name + end: np.nan for name in names for end in ("", "_low", "_high")}
    found |= {"plcc_logistic": np.nan, "logistic_status": ""}
    value, target = (np.asarray(rows[name], dtype=np.float64) for name in ("value", "target"))
    if same_scale and len(rows):
        clusters = rows["reference"].to_numpy()
        for name, wrong in _errors(rows, value, target).items():
            found |= ratio(wrong, np.ones(len(rows)), clusters, bootstrap, share=name == "label_accuracy").row(name)
    found |= correlations([rows], bootstrap.level)[0]
    if found["status"] == "ok":
        directions = {
            "score_higher_is_better": bool(rows["higher_is_better"].iloc[0]),
            "label_higher_is_better": bool(rows["target_higher_is_better"].iloc[0]),
        }
        fit = fit_logistic(value, target, 4, **directions)
        found |= {"plcc_logistic": fit.plcc, "logistic_status": fit.status}
    return found


def _errors(rows: pd.DataFrame, value: Floats, target: Floats) -> dict[str, Floats]:
    errors = {"mae": np.abs(value - target), "mse": (value - target) ** 2}
    dimensions = set(rows["dimension"])
    if not dimensions <= set(LABELS):
        return errors
    if len(dimensions) > 1:
        raise MllmError(f"labels of {len(dimensions)} dimensions in one group: break down by dimension.")
    (dimension,) = dimensions
    right = [label_of(dimension, v) == label_of(dimension, t) for v, t in zip(value, target, strict=True)]
    return errors | {"label_accuracy": np.array(right, dtype=float)}
