"""Do judges prefer what was trained with a measure like themselves? The diagonal of trained with × judged by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from .gain import Gains
from .independence import KINDS, counted, families, families_of_cell
from .statistics.bootstrap import LEVEL
from .statistics.correlation import Floats
from .statistics.frames import records
from .statistics.multiplicity import holm, over_looks
from .trained import Trained
from .verdicts import verdict

COLUMNS = [
    *("generator", "kind", "advantage", "low", "high", "se", "df", "p", "p_holm", "verdict"),
    *("n_measures", "n_judges", "n_related", "n_settings", "n_seeds", "n_images", "related", "status"),
]


def self_preference(gains: Gains, sr_scores: pd.DataFrame, *, level: float = LEVEL) -> pd.DataFrame:
    """Estimate by how many judge SDs a judge prefers cells trained with a measure that shares a family with it.

    Gains of measures by judges are laid out as a two-way table, the mean over settings, seeds and images. What makes a
    measure good in general is in its row, what makes a judge mild in its column; the *advantage* is the coefficient of
    "shares a backbone" (or form) in what is left. Its error is the larger of two: that of the table's other
    interactions, because judges have tastes that no family explains, and that over seeds and images.

    Returns:
        One row per generator and kind of family: ``advantage`` in judge SDs with t interval, two-sided p, Holm's p over
        all rows and verdict; the numbers of measures, judges and related pairs it rests on; ``related`` pairs;
        ``status`` "ok" or why there is none.
    """
    found = []
    cell_rows = {
        (row["generator"], row["fidelity"], row["discriminator"], float(row["gan_weight"])): row
        for row in records(sr_scores.drop_duplicates(["generator", "fidelity", "discriminator", "gan_weight"]))
    }
    judge_rows = {str(row["judge"]): row for row in records(sr_scores.drop_duplicates("judge"))}
    for generator, trained in gains.trained.items():
        for kind in KINDS[:2]:
            found.append(
                {"generator": generator, "kind": kind} | _advantage(trained, kind, cell_rows, judge_rows, level)
            )
    for row, p in zip(found, holm([row["p"] for row in found]), strict=True):
        row |= {"p_holm": p, "verdict": verdict(p, int(row["n_seeds"]))}
    return pd.DataFrame(found, columns=COLUMNS)


def _advantage(trained: Trained, kind: str, cell_rows: dict, judge_rows: dict, level: float) -> dict:
    """Return the advantage of one kind of family."""
    measures, settings, cells = _complete(trained)
    judges = [
        j
        for j, status in enumerate(trained.unit_status)
        if status == "ok" and not (trained.n_not_ok[cells, j].any() or trained.n_missing[cells, j].any())
    ]
    row: dict[str, Any] = dict.fromkeys(COLUMNS[2:], float("nan"))
    row |= {"n_measures": len(measures), "n_judges": len(judges), "n_settings": len(settings), "n_related": 0}
    row |= {"n_seeds": len(trained.seeds), "n_images": len(trained.images), "related": ""}
    related = np.array(
        [
            [
                _shares(cell_rows[tuple(trained.keys[cells[k * len(settings)]])], judge_rows[trained.judges[j]], kind)
                for j in judges
            ]
            for k in range(len(measures))
        ],
        dtype=float,
    ).reshape(len(measures), len(judges))
    names = [f"{measures[k]} by {trained.judges[judges[j]]}" for k, j in np.argwhere(related)]
    row |= {"n_related": len(names), "related": "; ".join(names)}
    weights = _double_centred(related) if related.size else related
    scale = float((weights**2).sum())
    freedom = (len(measures) - 1) * (len(judges) - 1) - 1
    if not names or scale < 1e-9:
        return row | {"status": f"no measure shares a {kind} with some judges and not with others"}
    if freedom < 1 or len(trained.seeds) < 2 or len(trained.images) < 2:
        return row | {"status": "too few measures, judges, seeds or images"}
    scores = trained.values[cells][:, judges] / trained.unit[judges, None, None]
    scores = scores.reshape(len(measures), len(settings), *scores.shape[1:]).mean(axis=1)
    table = scores.mean(axis=(2, 3))
    advantage = float((weights * table).sum() / scale)
    left = _double_centred(table) - advantage * weights
    of_tastes = float((left**2).sum() / freedom / scale)
    each = np.einsum("kj,kjsi->si", weights, scores) / scale
    of_seeds = each.mean(axis=1).var(ddof=1) / len(each)
    of_images = each.mean(axis=0).var(ddof=1) / each.shape[1]
    variance, df = of_tastes, float(freedom)
    if of_seeds + of_images > variance:
        variance = float(of_seeds + of_images)
        df = variance**2 / (of_seeds**2 / (len(each) - 1) + of_images**2 / (each.shape[1] - 1))
    se = float(np.sqrt(variance))
    half = se * float(stats.t.isf((1 - level) / trained.looks / 2, df))
    return row | {
        "advantage": advantage,
        "low": advantage - half,
        "high": advantage + half,
        "se": se,
        "df": df,
        "p": over_looks(float(2 * stats.t.sf(abs(advantage) / se, df)) if se else float(advantage == 0), trained.looks),
        "status": "ok",
    }


def _complete(trained: Trained) -> tuple[list[str], list[tuple[str, float]], list[int]]:
    """Return measures and settings whose cells are all there, and the cells by measure, then setting."""
    number = {
        (key.fidelity, key.setting): index
        for index, key in enumerate(trained.keys)
        if key.fidelity != "none" and not trained.lost[index].any()
    }
    settings = sorted({setting for _, setting in number})
    measures = sorted({fidelity for fidelity, _ in number})
    measures = [name for name in measures if all((name, setting) in number for setting in settings)]
    return measures, settings, [number[name, setting] for name in measures for setting in settings]


def _shares(cell: dict, judge: dict, kind: str) -> bool:
    """Return whether a judge shares a family of this kind with the measure of a cell, whatever its discriminator."""
    of_measure = families_of_cell({**cell, "discriminator_families": ""})
    shared = counted(of_measure & families(judge["judge_families"]), [kind])
    return any(family.startswith(f"{kind}:") for family in shared)


def _double_centred(table: Floats | Sequence) -> Floats:
    values = np.asarray(table, dtype=float)
    return values - values.mean(axis=0) - values.mean(axis=1, keepdims=True) + values.mean()
