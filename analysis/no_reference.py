"""No-reference models: how well each agrees with the labels over repeated splits, and how the initialisation matters.

Splits of one data set share most of their training images and some of their test images, so their results are not
independent samples: the variance of a mean over J splits is not s²/J but about s²·(1/J + n_test/n_train), which does
not vanish with more splits (Nadeau & Bengio, Inference for the generalization error, Machine Learning 52, 2003). Where
there is one split, the official one, test images are resampled instead, those of one reference together.

Seeds are samples too: what a discriminator has learnt depends on the seed of its training. A value is a mean over
seeds, and the variance of that mean, s²/S over S seeds, is added to the variance over splits; the degrees of freedom
of the sum are Satterthwaite's. The interaction of seeds and splits is counted in both parts, so intervals are too wide
rather than too narrow. With one seed the interval is about that training only.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from .result_tables import StudyTables
from .statistics.bootstrap import LEVEL, MAX_UNDEFINED, Resamples, draw_resamples
from .statistics.correlation import Floats, orientation
from .statistics.frames import Row, grouped, require_finite_where_ok, require_one, require_unique, where
from .statistics.multiplicity import holm
from .statistics.rated import STATISTICS, status_of

SOURCE = ["generator", "fidelity", "discriminator", "gan_weight"]  # of the discriminator, as in the table of gains
MODEL = ["dataset", "backbone", "model", "stage"]
ARM = [*MODEL, "initialisation", *SOURCE]
ITEM = ["reference", "image"]
SPLIT_COLUMNS = [*ARM, "seed", "split", "n", "n_references", *STATISTICS, "status"]
COLUMNS = [
    *(*ARM, "label_kind", "n", "n_references", "n_splits", "n_seeds"),
    *(name + end for name in STATISTICS for end in ("", "_low", "_high")),
    "status",
]
DIFFERENCE_COLUMNS = [
    *(*MODEL, *SOURCE, "a", "b", "difference", "difference_low", "difference_high", "p", "p_holm", "n_splits"),
    *("n_seeds", "n_unpaired_seeds", "status"),
]
DISCRIMINATOR, ZERO_LABEL, CHANCE = "discriminator", "zero-label", "chance"
NO_STAGE, NO_SEED = -1, -1  # for a whole model; for weights that involve no randomness
# Each initialisation with those it is compared with, for the same model and splits. A discriminator that is read
# without labels and without training is "random" too.
COMPARED = {
    DISCRIMINATOR: ("random", "pretrained"),
    "self": ("random", "pretrained"),
    "pretrained": ("random",),
    ZERO_LABEL: ("random",),
}
# Var(median) / Var(mean) of independent normal values, the limit from below for many.
MEDIAN_VARIANCE = np.pi / 2


@dataclass(frozen=True)
class NoReference:
    """What the scores of no-reference models say.

    A *model* is a backbone with head and protocol; an *arm* is a model with an initialisation and, where that is a
    discriminator, which one (``SOURCE``: as trained in one setting, all seeds). ``stage`` is NA for a whole model and
    the layer's index for a probe of one layer. A zero-label model is the logit of the discriminator itself, which has
    seen no labels.

    Attributes:
        splits: One row per arm, ``seed`` (NA: none) and split: ``n`` test images of ``n_references``, SRCC, KRCC and
            raw PLCC (+ agrees with the labels), ``status`` "ok" or why they are NaN.
        table: One row per arm: the three as medians over splits of means over seeds, with ``_low`` and ``_high``;
            ``n`` and ``n_references`` are of all splits together; ``status`` "ok" or why the values are NaN.
        differences: One row per comparison: mean over splits and seeds of the SRCC of ``a`` minus that of ``b``, both
            initialisations of one model, on the same splits, images and seeds (``b`` "chance" is 0), with interval,
            ``p`` (two-sided t test) and ``p_holm`` (Holm's correction over the comparisons of the data set, separately
            for whole models and for single layers). ``n_unpaired_seeds`` counts seeds that only one of the two has.
    """

    splits: pd.DataFrame
    table: pd.DataFrame
    differences: pd.DataFrame


class Estimate(NamedTuple):
    """A value with its interval and the p of its being 0; NaN where undefined."""

    value: float
    low: float
    high: float
    p: float


@dataclass(frozen=True)
class Design:
    """The splits of one data set.

    Attributes:
        items: Split → its test images, by reference and image, with their labels.
        ratio: Test references over training references, the mean over splits; infinite where no training image is
            known, because every split tests the same images.
        resamples: References drawn with replacement, if there is one split.
        n, n_references: Distinct test images and references of all splits together.
        label_higher_is_better: Direction of the labels.
    """

    items: dict[Any, pd.Series]
    ratio: float
    resamples: Resamples | None
    n: int
    n_references: int
    label_higher_is_better: bool


@dataclass(frozen=True)
class Arm:
    """One model from one initialisation.

    Attributes:
        key: Values of ``ARM``.
        seeds: Its seeds, or ``[NO_SEED]``.
        values: Statistic → ``(seeds, splits)``.
        again: Statistic → ``(seeds, n_boot)``, its bootstrap replicates if there is one split.
        status: "ok" or why some values are NaN.
    """

    key: Row
    seeds: list[int]
    values: dict[str, Floats]
    again: dict[str, Floats]
    status: str


def derive(tables: StudyTables, *, n_boot: int, seed: int) -> dict[str, pd.DataFrame]:
    """Return the tables that the study and its report take from here."""
    found = assess_nr(tables.nr_scores, n_boot=n_boot, seed=seed)
    return {"nr_splits": found.splits, "nr_assessment": found.table, "nr_differences": found.differences}


def assess_nr(nr_scores: pd.DataFrame, *, n_boot: int = 2000, seed: int = 0, level: float = LEVEL) -> NoReference:
    """Correlate every no-reference model with the labels, and compare initialisations of the same model.

    Every arm and seed is expected to have every split of its data set, and every test image that any of them has. An
    arm that lacks one, or has a score that is not "ok", gets a status and NaN.

    Args:
        nr_scores: The table of that name. Optional columns: ``stage``, ``seed``, and ``generator``, ``fidelity``,
            ``discriminator``, ``gan_weight`` of the discriminator, without which every ``source_cell`` stands alone;
            ``train_references``, the number of references trained on in the split, without which those that other
            splits test are counted: too few, so intervals are too wide. An image whose ``reference`` is empty is its
            own reference.
        n_boot: Number of resamples if there is one split.
        seed: Seed of the resamples.
        level: Coverage of the intervals, in (0, 1).

    Raises:
        AnalysisError: Repeated rows; one key with two ids, directions or labels; an "ok" score that is not finite.
    """
    table = with_defaults(nr_scores)
    run = [*ARM, "seed"]
    require_unique(table, [*run, "split", *ITEM], "nr_scores")
    require_finite_where_ok(table, "score", "nr_scores")
    require_finite_where_ok(table.assign(status="ok"), "label", "nr_scores")
    for of in ("model_id", "higher_is_better"):
        require_one(table, run, of, "nr_scores")
    for of in ("dataset_id", "label_kind", "label_higher_is_better"):
        require_one(table, ["dataset"], of, "nr_scores")
    require_one(table, ["dataset", *ITEM], "label", "nr_scores")

    split_rows, rows, differences = [], [], []
    for _, scores in grouped(table, "dataset"):
        design = design_of(scores, n_boot, seed)
        arms = []
        for key, of_arm in grouped(scores, *ARM):
            arm, found = arm_of(dict(zip(ARM, key, strict=True)), of_arm, design, n_boot)
            arms.append(arm)
            split_rows += found
            rows.append(arm_row(arm, design, str(of_arm["label_kind"].iloc[0]), level))
        differences += compare(arms, design, level)
    return NoReference(
        *(
            nullable(pd.DataFrame(found, columns=columns))
            for found, columns in ((split_rows, SPLIT_COLUMNS), (rows, COLUMNS), (differences, DIFFERENCE_COLUMNS))
        )
    )


def with_defaults(nr_scores: pd.DataFrame) -> pd.DataFrame:
    """Return the scores with every optional column, and without missing values in the columns that identify a row."""
    table = nr_scores.copy()
    if "discriminator" not in table:
        table["discriminator"] = table["source_cell"]
    defaults = {"stage": NO_STAGE, "seed": NO_SEED, "gan_weight": 0.0}
    defaults |= dict.fromkeys(("generator", "fidelity", "discriminator", "reference"), "")
    for column, default in defaults.items():
        found = table[column] if column in table else pd.Series(default, table.index)
        table[column] = found.astype(object).where(found.notna(), default).astype(type(default))
    own = table["reference"] == ""
    table["reference"] = table["reference"].where(~own, table["image"])
    return table


def nullable(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with whole numbers in ``stage`` and ``seed``, NA where there is none."""
    for column in ("stage", "seed"):
        if column in table:
            table[column] = table[column].astype("Int64").mask(table[column] == NO_STAGE)
    return table


