"""The asymmetry: how much the ranking of measures by assessment differs from their ranking by gain, per setting.

A = SRCC of a measure on a data set (``assessment.py``); O = gain of the super-resolver trained with it (``gain.py``).
A *setting* is (discriminator, gan_weight). rho = Spearman's correlation of A and O over measures: +1 means that the
better metric is the better objective.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations, permutations

import numpy as np
import pandas as pd
from scipy import stats

from .errors import AnalysisError
from .gain import CellKey, Gains
from .result_tables import UNTRAINED
from .statistics.assessment import Assessment
from .statistics.bootstrap import LEVEL, percentile_interval, share_above_zero
from .statistics.correlation import Floats, weighted_pearson
from .statistics.frames import grouped, records, where

MIN_MEASURES = 3
# 8! = 40,320 orders take milliseconds; 9! would take seconds per setting, only for a third digit.
MAX_EXACT = 8
ALPHA = 0.05
NOT_MEASURES = ("none", *UNTRAINED)
WHERE = ["generator", "dataset", "discriminator", "gan_weight"]
SETTING_COLUMNS = [
    *WHERE,
    *("n", "rho", "rho_low", "rho_high", "n_undefined", "p", "p_method", "critical_rho"),
    *("n_pairs", "n_discordant", "n_significant", "excluded", "status"),
]
POINT_COLUMNS = [
    *WHERE,
    *("measure", "measure_id", "srcc", "srcc_low", "srcc_high", "gain", "gain_low", "gain_high"),
    *("rank_assessment", "rank_gain"),
]
PAIR_COLUMNS = [
    *WHERE,
    *("better_metric", "worse_metric", "srcc_difference", "srcc_difference_low", "srcc_difference_high"),
    *("gain_difference", "gain_difference_low", "gain_difference_high", "discordant", "significant"),
]
CHANGE_COLUMNS = [*WHERE, "n", "rho_without", "rho_with", "drop", "drop_low", "drop_high", "probability", "status"]
SPREAD_COLUMNS = [
    *("generator", "scope", "n_fidelities", "n_settings"),
    *(name + end for name in ("sd_fidelity", "sd_setting", "ratio") for end in ("", "_low", "_high")),
    *("probability", "status"),
]


@dataclass(frozen=True)
class Asymmetry:
    """Where the two rankings agree and where they differ.

    Attributes:
        settings: One row per (generator, data set, setting): ``rho`` with its interval, two-sided ``p`` (exact
            permutation up to 8 measures), ``critical_rho`` (the smallest |rho| with p < 0.05 at this n; NaN if there is
            none), the number of pairs of measures, of those in opposite order (``n_discordant``), and of those for
            which the intervals of both the A and the O difference exclude 0 (``n_significant``); ``excluded`` measures
            with the reason; ``status``.
        points: The joined measures with A, O, intervals and mid-ranks (1 = best).
        pairs: Every pair of joined measures, ``better_metric`` having the larger SRCC, with both differences.
        changes: One row per adversarial setting: rho without a discriminator minus rho with it, over the measures that
            both have (``drop`` > 0: the rankings agree less), its interval, and the share of resamples above 0.
        spread: Root-mean-square SD of the gain across fidelity measures (within a setting) and across settings (within
            a fidelity measure), ``ratio`` = settings over measures; over all settings and over the adversarial ones.
    """

    settings: pd.DataFrame
    points: pd.DataFrame
    pairs: pd.DataFrame
    changes: pd.DataFrame
    spread: pd.DataFrame


@dataclass(frozen=True)
class Joined:
    """Both sides of the measures of one setting: values ``(n,)`` and replicates ``(n_boot, n)``, same order."""

    measures: list[str]
    n_references: int
    a: Floats
    o: Floats
    a_again: Floats
    o_again: Floats


def compare_rankings(assessment: Assessment, gains: Gains, *, level: float = LEVEL) -> Asymmetry:
    """Join the two sides of every measure and compare their rankings.

    Replicate i of A and replicate i of O make one joint resample (the two sides are independent data). Sampling noise
    shuffles ranks, so the replicates of rho are closer to 0 than rho itself: the interval shows how little is known.

    Args:
        assessment: Result of ``assess``.
        gains: Result of ``gains``, with the same ``n_boot``.
        level: Coverage of the percentile intervals, in (0, 1).

    Raises:
        AnalysisError: A measure has one id as a metric and another as a fidelity term; unequal ``n_boot``.
    """
    refuse_different_ids(assessment.table, gains.table)
    refuse_unequal_resamples(assessment, gains)
    settings, points, pairs, changes = [], [], [], []
    measures = gains.table.loc[~gains.table["fidelity"].isin(NOT_MEASURES)]
    for generator, of_generator in grouped(measures, "generator"):
        for dataset, of_dataset in grouped(assessment.table, "dataset"):
            joined: dict[tuple[str, float], Joined] = {}
            for setting, trained in grouped(of_generator, "discriminator", "gan_weight"):
                here = dict(zip(WHERE, (generator, dataset, *setting), strict=True))
                side = join(of_dataset, trained, assessment, gains)
                joined[setting] = side
                settings.append(here | compare(side, level) | {"excluded": left_out(of_dataset, trained)})
                points += [here | point for point in list_points(side, of_dataset, trained)]
                found = list_pairs(side, level)
                pairs += [here | pair for pair in found]
                settings[-1] |= {
                    "n_pairs": len(found),
                    "n_discordant": sum(pair["discordant"] for pair in found),
                    "n_significant": sum(pair["significant"] for pair in found),
                }
            without = joined.pop(("none", 0.0), None)
            for setting, side in joined.items():
                here = dict(zip(WHERE, (generator, dataset, *setting), strict=True))
                changes.append(here | change(without, side, level))
    return Asymmetry(
        settings=pd.DataFrame(settings, columns=SETTING_COLUMNS),
        points=pd.DataFrame(points, columns=POINT_COLUMNS),
        pairs=pd.DataFrame(pairs, columns=PAIR_COLUMNS),
        changes=pd.DataFrame(changes, columns=CHANGE_COLUMNS),
        spread=pd.DataFrame(spread(gains, level), columns=SPREAD_COLUMNS),
    )


def refuse_different_ids(assessed: pd.DataFrame, trained: pd.DataFrame) -> None:
    """Raise AnalysisError if a key names different measures on the two sides."""
    metric = dict(zip(assessed["measure"], assessed["measure_id"], strict=True))
    objective = dict(zip(trained["fidelity"], trained["fidelity_id"], strict=True))
    different = sorted(key for key in metric.keys() & objective.keys() if metric[key] != objective[key])
    if different:
        key = different[0]
        raise AnalysisError(
            f"{len(different)} measure(s) differ between the two sides, first {key}: id {metric[key]} as a metric,"
            f" {objective[key]} as a fidelity term. Give both sides the same specification and run the outdated side"
            " again."
        )


def refuse_unequal_resamples(assessment: Assessment, gains: Gains) -> None:
    """Raise AnalysisError if the two sides were bootstrapped with different numbers of resamples."""
    numbers = {len(values) for values in (*assessment.replicates.values(), *gains.replicates.values())}
    if len(numbers) > 1:
        raise AnalysisError(f"the two sides have {sorted(numbers)} resamples: use one n_boot for both.")


def join(assessed: pd.DataFrame, trained: pd.DataFrame, assessment: Assessment, gains: Gains) -> Joined:
    """Return both sides of the measures that are "ok" on both, in alphabetical order."""
    a_rows = {row["measure"]: row for row in records(where(assessed, status="ok"))}
    o_rows = {row["fidelity"]: row for row in records(where(trained, status="ok"))}
    measures = sorted(a_rows.keys() & o_rows.keys())
    a_again = [assessment.replicates[a_rows[m]["dataset"], m] for m in measures]
    o_again = [gains.replicates[CellKey(*(o_rows[m][column] for column in CellKey._fields))] for m in measures]
    return Joined(
        measures=measures,
        n_references=int(assessed["n_references"].max()),
        a=np.array([a_rows[m]["srcc"] for m in measures], dtype=float),
        o=np.array([o_rows[m]["gain"] for m in measures], dtype=float),
        a_again=np.column_stack(a_again) if measures else np.empty((0, 0)),
        o_again=np.column_stack(o_again) if measures else np.empty((0, 0)),
    )


def left_out(assessed: pd.DataFrame, trained: pd.DataFrame) -> str:
    """List the measures of either side that could not be joined, each with its reason."""
    a_status = dict(zip(assessed["measure"], assessed["status"], strict=True))
    o_status = dict(zip(trained["fidelity"], trained["status"], strict=True))
    reasons = []
    for measure in sorted(a_status.keys() | o_status.keys()):
        a, o = a_status.get(measure, "not assessed"), o_status.get(measure, "not trained with")
        if (a, o) != ("ok", "ok"):
            reasons.append(f"{measure}: {', '.join(status for status in (a, o) if status != 'ok')}")
    return "; ".join(reasons)


def rank_correlation(a: Floats, o: Floats) -> Floats:
    """Return Spearman's rho along the last axis of ``(..., n)`` arrays; NaN where one side is constant."""
    ranks_a, ranks_o = stats.rankdata(a, axis=-1), stats.rankdata(o, axis=-1)
    return weighted_pearson(ranks_a, ranks_o, np.ones(np.broadcast_shapes(ranks_a.shape, ranks_o.shape)))


