"""Which measure for which use: recommendations, each with its evidence and what would overturn it."""

from __future__ import annotations

import numpy as np
import pandas as pd

from .contrasts import contrast
from .figures.style import interval
from .power import needed_seeds
from .statistics.contrast import Estimate
from .statistics.frames import Row, grouped, records, where
from .statistics.multiplicity import ALPHA, holm
from .study import Study
from .trained import CellKey
from .verdicts import ESTABLISHED, MIN_SEEDS, UNDECIDED, verdict

COLUMNS = ["use", "where", "advice", "measures", "beaten", "evidence", "because", "overturned_by"]
METRIC, OBJECTIVE, AVOID, CHOOSE = "as a metric", "as an objective", "avoid as an objective", "choosing an objective"
NO_BEST = "nothing tells them apart; first came"
IMAGES = 100


def advise(study: Study) -> pd.DataFrame:
    """Return one row per piece of advice.

    "Best" always comes with the measures that cannot be told from it: the winner of a noisy comparison is partly luck.
    Where that is all of them, the advice says so.

    Returns:
        Columns ``use``, ``where`` (data set, or generator and setting), ``advice`` in words, ``measures``
        (";"-joined: the best first, then those not shown to be worse), ``beaten`` (those shown to be worse),
        ``evidence`` ("established", "suggested" or "undecided"), ``because`` (the numbers) and ``overturned_by``.
    """
    rows = [*_metrics(study), *_objectives(study), *_choosing(study)]
    return pd.DataFrame(rows, columns=COLUMNS)


def _metrics(study: Study) -> list[Row]:
    rows = []
    for dataset, found in grouped(where(study.assessment.table, status="ok"), "dataset"):
        ordered = records(found.sort_values("srcc", ascending=False))
        best, rest = ordered[0], ordered[1:]
        tests = [study.assessment.difference(str(dataset), best["measure"], row["measure"]) for row in rest]
        others = [row["measure"] for row in rest]
        alike, beaten, evidence = _alike(others, tests, MIN_SEEDS)  # no seed plays a part
        rows.append(
            {
                "use": METRIC,
                "where": dataset,
                "advice": NO_BEST if alike and not beaten else "rank distorted images with",
                "measures": ";".join([best["measure"], *alike]),
                "beaten": ";".join(beaten),
                "evidence": evidence,
                "because": f"SRCC {best['srcc']:.2f}, {best['n_references']} references",
                "overturned_by": "another labelled set; labels of people, if these are severity grades"
                if best["label_kind"] == "severity_grade"
                else "another labelled set",
            }
        )
    return rows


def _alike(names: list[str], tests: list[Estimate], n_seeds: int) -> tuple[list[str], list[str], str]:
    """Return the names that the best is not shown to beat, those that it is, and the evidence that it beats all."""
    corrected = holm([test.p for test in tests])
    beaten = [name for name, p in zip(names, corrected, strict=True) if p < ALPHA]
    alike = [name for name in names if name not in beaten]
    worst = float(np.max(np.nan_to_num(corrected, nan=1.0))) if len(tests) else np.nan
    return alike, beaten, verdict(worst, n_seeds)


def _objectives(study: Study) -> list[Row]:
    rows = []
    for (generator, discriminator, weight), found in grouped(
        study.gains.table.loc[study.gains.table["gain"].notna() & (study.gains.table["fidelity"] != "none")],
        *("generator", "discriminator", "gan_weight"),
    ):
        trained = study.gains.trained[generator]
        here = f"{generator} · {discriminator} {weight:g}"
        ordered = records(found.loc[found["n_lost"] == 0].sort_values("gain", ascending=False))
        if not ordered:
            continue
        cells = [trained.index(CellKey(generator, row["fidelity"], discriminator, float(weight))) for row in ordered]
        tests = [contrast(trained, [cells[0]], [cell]).estimate for cell in cells[1:]]
        n_seeds = min((test.n_seeds for test in tests), default=0)
        others = [row["fidelity"] for row in ordered[1:]]
        alike, beaten, evidence = _alike(others, tests, n_seeds)
        best = ordered[0]
        rows.append(
            {
                "use": OBJECTIVE,
                "where": here,
                "advice": NO_BEST if alike and not beaten else "train with",
                "measures": ";".join([best["fidelity"], *alike]),
                "beaten": ";".join(beaten),
                "evidence": evidence,
                "because": _gain(best),
                "overturned_by": _judge_matters(best) or _more(tests, len(tests), len(trained.keys)),
            }
        )
        worse = [row for row in records(found) if row["gain"] < 0 and row["p_holm"] < ALPHA]
        if worse:
            rows.append(
                {
                    "use": AVOID,
                    "where": here,
                    "advice": "worse than the pixel loss alone:",
                    "measures": ";".join(row["fidelity"] for row in worse),
                    "beaten": "",
                    "evidence": verdict(max(row["p_holm"] for row in worse), min(row["n_seeds"] for row in worse)),
                    "because": "; ".join(f"{row['fidelity']}: {_gain(row)}" for row in worse),
                    "overturned_by": next(filter(None, map(_judge_matters, worse)), "judges with another taste"),
                }
            )
    return rows


def _gain(row: Row) -> str:
    return f"gain {interval(row['gain'], row['gain_low'], row['gain_high'])} judge SDs"


def _judge_matters(row: Row) -> str:
    """Say so if leaving out one judge turns the sign of a gain."""
    turns = np.sign(row["without_one_low"]) * np.sign(row["without_one_high"]) < 0
    return "leaving out a single judge turns the sign of the gain" if turns else ""


def _more(tests: list[Estimate], n_tests: int, n_cells: int) -> str:
    known = [test for test in tests if np.isfinite(test.se)]
    if not known:
        return "a second seed"
    closest = min(known, key=lambda test: abs(test.value))
    images = max(closest.n_images, IMAGES)
    seeds = needed_seeds(closest, closest.value, images, n_tests, n_cells)
    enough = f"{seeds} seeds × {images} images" if seeds else f"more than 50 seeds × {images} images"
    return f"{enough} would tell the best from the next, if they differ by what was seen"


def _choosing(study: Study) -> list[Row]:
    rows = []
    for row in records(where(study.asymmetry.settings, status="ok")):
        sure = row["trend_verdict"]
        advice = {True: "a better metric is the better objective", False: "a better metric is the worse objective"}
        text = advice[row["trend"] > 0] if sure == ESTABLISHED else "do not choose an objective by its SRCC: try it"
        trend = interval(row["trend"], row["trend_low"], row["trend_high"])
        p = "no test" if np.isnan(row["trend_p_holm"]) else f"p = {row['trend_p_holm']:.2g} (Holm)"
        rows.append(
            {
                "use": CHOOSE,
                "where": f"{row['generator']} · {row['dataset']} · {row['discriminator']} {row['gan_weight']:g}",
                "advice": text,
                "measures": "",
                "beaten": "",
                "evidence": sure or UNDECIDED,
                "because": f"best minus worst metric: {trend} judge SDs in gain, {row['n']} measures, {p}",
                "overturned_by": "other measures: a trend speaks of these only",
            }
        )
    return rows
