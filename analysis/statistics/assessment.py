"""The assessment side: how well the ranking of distorted images by each measure agrees with the labels."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import combinations

import numpy as np
import pandas as pd

from .agreement import label_errors, ordered_pairs, outlier_ratio
from .bootstrap import LEVEL, Resamples, draw_resamples, share_above_zero, srcc_replicates
from .contrast import Estimate, satterthwaite
from .correlation import Floats
from .frames import grouped, records, require_finite_where_ok, require_one, require_unique
from .leaving_out import MIN_REFERENCES, correlation_interval, jackknife, leave_one_out
from .logistic import fit_logistic
from .multiplicity import holm
from .rank_correlation import spearman
from .ranks import friedman
from .rated import STATISTICS
from .score_matrix import ITEM, ScoreMatrix

CERTAINTY = ("label_std", "votes", "label_std_of")
COLUMNS = [
    *("dataset", "dataset_id", "measure", "measure_id", "label_kind", "n", "n_references", "n_not_ok", "n_missing"),
    *(name + end for name in STATISTICS for end in ("", "_low", "_high")),
    *("plcc_logistic4", "logistic4_status", "plcc_logistic5", "logistic5_status", "rmse", "outlier_ratio"),
    *("concordance", "n_significant_pairs", "label_error_status", "n_undefined", "status"),
]
DIFFERENCE_COLUMNS = [
    *("dataset", "measure_a", "measure_b", "difference", "difference_low", "difference_high"),
    *("win_probability", "p", "p_holm"),
]
RANK_COLUMNS = [
    *("dataset", "over", "n_blocks", "n_left_out", "measure", "mean_rank", "friedman_chi2", "friedman_p"),
    "critical_difference",
]


@dataclass(frozen=True)
class Assessment:
    """What the FR scores say.

    Attributes:
        table: One row per (dataset, measure): ``n`` images, SRCC, KRCC and raw PLCC (+ agrees with the labels), each
            with ``_low`` and ``_high``; PLCC after each logistic with the fit's status (``logistic.LogisticFit``);
            ``rmse`` after the four-parameter one, in units of the labels; ``outlier_ratio`` after the same, and
            ``concordance`` over ``n_significant_pairs`` (``agreement.py``), NaN where the
            standard errors of the labels are unknown, with the reason in ``label_error_status``;
            ``n_undefined`` resamples without an SRCC, which win probabilities leave out; ``status`` "ok" or why the
            values are NaN.
        differences: One row per pair of "ok" measures of a data set: SRCC of a minus SRCC of b (a is the better one),
            ``win_probability`` (the share of bootstrap resamples in which a is ahead),
            its interval and ``p`` (two-sided t test over the delete-one-reference jackknife SE, references − 1 degrees
            of freedom; NaN below three references) and ``p_holm`` (Holm's correction over the pairs of the data set).
        ranks: Friedman's test over the references of each data set (``over`` "references", by SRCC within a reference)
            and, from two data sets, over those (``over`` "data sets", ``dataset`` ""): one row per "ok" measure with
            its ``mean_rank`` (1 is best) and, repeated, χ², p and Nemenyi's ``critical_difference`` of mean ranks.
            ``n_left_out`` counts blocks in which a measure has no SRCC. No rows if fewer than two blocks or measures
            are left.
        leave_one_out: (dataset, measure) → SRCC without each reference, ``(references,)``.
        draws: (dataset, measure) → SRCC of each draw of random weights that a measure is the mean of, ``(draws,)``.
    """

    table: pd.DataFrame
    differences: pd.DataFrame
    ranks: pd.DataFrame
    leave_one_out: dict[tuple[str, str], Floats]
    draws: dict[tuple[str, str], Floats] = field(default_factory=dict)

    def difference(self, dataset: str, a: str, b: str) -> Estimate:
        """Estimate the SRCC of measure ``a`` minus that of ``b``, with the SE of the jackknife over references."""
        return self.mean_difference(dataset, [a], [b])

    def mean_difference(self, dataset: str, a: list[str], b: list[str]) -> Estimate:
        """Estimate the mean SRCC of measures ``a`` minus that of measures ``b``.

        Of a measure that is a mean over m draws of random weights, their variance/m is added to SE², with m − 1 degrees
        of freedom, as for gains (``Grid.contrast``).
        """
        parts, value = np.zeros_like(self.leave_one_out[dataset, a[0]]), 0.0
        draws: dict[int, Floats] = {}
        for sign, names in ((1, a), (-1, b)):
            parts = parts + sign * np.mean([self.leave_one_out[dataset, name] for name in names], axis=0)
            value += sign * float(np.mean([self._srcc[dataset, name] for name in names]))
            for of in (self.draws[dataset, name] for name in names if (dataset, name) in self.draws):
                draws[len(of)] = draws.get(len(of), np.zeros(len(of))) + sign * of / len(names)
        found = jackknife(value, parts)
        if not draws or np.isnan(found.se):
            return found
        variances = np.array([found.se**2, *(of.var(ddof=1) / m for m, of in draws.items())])
        df = satterthwaite(variances, np.array([found.df, *(m - 1.0 for m in draws)]))
        return replace(found, se=float(np.sqrt(variances.sum())), df=df)

    @cached_property
    def _srcc(self) -> dict[tuple[str, str], float]:
        return {(str(row["dataset"]), str(row["measure"])): row["srcc"] for row in records(self.table)}


def assess(fr_scores: pd.DataFrame, *, n_boot: int = 2000, seed: int = 0, level: float = LEVEL) -> Assessment:
    """Correlate every measure with the labels of every data set, with intervals clustered by reference image.

    A measure gets a status and NaN if it lacks an image that another measure of the data set has, or if a score of it
    is not "ok": its correlation over the rest would not be comparable. Below three references there is no interval.

    Args:
        fr_scores: The table of that name. Optional columns ``label_std``, ``votes`` and ``label_std_of`` say how
            certain the labels are, as in a manifest (``iqa/manifest.py``).
        n_boot: Number of resamples for win probabilities; the same ones serve every measure of a data set.
        seed: Seed of the resamples.
        level: Coverage of the intervals, in (0, 1): jackknife over references, of Fisher's z for correlations.

    Raises:
        AnalysisError: Repeated rows; one key with two ids, directions or labels; an "ok" score that is not finite.

    Examples:
        Scores of two measures for three photographs, each blurred at three levels:

        >>> rows = [
        ...     (f"photo{p}", level, measure, level + noise * (p * level % 3))
        ...     for measure, noise in (("good", 0.1), ("poor", 1.0)) for p in (1, 2, 3) for level in (1, 2, 3)
        ... ]
        >>> scores = pd.DataFrame(rows, columns=["reference", "level", "measure", "score"]).assign(
        ...     measure_id=lambda row: row["measure"], dataset="blurred", dataset_id="1", image="", distortion="blur",
        ...     label=lambda row: row["level"], label_kind="severity_grade", label_higher_is_better=False,
        ...     higher_is_better=False, status="ok",
        ... )
        >>> assess(scores, n_boot=100).table[["measure", "n", "n_references", "srcc", "status"]].round(2)
          measure  n  n_references  srcc status
        0    good  9             3  0.96     ok
        1    poor  9             3  0.49     ok
    """
    require_unique(fr_scores, ["dataset", "measure", *ITEM], "fr_scores")
    require_finite_where_ok(fr_scores, "score", "fr_scores")
    require_finite_where_ok(fr_scores.assign(status="ok"), "label", "fr_scores")
    for of in ("measure_id", "higher_is_better"):
        require_one(fr_scores, ["measure"], of, "fr_scores")
    for of in ("dataset_id", "label_kind", "label_higher_is_better"):
        require_one(fr_scores, ["dataset"], of, "fr_scores")
    for of in ("label", *(name for name in CERTAINTY if name in fr_scores)):
        require_one(fr_scores, ["dataset", *ITEM], of, "fr_scores")

    rows, differences, ranks = [], [], []
    leave_one_out: dict[tuple[str, str], Floats] = {}
    for dataset, of_dataset in grouped(fr_scores, "dataset"):
        matrix = ScoreMatrix.of(of_dataset)
        errors, errors_status = known_errors(matrix.images)
        described = describe_measures(matrix, errors_status)
        rows += described
        usable = np.array([row["status"] == "ok" for row in described])
        if not usable.any():
            continue
        complete = [row for row in described if row["status"] == "ok"]
        measures, label = [row["measure"] for row in complete], matrix.label
        scores, signs = matrix.scores[usable], matrix.signs[usable]
        agreeing = signs[:, None] * scores
        resamples = draw_resamples(matrix.images["reference"], n_boot, np.random.default_rng([seed, 0]))
        parts, replicates = correlate(complete, agreeing, label, resamples, level)
        leave_one_out |= {(str(dataset), measure): part for measure, part in zip(measures, parts, strict=True)}
        for row, values, sign in zip(complete, scores, signs, strict=True):
            row |= map_scores(values, label, errors, score_higher_is_better=bool(sign > 0))
        if errors is not None:
            shares, n_pairs = ordered_pairs(agreeing, label, errors)
            for row, share in zip(complete, shares, strict=True):
                row |= {"concordance": float(share), "n_significant_pairs": n_pairs}
        differences += paired_differences(complete, dict(zip(measures, replicates, strict=True)), leave_one_out, level)
        of_references = [np.flatnonzero(resamples.cluster == r) for r in range(resamples.counts.shape[1])]
        within = np.stack([spearman(agreeing[:, of], label[of]) for of in of_references])
        ranks += rank_rows(str(dataset), "references", measures, within, level)
    table = pd.DataFrame(rows, columns=COLUMNS)
    of_sets = table.pivot(index="dataset", columns="measure", values="srcc").dropna(axis=1, how="all")
    ranks += rank_rows("", "data sets", list(of_sets.columns), of_sets.to_numpy(dtype=float), level)
    return Assessment(
        table,
        pd.DataFrame(differences, columns=DIFFERENCE_COLUMNS),
        pd.DataFrame(ranks, columns=RANK_COLUMNS),
        leave_one_out,
    )


def known_errors(images: pd.DataFrame) -> tuple[Floats | None, str]:
    """Return the standard error of each label and "ok", or None and why it is unknown."""

    def column(name: str) -> Floats:
        return images[name].to_numpy(dtype=float) if name in images else np.full(len(images), np.nan)

    std, votes = column("label_std"), column("votes")
    of = set(images["label_std_of"].dropna()) - {""} if "label_std_of" in images else set()
    if unknown := int(np.isnan(std).sum()):
        return None, f"{unknown} of {len(images)} labels have no label_std"
    if of == {"mean"}:
        return label_errors(std), "ok"
    if of != {"votes"}:
        return None, f"label_std_of is {' and '.join(sorted(of)) or 'unknown'}, not mean or votes"
    if unknown := int(np.isnan(votes).sum()):
        return None, f"label_std is of votes, whose number is unknown for {unknown} of {len(images)} labels"
    return label_errors(std, votes), "ok"


def describe_measures(matrix: ScoreMatrix, label_error_status: str) -> list[dict]:
    """Return a row of ``Assessment.table`` for every measure of a data set, as yet without values."""
    images, n_references = len(matrix.images), matrix.images["reference"].nunique()
    return [
        dict.fromkeys(COLUMNS, float("nan"))
        | {name: first[name] for name in ("dataset", "dataset_id", "measure", "measure_id", "label_kind")}
        | {
            "n": images,
            "n_references": n_references,
            "n_not_ok": int(not_ok.sum()),
            "n_missing": int((np.isnan(scores) & ~not_ok).sum()),
            "n_significant_pairs": 0,
            "label_error_status": label_error_status,
            "n_undefined": 0,
        }
        | dict.fromkeys(("status", "logistic4_status", "logistic5_status"), status)
        for first, scores, not_ok, status in zip(
            records(matrix.measures), matrix.scores, matrix.not_ok, matrix.statuses(), strict=True
        )
    ]


def correlate(
    rows: list[dict], scores: Floats, label: Floats, resamples: Resamples, level: float
) -> tuple[Floats, Floats]:
    """Add every correlation of ``scores`` ``(rows, images)``, with its interval, to the rows.

    Returns:
        SRCC without each reference, ``(rows, references)``, and of each resample, ``(rows, resamples)``.
    """
    n_references = resamples.counts.shape[1]
    left_out = leave_one_out(resamples.cluster, n_references)
    parts = np.empty((len(rows), 0))
    for name, (_, replicates) in STATISTICS.items():
        found = replicates(scores, label, left_out)
        for row, (value, *parts_of) in zip(rows, found, strict=True):
            low, high = correlation_interval(value, parts_of, level)
            row |= {name: float(value), f"{name}_low": low, f"{name}_high": high}
        if name == "srcc":
            parts = found[:, 1:]
    drawn = srcc_replicates(scores, label, resamples)
    if n_references < MIN_REFERENCES:
        drawn = np.full_like(drawn, np.nan)
    for row, values in zip(rows, drawn, strict=True):
        row["n_undefined"] = int(np.isnan(values).sum())
    return parts, drawn


def map_scores(
    score: Floats, label: Floats, errors: Floats | None, *, score_higher_is_better: bool
) -> dict[str, float | str]:
    """Return the values that need a logistic fit; scores and labels agree if higher scores mean higher labels."""
    four, five = (fit_logistic(score, label, n, score_higher_is_better=score_higher_is_better) for n in (4, 5))
    outliers = float("nan")
    if errors is not None and np.isfinite(four.rmse):
        outliers = outlier_ratio(four(score), label, errors)
    return {
        "plcc_logistic4": four.plcc,
        "logistic4_status": four.status,
        "plcc_logistic5": five.plcc,
        "logistic5_status": five.status,
        "rmse": four.rmse,
        "outlier_ratio": outliers,
    }


def rank_rows(dataset: str, over: str, measures: list[str], values: Floats, level: float) -> list[dict]:
    """Compare measures by Friedman's test over the rows of ``values`` ``(blocks, measures)`` that have no NaN."""
    if len(measures) < 2:
        return []
    usable = np.isfinite(values).all(axis=1)
    if usable.sum() < 2:
        return []
    found = friedman(values[usable], level=level)
    common = {
        "dataset": dataset,
        "over": over,
        "n_blocks": int(usable.sum()),
        "n_left_out": int((~usable).sum()),
        "friedman_chi2": found.statistic,
        "friedman_p": found.p,
        "critical_difference": found.critical_difference,
    }
    return [
        common | {"measure": measure, "mean_rank": float(rank)}
        for measure, rank in zip(measures, found.mean_ranks, strict=True)
    ]


def paired_differences(
    rows: list[dict],
    replicates: dict[str, Floats],
    leave_one_out: dict[tuple[str, str], Floats],
    level: float,
) -> list[dict]:
    """Compare the SRCC of every two measures of one data set over the same references."""
    pairs = []
    for a, b in combinations(sorted(rows, key=lambda row: -row["srcc"]), 2):
        parts = leave_one_out[a["dataset"], a["measure"]] - leave_one_out[b["dataset"], b["measure"]]
        found = jackknife(a["srcc"] - b["srcc"], parts)
        wins = share_above_zero(replicates[a["measure"]] - replicates[b["measure"]])
        values = (a["dataset"], a["measure"], b["measure"], found.value, *found.interval(level), wins, found.p, np.nan)
        pairs.append(dict(zip(DIFFERENCE_COLUMNS, values, strict=True)))
    for pair, p in zip(pairs, holm([pair["p"] for pair in pairs]), strict=True):
        pair["p_holm"] = p
    return pairs
