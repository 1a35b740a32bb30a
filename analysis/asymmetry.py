"""The asymmetry: how much the ranking of measures by assessment differs from their ranking by gain, per setting.

A = SRCC of a measure on a data set (``assess``); O = gain of the super-resolver trained with it. A *setting* is
(discriminator, gan_weight). Measures of one setting are compared by judges that are independent of all of them.

Two numbers say how A and O go together. ρ is Spearman's correlation over measures; noise of either side pulls it to 0,
which its interval models. The *trend* is how the gain rises with the rank as a metric: a contrast of trained cells,
with far more power, since noise of the gains does not attenuate it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd
from scipy import stats

from .contrasts import trend_weights, weighted_contrast
from .errors import AnalysisError
from .gain import Gains
from .inversions import PAIR_COLUMNS, correct, list_pairs
from .result_tables import UNTRAINED
from .statistics.assessment import Assessment
from .statistics.bootstrap import LEVEL
from .statistics.correlation import Floats
from .statistics.frames import grouped, records, where
from .statistics.multiplicity import ALPHA, holm, over_looks
from .statistics.noise_free_rho import noise_free_interval, rho_change
from .statistics.rank_correlation import critical_rho, exact_p, minimum_detectable_rho, spearman
from .trained import CellKey, Trained
from .verdicts import ESTABLISHED, FAMILIES, UNDECIDED, verdict, weakened

MIN_MEASURES = 3
NOT_MEASURES = ("none", *UNTRAINED)
TOO_FEW = "too few measures"  # to be ranked
WHERE = ["generator", "dataset", "discriminator", "gan_weight"]
RHO_COLUMNS = ["n", "rho", "rho_low", "rho_high", "p", "p_method", "critical_rho", "detectable_rho"]
TREND_COLUMNS = [
    *("trend", "trend_low", "trend_high", "trend_se", "trend_df", "trend_seed_variance", "trend_image_variance"),
    *("trend_p", "trend_p_holm", "trend_verdict"),
]
SETTING_COLUMNS = [
    *(*WHERE, *RHO_COLUMNS, "n_lost", "rho_lost_worst", "p_lost_worst", *TREND_COLUMNS),
    *("n_seeds", "n_images", "n_judges", "judges", "n_pairs", "n_discordant", "n_established", "excluded", "status"),
]
JUDGE_COLUMNS = [*WHERE, "judge", *RHO_COLUMNS, *TREND_COLUMNS, "n_seeds", "excluded", "status"]
POINT_COLUMNS = [
    *WHERE,
    *("measure", "measure_id", "srcc", "srcc_low", "srcc_high", "gain", "gain_low", "gain_high"),
    *("rank_assessment", "rank_gain"),
]
CHANGE_COLUMNS = [
    *WHERE,
    *("n", "rho_without", "rho_without_low", "rho_without_high", "rho_with", "rho_with_low", "rho_with_high"),
    *("trend_change", "trend_change_low", "trend_change_high", "trend_change_se", "trend_change_df"),
    *("trend_change_seed_variance", "trend_change_image_variance", "trend_change_p", "trend_change_p_holm"),
    *("n_seeds", "n_images", "verdict", "status"),
]


@dataclass(frozen=True)
class Asymmetry:
    """Where the two rankings agree and where they differ.

    Attributes:
        settings: One row per (generator, data set, setting): ``rho`` by the judges independent of all measures, with
            the interval of the noise-free ρ, its exact two-sided ``p``, the smallest |ρ| with p < .05
            (``critical_rho``; NaN if there is none) and the true ρ found in 80 % of studies (``detectable_rho``);
            ``trend``, the gain of the best metric minus that of the worst on a straight line through ranks, with t
            interval, p, Holm's p over all rows, and verdict; ρ with the ``n_lost`` lost cells ranked worst; the number
            of pairs in opposite order and of established inversions; measures left out, with reasons; ``status``.
        by_judge: The same by each single judge, over the measures that are independent of it.
        points: The joined measures with A, O, intervals and mid-ranks (1 = best).
        pairs: Every pair of measures in every setting, ``better_metric`` having the larger SRCC: see ``inversions``.
        changes: One row per adversarial setting: ρ without and with the discriminator over common measures, with
            intervals at 1 − .05/number of rows, ``verdict`` from intervals that do not overlap (``rho_change``), a
            suggestion below three seeds; change of the trend.
        assessment: The metrics that were compared: of several draws of random weights, their mean (``draws.py``).
        gains: The objectives that were compared, likewise.
    """

    settings: pd.DataFrame
    by_judge: pd.DataFrame
    points: pd.DataFrame
    pairs: pd.DataFrame
    changes: pd.DataFrame
    assessment: Assessment
    gains: Gains


@dataclass(frozen=True)
class Joined:
    """Both sides of measures of one setting, in one order.

    Attributes:
        measures: Keys.
        cells: Number of each measure's cell.
        a: ``(n,)``, SRCC.
        a_variance: Mean sampling variance of one SRCC, half that of a difference; NaN if unknown.
    """

    measures: list[str]
    cells: list[int]
    a: Floats
    a_variance: float

    def gain_variances(self, trained: Trained, judges: tuple[int, ...]) -> Floats:
        """Return the sampling variance of each gain by these judges, ``(n,)``, from those of all their differences.

        They are what fits best if the variance of a difference is the sum of two; one can come out below 0. Three
        measures or more.
        """
        grid, n = trained.grid(judges), len(self.cells)
        of = np.zeros((n, n))
        for a, b in combinations(range(n), 2):
            weights = _unit(trained, self.cells[a]) - _unit(trained, self.cells[b])
            of[a, b] = of[b, a] = grid.contrast(weights).se ** 2
        return (of.sum(axis=1) - of.sum() / 2 / (n - 1)) / (n - 2)

    def gain_variance(self, trained: Trained, judges: tuple[int, ...]) -> float:
        """Return the mean sampling variance of one gain by these judges, half that of a difference."""
        return float(self.gain_variances(trained, judges).mean())


def compare_rankings(
    assessment: Assessment, gains: Gains, *, level: float = LEVEL, seed: int = 0, each_judge: bool = True
) -> Asymmetry:
    """Join the two sides of every measure and compare their rankings.

    A measure with a lost seed is left out of ρ and the trend, and ranked worst in ``rho_lost_worst``. Several draws of
    random weights count as several measures here: ``analyse`` gives their means (``draws.py``).

    Args:
        assessment: Result of ``assess``.
        gains: Result of ``gains``.
        level: Coverage of the intervals, in (0, 1).
        seed: Seed of what is drawn for the intervals of ρ.
        each_judge: Whether to compare by each single judge as well.

    Raises:
        AnalysisError: A measure has one id as a metric and another as a fidelity term.
    """
    refuse_different_ids(assessment.table, gains.table)
    settings, by_judge, points, pairs, changes = [], [], [], [], []
    measures = gains.table.loc[~gains.table["fidelity"].isin(NOT_MEASURES)]
    for generator, of_generator in grouped(measures, "generator"):
        trained = gains.trained.get(str(generator))
        for dataset, assessed in grouped(assessment.table, "dataset"):
            found: dict[tuple[str, float], Joined] = {}
            for setting, rows in grouped(of_generator, "discriminator", "gan_weight"):
                here = dict(zip(WHERE, (generator, dataset, *setting), strict=True))
                if trained is None:
                    settings.append(here | _no_rho(0, "no cell has scores") | {"excluded": left_out(assessed, rows)})
                    continue
                side = join(assessment, str(dataset), rows, trained)
                found[setting] = side
                row, of_points = compare(side, trained, level, seed)
                settings.append(here | row | lost_worst(side, assessed, rows, trained))
                settings[-1]["excluded"] = left_out(assessed, rows)
                points += [here | point for point in list_points(of_points, assessed)]
                if each_judge:
                    by_judge += [here | row for row in compare_by_judge(side, trained, level, seed)]
                pairs += [here | pair for pair in list_pairs(assessment, str(dataset), rows, trained, level)]
            without = found.pop(("none", 0.0), None)
            for setting, side in found.items():
                here = dict(zip(WHERE, (generator, dataset, *setting), strict=True))
                changes.append((here, without, side, trained))
    asymmetry = Asymmetry(
        settings=with_verdicts(pd.DataFrame(settings, columns=SETTING_COLUMNS)),
        by_judge=with_verdicts(pd.DataFrame(by_judge, columns=JUDGE_COLUMNS)),
        points=pd.DataFrame(points, columns=POINT_COLUMNS),
        pairs=correct(pd.DataFrame(pairs, columns=[*WHERE, *PAIR_COLUMNS]), assessment),
        changes=pd.DataFrame(list_changes(changes, level, seed), columns=CHANGE_COLUMNS),
        assessment=assessment,
        gains=gains,
    )
    count_pairs(asymmetry.settings, asymmetry.pairs)
    return asymmetry


def refuse_different_ids(assessed: pd.DataFrame, trained: pd.DataFrame) -> None:
    """Raise AnalysisError if a key names different measures on the two sides."""
    metric = dict(zip(assessed["measure"], assessed["measure_id"], strict=True))
    objective = dict(zip(trained["fidelity"], trained["fidelity_id"], strict=True))
    both = sorted(key for key in metric.keys() & objective.keys() if objective[key])
    if different := [key for key in both if metric[key] != objective[key]]:
        key = different[0]
        raise AnalysisError(
            f"{len(different)} measure(s) differ between the two sides, first {key}: id {metric[key]} as a metric,"
            f" {objective[key]} as a fidelity term. Give both sides the same specification and run the outdated side"
            " again."
        )


def join(assessment: Assessment, dataset: str, rows: pd.DataFrame, trained: Trained) -> Joined:
    """Return both sides of the measures that have an SRCC and a cell that lost no seed, in alphabetical order."""
    assessed = where(assessment.table, dataset=dataset, status="ok")
    srcc = dict(zip(assessed["measure"], assessed["srcc"], strict=True))
    cells = {
        row["fidelity"]: trained.index(_key(row))
        for row in records(rows)
        if row["fidelity"] in srcc and _key(row) in trained.keys and not row["n_lost"]
    }
    measures = sorted(cells)
    differences = [assessment.difference(dataset, a, b).se ** 2 for a, b in combinations(measures, 2)]
    variance = float(np.mean(differences)) / 2 if differences else np.nan
    return Joined(measures, [cells[m] for m in measures], np.array([srcc[m] for m in measures]), variance)


def _key(row: dict) -> CellKey:
    return CellKey(row["generator"], row["fidelity"], row["discriminator"], float(row["gan_weight"]))


def left_out(assessed: pd.DataFrame, rows: pd.DataFrame) -> str:
    """List the measures of either side that could not be joined, by reason."""
    a_status = dict(zip(assessed["measure"], assessed["status"], strict=True))
    o_status = {
        row["fidelity"]: f"lost seeds: {row['lost'] or row['n_lost']}" if row["n_lost"] else "ok"
        for row in records(rows)
    }
    reasons: dict[str, list[str]] = defaultdict(list)
    for measure in sorted(a_status.keys() | o_status.keys()):
        a, o = a_status.get(measure, "not assessed"), o_status.get(measure, "not trained with")
        if (a, o) != ("ok", "ok"):
            reasons[", ".join(status for status in (a, o) if status != "ok")].append(measure)
    return "; ".join(f"{', '.join(measures)}: {reason}" for reason, measures in reasons.items())


def _no_rho(n: int, status: str) -> dict:
    row = dict.fromkeys((*RHO_COLUMNS, *TREND_COLUMNS, "rho_lost_worst", "p_lost_worst"), float("nan"))
    row |= {"n": n, "p_method": "", "n_lost": 0, "n_seeds": 0, "n_images": 0, "n_judges": 0, "judges": ""}
    return row | {"critical_rho": critical_rho(n), "trend_verdict": "", "status": status}


def compare(side: Joined, trained: Trained, level: float, seed: int) -> tuple[dict, list[dict]]:
    """Return ρ and trend of one setting by the common panel, and its points."""
    n = len(side.measures)
    if n < MIN_MEASURES:
        return _no_rho(n, TOO_FEW), []
    panel = trained.panel(side.cells)
    if not panel.judges:
        return _no_rho(n, f"{panel.status} of all {n} measures"), []
    row = rho_and_trend(side, trained, panel.judges, level, seed)
    row |= {
        "n_images": len(trained.images),
        "n_judges": len(panel.judges),
        "judges": ";".join(trained.judges[j] for j in panel.judges),
    }
    return row, _points(side, trained, panel.judges, level)


def rho_and_trend(side: Joined, trained: Trained, judges: tuple[int, ...], level: float, seed: int) -> dict:
    """Return ρ, its interval and p, and the trend, by these judges."""
    n = len(side.measures)
    gain, rho = rho_of(side, trained, judges)
    row = _no_rho(n, "ok")
    if np.isnan(gain).any():
        return row | {"status": "no common seed"}
    if np.isnan(rho):
        return row | {"status": "all measures tie on one side"}
    p, method = exact_p(side.a, gain)
    p, ends_at = over_looks(p, trained.looks), 1 - (1 - level) / trained.looks
    gain_variance, (low, high) = side.gain_variance(trained, judges), (np.nan, np.nan)
    if np.isfinite([side.a_variance, gain_variance]).all():
        low, high = noise_free_interval(side.a, side.a_variance, gain, gain_variance, ends_at, seed)
    weights = np.zeros(len(trained.keys))
    weights[side.cells] = trend_weights(side.a)
    trend = weighted_contrast(trained, weights, judges)
    found = trend.estimate
    row |= {"rho": rho, "rho_low": low, "rho_high": high, "p": p, "p_method": method}
    row |= {"detectable_rho": minimum_detectable_rho(n), "n_seeds": found.n_seeds, "trend": found.value}
    row |= dict(zip(("trend_low", "trend_high"), found.interval(level), strict=True))
    return row | found.columns("trend") | {"trend_p": found.p}


def rho_of(side: Joined, trained: Trained, judges: tuple[int, ...]) -> tuple[Floats, float]:
    """Return the mean scores of the measures' cells by these judges, and their ρ with A; NaN where there is none."""
    gain = mean_gain(trained, side.cells, judges)
    return gain, np.nan if np.isnan(gain).any() else float(spearman(side.a, gain))


