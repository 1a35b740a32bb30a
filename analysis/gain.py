"""The optimization side: how much better a trained cell is than the pixel-only one, by judges that are not its loss.

A gain is the contrast of a cell with the pixel-only cell of its generator, paired by seed and image, in *judge SDs*:
one judge SD is the spread of the seed × image interaction of the pixel-only cell's scores by that judge, so no other
cell of the grid can move it. A judge counts if it is independent of both cells (``independence.py``).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from .contrasts import Contrast, contrast
from .draws import average_cells, average_trained, draws_of
from .independence import INDEPENDENCE, require_kinds
from .result_tables import TABLES
from .statistics.bootstrap import LEVEL
from .statistics.frames import grouped, require_finite_where_ok, require_one, require_unique, where
from .statistics.multiplicity import holm
from .trained import CELL, CellKey, Trained, lost_seeds, trained_cells

SCORE = ["seed", "test_set", "image", "judge"]
COLUMNS = [
    *CELL,
    *("fidelity_id", "discriminator_id", "gain", "gain_low", "gain_high", "se", "df", "p", "p_holm"),
    *("general", "general_low", "general_high", "without_one_low", "without_one_high"),
    *("n_seeds", "n_lost", "lost", "n_images", "n_judges", "judges"),
    *("judges_related", "judges_incomplete", "judges_no_unit", "n_scores", "n_not_ok", "n_missing", "status"),
]
JUDGE_COLUMNS = [
    *CELL,
    *("judge", "raw_gain", "raw_low", "raw_high", "gain", "gain_low", "gain_high", "related"),
    *("n_not_ok", "n_missing", "status"),
]
JUDGES_COLUMNS = [
    *(
        "generator",
        "judge",
        "judge_id",
        "families",
        "higher_is_better",
        "unit",
        "unit_of",
        "reply_sd",
        "n_scores",
        "n_not_ok",
    ),
    "status",
]
MEANS_COLUMNS = [*CELL, "judge", "mean", "n_scores", "n_not_ok", "higher_is_better"]
NO_BASELINE = "no pixel-only cell to compare with"


@dataclass(frozen=True)
class Gains:
    """What the SR scores say.

    Attributes:
        table: One row per trained cell other than the baseline, lost ones included: ``gain`` in judge SDs (+ is better
            than pixel-only) by this panel of judges with its t interval over new seeds and images, ``se``, ``df``,
            two-sided ``p`` and ``p_holm`` (over all gains of the generator); ``general`` with its interval, for judges
            like these; the smallest and largest gain if one judge is left out; the seeds used, ``n_lost`` seeds without
            scores and why (``lost``); the judges used and left out (";"-joined); ``status``: "ok" or why there is no
            gain or no interval.
        by_judge: One row per cell and judge: ``raw_gain`` in the judge's own unit (+ is better), ``gain`` in judge SDs,
            each with its interval, and whether the judge is ``related`` to the cell or the pixel-only one.
        judges: One row per generator and judge: its families, direction, ``unit`` (one judge SD in the judge's unit),
            what that is the spread of, ``reply_sd`` (of a multimodal LLM that was asked several times: the SD of its
            replies to one image), and ``status``.
        means: Mean score per cell and judge in the judge's own unit and direction, untrained and pixel-only included;
            NaN where any score is not ok.
        trained: Scores of every generator as one array, for contrasts.
        looks: How often the scores may be looked at, each time with more seeds.
    """

    table: pd.DataFrame
    by_judge: pd.DataFrame
    judges: pd.DataFrame
    means: pd.DataFrame
    trained: dict[str, Trained]
    looks: int = 1


def gains(
    sr_scores: pd.DataFrame,
    cells: pd.DataFrame | None = None,
    *,
    independence: Collection[str] = INDEPENDENCE,
    level: float = LEVEL,
    looks: int = 1,
    means: Mapping[str, str] | None = None,
) -> Gains:
    """Compute the gain of every trained cell over the pixel-only cell of its generator.

    A seed without any score of a cell costs the cell that seed, and is counted; a lost pixel-only seed costs that seed
    of every gain. A judge that lacks a score of an image, or has one that is not ok, is left out of the cell's gain and
    named. Intervals need two seeds and two images.

    Args:
        sr_scores: The table of that name.
        cells: The table of that name, which says which trainings failed or diverged.
        independence: Kinds of families that a judge must not share with what it judges.
        level: Coverage of the intervals, in (0, 1).
        looks: How often the scores may be looked at, each time with more seeds; see ``Estimate``.
        means: Draws of random weights that count as one measure, the mean of that name (``draws.name_means``). The
            table ``means`` of the result keeps every draw.

    Raises:
        AnalysisError: Repeated rows; one key with two ids or directions; an "ok" score that is not finite.

    Examples:
        >>> rows = [("none", 1, 30.0), ("none", 2, 31.0), ("ssim", 1, 30.5), ("ssim", 2, 31.2)]
        >>> scores = pd.DataFrame(rows, columns=["fidelity", "image", "value"]).assign(
        ...     generator="unet", fidelity_id=lambda row: row["fidelity"], fidelity_families="", discriminator="none",
        ...     discriminator_id="none", gan_weight=0.0, seed=0, test_set="set5", judge="musiq", judge_id="musiq",
        ...     judge_families="form:musiq", higher_is_better=True, status="ok",
        ... )
        >>> gains(scores).table[["fidelity", "gain", "n_seeds", "n_images", "n_judges", "status"]].round(2)
          fidelity  gain  n_seeds  n_images  n_judges    status
        0     ssim  0.49        1         2         1  one seed
    """
    require_kinds(independence)
    require_unique(sr_scores, [*CELL, *SCORE], "sr_scores")
    require_finite_where_ok(sr_scores, "value", "sr_scores")
    for key in ("fidelity", "discriminator", "judge"):
        require_one(sr_scores, [key], f"{key}_id", "sr_scores")
    for of in ("higher_is_better", "judge_families"):
        require_one(sr_scores, ["judge"], of, "sr_scores")
    require_one(sr_scores, ["fidelity"], "fidelity_families", "sr_scores")
    cells = pd.DataFrame(columns=list(TABLES["cells"].columns)) if cells is None else cells

    means = means or {}
    cells = average_cells(cells, means)
    trained = {
        generator: average_trained(of, means) for generator, of in trained_cells(sr_scores, independence, looks).items()
    }
    ids = {
        name: dict(zip(sr_scores[name], sr_scores[f"{name}_id"], strict=True)) for name in ("fidelity", "discriminator")
    }
    of = ids["fidelity"]
    of |= {mean: "+".join(of[d] for d in draws) for mean, draws in draws_of(means).items() if of.keys() >= set(draws)}
    rows, judge_rows = [], []
    for generator in sorted({*trained, *_lost_generators(cells)}):
        of_generator = []
        found = trained.get(generator)
        for key in found.keys if found else []:
            if found and not key.is_baseline:
                of_generator.append(_gain_row(found, key, cells, ids, level))
                judge_rows += _judge_rows(found, key, level)
        of_generator += _lost_rows(cells, generator, found.keys if found else [], ids)
        for row, p in zip(of_generator, holm([row["p"] for row in of_generator]), strict=True):
            row["p_holm"] = p
        rows += of_generator
    return Gains(
        table=pd.DataFrame(rows, columns=COLUMNS),
        by_judge=pd.DataFrame(judge_rows, columns=JUDGE_COLUMNS),
        judges=describe_judges(sr_scores, trained),
        means=mean_scores(sr_scores),
        trained=trained,
        looks=looks,
    )


def _gain_row(trained: Trained, key: CellKey, cells: pd.DataFrame, ids: dict, level: float) -> dict:
    cell, baseline = trained.index(key), trained.baseline
    lost = lost_seeds(cells, key)
    row = {
        **_empty_row(key, ids),
        "n_lost": max(sum(lost.values()), 0 if lost else int(trained.lost[cell].sum())),
        "lost": _reasons(lost),
        "n_scores": int((~trained.lost[cell]).sum()) * len(trained.images) * len(trained.judges),
        "n_not_ok": int(trained.n_not_ok[cell].sum()),
        "n_missing": int(trained.n_missing[cell].sum()),
    }
    if baseline is None:
        return row | {"status": NO_BASELINE}
    found = contrast(trained, [cell], [baseline]).row(trained, level)
    named = {"value": "gain", "low": "gain_low", "high": "gain_high"}
    return row | {named.get(name, name): value for name, value in found.items()}


def _empty_row(key: CellKey, ids: dict) -> dict:
    return {
        **dict.fromkeys(COLUMNS, float("nan")),
        **key._asdict(),
        **{f"{name}_id": ids[name].get(getattr(key, name), "") for name in ids},
        **dict.fromkeys(("n_seeds", "n_lost", "n_images", "n_judges", "n_scores", "n_not_ok", "n_missing"), 0),
        **dict.fromkeys(("lost", "judges", "judges_related", "judges_incomplete", "judges_no_unit"), ""),
    }


def _lost_generators(cells: pd.DataFrame) -> set[str]:
    return {str(generator) for generator, _ in grouped(where(cells, stage="finetune"), "generator")}


def _lost_rows(cells: pd.DataFrame, generator: str, scored: list[CellKey], ids: dict) -> list[dict]:
    """Return a row for every cell of which no seed has scores although a training failed or diverged."""
    rows = []
    for values, _ in grouped(where(cells, stage="finetune", generator=generator), *CELL):
        key = CellKey(str(values[0]), str(values[1]), str(values[2]), float(values[3]))
        lost = lost_seeds(cells, key)
        if lost and key not in scored and not key.is_baseline:
            status = f"no seed left: {_reasons(lost)}"
            rows.append(_empty_row(key, ids) | {"n_lost": sum(lost.values()), "lost": _reasons(lost), "status": status})
    return rows


def _reasons(lost: dict[str, int]) -> str:
    return ", ".join(f"{n} {status}" for status, n in sorted(lost.items()))


def _judge_rows(trained: Trained, key: CellKey, level: float) -> list[dict]:
    cell, baseline = trained.index(key), trained.baseline
    rows = []
    for j, judge in enumerate(trained.judges):
        row = {
            **dict.fromkeys(JUDGE_COLUMNS, float("nan")),
            **key._asdict(),
            "judge": judge,
            "related": bool(trained.related[cell, j] or (baseline is not None and trained.related[baseline, j])),
            "n_not_ok": int(trained.n_not_ok[cell, j]),
            "n_missing": int(trained.n_missing[cell, j]),
            "status": NO_BASELINE,
        }
        if baseline is not None:
            own = contrast(trained, [cell], [baseline], [j], raw=True)
            scaled = contrast(trained, [cell], [baseline], [j])
            row |= _named(own, "raw_gain", "raw", level) | _named(scaled, "gain", "gain", level)
            row["status"] = trained.unit_status[j] if own.status == "ok" else own.status
        rows.append(row)
    return rows


def _named(found: Contrast, value: str, prefix: str, level: float) -> dict:
    low, high = found.estimate.interval(level)
    return {value: found.estimate.value, f"{prefix}_low": low, f"{prefix}_high": high}


def describe_judges(sr_scores: pd.DataFrame, trained: dict[str, Trained]) -> pd.DataFrame:
    """Return one row per generator and judge."""
    rows = []
    for generator, of in trained.items():
        for judge, scores in grouped(where(sr_scores, generator=generator), "judge"):
            j, first = of.judges.index(str(judge)) if str(judge) in of.judges else None, scores.iloc[0]
            rows.append(
                {
                    "generator": generator,
                    "judge": judge,
                    "judge_id": first["judge_id"],
                    "families": first["judge_families"],
                    "higher_is_better": bool(first["higher_is_better"]),
                    "unit": np.nan if j is None else of.unit[j],
                    "unit_of": "" if j is None else of.unit_of[j],
                    "reply_sd": np.sqrt((scores["reply_sd"] ** 2).mean()) if "reply_sd" in scores else np.nan,
                    "n_scores": len(scores),
                    "n_not_ok": int((scores["status"] != "ok").sum()),
                    "status": "no trained cell" if j is None else of.unit_status[j],
                }
            )
    return pd.DataFrame(rows, columns=JUDGES_COLUMNS)


def mean_scores(sr_scores: pd.DataFrame) -> pd.DataFrame:
    """Return the mean score of every cell by every judge, in the judge's own unit; NaN where any score is not ok."""
    rows = []
    for key, scores in grouped(sr_scores, *CELL, "judge"):
        n_not_ok = int((scores["status"] != "ok").sum())
        mean = float("nan") if n_not_ok else float(scores["value"].mean())
        row = (*key, mean, len(scores), n_not_ok, bool(scores["higher_is_better"].iloc[0]))
        rows.append(dict(zip(MEANS_COLUMNS, row, strict=True)))
    return pd.DataFrame(rows, columns=MEANS_COLUMNS)
