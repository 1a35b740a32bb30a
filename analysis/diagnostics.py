"""Diagnostics of measures as objectives: means over crops, and whether any of them predicts the gain.

That a diagnostic *predicts* the gain is shown by leaving measures out: a line is fitted to all measures but one and
asked for that one. Its error is compared with that of predicting the mean of the others, and with its errors after the
gains have been dealt out to the measures at random. With few measures and many diagnostics some fit by chance, so
p-values are corrected for all that were tried.
"""

from __future__ import annotations

import itertools
import math
from typing import cast

import numpy as np
import pandas as pd

from .result_tables import StudyTables, without_draw
from .statistics.assessment import holm
from .statistics.correlation import Floats
from .statistics.frames import grouped, require_finite_where_ok, require_unique, where

OBSERVATION = ["measure", "measure_id", "other", "other_id", "diagnostic", "start", "detail"]
SUMMARY = [*OBSERVATION, "unit", "note", "n", "n_not_ok", "mean", "sd", "low", "high", "status"]
SETTING = ["generator", "discriminator", "gan_weight"]
PREDICTED = ["predictor", "n", "slope", "error", "error_of_mean", "ratio", "p", "p_holm", "status"]
FINE = 0.25  # cycles per pixel: half of what an image can hold
FEWEST = 4  # measures: a line through three of them is the least that can be wrong about a fourth
EXACT = 7  # up to so many measures all permutations are tried
PERMUTATIONS = 9_999


def derive(tables: StudyTables, **_: int) -> dict[str, pd.DataFrame]:
    """Return the tables that the study and its report take from here; nothing is resampled."""
    summary = summarise(tables.diagnostics)
    return {"diagnostics_summary": summary, "diagnostics_predictors": predictors(summary).reset_index()}


def summarise(diagnostics: pd.DataFrame) -> pd.DataFrame:
    """Summarise every diagnostic of every measure over the crops.

    Args:
        diagnostics: the table of that name.

    Returns:
        One row for each measure, diagnostic, start and detail: ``n`` crops with a value and ``n_not_ok`` without, mean,
        standard deviation (NaN for one crop), least and largest value over the crops; ``status`` is "ok", or the first
        reason why values are missing.

    Raises:
        AnalysisError: a row twice, or a value that is not finite although its status is "ok".
    """
    require_unique(diagnostics, [*OBSERVATION, "image"], "diagnostics")
    require_finite_where_ok(diagnostics, "value", "diagnostics")
    rows = []
    for key, group in diagnostics.groupby(OBSERVATION, sort=False):
        values = where(group, status="ok")["value"].astype(float)
        lost = group.loc[group["status"] != "ok", "status"]
        first = group.iloc[0]
        spread = (values.mean(), values.std(), values.min(), values.max())
        status = lost.iloc[0] if len(lost) else "ok"
        rows.append(
            (*cast(tuple[str, ...], key), first["unit"], first["note"], len(values), len(lost), *spread, status)
        )
    return pd.DataFrame(rows, columns=SUMMARY)


def predictors(summary: pd.DataFrame) -> pd.DataFrame:
    """Return what each measure is described by, for :func:`predict_gain`: measures × predictors.

    Every predictor is a mean over crops and starts. What spans orders of magnitude is a logarithm to the base 10.
    ``nan`` where a measure lacks it.

    Args:
        summary: result of :func:`summarise`.
    """
    own = where(summary, other="")
    own = own.loc[own["mean"].notna()]
    found: dict[str, dict[str, float]] = {}
    for measure, rows in grouped(own, "measure"):

        def mean(rows: pd.DataFrame = rows, **equal: str) -> float:
            return float(where(rows, **equal)["mean"].mean())

        bands = where(rows, diagnostic="frequency")
        fine = bands.loc[bands["detail"].str.partition("–")[0].astype(float) >= FINE - 1e-9]
        course = where(rows, diagnostic="recovery")
        ordered = (
            course.assign(step=course["detail"].astype(int)).sort_values("step").groupby("start", sort=False)["mean"]
        )
        found[str(measure)] = {
            "alignment with the residual": mean(diagnostic="alignment", detail="residual"),
            "alignment with the pixel loss": mean(diagnostic="alignment", detail="pixel"),
            "fine share of the gradient": float(fine.groupby("start")["mean"].sum().mean()) if len(bands) else np.nan,
            "log largest over mean eigenvalue": _log(mean(diagnostic="curvature", detail="largest over mean")),
            "log effective share": _log(mean(diagnostic="curvature", detail="effective share")),
            **{
                f"sensitivity to {name}": mean(diagnostic="invariance", detail=name)
                for name in ("shift", "rotation", "blur", "brightness", "colour", "texture")
            },
            "recovered PSNR": float((ordered.last() - ordered.first()).mean()),
            "colour drift": mean(diagnostic="colour", start="bicubic", detail="size"),
        }
    return pd.DataFrame.from_dict(found, orient="index").rename_axis("measure")


