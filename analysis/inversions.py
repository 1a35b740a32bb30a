"""Inversions: pairs of measures of which one is the better metric and the worse objective, beyond noise."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd

from .contrasts import contrast
from .statistics.assessment import Assessment
from .statistics.frames import records, where
from .statistics.multiplicity import cross_screened, holm, opposed
from .trained import CellKey, Trained
from .verdicts import verdict

# With so few references the assessment decides which pairs can be found at all: each side then selects for the other.
FEW_REFERENCES = 10
HOLM, CROSS = "Holm", "cross-screening"
PAIR_COLUMNS = [
    *("better_metric", "worse_metric", "srcc_difference", "srcc_difference_low", "srcc_difference_high", "srcc_p"),
    *("gain_difference", "gain_difference_low", "gain_difference_high", "gain_p", "gain_se", "gain_df"),
    *("discordant", "p", "p_corrected", "correction", "verdict"),
    *("n_seeds", "n_images", "n_judges", "judges", "judges_related", "judges_incomplete", "status"),
]


def list_pairs(assessment: Assessment, dataset: str, rows: pd.DataFrame, trained: Trained, level: float) -> list[dict]:
    """Return one row per pair of measures of a setting, the better metric first.

    ``srcc_p`` and ``gain_p`` are one-sided, of "the first is not better"; ``p`` is that of the intersection-union test
    of an inversion in either direction. A pair with a cell that lost seeds is not tested: what survives is not a fair
    sample of it.

    Args:
        assessment: Result of ``assess``.
        dataset: The labelled data set.
        rows: Rows of the gains of this setting.
        trained: Scores of the generator.
        level: Coverage of the intervals.
    """
    assessed = where(assessment.table, dataset=dataset, status="ok")
    srcc = dict(zip(assessed["measure"], assessed["srcc"], strict=True))
    cells = {}
    for row in records(rows):
        key = CellKey(row["generator"], row["fidelity"], row["discriminator"], float(row["gan_weight"]))
        if row["fidelity"] in srcc and key in trained.keys:
            cells[row["fidelity"]] = trained.index(key), int(row["n_lost"])
    found = []
    for a, b in combinations(sorted(cells, key=lambda measure: (-srcc[measure], measure)), 2):
        metric = assessment.difference(dataset, a, b)
        objective = contrast(trained, [cells[a][0]], [cells[b][0]])
        gain = objective.estimate
        lost = cells[a][1] + cells[b][1]
        row = {
            "better_metric": a,
            "worse_metric": b,
            "srcc_difference": metric.value,
            "srcc_p": metric.p_greater,
            "gain_difference": gain.value,
            "gain_p": np.nan if lost else gain.p_greater,
            "gain_se": gain.se,
            "gain_df": gain.df,
            "discordant": bool(metric.value > 0 and gain.value < 0),
            "p": np.nan,
            "p_corrected": np.nan,
            "correction": "",
            "verdict": "",
            **{name: value for name, value in objective.row(trained, level).items() if name in PAIR_COLUMNS[-7:]},
        }
        for name, estimate in (("srcc", metric), ("gain", gain)):
            low, high = estimate.interval(level)
            row |= {f"{name}_difference_low": low, f"{name}_difference_high": high}
        if lost:
            row["status"] = f"{lost} lost seed{'s' * (lost > 1)}"
        elif row["status"] == "ok" and np.isnan(metric.se):
            row["status"] = "too few references"
        if np.isfinite(row["srcc_p"]) and np.isfinite(row["gain_p"]):
            row["p"] = float(opposed(row["srcc_p"], row["gain_p"]))
        found.append({name: row[name] for name in PAIR_COLUMNS})
    return found


def correct(pairs: pd.DataFrame, assessment: Assessment) -> pd.DataFrame:
    """Correct for every pair, setting, generator and data set, and add verdicts.

    Which correction is used depends on the number of references alone, so that nobody can choose after the fact:
    Holm's, or with ten references or fewer cross-screening, which is then stronger.
    """
    references = assessment.table.loc[assessment.table["dataset"].isin(pairs["dataset"]), "n_references"]
    few = len(references) > 0 and int(references.min()) <= FEW_REFERENCES
    p = pairs["p"].to_numpy(dtype=float)
    if few:
        names = pairs[["dataset", "better_metric", "worse_metric"]].astype(str).agg("|".join, axis=1)
        sides = (pairs[side].to_numpy(dtype=float) for side in ("srcc_p", "gain_p"))
        corrected = np.where(np.isfinite(p), cross_screened(*sides, names.to_numpy()), np.nan)
    else:
        corrected = holm(p)
    verdicts = [verdict(p, n) for p, n in zip(corrected, pairs["n_seeds"], strict=True)]
    return pairs.assign(p_corrected=corrected, correction=CROSS if few else HOLM, verdict=verdicts)