def compare(side: Joined, level: float) -> dict:
    """Return rho of one setting with its interval and p-value."""
    n = len(side.measures)
    row: dict = dict.fromkeys(("rho", "rho_low", "rho_high", "p"), float("nan"))
    row |= {"n": n, "n_undefined": 0, "p_method": "", "critical_rho": critical_rho(n), "status": "ok"}
    if n < MIN_MEASURES:
        return row | {"status": "too few measures"}
    rho = float(rank_correlation(side.a, side.o))
    if np.isnan(rho):
        return row | {"status": "all measures tie on one side"}
    again = rank_correlation(side.a_again, side.o_again)
    low, high = percentile_interval(again, level)
    p, method = permutation_p(side.a, side.o)
    return row | {
        "rho": rho,
        "rho_low": low,
        "rho_high": high,
        "n_undefined": int(np.isnan(again).sum()),
        "p": p,
        "p_method": method,
    }


def permutation_p(a: Floats, o: Floats) -> tuple[float, str]:
    """Return the two-sided p of Spearman's rho and its method: exact over all n! orders up to n = 8, else t."""
    rho = float(rank_correlation(a, o))
    if len(a) > MAX_EXACT:
        t = rho * np.sqrt((len(a) - 2) / max(1 - rho**2, 1e-300))
        return float(2 * stats.t.sf(abs(t), len(a) - 2)), "t approximation"
    null = rank_correlation(stats.rankdata(a), stats.rankdata(o)[orders(len(o))])
    return float((np.abs(null) >= abs(rho) - 1e-9).mean()), "exact permutation"