def design_of(scores: pd.DataFrame, n_boot: int, seed: int) -> Design:
    """Return the splits of one data set's scores."""
    items = {
        split: of_split.drop_duplicates(ITEM).set_index(ITEM)["label"].sort_index().astype(float)
        for split, of_split in grouped(scores, "split")
    }
    known = scores["reference"].nunique()
    n_test = float(np.mean([labels.index.unique("reference").size for labels in items.values()]))
    n_train = known - n_test
    if "train_references" in scores and scores["train_references"].notna().all():
        n_train = float(scores.drop_duplicates("split")["train_references"].mean())
    resamples = None
    if len(items) == 1:
        references = next(iter(items.values())).index.get_level_values("reference")
        resamples = draw_resamples(references, n_boot, np.random.default_rng([seed, 0]))
    return Design(
        items,
        n_test / n_train if n_train > 0 else float("inf"),
        resamples,
        len(scores.drop_duplicates(ITEM)),
        known,
        bool(scores["label_higher_is_better"].iloc[0]),
    )


def arm_of(key: Row, scores: pd.DataFrame, design: Design, n_boot: int) -> tuple[Arm, list[Row]]:
    """Return an arm and its rows of ``NoReference.splits``."""
    seeds = sorted(scores["seed"].unique())
    shape = (len(seeds), len(design.items))
    values = {name: np.full(shape, np.nan) for name in STATISTICS}
    again = {name: np.full((len(seeds), n_boot if design.resamples else 0), np.nan) for name in STATISTICS}
    directions = {
        "score_higher_is_better": bool(scores["higher_is_better"].iloc[0]),
        "label_higher_is_better": design.label_higher_is_better,
    }
    by_run: dict[Any, pd.DataFrame] = dict(grouped(scores, "seed", "split"))
    nothing, rows = scores.head(0), []
    for s, seed in enumerate(seeds):
        for j, (split, labels) in enumerate(design.items.items()):
            of_run: pd.DataFrame = by_run.get((seed, split), nothing)  # pyright: ignore[reportAssignmentType]
            ok = where(of_run, status="ok").set_index(ITEM)["score"].reindex(labels.index).to_numpy(dtype=float)
            label = labels.to_numpy()
            status = status_of(ok, label, int((of_run["status"] != "ok").sum()))
            if status == "ok":
                for name, (value, resampled) in STATISTICS.items():
                    values[name][s, j] = value(ok, label, **directions)
                    if design.resamples:
                        again[name][s] = orientation(*directions.values()) * resampled(ok, label, design.resamples)
            rows.append(
                {
                    **key,
                    "seed": seed,
                    "split": split,
                    "n": len(labels),
                    "n_references": labels.index.unique("reference").size,
                    **{name: values[name][s, j] for name in STATISTICS},
                    "status": status,
                }
            )
    bad = [row for row in rows if row["status"] != "ok"]
    status = "ok"
    if bad:
        of_seed = f"seed {bad[0]['seed']}, " if bad[0]["seed"] != NO_SEED else ""
        status = f"{len(bad)} of {len(rows)} runs, first {of_seed}split {bad[0]['split']}: {bad[0]['status']}"
    return Arm(key, seeds, values, again, status), rows


