"""The optimization side: how much better a trained cell is than the pixel-only one, by judges that are not its loss.

A *difference* is one judge's signed score (positive is better) of one restored image, minus that of the pixel-only cell
with the same generator, seed and image. Judges differ in scale, so each one's differences are divided by that judge's
pooled standard deviation: the root mean square, over all trained cells, of the SD within a cell. The unit of a gain is
therefore "judge SDs": a gain of 1 moves the mean by as much as the difference varies between images.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from .errors import AnalysisError
from .result_tables import UNTRAINED
from .statistics.bootstrap import LEVEL, draw_counts, percentile_interval
from .statistics.correlation import Floats
from .statistics.frames import (
    Row,
    describe,
    grouped,
    incomplete,
    records,
    require_finite_where_ok,
    require_one,
    require_unique,
)

CELL = ["generator", "fidelity", "discriminator", "gan_weight"]
SCORE = ["seed", "test_set", "image", "judge"]
COLUMNS = [
    *CELL,
    *("fidelity_id", "discriminator_id", "gain", "gain_low", "gain_high", "n_seeds", "n_images", "n_judges"),
    *("judges_related", "judges_no_spread", "n_scores", "n_not_ok", "n_missing", "status"),
]
JUDGE_COLUMNS = [
    *CELL,
    *("judge", "raw_gain", "gain", "gain_low", "gain_high", "related", "n_scores", "n_not_ok", "n_missing", "status"),
]
JUDGES_COLUMNS = ["judge", "judge_id", "families", "higher_is_better", "sd", "n_scores", "n_not_ok", "status"]
MEANS_COLUMNS = [*CELL, "judge", "mean", "n_scores", "n_not_ok", "higher_is_better"]
# A spread below this share of the judge's largest score is rounding error.
NO_SPREAD = 1e-9


class CellKey(NamedTuple):
    """What identifies a trained cell, apart from its seed."""

    generator: str
    fidelity: str
    discriminator: str
    gan_weight: float


@dataclass(frozen=True)
class Gains:
    """What the SR scores say.

    Attributes:
        table: One row per trained cell other than the baseline: ``gain`` in judge SDs (+ is better than pixel-only),
            its interval, the judges left out because they are related to the fidelity measure or have no spread
            (";"-joined), the numbers of scores expected, not ok and missing (of the cell or of its baseline), and
            ``status``: "ok" or why the gain is NaN.
        by_judge: One row per cell and judge: ``raw_gain`` in the judge's own unit (+ is better), ``gain`` in judge SDs,
            and whether the judge is ``related`` to the fidelity measure, i.e. left out of the cell's gain.
        judges: One row per judge: its families, direction, ``sd`` (one judge SD in the judge's unit) and ``status``.
        means: Mean score per cell and judge in the judge's own unit and direction, untrained and pixel-only included;
            NaN where any score is not ok.
        replicates: Gain of each "ok" cell in each resample, ``(n_boot,)``; resamples are shared by the cells of a
            generator, so their differences are paired.
    """

    table: pd.DataFrame
    by_judge: pd.DataFrame
    judges: pd.DataFrame
    means: pd.DataFrame
    replicates: dict[CellKey, Floats]


@dataclass(frozen=True)
class Differences:
    """Signed differences from the baseline, for one generator.

    Attributes:
        keys: The cells, without the baseline.
        seeds: Distinct seeds.
        images: Distinct (test_set, image).
        judges: Judge keys.
        values: ``(cells, judges, seeds, images)``, NaN where a score is missing or not ok.
        not_ok: Same shape, true where there is a score but it is not ok.
    """

    keys: list[CellKey]
    seeds: list
    images: list
    judges: list[str]
    values: Floats
    not_ok: np.ndarray


def gains(sr_scores: pd.DataFrame, *, n_boot: int = 2000, seed: int = 0, level: float = LEVEL) -> Gains:
    """Compute the gain of every trained cell over the pixel-only cell of its generator.

    Per generator, every cell is expected to have every (seed, image, judge) that any cell has. If a score by an
    independent judge is missing or not ok, the cell gets a status and NaN, never an average over what is left.
    A judge is independent of a fidelity measure if it is another measure and shares no family with it.
    The interval resamples seeds and images with replacement, each seed's images together (a crossed bootstrap); judges
    are not resampled, and a judge SD is a fixed unit, not estimated again. With one seed the interval covers images
    only. It is not widened for few seeds as ``percentile_interval`` can do for clusters: where seeds are alike it would
    be half too wide, and where two seeds differ much it would still cover only 60 to 86 % (``benchmarks/resampling.py
    --only seeds``).

    Args:
        sr_scores: The table of that name.
        n_boot: Number of resamples.
        seed: Seed of the resamples.
        level: Coverage of the percentile intervals, in (0, 1).

    Raises:
        AnalysisError: No pixel-only score for a (seed, image, judge) that a cell needs; repeated rows; one key with two
            ids or directions; an "ok" score that is not finite.

    Examples:
        >>> rows = [("none", 1, 30.0), ("none", 2, 31.0), ("ssim", 1, 30.5), ("ssim", 2, 31.2)]
        >>> scores = pd.DataFrame(rows, columns=["fidelity", "image", "value"]).assign(
        ...     generator="unet", fidelity_id=lambda row: row["fidelity"], fidelity_families="", discriminator="none",
        ...     discriminator_id="none", gan_weight=0.0, seed=0, test_set="set5", judge="musiq", judge_id="musiq",
        ...     judge_families="musiq", higher_is_better=True, status="ok",
        ... )
        >>> gains(scores, n_boot=100).table[["fidelity", "gain", "n_images", "n_judges", "status"]].round(2)
          fidelity  gain  n_images  n_judges status
        0     ssim  1.65         2         1     ok
    """
    require_unique(sr_scores, [*CELL, *SCORE], "sr_scores")
    require_finite_where_ok(sr_scores, "value", "sr_scores")
    for key in ("fidelity", "discriminator", "judge"):
        require_one(sr_scores, [key], f"{key}_id", "sr_scores")
    for of in ("higher_is_better", "judge_families"):
        require_one(sr_scores, ["judge"], of, "sr_scores")
    require_one(sr_scores, ["fidelity"], "fidelity_families", "sr_scores")

    per_generator = [
        differences_to_baseline(scores, generator)
        for generator, scores in grouped(sr_scores.loc[~sr_scores["fidelity"].isin(UNTRAINED)], "generator")
    ]
    per_generator = [differences for differences in per_generator if differences.keys]
    judges = describe_judges(sr_scores, per_generator)
    fidelities = {row["fidelity"]: row for row in records(sr_scores.drop_duplicates("fidelity"))}
    discriminators = {row["discriminator"]: row for row in records(sr_scores.drop_duplicates("discriminator"))}
    by_key = {row["judge"]: row for row in records(judges)}

    rows, judge_rows = [], []
    replicates: dict[CellKey, Floats] = {}
    for differences in per_generator:
        n_seeds, n_images = len(differences.seeds), len(differences.images)
        # The same stream for every generator: equal numbers of seeds and images give the very same resamples.
        rng = np.random.default_rng([seed, 1])
        seed_counts, image_counts = draw_counts(n_seeds, n_boot, rng), draw_counts(n_images, n_boot, rng)

        def resampled(values: Floats, seeds: np.ndarray = seed_counts, images: np.ndarray = image_counts) -> Floats:
            """Mean of ``values`` ``(seeds, images)`` in each resample."""
            return ((seeds @ values) * images).sum(axis=1) / values.size

        of_judge = [by_key[judge] for judge in differences.judges]
        sds = np.array([judge["sd"] for judge in of_judge])
        no_spread = np.array([judge["status"] == "no spread" for judge in of_judge])
        for index, key in enumerate(differences.keys):
            values, not_ok = differences.values[index], differences.not_ok[index]
            fidelity = fidelities[key.fidelity]
            related = np.array([is_related(fidelity, judge) for judge in of_judge])
            bad, missing = not_ok.sum(axis=(1, 2)), (np.isnan(values) & ~not_ok).sum(axis=(1, 2))
            per_judge = n_seeds * n_images
            for j, judge in enumerate(differences.judges):
                status = incomplete(int(bad[j]), int(missing[j]), per_judge) or of_judge[j]["status"]
                gain = low = high = float("nan")
                if status == "ok":
                    gain = float(values[j].mean() / sds[j])
                    low, high = percentile_interval(resampled(values[j] / sds[j]), level)
                raw = float(values[j].mean())  # NaN if any is
                found = (judge, raw, gain, low, high, bool(related[j]), per_judge, int(bad[j]), int(missing[j]), status)
                judge_rows.append(dict(zip(JUDGE_COLUMNS, (*key, *found), strict=True)))

            used = ~related & ~no_spread
            status = incomplete(int(bad[used].sum()), int(missing[used].sum()), per_judge * int(used.sum()))
            if not used.any():
                status = "no independent judge" if not (~related).any() else "no independent judge with spread"
            gain = low = high = float("nan")
            if not status:
                scaled = (values[used] / sds[used, None, None]).mean(axis=0)
                gain = float(scaled.mean())
                replicates[key] = resampled(scaled)
                low, high = percentile_interval(replicates[key], level)
            names = np.array(differences.judges)
            row = (
                *(*key, fidelity["fidelity_id"], discriminators[key.discriminator]["discriminator_id"]),
                *(gain, low, high, n_seeds, n_images, int(used.sum())),
                *(";".join(names[related]), ";".join(names[no_spread & ~related])),
                *(values.size, int(bad.sum()), int(missing.sum()), status or "ok"),
            )
            rows.append(dict(zip(COLUMNS, row, strict=True)))
    return Gains(
        table=pd.DataFrame(rows, columns=COLUMNS),
        by_judge=pd.DataFrame(judge_rows, columns=JUDGE_COLUMNS),
        judges=judges,
        means=mean_scores(sr_scores),
        replicates=replicates,
    )


def differences_to_baseline(scores: pd.DataFrame, generator: str) -> Differences:
    """Subtract the pixel-only cell from every other cell of one generator.

    Raises:
        AnalysisError: The pixel-only cell, or its score of a (seed, image, judge) that another cell has, is missing.
    """
    sign = np.where(scores["higher_is_better"].to_numpy(dtype=bool), 1.0, -1.0)
    ok = (scores["status"] == "ok").to_numpy(dtype=bool)
    scores = scores.assign(signed=np.where(ok, sign * scores["value"].to_numpy(dtype=float), np.nan))
    is_baseline = ((scores["fidelity"] == "none") & (scores["discriminator"] == "none")).to_numpy(dtype=bool)
    trained = scores[~is_baseline]
    baseline = scores.loc[is_baseline, [*SCORE, "signed"]].rename(columns={"signed": "baseline"})
    paired = trained.merge(baseline, on=SCORE, how="left", indicator="found")
    alone = paired[paired["found"] == "left_only"]
    if len(alone):
        raise AnalysisError(
            f"{len(alone)} score(s) of generator {generator} have no pixel-only score (fidelity none, discriminator"
            f" none) to be compared with, first: {describe(records(alone)[0], SCORE)}. Run the pixel-only cell."
        )
    cells = pd.MultiIndex.from_frame(paired[CELL])
    images = pd.MultiIndex.from_frame(paired[["test_set", "image"]])
    axes = [cells, pd.Index(paired["judge"]), pd.Index(paired["seed"]), images]
    codes, labels = zip(*(axis.factorize(sort=True) for axis in axes), strict=True)
    values = np.full([len(found) for found in labels], np.nan)
    not_ok = np.zeros(values.shape, dtype=bool)
    values[codes] = (paired["signed"] - paired["baseline"]).to_numpy(dtype=float)
    not_ok[codes] = np.isnan(values[codes])
    keys = [CellKey(str(g), str(f), str(d), float(w)) for g, f, d, w in labels[0]]
    return Differences(keys, list(labels[2]), list(labels[3]), [str(judge) for judge in labels[1]], values, not_ok)


def describe_judges(sr_scores: pd.DataFrame, per_generator: list[Differences]) -> pd.DataFrame:
    """Return one row per judge with its pooled SD over the complete (cell, judge) blocks of all generators."""
    rows = []
    for judge, scores in grouped(sr_scores, "judge"):
        squares, freedom = 0.0, 0
        for differences in per_generator:
            if judge not in differences.judges:
                continue
            values = differences.values[:, differences.judges.index(judge)]
            values = values.reshape(len(values), -1)
            values = values[~np.isnan(values).any(axis=1)]
            squares += float(((values - values.mean(axis=1, keepdims=True)) ** 2).sum())
            freedom += values.shape[0] * (values.shape[1] - 1)
        sd = (squares / freedom) ** 0.5 if freedom else float("nan")
        largest = float(scores["value"].abs().max()) if scores["value"].notna().any() else 0.0
        status = "no complete cell" if not freedom else "ok" if sd > NO_SPREAD * largest else "no spread"
        first = scores.iloc[0]
        row = (
            *(judge, first["judge_id"], first["judge_families"], bool(first["higher_is_better"]), sd, len(scores)),
            *(int((scores["status"] != "ok").sum()), status),
        )
        rows.append(dict(zip(JUDGES_COLUMNS, row, strict=True)))
    return pd.DataFrame(rows, columns=JUDGES_COLUMNS)


def is_related(fidelity: Row, judge: Row) -> bool:
    """Return whether a judge is the fidelity measure itself or shares a family (backbone, form) with it."""
    shared = families(fidelity["fidelity_families"]) & families(judge["families"])
    return judge["judge"] == fidelity["fidelity"] or judge["judge_id"] == fidelity["fidelity_id"] or bool(shared)


def families(joined: Any) -> set[str]:
    """Split a ";"-joined list of families; empty or missing gives the empty set."""
    return set() if pd.isna(joined) else {part.strip() for part in str(joined).split(";")} - {""}


def mean_scores(sr_scores: pd.DataFrame) -> pd.DataFrame:
    """Return the mean score of every cell by every judge, in the judge's own unit; NaN where any score is not ok."""
    rows = []
    for key, scores in grouped(sr_scores, *CELL, "judge"):
        n_not_ok = int((scores["status"] != "ok").sum())
        mean = float("nan") if n_not_ok else float(scores["value"].mean())
        row = (*key, mean, len(scores), n_not_ok, bool(scores["higher_is_better"].iloc[0]))
        rows.append(dict(zip(MEANS_COLUMNS, row, strict=True)))
    return pd.DataFrame(rows, columns=MEANS_COLUMNS)
