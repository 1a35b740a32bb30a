"""Draws of random weights: several measures in training, one in a ranking, the mean of its draws.

What differs between two measures is their form and their architecture; draws of weights are a sample, like seeds. If
each draw counted as a measure, the one that happens to have most draws would decide ρ, the trend and the spreads.

The mean is that of SRCCs and of gains, not of scores: scores averaged over draws are another measure, and a better one.
What is said of the mean is said of random weights in general: how much these draws differ (``summarise_draws``) is part
of every error, with their number − 1 degrees of freedom.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

import numpy as np
import pandas as pd

from .result_tables import without_draw
from .statistics.assessment import Assessment
from .statistics.correlation import Floats
from .statistics.frames import grouped, records, where
from .statistics.rated import STATISTICS
from .trained import CellKey, Trained

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
    of_draws: dict[tuple[str, str], Floats] = {}
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
                key = str(dataset), mean
                parts[key] = np.mean([assessment.leave_one_out[str(dataset), draw] for draw in draws], axis=0)
                of_draws[key] = found["srcc"].to_numpy(dtype=float)
    table = pd.DataFrame(rows, columns=assessment.table.columns)
    table = table.sort_values(["dataset", "measure"], kind="stable", ignore_index=True)
    return replace(
        assessment,
        table=table,
        differences=assessment.differences.head(0),
        ranks=assessment.ranks.head(0),
        leave_one_out=parts,
        draws=of_draws,
    )


def average_trained(trained: Trained, means: Mapping[str, str]) -> Trained:
    """Return the cells with the mean of draws in place of each, in the order of their keys.

    What one of the draws lacks is lacking, so a seed that one of them lost is lost; a judge must be independent of all
    of them. Where a setting lacks a draw, the mean has no cell.
    """
    if not means:
        return trained
    n_draws = {mean: len(names) for mean, names in draws_of(means).items()}
    found: dict[CellKey, list[int]] = defaultdict(list)
    for number, key in enumerate(trained.keys):
        found[key._replace(fidelity=means.get(key.fidelity, key.fidelity))].append(number)
    cells = {key: of for key, of in sorted(found.items()) if len(of) == n_draws.get(key.fidelity, 1)}

    def joined(values: np.ndarray, how: Callable[..., np.ndarray]) -> np.ndarray:
        return np.array([how(values[of], axis=0) for of in cells.values()]).reshape(len(cells), *values.shape[1:])

    values = joined(trained.values, np.mean)
    draws = []
    for m in sorted(set(n_draws.values())):
        above = np.zeros((m, *values.shape))
        for number, of in enumerate(cells.values()):
            if len(of) == m:
                above[:, number] = trained.values[of] - values[number]
        draws.append(above)
    return replace(
        trained,
        keys=list(cells),
        values=values,
        lost=joined(trained.lost, np.any),
        n_not_ok=joined(trained.n_not_ok, np.sum),
        n_missing=joined(trained.n_missing, np.sum),
        related=joined(trained.related, np.any),
        draws=draws,
        _grids={},
    )


def average_all(trained: Mapping[str, Trained]) -> dict[str, Trained]:
    """Return the cells of every generator with the mean of draws in place of each, assessed or not."""
    return {
        generator: average_trained(of, name_means(key.fidelity for key in of.keys)) for generator, of in trained.items()
    }


def average_cells(cells: pd.DataFrame, means: Mapping[str, str]) -> pd.DataFrame:
    """Return the table ``cells`` with draws named as their mean, so that what a draw lost is lost for the mean."""
    return cells.assign(fidelity=cells["fidelity"].replace(dict(means))) if means else cells


def summarise_draws(assessment: pd.DataFrame, gains: pd.DataFrame, means: Mapping[str, str]) -> pd.DataFrame:
    """Say how much draws differ, as metrics (SRCC, per data set) and as objectives (gain, per adversarial setting).

    Args:
        assessment: The table of an ``Assessment``.
        gains: The table of ``Gains``.
        means: See ``name_means``.

    Returns:
        One row per mean and place that has draws, with their range and their SD, noise of seeds and images included.
    """
    rows = []
    for side, table, key, value, place in (
        ("metric", where(assessment, status="ok"), "measure", "srcc", ("dataset",)),
        ("objective", gains, "fidelity", "gain", ("generator", "discriminator", "gan_weight")),
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