def arm_row(arm: Arm, design: Design, label_kind: str, level: float) -> Row:
    """Return an arm's row of ``NoReference.table``."""
    row = {
        **arm.key,
        "label_kind": label_kind,
        "n": design.n,
        "n_references": design.n_references,
        "n_splits": len(design.items),
        "n_seeds": len(arm.seeds),
        "status": arm.status,
    }
    for name in STATISTICS:
        found = estimate(arm.values[name], arm.again[name], design, level, median=True)
        low, high = np.clip([found.low, found.high], -1, 1)  # no correlation is outside
        row |= {name: found.value, f"{name}_low": float(low), f"{name}_high": float(high)}
    return row


def estimate(values: Floats, again: Floats, design: Design, level: float, *, median: bool = False) -> Estimate:
    """Return the mean of results, or their median over splits, with a t interval; NaN if any result is NaN.

    Args:
        values: ``(seeds, splits)``.
        again: ``(seeds, n_boot)``, bootstrap replicates if there is one split.
        design: The splits.
        level: Coverage of the interval.
        median: Take the median over splits. What splits share moves their median as it moves their mean, so only the
            1/J part of the variance grows, by at most π/2.
    """
    n_seeds, n_splits = values.shape
    nothing = Estimate(*[float("nan")] * 4)
    if np.isnan(values).any():
        return nothing
    of_splits, of_seeds = values.mean(axis=0), values.mean(axis=1)
    value = float(np.median(of_splits) if median else of_splits.mean())
    if design.resamples is not None:
        drawn = again.mean(axis=0)
        drawn, n = drawn[np.isfinite(drawn)], design.n_references
        if n < 2 or len(drawn) < (1 - MAX_UNDEFINED) * again.shape[1]:
            return nothing._replace(value=value)
        parts = [(drawn.var(ddof=1) * n / (n - 1), n - 1)]
    else:
        once = MEDIAN_VARIANCE if median and n_splits > 2 else 1.0
        # With an infinite ratio there is no interval, even if the spread is 0.
        variance = of_splits.var(ddof=1) * (once / n_splits + design.ratio) if np.isfinite(design.ratio) else np.nan
        parts = [(variance, n_splits - 1)]
    if n_seeds > 1:
        parts.append((of_seeds.var(ddof=1) / n_seeds, n_seeds - 1))
    return t_estimate(value, parts, level)