def predict_gain(predictors: pd.DataFrame, gain: pd.Series, *, seed: int = 0) -> pd.DataFrame:
    """Ask each predictor for the gain of measures that it has not seen.

    For each measure a straight line (least squares) is fitted to the other measures' gains and predictor. Ranks are not
    used: the errors are in the unit of the gain. p: the share of permutations of the gains among the measures whose
    ratio is as small; of all permutations for up to 7 measures, of 9,999 random ones and the given order for more.

    Args:
        predictors: measures × predictors, by name; NaN where a measure lacks one.
        gain: one per measure, by the same names; NaN where unknown. Measures that only one of both has are left out.
        seed: of the permutations.

    Returns:
        One row per predictor, in order: ``n`` measures with both; ``slope`` of the line through all of them; ``error``,
        the root mean square error for a measure left out; ``error_of_mean``, the same of predicting the mean of the
        others; ``ratio`` of the two, below 1 if the predictor helps; ``p`` of the ratio, ``p_holm`` corrected for all
        predictors (Holm); ``status`` "ok" or why the values are NaN. Predictors with another status were tried too, but
        cannot succeed, and do not count.

    Examples:
        >>> measures = pd.DataFrame({"sharpness": [1.0, 2.0, 3.0, 4.0, 5.0]}, index=list("abcde"))
        >>> gain = pd.Series([0.1, 0.2, 0.3, 0.4, 0.6], index=list("abcde"))
        >>> predict_gain(measures, gain)[["n", "ratio", "p"]].round(3)
           n  ratio      p
        0  5  0.266  0.017
    """
    rows = []
    for name in predictors.columns:
        both = pd.DataFrame({"x": predictors[name], "y": gain}).astype(float).dropna()
        x, y = both["x"].to_numpy(), both["y"].to_numpy()
        status = _unusable(x, y)
        if status:
            rows.append((name, len(both), *[np.nan] * 5, np.nan, status))
            continue
        own, others = _left_out(x), _left_out(np.zeros_like(x))
        dealt = _permutations(len(y), seed)
        error, mean = np.linalg.norm(own @ y), np.linalg.norm(others @ y)
        again = np.linalg.norm(own @ y[dealt], axis=0)  # of the mean it is always the same
        p = float(np.mean(again <= error + 1e-9 * mean))
        slope = float(np.polyfit(x, y, 1)[0])
        scale = math.sqrt(len(y))
        rows.append((name, len(both), slope, error / scale, mean / scale, error / mean, p, np.nan, "ok"))
    table = pd.DataFrame(rows, columns=PREDICTED)
    usable = table["status"] == "ok"
    table.loc[usable, "p_holm"] = holm(table.loc[usable, "p"])
    return table


def _unusable(x: Floats, y: Floats) -> str:
    if len(x) < FEWEST:
        return f"{len(x)} measures; at least {FEWEST} are needed"
    if np.ptp(x) == 0:
        return "the same for all measures"
    return "all gains are equal" if np.ptp(y) == 0 else ""


def predict_gains(predictors: pd.DataFrame, points: pd.DataFrame, *, seed: int = 0) -> pd.DataFrame:
    """Ask each predictor for the gains of every setting, corrected for all predictors and settings.

    Draws of random weights of one measure are one measure, their mean: a draw would give away what the others gain.

    Args:
        predictors: Table ``diagnostics_predictors``, one row per measure.
        points: ``Asymmetry.points``: the gains of one setting are by one panel of judges.
        seed: of the permutations.

    Returns:
        The rows of :func:`predict_gain` per generator and setting, ``p_holm`` over all of them.
    """
    found = []
    if len(predictors):
        by_measure = cast(pd.DataFrame, predictors.set_index("measure").groupby(without_draw).mean())
        # The gains of a setting are the same on every labelled set.
        chosen = points.drop_duplicates([*SETTING, "measure"])
        for key, rows in grouped(chosen, *SETTING):
            gain = cast(pd.Series, rows.set_index("measure")["gain"].groupby(without_draw).mean())
            table = predict_gain(by_measure, gain, seed=seed)
            found.append(table.assign(**dict(zip(SETTING, key, strict=True))))
    if not found:
        return pd.DataFrame(columns=[*SETTING, *PREDICTED])
    table = pd.concat(found, ignore_index=True).loc[:, [*SETTING, *PREDICTED]]
    return table.assign(p_holm=holm(table["p"]))


def _left_out(x: Floats) -> Floats:
    """Return the matrix that turns gains into errors for measures left out.

    Where all others have one x there is no line, and their mean is the prediction.
    """
    n = len(x)
    errors = np.eye(n)
    for index in range(n):
        rest = np.arange(n) != index
        centred = x[rest] - x[rest].mean()
        weights = np.full(n - 1, 1 / (n - 1))
        if (squares := (centred**2).sum()) > 1e-18 * max(1e-300, (x**2).sum()):
            weights += (x[index] - x[rest].mean()) * centred / squares
        errors[index, rest] -= weights
    return errors


def _permutations(n: int, seed: int) -> np.ndarray:
    """Return orders of n, ``(n, count)``, the given one among them."""
    if n <= EXACT:
        return np.array(list(itertools.permutations(range(n)))).T
    rng = np.random.default_rng(seed)
    dealt = rng.permuted(np.tile(np.arange(n)[:, None], PERMUTATIONS), axis=0)
    return np.hstack([np.arange(n)[:, None], dealt])


def _log(value: float) -> float:
    return math.log10(abs(value)) if value else float("nan")
