"""Draws of random weights: several measures in training, one in a ranking, the mean of its draws.

What differs between two measures is their form and their architecture; draws of weights are a sample, like seeds. If
each draw counted as a measure, the one that happens to have most draws would decide ρ, the trend and the spreads.

The mean is that of SRCCs and of gains, not of scores: scores averaged over draws are another measure, and a better one.
What is said of the mean holds for these draws; ``summarise_draws`` shows how much they differ.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np
import pandas as pd

from .gain import Gains
from .independence import families
from .result_tables import without_draw
from .statistics.assessment import Assessment
from .statistics.frames import grouped, records, where
from .statistics.rated import STATISTICS
from .trained import CELL

SUMMARY_COLUMNS = [
    *("side", "generator", "dataset", "discriminator", "gan_weight", "measure"),
    *("n_draws", "mean", "sd", "lowest", "highest"),
]


def name_means(objectives: Iterable[str], metrics: Iterable[str] = ()) -> dict[str, str]:
    """Return the key of the mean for every draw of a measure that has several.

    Args:
        objectives: Keys of the measures that were trained with.
        metrics: Keys of the measures that were assessed; a draw that is not among them is left as it is.

    Examples:
        >>> name_means(["ssim", "dists-vgg16-r", "dists-vgg16-r@seed1"])
        {'dists-vgg16-r': 'dists-vgg16-r@2draws', 'dists-vgg16-r@seed1': 'dists-vgg16-r@2draws'}
        >>> name_means(["ssim", "dists-vgg16-r", "dists-vgg16-r@seed1"], ["ssim", "dists-vgg16-r"])
        {}
    """
    assessed = set(metrics)
    draws: dict[str, list[str]] = defaultdict(list)
    for key in sorted(set(objectives)):
        if not assessed or key in assessed:
            draws[without_draw(key)].append(key)
    return {key: f"{form}@{len(of)}draws" for form, of in draws.items() if len(of) > 1 for key in of}


def draws_of(means: Mapping[str, str]) -> dict[str, list[str]]:
    """Return the draws behind every key of a mean."""
    found: dict[str, list[str]] = defaultdict(list)
    for draw, mean in means.items():
        found[mean].append(draw)
    return found


def average_assessment(assessment: Assessment, means: Mapping[str, str]) -> Assessment:
    """Return the assessment with the mean of its draws in place of each; without ``differences`` and ``ranks``.

    Where a data set lacks one of the draws, the mean is not assessed on it. The ends of an interval are the mean ends:
    the interval of a mean is at most as wide.
    """
    if not means:
        return assessment
    rows = records(assessment.table.loc[~assessment.table["measure"].isin(list(means))])
    parts = {key: part for key, part in assessment.leave_one_out.items() if key[1] not in means}
    values = [name + end for name in STATISTICS for end in ("", "_low", "_high")]
    for dataset, of_dataset in grouped(assessment.table, "dataset"):
        for mean, draws in draws_of(means).items():
            found = of_dataset.set_index("measure").reindex(draws)
            if found["status"].isna().any():
                continue
            bad = found.loc[found["status"] != "ok", "status"]
            rows.append(
                dict.fromkeys(assessment.table.columns, float("nan"))
                | {name: found[name].iloc[0] for name in ("dataset", "dataset_id", "label_kind", "n", "n_references")}
                | {"measure": mean, "measure_id": "+".join(found["measure_id"])}
                | {name: found[name].mean() if bad.empty else np.nan for name in values}
                | {"status": "ok" if bad.empty else f"{bad.index[0]}: {bad.iloc[0]}"}
            )
            if bad.empty:
                parts[str(dataset), mean] = np.mean(
                    [assessment.leave_one_out[str(dataset), draw] for draw in draws], axis=0
                )
    table = pd.DataFrame(rows, columns=assessment.table.columns)
    table = table.sort_values(["dataset", "measure"], kind="stable", ignore_index=True)
    return replace(
        assessment,
        table=table,
        differences=assessment.differences.head(0),
        ranks=assessment.ranks.head(0),
        leave_one_out=parts,
    )


def average_scores(sr_scores: pd.DataFrame, means: Mapping[str, str]) -> pd.DataFrame:
    """Return the table ``sr_scores`` with the mean of its draws in place of each, by seed, image and judge.

    A score that one of the draws lacks is lacking, so a seed that one of them lost is lost; one that is not ok is not.
    """
    mean = sr_scores["fidelity"].map(means)
    if mean.isna().all():
        return sr_scores
    ids, of = (
        dict(zip(sr_scores["fidelity"], sr_scores[column], strict=True))
        for column in ("fidelity_id", "fidelity_families")
    )
    draws = {key: [draw for draw in names if draw in ids] for key, names in draws_of(means).items()}
    by = [*CELL, "seed", "test_set", "image", "judge"]
    rows = sr_scores.loc[mean.notna()].assign(fidelity=mean.dropna())
    # What is not ok comes first, so that it gives its status to the mean.
    rows = rows.iloc[np.argsort(rows["status"] == "ok", kind="stable")]
    found = rows.groupby(by, sort=False)["value"].agg(["mean", "size"])
    rows = rows.drop_duplicates(by).set_index(by)
    rows["value"] = found["mean"]
    rows = rows.loc[found["size"].loc[rows.index] == [len(draws_of(means)[key[1]]) for key in rows.index]].reset_index()
    rows["fidelity_id"] = ["+".join(ids[draw] for draw in draws[key]) for key in rows["fidelity"]]
    joined = {key: ";".join(sorted(set().union(*(families(of[d]) for d in names)))) for key, names in draws.items()}
    rows["fidelity_families"] = rows["fidelity"].map(joined)
    return pd.concat([sr_scores.loc[mean.isna()], rows.loc[:, sr_scores.columns]], ignore_index=True)


def average_cells(cells: pd.DataFrame, means: Mapping[str, str]) -> pd.DataFrame:
    """Return the table ``cells`` with draws named as their mean, so that what a draw lost is lost for the mean."""
    return cells.assign(fidelity=cells["fidelity"].replace(dict(means))) if means else cells


def summarise_draws(assessment: Assessment, gains: Gains, means: Mapping[str, str]) -> pd.DataFrame:
    """Say how much draws differ, as metrics (SRCC, per data set) and as objectives (gain, per adversarial setting).

    Returns:
        One row per mean and place that has draws, with their range and their SD, noise of seeds and images included.
    """
    rows = []
    for side, table, key, value, place in (
        ("metric", where(assessment.table, status="ok"), "measure", "srcc", ("dataset",)),
        ("objective", gains.table, "fidelity", "gain", ("generator", "discriminator", "gan_weight")),
    ):
        for at, of_place in ((at, rows) for at, rows in grouped(table, *place) if means):
            for mean, draws in draws_of(means).items():
                found = of_place.loc[of_place[key].isin(draws), value].dropna()
                if found.empty:
                    continue
                row = dict.fromkeys(SUMMARY_COLUMNS, "") | {"gan_weight": np.nan, "side": side, "measure": mean}
                row |= dict(zip(place, at if len(place) > 1 else (at,), strict=True))
                row |= {"n_draws": len(found), "mean": found.mean(), "sd": found.std(ddof=1)}
                rows.append(row | {"lowest": found.min(), "highest": found.max()})
    return pd.DataFrame(rows, columns=SUMMARY_COLUMNS)