def t_estimate(value: float, parts: list[tuple[float, int]], level: float) -> Estimate:
    """Return a value with the t interval of a variance that is a sum of parts, each with its degrees of freedom."""
    variance = sum(part for part, _ in parts)
    if np.isnan(variance):
        return Estimate(value, *[float("nan")] * 3)
    if variance == 0:
        return Estimate(value, value, value, float(value == 0))
    freedom = variance**2 / sum(part**2 / n for part, n in parts)
    half = stats.t.ppf((1 + level) / 2, freedom) * variance**0.5
    return Estimate(value, value - half, value + half, float(2 * stats.t.sf(abs(value) / variance**0.5, freedom)))


def compare(arms: list[Arm], design: Design, level: float) -> list[Row]:
    """Return the comparisons of one data set, with p-values corrected for their number."""
    rows = []
    for a, b in pairs(arms):
        seeds, unpaired, status = paired_seeds(a, b)
        found = Estimate(*[float("nan")] * 4)
        if not status:
            other = b or Arm({}, [NO_SEED], {"srcc": np.zeros((1, 1))}, {"srcc": np.zeros((1, 1))}, "ok")
            values, again = (srcc_of(a, seeds, kind) - srcc_of(other, seeds, kind) for kind in ("values", "again"))
            found = estimate(values, again, design, level)
        rows.append(
            {
                **{name: a.key[name] for name in [*MODEL, *SOURCE]},
                # Zero-label scores come from no trained model: the comparison belongs to the model they are compared
                # with.
                **({name: b.key[name] for name in MODEL} if b else {}),
                "a": a.key["initialisation"],
                "b": b.key["initialisation"] if b else CHANCE,
                "difference": found.value,
                "difference_low": found.low,
                "difference_high": found.high,
                "p": found.p,
                "p_holm": float("nan"),
                "n_splits": len(design.items),
                "n_seeds": len(seeds),
                "n_unpaired_seeds": unpaired,
                "status": status or "ok",
            }
        )
    for whole in (True, False):
        family = [row for row in rows if bool(row["stage"] == NO_STAGE) == whole and np.isfinite(row["p"])]
        for row, p in zip(family, holm([row["p"] for row in family]), strict=True):
            row["p_holm"] = float(p)
    return rows


def pairs(arms: list[Arm]) -> Iterator[tuple[Arm, Arm | None]]:
    """Yield the pairs to compare; None is chance."""
    for a in arms:
        kind = a.key["initialisation"]
        if kind == ZERO_LABEL:
            yield a, None
        for b in arms:
            other = b.key["initialisation"]
            same_model = all(a.key[name] == b.key[name] for name in MODEL)
            same_source = all(a.key[name] == b.key[name] for name in ["backbone", *SOURCE])
            if same_model and other in COMPARED.get(kind, ()):
                yield a, b
            if kind == ZERO_LABEL and other == DISCRIMINATOR and same_source and b.key["stage"] == NO_STAGE:
                yield a, b


def paired_seeds(a: Arm, b: Arm | None) -> tuple[list[int], int, str]:
    """Return the seeds that both have, how many only one has, and why they cannot be compared, or ""."""
    for arm in (a, b):
        if arm is not None and arm.status != "ok":
            return [], 0, f"{arm.key['initialisation']}: {arm.status}"
    if b is None or b.seeds == [NO_SEED]:
        return a.seeds, 0, ""
    if a.seeds == [NO_SEED]:
        return b.seeds, 0, ""
    shared = sorted(set(a.seeds) & set(b.seeds))
    return shared, len(set(a.seeds) ^ set(b.seeds)), "" if shared else "no seed in common"


def srcc_of(arm: Arm, seeds: list[int], kind: str) -> Floats:
    """Return the SRCC of the given seeds, ``(seeds, splits or n_boot)``; a single row serves all seeds."""
    found: Floats = getattr(arm, kind)["srcc"]
    return found if arm.seeds == [NO_SEED] else found[[arm.seeds.index(seed) for seed in seeds]]
