"""Ratings of what was not trained on, compared with people: before and after training, without and with calibration."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from PIL import Image

from ...analysis.statistics import correlations, grouped, srcc_change
from ...common.errors import one_line
from ...common.files import atomic_path, write_json
from ...common.images import read_rgb
from ..errors import MllmError
from ..scoring.preset import Preset
from ..scoring.scale import ScoreScale
from ..scoring.scorer import Scorer
from .calibration import FEWEST, Calibration, at_temperature, fit_isotonic, fit_temperature, report
from .config import HELD_OUT
from .examples import Example

if TYPE_CHECKING:
    from ..backends import TransformersBackend

BEFORE, AFTER, EVALUATION, CALIBRATION = "before.csv", "after.csv", "evaluation.csv", "calibration.json"
AFTERWARDS = "after"
CHANGE = ("srcc_change", "srcc_change_low", "srcc_change_high")
EVALUATED = ("ratings", "n", "rmse", "mae", "plcc", "srcc", "srcc_low", "srcc_high", *CHANGE, "set", "dimension", "of")
LOGS = "log_probabilities"  # of levels; in memory only
REPLIES = "replies"  # in lines of the log
SHOWN, LONGEST = 6, 300  # replies that a line of the log shows, and how many characters of each
Sets = Mapping[str, Sequence[Example]]


def rate_sets(backend: TransformersBackend, preset: Preset, sets: Sets) -> pd.DataFrame:
    """Rate examples greedily: one row each, with the label on the preset's scale."""
    scorer = Scorer(backend, preset)
    rows = []
    for name, examples in sets.items():
        by_dimension: dict[str, list[Example]] = {}
        for example in examples:
            by_dimension.setdefault(example.item.dimension, []).append(example)
        for dimension, group in by_dimension.items():
            images = [Image.fromarray(read_rgb(example.item.images[0])) for example in group]
            questions = [example.item.question for example in group]
            ratings = scorer.rate(images, dimension=dimension, questions=questions)
            for example, rating in zip(group, ratings, strict=True):
                said = {"label": example.score, "value": rating.value, "status": rating.status, "reply": rating.raw}
                levels = rating.distribution and [math.log(max(p, 1e-300)) for p in rating.distribution.values()]
                about = {
                    "set": name,
                    "dimension": dimension,
                    "item": example.item.id,
                    "reference": example.item.cluster,
                }
                rows.append({**about, **said, LOGS: levels})
    return pd.DataFrame(rows)


def numbers_of(table: pd.DataFrame) -> dict[str, float]:
    """Return agreement with people as numbers for the log, and the share of ratings that could be read."""
    numbers: dict[str, float] = {}
    for (name, dimension), rows in grouped(table, "set", "dimension"):
        read = rows.dropna(subset=["value"])
        place = f"eval/{name}/{dimension}"
        numbers[f"{place}/read"] = len(read) / len(rows)
        if len(read) >= 3:
            line = report([("", read["value"])], read["label"]).iloc[0]
            numbers |= {f"{place}/{metric}": float(line[metric]) for metric in ("srcc", "plcc", "rmse")}
    return numbers