@lru_cache(maxsize=MAX_EXACT)
def orders(n: int) -> np.ndarray:
    """Return all permutations of 0 … n−1, ``(n!, n)``."""
    return np.array(list(permutations(range(n))), dtype=np.intp)


@lru_cache
def critical_rho(n: int) -> float:
    """Return the smallest |rho| of n untied measures with two-sided p < 0.05 (n = 6: 0.886), NaN if there is none.

    Examples:
        >>> round(critical_rho(6), 3)
        0.886
    """
    if n < MIN_MEASURES:
        return float("nan")
    if n > MAX_EXACT:
        t = stats.t.isf(ALPHA / 2, n - 2)
        return float(t / np.sqrt(n - 2 + t**2))
    null = np.round(np.abs(rank_correlation(np.arange(n, dtype=float), orders(n))), 9)
    attainable, counts = np.unique(null, return_counts=True)
    p = np.cumsum(counts[::-1])[::-1] / len(null)
    return float(attainable[p < ALPHA].min()) if (p < ALPHA).any() else float("nan")


def list_points(side: Joined, assessed: pd.DataFrame, trained: pd.DataFrame) -> list[dict]:
    """Return one row per joined measure, with rank 1 the best on each side."""
    a_rows = {row["measure"]: row for row in records(assessed)}
    o_rows = {row["fidelity"]: row for row in records(trained)}
    ranks = stats.rankdata(-side.a), stats.rankdata(-side.o)
    return [
        {"measure": measure, "rank_assessment": rank_a, "rank_gain": rank_o}
        | {name: a_rows[measure][name] for name in ("measure_id", "srcc", "srcc_low", "srcc_high")}
        | {name: o_rows[measure][name] for name in ("gain", "gain_low", "gain_high")}
        for measure, rank_a, rank_o in zip(side.measures, *ranks, strict=True)
    ]