def mean_gain(trained: Trained, cells: list[int], judges: tuple[int, ...]) -> Floats:
    """Return the mean score of each cell by these judges, ``(cells,)``: gains up to a common shift."""
    return np.array([trained.grid(judges).contrast_value(_unit(trained, cell)) for cell in cells])


def _unit(trained: Trained, cell: int) -> Floats:
    weights = np.zeros(len(trained.keys))
    weights[cell] = 1
    return weights


def _points(side: Joined, trained: Trained, judges: tuple[int, ...], level: float) -> list[dict]:
    """Return gain over the pixel-only cell by the common panel, with interval, of every measure."""
    rows, baseline, means = [], trained.baseline, mean_gain(trained, side.cells, judges)
    for measure, cell, a, mean in zip(side.measures, side.cells, side.a, means, strict=True):
        row = {"measure": measure, "srcc": a, "gain": np.nan, "gain_low": np.nan, "gain_high": np.nan, "mean": mean}
        if baseline is not None:
            found = weighted_contrast(trained, _unit(trained, cell) - _unit(trained, baseline), judges).estimate
            row |= {"gain": found.value} | dict(zip(("gain_low", "gain_high"), found.interval(level), strict=True))
        rows.append(row)
    return rows


def list_points(found: list[dict], assessed: pd.DataFrame) -> list[dict]:
    """Add intervals of A, ids and ranks (1 is best) to the points of a setting."""
    if not found:
        return []
    of = {row["measure"]: row for row in records(assessed)}
    # By mean scores: without a pixel-only cell there is an order, but no gain.
    ranks = (stats.rankdata([-point[name] for point in found]) for name in ("srcc", "mean"))
    return [
        {name: value for name, value in point.items() if name != "mean"}
        | {name: of[point["measure"]][name] for name in ("measure_id", "srcc_low", "srcc_high")}
        | {"rank_assessment": rank_a, "rank_gain": rank_o}
        for point, rank_a, rank_o in zip(found, *ranks, strict=True)
    ]