def replies_of(table: pd.DataFrame) -> dict[str, dict[str, str]]:
    """Return written replies to the first items of a table, cut short, for the log; nothing where levels are read."""
    written = table.loc[table["reply"].ne("")].head(SHOWN)
    named = written["set"] + "/" + written["dimension"] + "/" + written["item"]
    replies = {name: reply[:LONGEST] for name, reply in zip(named, written["reply"], strict=True)}
    return {REPLIES: replies} if replies else {}


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write a table as CSV, whole or not at all."""
    with atomic_path(path) as temporary:
        table.drop(columns=LOGS, errors="ignore").to_csv(temporary, index=False)


def evaluate_into(folder: Path, table: pd.DataFrame, preset: Preset) -> pd.DataFrame:
    """Compare ratings after training with those before, and with calibrated ones.

    Calibration is fitted on half of the held-out references, and judged on the other half and on the other sets.

    Args:
        folder: has the ratings before; gets those after, the comparison and the calibration.
        table: see :func:`rate_sets`; empty if nothing is evaluated.
        preset: what was asked.

    Returns:
        One row per set, dimension and kind of ratings: ``n`` of ``of`` could be read, ``rmse``, ``mae``, ``plcc``,
        ``srcc`` and the ends of its 95 % interval, ``srcc_low`` and ``srcc_high``, which leaves out one reference at a
        time. Fewer than three ratings that could be read have no agreement: NaN. Ratings "after" have
        ``srcc_change``, their SRCC minus that before over the items that were read both times, with its ends.
    """
    if table.empty:
        evaluation = pd.DataFrame(columns=EVALUATED)
        write_table(folder / EVALUATION, evaluation)
        return evaluation
    write_table(folder / AFTER, table)
    before = _read_before(folder / BEFORE, table)
    lines, fitted = [], {}
    for dimension in table["dimension"].unique():
        mine = table.loc[table["dimension"] == dimension]
        first = _first_half(mine.loc[mine["set"] == HELD_OUT])
        fit, rest = mine.loc[first].dropna(subset=["value"]), mine.drop(index=first)
        maps = _fit(fit, preset, str(dimension)) if len(fit) >= FEWEST else []
        fitted[str(dimension)] = [asdict(one) for one in maps]
        for name in mine["set"].unique():
            of = mine.loc[mine["set"] == name]
            earlier = before.loc[(before["dimension"] == dimension) & (before["set"] == name)]
            parts: list[tuple[str, pd.DataFrame, Calibration]] = [("before", earlier, Calibration("none"))]
            parts.append((AFTERWARDS, of, Calibration("none")))
            judged = rest.loc[rest["set"] == name]
            part = ", other half" if name == HELD_OUT else ""
            if maps and part:
                parts.append((f"after{part}", judged, Calibration("none")))
            parts += [(f"after{part}, {one.kind}", judged, one) for one in maps]
            for what, rows, one in parts:
                read = rows.dropna(subset=["value"])
                about = {"ratings": what, "n": len(read), "set": name, "dimension": dimension, "of": len(rows)}
                if len(read) >= 3:
                    values = _calibrated(read, one, preset, str(dimension))
                    low, high = _interval(read, values)
                    about |= report([("", values)], read["label"]).drop(columns="calibration").iloc[0].to_dict()
                    about |= {"n": len(read), "srcc_low": low, "srcc_high": high}
                if what == AFTERWARDS:
                    about |= dict(zip(CHANGE, _change(earlier, rows), strict=True))
                lines.append(about)
    evaluation = pd.DataFrame(lines, columns=EVALUATED)
    write_table(folder / EVALUATION, evaluation)
    write_json(folder / CALIBRATION, fitted)
    return evaluation


def _read_before(path: Path, after: pd.DataFrame) -> pd.DataFrame:
    """Return the ratings before training, of the items that were rated after it."""
    names = ["set", "dimension", "item"]
    try:
        before = pd.read_csv(path, dtype={"item": str})
        whole = set(before[names].itertuples(index=False)) == set(after[names].itertuples(index=False))
        numbers = before[["label", "value"]].apply(pd.to_numeric)
    except (OSError, ValueError, KeyError) as error:
        raise MllmError(f"{path} is damaged: {one_line(error)}; delete the folder and start again") from None
    if not whole:
        raise MllmError(
            f"{path} does not have the items that were rated after training; delete the folder and start again"
        )
    return before.assign(**numbers)


def _interval(rows: pd.DataFrame, values: Any) -> tuple[float, float]:
    """Return the ends of the interval of SRCC."""
    (found,) = correlations([_rated(rows, values)])
    return found["srcc_low"], found["srcc_high"]


def _change(before: pd.DataFrame, after: pd.DataFrame) -> tuple[float, float, float]:
    """Return the change of SRCC over the items that could be read both times, with its interval."""
    both = before.merge(after, on="item", suffixes=("_before", ""))
    both = both.dropna(subset=["value_before", "value"])
    return srcc_change(_rated(both, both["value_before"]), _rated(both, both["value"]))


def _rated(rows: pd.DataFrame, values: Any) -> pd.DataFrame:
    """Return ratings as a table of correlations; ratings and labels are on one scale, so they have one direction."""
    rated = pd.DataFrame({"value": np.asarray(values, float), "target": np.asarray(rows["label"], float)})
    return rated.assign(reference=rows["reference"].tolist(), higher_is_better=True, target_higher_is_better=True)


def _first_half(rows: pd.DataFrame) -> pd.Index:
    """Return the rows of half of the references, chosen by their names."""
    references = sorted(rows["reference"].unique(), key=lambda name: hashlib.sha256(str(name).encode()).hexdigest())
    return rows.index[rows["reference"].isin(references[: len(references) // 2])]


def _fit(rows: pd.DataFrame, preset: Preset, dimension: str) -> list[Calibration]:
    scale = preset.scale(dimension)
    found = [fit_isotonic(rows["value"], rows["label"])]
    if isinstance(scale, ScoreScale):
        found.append(fit_temperature(np.array(rows[LOGS].tolist()), rows["label"], scale))
    return found


def _calibrated(rows: pd.DataFrame, calibration: Calibration, preset: Preset, dimension: str) -> Any:
    scale = preset.scale(dimension)
    if calibration.kind == "temperature" and isinstance(scale, ScoreScale):
        return at_temperature(np.array(rows[LOGS].tolist()), scale, calibration.temperature)
    return calibration(rows["value"])


def load_calibration(folder: str | Path, dimension: str) -> list[Calibration]:
    """Return the calibrations of a dimension that an alignment left.

    Raises:
        MllmError: there are none.
    """
    path = Path(folder) / CALIBRATION
    try:
        found = [Calibration(**one) for one in json.loads(path.read_text(encoding="utf-8"))[dimension]]
    except (OSError, ValueError, KeyError, TypeError):
        found = []
    if not found:
        raise MllmError(f"{path} has no calibration of {dimension!r}: were some 20 ratings of it held out?")
    return found
