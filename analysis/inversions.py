"""Inversions: pairs of measures of which one is the better metric and the worse objective, beyond noise."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd

from .contrasts import Contrast, contrast
from .statistics.assessment import Assessment
from .statistics.divergence import balanced_trimming
from .statistics.frames import records, where
from .statistics.multiplicity import cross_screened, holm, one_sided_over_looks, opposed
from .trained import CellKey, Trained
from .verdicts import FAMILIES, verdict

# With so few references the assessment decides which pairs can be found at all: each side then selects for the other.
FEW_REFERENCES = 10
HOLM, CROSS = "Holm", "cross-screening"
PAIR_COLUMNS = [
    *("better_metric", "worse_metric", "srcc_difference", "srcc_difference_low", "srcc_difference_high", "srcc_p"),
    *("gain_difference", "gain_difference_low", "gain_difference_high", "gain_p", "gain_se", "gain_df"),
    *("gain_seed_variance", "gain_image_variance"),
    *("discordant", "p", "p_corrected", "correction", "verdict"),
    *("n_lost", "n_seeds", "n_images", "n_judges", "judges", "judges_related", "judges_incomplete", "status"),
]


def list_pairs(assessment: Assessment, dataset: str, rows: pd.DataFrame, trained: Trained, level: float) -> list[dict]:
    """Return one row per pair of measures of a setting, the better metric first.

    ``srcc_p`` and ``gain_p`` are one-sided, of "the first is not better"; ``p`` is that of the intersection-union test
    of an inversion in either direction. Where a cell lost seeds, what survives is no fair sample of it: the pair is
    also compared with its lost seeds as the worst (``balanced_trimming``), and the less sure of the two tests counts.

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
            "gain_p": less_sure(gain.p_greater, trimmed_p(trained, objective, cells[a][0], cells[b][0]))
            if lost
            else gain.p_greater,
            **gain.columns("gain"),
            "discordant": bool(metric.value > 0 and gain.value < 0),
            "p": np.nan,
            "p_corrected": np.nan,
            "correction": "",
            "verdict": "",
            **objective.sample(trained),
        }
        for name, estimate in (("srcc", metric), ("gain", gain)):
            low, high = estimate.interval(level)
            row |= {f"{name}_difference_low": low, f"{name}_difference_high": high}
        if row["status"] == "ok" and np.isnan(metric.se):
            row["status"] = "too few references"
        row["n_lost"] = lost
        if np.isfinite(row["srcc_p"]) and np.isfinite(row["gain_p"]):
            row["p"] = float(opposed(row["srcc_p"], row["gain_p"]))
        found.append({name: row[name] for name in PAIR_COLUMNS})
    return found


def trimmed_p(trained: Trained, found: Contrast, a: int, b: int) -> float:
    """Return the one-sided p of "the first is not better" with lost seeds as the worst; NaN if too few are left."""
    if not found.panel.judges:
        return np.nan
    values = trained.grid(found.panel.judges).values
    trimmed = balanced_trimming(values[a], values[b])
    return one_sided_over_looks(trimmed.p / 2 if trimmed.difference > 0 else 1 - trimmed.p / 2, trained.looks)


def less_sure(p: float, q: float) -> float:
    """Return the one-sided p nearer to .5, or .5 if the two point in opposite directions.

    Examples:
        >>> less_sure(0.01, 0.2), less_sure(0.01, 0.9)
        (0.2, 0.5)
    """
    if not np.isfinite([p, q]).all():
        return np.nan
    return 0.5 if (p - 0.5) * (q - 0.5) < 0 else max(p, q, key=lambda each: -abs(each - 0.5))


def correct(pairs: pd.DataFrame, assessment: Assessment) -> pd.DataFrame:
    """Correct for every pair, setting, generator and data set, and add verdicts; these share their level with trends.

    Which correction is used depends on the number of references alone, so that nobody can choose after the fact:
    Holm's, or with ten references or fewer cross-screening, which is then stronger.
    """
    references = assessment.table.loc[assessment.table["dataset"].isin(pairs["dataset"]), "n_references"]
    few = len(references) > 0 and int(references.min()) <= FEW_REFERENCES
    p = pairs["p"].to_numpy(dtype=float)
    if few:
        names = pairs[["dataset", "better_metric", "worse_metric"]].astype(str).agg("|".join, axis=1)
        adjusted = cross_screened(pairs["srcc_p"], pairs["gain_p"], names.to_numpy())
        corrected = np.where(np.isfinite(p), adjusted, np.nan)
    else:
        corrected = holm(p)
    verdicts = [verdict(FAMILIES * p, n) for p, n in zip(corrected, pairs["n_seeds"], strict=True)]
    return pairs.assign(p_corrected=corrected, correction=CROSS if few else HOLM, verdict=verdicts)
