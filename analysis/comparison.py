"""Two or more studies beside one another: what each found, and which differences between them are findings.

That something is established in one study and undecided in another is no difference between them. Here a difference is
a finding only by a test of the difference itself, paired by seed and image, or by reference image; what cannot be
paired is "not tested", with the reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from .contrasts import weighted_contrast
from .errors import AnalysisError
from .result_tables import UNTRAINED
from .statistics.assessment import Assessment, assess
from .statistics.bootstrap import LEVEL
from .statistics.contrast import Estimate
from .statistics.frames import Row, records, where
from .statistics.multiplicity import holm
from .study import Study
from .trained import CELL, CellKey, Trained, trained_cells
from .verdicts import MIN_SEEDS, verdict

NOT_TESTED = "not tested"
# Marks a setting or measure of the second study of a pair, where both are in one table.
SECOND = "\u2032"
SAME_SCORE = 1e-4  # relative: kinds of processor differ by less
PAIR = ["a", "b"]
ESTIMATE = ["difference", "difference_low", "difference_high", "p"]
GAIN_COLUMNS = [
    *(*PAIR, *CELL, "gain_a", "gain_b", *ESTIMATE, "n_seeds", "n_images", "judges", "status", "p_holm", "verdict"),
]
SRCC_COLUMNS = [
    *PAIR,
    "dataset",
    "measure",
    "srcc_a",
    "srcc_b",
    *ESTIMATE,
    "n_references",
    "status",
    "p_holm",
    "verdict",
]


@dataclass(frozen=True)
class Comparison:
    """What becomes of several studies beside one another.

    Attributes:
        studies: The studies by name.
        gains: One row per pair of studies and trained cell that one of them has: the gain in either, and, where both
            have it, the second minus the first in judge SDs of the first with its t interval over new seeds and images,
            ``p``, ``p_holm`` over all tests of both tables, ``verdict``, and ``status``: "ok", or why it is not tested.
            The pixel-only cell is a row too: there the difference is that of the scores themselves.
        metrics: One row per pair of studies, data set and measure: the SRCC in either, and the same for their
            difference, by the jackknife over reference images.
    """

    studies: Mapping[str, Study]
    gains: pd.DataFrame
    metrics: pd.DataFrame


def compare(studies: Mapping[str, Study]) -> Comparison:
    """Compare studies pair by pair.

    Args:
        studies: Name → study; the order is that of the columns.

    Raises:
        AnalysisError: Fewer than two studies.

    Examples:
        >>> from lopsided.analysis import StudyTables, analyse
        >>> empty = analyse(StudyTables(), n_boot=10)
        >>> compare({"first": empty, "second": empty}).gains.empty
        True
    """
    if len(studies) < 2:
        raise AnalysisError(f"a comparison needs two studies or more, got {len(studies)}.")
    pairs = list(combinations(studies.items(), 2))
    gains = [row for (a, one), (b, other) in pairs for row in _gains(a, one, b, other)]
    metrics = [row for (a, one), (b, other) in pairs for row in _metrics(a, one, b, other)]
    of_gains = pd.DataFrame(gains, columns=GAIN_COLUMNS[:-2])
    of_metrics = pd.DataFrame(metrics, columns=SRCC_COLUMNS[:-2])
    # Whatever the reader may pick from both tables is one family of tests.
    p = holm([*of_gains["p"], *of_metrics["p"]])
    n_seeds = [*of_gains["n_seeds"], *[MIN_SEEDS] * len(of_metrics)]  # none plays a part in an assessment
    said = [verdict(q, n) if np.isfinite(q) else NOT_TESTED for q, n in zip(p, n_seeds, strict=True)]
    cut = len(of_gains)
    return Comparison(
        studies,
        of_gains.assign(p_holm=p[:cut], verdict=said[:cut]),
        of_metrics.assign(p_holm=p[cut:], verdict=said[cut:]),
    )


def _estimate(found: Estimate) -> dict[str, float]:
    low, high = found.interval(LEVEL)
    return dict(zip(ESTIMATE, (found.value, low, high, found.p), strict=True))


NOTHING: dict[str, Any] = {**dict.fromkeys(ESTIMATE, np.nan), "n_seeds": 0, "n_images": 0, "judges": ""}


def _gains(a: str, one: Study, b: str, other: Study) -> list[Row]:
    """Return a row for every trained cell of either study."""
    pooled, why = _pooled(one, other)
    of = [{_key(row): row["gain"] for row in records(study.gains.table)} for study in (one, other)]
    baselines = [
        {key: 0.0 for trained in study.gains.trained.values() for key in trained.keys if key.is_baseline}
        for study in (one, other)
    ]
    rows = []
    for key in sorted({*of[0], *of[1], *(set(baselines[0]) & set(baselines[1]))}):
        both = [gains.get(key, own.get(key, np.nan)) for gains, own in zip(of, baselines, strict=True)]
        row = {"a": a, "b": b, **key._asdict(), "gain_a": both[0], "gain_b": both[1], **NOTHING}
        missing = [name for name, gain in zip((a, b), both, strict=True) if np.isnan(gain)]
        if missing:
            rows.append(row | {"status": f"no gain in {' and '.join(missing)}"})
        elif key.generator not in pooled:
            rows.append(row | {"status": why})
        else:
            rows.append(row | _difference(pooled[key.generator], key, one, other))
    return rows


def _key(row: Row) -> CellKey:
    return CellKey(str(row["generator"]), str(row["fidelity"]), str(row["discriminator"]), float(row["gan_weight"]))


def _difference(trained: Trained, key: CellKey, one: Study, other: Study) -> Row:
    """Return the gain in the second study minus that in the first."""
    baseline = CellKey(key.generator, "none", "none", 0.0)
    signs = {key: -1.0, _second(key): 1.0}
    if not key.is_baseline:
        signs |= {baseline: 1.0, _second(baseline): -1.0}
    if absent := [cell for cell in signs if cell not in trained.keys]:
        return {"status": f"no scores of {absent[0].fidelity} that can be paired"}
    shared = _cells(one, key) & _cells(other, key)
    if shared:
        same = shared == _cells(one, key) | _cells(other, key)
        return {"status": "the same trainings" if same else f"{len(shared)} trainings are the same"}
    weights = np.zeros(len(trained.keys))
    for cell, sign in signs.items():
        weights[trained.index(cell)] = sign
    found = weighted_contrast(trained, weights)
    judges = ";".join(trained.judges[j] for j in found.panel.judges)
    counts = {"n_seeds": found.estimate.n_seeds, "n_images": found.estimate.n_images, "judges": judges}
    return _estimate(found.estimate) | counts | {"status": found.status}


def _second(key: CellKey) -> CellKey:
    return key._replace(discriminator=key.discriminator + SECOND)


def _cells(study: Study, key: CellKey) -> set[str]:
    return set(where(study.tables.sr_scores, **key._asdict())["cell"])


def _pooled(one: Study, other: Study) -> tuple[dict[str, Trained], str]:
    """Return the scores of both studies that can be paired, by generator, or why there are none."""
    if one.independence != other.independence:
        return {}, "the studies ask for different independence of judges"
    first, second = one.tables.sr_scores, other.tables.sr_scores
    judges = set(first["judge_id"]) & set(second["judge_id"])
    if not judges:
        return {}, "no common judge"
    image = ["test_set", "image"]
    first, second = (scores.loc[scores["judge_id"].isin(judges)] for scores in (first, second))
    same = _same_images(first, second)
    if same.empty:
        return {}, "nothing shows that their test images are the same"
    first, second = (scores.merge(same, on=image) for scores in (first, second))
    # One judge may have two names; what it is, is its identity.
    names = dict(zip(first["judge_id"], first["judge"], strict=True))
    second = second.assign(judge=second["judge_id"].map(names))
    second = second.loc[~second["fidelity"].isin(UNTRAINED)]
    second = second.assign(discriminator=second["discriminator"] + SECOND)
    both = pd.concat([first, second], ignore_index=True)
    return trained_cells(both, one.independence), "this generator is in one of them only"


def _same_images(first: pd.DataFrame, second: pd.DataFrame) -> pd.DataFrame:
    """Return the test images of which all common judges give the same scores before any training."""
    key = ["fidelity", "test_set", "image", "judge_id"]
    before = [scores.loc[scores["fidelity"].isin(UNTRAINED) & scores["status"].eq("ok")] for scores in (first, second)]
    both = before[0].merge(before[1], on=key)
    both["equal"] = np.isclose(both["value_x"], both["value_y"], rtol=SAME_SCORE, atol=0)
    equal = both.groupby(["test_set", "image"])["equal"].all()
    return equal.loc[equal].reset_index().loc[:, ["test_set", "image"]]


def _metrics(a: str, one: Study, b: str, other: Study) -> list[Row]:
    """Return a row for every measure of a data set in either study."""
    tables = [study.assessment.table for study in (one, other)]
    found = [{(str(row["dataset"]), str(row["measure"])): row for row in records(table)} for table in tables]
    tested = _assessed_together(one, other)
    rows = []
    for dataset, measure in sorted({*found[0], *found[1]}):
        of = [rows_of.get((dataset, measure)) for rows_of in found]
        values = [row["srcc"] if row else np.nan for row in of]
        row = {"a": a, "b": b, "dataset": dataset, "measure": measure, "srcc_a": values[0], "srcc_b": values[1]}
        row |= {**dict.fromkeys(ESTIMATE, np.nan), "n_references": 0}
        missing = [name for name, value in zip((a, b), values, strict=True) if np.isnan(value)]
        if missing or not of[0] or not of[1]:
            rows.append(row | {"status": f"no SRCC in {' and '.join(missing)}"})
            continue
        if of[0]["dataset_id"] != of[1]["dataset_id"]:
            rows.append(row | {"status": "the images are not the same"})
        elif of[0]["measure_id"] == of[1]["measure_id"]:
            rows.append(row | {"status": "the same measure on the same images"})
        else:
            rows.append(row | _srcc_difference(tested, dataset, measure))
    return rows


def _assessed_together(one: Study, other: Study) -> Assessment:
    """Assess measures of one name and two definitions on the data sets that both studies have."""
    first, second = one.tables.fr_scores, other.tables.fr_scores
    shared = ["dataset", "dataset_id", "measure"]
    twice = (
        first.loc[:, [*shared, "measure_id"]]
        .drop_duplicates()
        .merge(second.loc[:, [*shared, "measure_id"]].drop_duplicates(), on=shared)
    )
    twice = twice.loc[twice["measure_id_x"] != twice["measure_id_y"], shared]
    first, second = first.merge(twice, on=shared), second.merge(twice, on=shared)
    second = second.assign(measure=second["measure"] + SECOND)
    return assess(pd.concat([first, second], ignore_index=True), n_boot=one.n_boot, seed=one.seed)


def _srcc_difference(tested: Assessment, dataset: str, measure: str) -> Row:
    of = [where(tested.table, dataset=dataset, measure=name) for name in (measure + SECOND, measure)]
    if undone := [row["status"] for found in of for row in records(found) if row["status"] != "ok"]:
        return {"status": undone[0]}
    found = tested.difference(dataset, measure + SECOND, measure)
    references = int(of[0]["n_references"].iloc[0])
    status = "ok" if np.isfinite(found.se) else "too few references"
    return _estimate(found) | {"n_references": references, "status": status}