def compare_by_judge(side: Joined, trained: Trained, level: float, seed: int) -> Iterator[dict]:
    """Yield ρ and trend by each judge alone, over the measures that are independent of it and that it scored whole."""
    for j, judge in enumerate(trained.judges):
        if trained.unit_status[j] != "ok":
            yield _no_rho(0, trained.unit_status[j]) | {"judge": judge, "excluded": ""}
            continue
        kept = [k for k, cell in enumerate(side.cells) if j in trained.panel([cell]).judges]
        of = Joined([side.measures[k] for k in kept], [side.cells[k] for k in kept], side.a[kept], side.a_variance)
        few = len(kept) < MIN_MEASURES
        row = _no_rho(len(kept), TOO_FEW) if few else rho_and_trend(of, trained, (j,), level, seed)
        left = [measure for measure in side.measures if measure not in of.measures]
        yield row | {"judge": judge, "excluded": ";".join(left)}


def lost_worst(side: Joined, assessed: pd.DataFrame, rows: pd.DataFrame, trained: Trained) -> dict:
    """Return ρ with measures that lost seeds ranked worst as objectives, all alike."""
    srcc = {row["measure"]: row["srcc"] for row in records(where(assessed, status="ok"))}
    lost = sorted(row["fidelity"] for row in records(rows) if row["n_lost"] and row["fidelity"] in srcc)
    panel = trained.panel(side.cells) if side.cells else None
    if not lost or panel is None or not panel.judges or len(side.measures) + len(lost) < MIN_MEASURES:
        return {"n_lost": len(lost)}
    gain = mean_gain(trained, side.cells, panel.judges)
    a, o = [*side.a, *(srcc[measure] for measure in lost)], [*gain, *[-np.inf] * len(lost)]
    ranks = stats.rankdata(o)
    if len(set(ranks)) < 2 or len(set(a)) < 2:
        return {"n_lost": len(lost)}
    p = over_looks(exact_p(a, ranks)[0], trained.looks)
    return {"n_lost": len(lost), "rho_lost_worst": float(spearman(a, ranks)), "p_lost_worst": p}


