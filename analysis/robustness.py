"""How much trends and inversions rest on single measures and judges, and how sure each rank and inversion is."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from .asymmetry import WHERE, Asymmetry, join, mean_gain
from .contrasts import contrast, trend_weights, weighted_contrast
from .independence import families
from .statistics.contrast import Estimate
from .statistics.frames import Row, grouped, records, where
from .statistics.rank_correlation import spearman
from .trained import CellKey, Trained

INFLUENCE_COLUMNS = [*WHERE, "left_out", "of", "n", "rho", "trend", "trend_p", "rho_all", "trend_all", "turns"]
RANK_COLUMNS = [*WHERE, "measure", "side", "rank", "probability", "expected"]
INVERSION_COLUMNS = [*WHERE, "first", "second", "probability"]
N_DRAWS = 4_000


def influence(asymmetry: Asymmetry) -> pd.DataFrame:
    """Compute ρ and trend of every setting without each measure and without each judge of its panel.

    Returns:
        One row per setting and what was ``left_out`` (a key; ``of`` "measure" or "judge"): ``rho``, ``trend`` and
        ``trend_p`` without it, beside those of all, and whether the trend ``turns``, i.e. changes its sign.
    """
    rows, gains = [], asymmetry.gains
    for summary in records(where(asymmetry.settings, status="ok")):
        here = {name: summary[name] for name in WHERE}
        trained = gains.trained[summary["generator"]]
        of_setting = where(gains.table, **{name: here[name] for name in WHERE if name != "dataset"})
        side = join(asymmetry.assessment, summary["dataset"], of_setting, trained)
        panel = trained.panel(side.cells).judges
        for k, measure in enumerate(side.measures):
            kept = [i for i in range(len(side.measures)) if i != k]
            cells, a = [side.cells[i] for i in kept], side.a[kept]
            rows.append(here | {"left_out": measure, "of": "measure"} | _again(trained, cells, a, panel, summary))
        for j in panel if len(panel) > 1 else ():
            rest = tuple(other for other in panel if other != j)
            found = _again(trained, side.cells, side.a, rest, summary)
            rows.append(here | {"left_out": trained.judges[j], "of": "judge"} | found)
    return pd.DataFrame(rows, columns=INFLUENCE_COLUMNS)


class Judged(NamedTuple):
    """Which judges a difference between two trained cells rests on.

    Attributes:
        alone: the difference by each judge of the panel.
        without: per backbone that some of them share, how many those are, and the difference by the others.
    """

    alone: dict[str, Estimate]
    without: dict[str, tuple[int, Estimate]]


def judged(asymmetry: Asymmetry, sr_scores: pd.DataFrame, pair: Row) -> Judged:
    """Compute the difference in gain of a pair of measures by single judges, and without those of one backbone.

    Args:
        asymmetry: has the pair.
        sr_scores: tell the families of judges.
        pair: a row of ``asymmetry.pairs``.
    """
    trained = asymmetry.gains.trained[pair["generator"]]
    setting = pair["discriminator"], float(pair["gan_weight"])
    a, b = (
        [trained.index(CellKey(pair["generator"], pair[side], *setting))] for side in ("better_metric", "worse_metric")
    )
    panel = contrast(trained, a, b).panel.judges
    known = sr_scores.drop_duplicates("judge").set_index("judge")["judge_families"]
    on: dict[str, list[int]] = {}
    for j in panel:
        for family in families(known.get(trained.judges[j])):
            if family.startswith("backbone:"):
                on.setdefault(family.removeprefix("backbone:"), []).append(j)
    return Judged(
        {trained.judges[j]: contrast(trained, a, b, [j]).estimate for j in panel},
        {
            backbone: (len(those), contrast(trained, a, b, [j for j in panel if j not in those]).estimate)
            for backbone, those in sorted(on.items())
            if 1 < len(those) < len(panel)
        },
    )


def _again(trained: Trained, cells: list[int], a: np.ndarray, judges: tuple[int, ...], summary: dict) -> dict:
    gain = mean_gain(trained, cells, judges)
    weights = np.zeros(len(trained.keys))
    weights[cells] = trend_weights(a)
    trend = weighted_contrast(trained, weights, judges).estimate
    return {
        "n": len(cells),
        "rho": float(spearman(a, gain)) if len(cells) > 2 else np.nan,
        "trend": trend.value,
        "trend_p": trend.p,
        "rho_all": summary["rho"],
        "trend_all": summary["trend"],
        "turns": bool(np.sign(trend.value) * np.sign(summary["trend"]) < 0),
    }


def sureness(asymmetry: Asymmetry, *, seed: int = 0) -> tuple[pd.DataFrame, ...]:
    """Say how probable each rank of a measure and each inversion of a pair is, given the noise of both sides.

    Values are drawn from normal distributions around the estimates, with the mean variance of an SRCC and with each
    gain's own variance. A measure without noise has one rank with probability 1.

    Returns:
        Ranks: one row per setting, measure, side ("metric" or "objective") and rank (1 is best) with its
        ``probability``, and the ``expected`` rank. Inversions: one row per setting and ordered pair with the
        ``probability`` that the first is the better metric and the worse objective.
    """
    ranks, inversions, gains = [], [], asymmetry.gains
    rng = np.random.default_rng([seed, 7])
    for key, points in grouped(asymmetry.points, *WHERE):
        here = dict(zip(WHERE, key, strict=True))
        trained = gains.trained[here["generator"]]
        of_setting = where(gains.table, **{name: here[name] for name in WHERE if name != "dataset"})
        side = join(asymmetry.assessment, here["dataset"], of_setting, trained)
        judges = trained.panel(side.cells).judges
        variances = np.full(len(points), side.a_variance), np.maximum(side.gain_variances(trained, judges), 0)
        if not np.isfinite(variances).all():
            continue
        n = len(points)
        drawn = [
            value + np.sqrt(variance) * rng.standard_normal((N_DRAWS, n))
            for value, variance in zip((side.a, mean_gain(trained, side.cells, judges)), variances, strict=True)
        ]
        for name, values in zip(("metric", "objective"), drawn, strict=True):
            place = np.argsort(np.argsort(-values, axis=1), axis=1) + 1
            for k, measure in enumerate(side.measures):
                of = here | {"measure": measure, "side": name, "expected": float(place[:, k].mean())}
                ranks += [of | {"rank": r, "probability": float((place[:, k] == r).mean())} for r in range(1, n + 1)]
        for i, first in enumerate(side.measures):
            for j, second in enumerate(side.measures):
                if i != j:
                    inverted = (drawn[0][:, i] > drawn[0][:, j]) & (drawn[1][:, i] < drawn[1][:, j])
                    inversions.append(here | {"first": first, "second": second, "probability": float(inverted.mean())})
    return pd.DataFrame(ranks, columns=RANK_COLUMNS), pd.DataFrame(inversions, columns=INVERSION_COLUMNS)