def list_pairs(side: Joined, level: float) -> list[dict]:
    """Return one row per pair of measures: both differences, whether the order is inverted, and if so beyond noise."""
    rows = []
    for i, j in combinations(range(len(side.measures)), 2):
        if side.a[i] < side.a[j]:
            i, j = j, i
        a_low, a_high = percentile_interval(
            side.a_again[:, i] - side.a_again[:, j], level, n_clusters=side.n_references
        )
        o_low, o_high = percentile_interval(side.o_again[:, i] - side.o_again[:, j], level)
        discordant = bool(side.a[i] > side.a[j] and side.o[i] < side.o[j])
        sides = (side.measures[i], side.measures[j], side.a[i] - side.a[j], a_low, a_high)
        values = (*sides, side.o[i] - side.o[j], o_low, o_high, discordant, discordant and a_low > 0 and o_high < 0)
        rows.append(dict(zip(PAIR_COLUMNS[len(WHERE) :], values, strict=True)))
    return rows


def change(without: Joined | None, with_: Joined, level: float) -> dict:
    """Return how much rho falls from the setting without a discriminator to one with it, over their common measures."""
    row: dict = dict.fromkeys(("rho_without", "rho_with", "drop", "drop_low", "drop_high", "probability"), float("nan"))
    if without is None:
        return row | {"n": 0, "status": "no cell without a discriminator"}
    common = [measure for measure in without.measures if measure in with_.measures]
    row["n"] = len(common)
    if len(common) < MIN_MEASURES:
        return row | {"status": "too few measures"}
    values, replicates = [], []
    for side in (without, with_):
        keep = [side.measures.index(measure) for measure in common]
        values.append(float(rank_correlation(side.a[keep], side.o[keep])))
        replicates.append(rank_correlation(side.a_again[:, keep], side.o_again[:, keep]))
    if np.isnan(values).any():
        return row | {"status": "all measures tie on one side"}
    again = replicates[0] - replicates[1]
    low, high = percentile_interval(again, level)
    return row | {
        "rho_without": values[0],
        "rho_with": values[1],
        "drop": values[0] - values[1],
        "drop_low": low,
        "drop_high": high,
        "probability": share_above_zero(again),
        "status": "ok",
    }


def spread(gains: Gains, level: float) -> list[dict]:
    """Compare the spread of the gain across fidelity measures with that across settings, per generator.

    Only measures with an "ok" gain in every setting of the scope count. Sampling noise adds to both spreads.
    """
    rows = []
    trained = gains.table.loc[~gains.table["fidelity"].isin(NOT_MEASURES)]
    for generator, of_generator in grouped(trained, "generator"):
        for scope, within in (
            ("all settings", of_generator),
            ("adversarial settings", of_generator[of_generator["discriminator"] != "none"]),
        ):
            grid = within.pivot(index="fidelity", columns=["discriminator", "gan_weight"], values="gain")
            grid = grid.loc[:, grid.notna().any()].dropna()
            row: dict = dict.fromkeys(SPREAD_COLUMNS, float("nan"))
            row |= {"generator": generator, "scope": scope, "status": "ok"}
            row |= {"n_fidelities": grid.shape[0], "n_settings": grid.shape[1]}
            rows.append(row)
            if min(grid.shape) < 2:
                row["status"] = "fewer than two measures or settings with every gain"
                continue
            again = np.array(
                [[gains.replicates[CellKey(generator, f, d, w)] for d, w in grid.columns] for f in grid.index]
            )
            for values, is_estimate in ((grid.to_numpy(dtype=float)[..., None], True), (again, False)):
                sd_fidelity = np.sqrt(values.var(axis=0, ddof=1).mean(axis=0))
                sd_setting = np.sqrt(values.var(axis=1, ddof=1).mean(axis=0))
                with np.errstate(divide="ignore", invalid="ignore"):
                    ratio = sd_setting / sd_fidelity
                for name, found in (("sd_fidelity", sd_fidelity), ("sd_setting", sd_setting), ("ratio", ratio)):
                    if is_estimate:
                        row[name] = float(found[0])
                    else:
                        row[name + "_low"], row[name + "_high"] = percentile_interval(found, level)
                if not is_estimate:
                    row["probability"] = share_above_zero(sd_setting - sd_fidelity)
    return rows