def with_verdicts(table: pd.DataFrame) -> pd.DataFrame:
    """Add Holm's p over all trends of a table, and what each says: trends share their level with pairs."""
    adjusted = holm(table["trend_p"].to_numpy(dtype=float))
    verdicts = [verdict(FAMILIES * p, n_seeds) for p, n_seeds in zip(adjusted, table["n_seeds"], strict=True)]
    return table.assign(trend_p_holm=adjusted, trend_verdict=verdicts)


def list_changes(
    found: list[tuple[dict, Joined | None, Joined, Trained | None]], level: float, seed: int
) -> list[dict]:
    """Return what each discriminator changes, corrected for how many there are."""
    rows = []
    for here, without, side, trained in found:
        row = dict.fromkeys(CHANGE_COLUMNS, float("nan")) | here | {"n": 0, "n_seeds": 0, "n_images": 0}
        row["verdict"] = UNDECIDED
        rows.append(row | _change(without, side, trained, len(found), level, seed))
    for row, p in zip(rows, holm([row["trend_change_p"] for row in rows]), strict=True):
        row["trend_change_p_holm"] = p
    return rows


def _change(
    without: Joined | None, side: Joined, trained: Trained | None, n_changes: int, level: float, seed: int
) -> dict:
    if without is None or trained is None:
        return {"status": "no cell without a discriminator"}
    common = [measure for measure in without.measures if measure in side.measures]
    if len(common) < MIN_MEASURES:
        return {"n": len(common), "status": TOO_FEW}
    both = []
    for of in (without, side):
        kept = [of.measures.index(measure) for measure in common]
        both.append(Joined(common, [of.cells[k] for k in kept], of.a[kept], of.a_variance))
    panel = trained.panel([*both[0].cells, *both[1].cells])
    if not panel.judges:
        return {"n": len(common), "status": f"{panel.status} of all cells"}
    (gain_before, rho_before), (gain_after, rho_after) = (rho_of(of, trained, panel.judges) for of in both)
    if np.isnan([*gain_before, *gain_after]).any():
        return {"n": len(common), "status": "no common seed"}
    if np.isnan([rho_before, rho_after]).any():
        return {"n": len(common), "status": "all measures tie on one side"}
    weights = np.zeros(len(trained.keys))
    weights[both[1].cells] += trend_weights(both[1].a)
    weights[both[0].cells] -= trend_weights(both[0].a)
    trend = weighted_contrast(trained, weights, panel.judges).estimate
    low, high = trend.interval(level)
    row = {
        "n": len(common),
        "rho_without": rho_before,
        "rho_with": rho_after,
        "trend_change": trend.value,
        "trend_change_low": low,
        "trend_change_high": high,
        "trend_change_p": trend.p,
        "n_seeds": trend.n_seeds,
        "n_images": trend.n_images,
        "status": "ok",
    } | trend.columns("trend_change")
    a_variance = both[0].a_variance
    variances = [of.gain_variance(trained, panel.judges) for of in both]
    if not np.isfinite([a_variance, *variances]).all():
        return row
    found = rho_change(
        *(both[0].a, a_variance, gain_before, variances[0], gain_after, variances[1]),
        settings=n_changes * trained.looks,
        level=1 - ALPHA,
        seed=seed,
    )
    for name, ends in (("rho_without", found.before), ("rho_with", found.after)):
        row |= dict(zip((f"{name}_low", f"{name}_high"), ends, strict=True))
    return row | {"verdict": weakened(found.verdict, trend.n_seeds)}


def count_pairs(settings: pd.DataFrame, pairs: pd.DataFrame) -> None:
    """Fill in how many pairs each setting has, how many in opposite order, and how many established inversions."""
    for index, row in settings.iterrows():
        of = where(pairs, **{name: row[name] for name in WHERE})
        settings.loc[index, ["n_pairs", "n_discordant", "n_established"]] = [  # pyright: ignore[reportCallIssue]
            len(of),
            int(of["discordant"].sum()),
            int((of["verdict"] == ESTABLISHED).sum()),
        ]
    for name in ("n_pairs", "n_discordant", "n_established"):
        settings[name] = settings[name].astype(int)
