"""Measures, no-reference models and multimodal LLMs on the same rated images: who agrees most with people?

The three are assessed in tables of their own, each on the images that belong to it. Here they stand side by side, over
the images that all of them can have seen: where a no-reference model takes part, those are the test images of its
splits, and a value is the mean over the splits, for everyone.

The tests are about these images, models and trainings: references are what is new in another sample, seeds are not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import cast

import numpy as np
import pandas as pd

from .errors import AnalysisError
from .no_reference import ARM, NO_SEED, NO_STAGE, SOURCE, with_defaults
from .statistics.bootstrap import LEVEL, srcc_replicates
from .statistics.correlation import Floats, orientation, srcc
from .statistics.frames import Row, grouped, where
from .statistics.leaving_out import jackknife, leave_one_out
from .statistics.multiplicity import holm
from .statistics.rated import status_of

MEASURE, MODEL, LLM = "measure", "no-reference model", "multimodal LLM"
# With more references, groups of them are left out in turn instead of single ones.
MOST_GROUPS = 200
WHOLE = "all images"
COLUMNS = [
    *("dataset", "rater", "kind", "n", "n_references", "n_splits", "n_seeds", "n_failed", "higher_is_better"),
    *("srcc", "srcc_low", "srcc_high", "status"),
]
DIFFERENCE_COLUMNS = [
    *("dataset", "rater_a", "kind_a", "rater_b", "kind_b", "difference", "difference_low", "difference_high"),
    *("p", "p_holm", "n_references"),
]


@dataclass(frozen=True)
class Rater:
    """Whoever gives images a number.

    Attributes:
        name: Its key; of a model with its initialisation and, where that is a discriminator, which one.
        kind: "measure", "no-reference model" or "multimodal LLM".
        higher_is_better: Direction of its scores.
        runs: Seed and split → scores by image; one run on ``WHOLE`` for whoever learns nothing here.
        n_failed: Scores that failed; a multimodal LLM's count as its mean, i.e. as no opinion.
    """

    name: str
    kind: str
    higher_is_better: bool
    runs: Mapping[tuple[int, object], pd.Series]
    n_failed: int = 0

    @property
    def images(self) -> set:
        """All images it was to score."""
        return set().union(*(scores.index for scores in self.runs.values()))


def compare_raters(
    fr_scores: pd.DataFrame, nr_scores: pd.DataFrame, mllm_scores: pd.DataFrame, *, level: float = LEVEL
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Compare all that rate the images of one data set, wherever two of the three kinds do, or two multimodal LLMs.

    Images are matched by the name of the data set (of a multimodal LLM: ``benchmark``) and of the image (``item``).

    Args:
        fr_scores: The table of that name.
        nr_scores: The table of that name; models of single layers are left out.
        mllm_scores: The table of that name; ratings with a target.
        level: Coverage of the intervals, in (0, 1).

    Returns:
        Two tables. One row per data set and rater: ``n`` images, SRCC with people (+ agrees; the mean over seeds and
        splits) with the t interval of a jackknife over references, ``status`` "ok" or why there is none. And one row
        per pair of "ok" raters: difference in SRCC, a being the better one, with interval, two-sided p, and Holm's p
        over all pairs of the data set.

    Raises:
        AnalysisError: An image has unlike labels in two tables.

    Examples:
        >>> images = pd.DataFrame({"image": list("abcdef"), "reference": list("uuvvww"), "label": [1, 2, 3, 4, 5, 6]})
        >>> measure = images.assign(
        ...     dataset="photos", measure="mine", score=[1, 2, 3, 4, 6, 5], higher_is_better=True,
        ...     label_higher_is_better=True, status="ok",
        ... )
        >>> llm = images.rename(columns={"image": "item", "label": "target"}).assign(
        ...     benchmark="photos", dimension="quality", scorer="llm", value=[2, 1, 4, 3, 6, 5], higher_is_better=True,
        ...     status="ok",
        ... )
        >>> table, differences = compare_raters(measure, pd.DataFrame(), llm)
        >>> table[["rater", "kind", "n", "srcc"]].round(2)
          rater            kind  n  srcc
        0  mine         measure  6  0.94
        1   llm  multimodal LLM  6  0.83
        >>> differences["p"].round(1).tolist()
        [0.5]
    """
    found: dict[str, list[Rater]] = {}
    labels: dict[str, pd.DataFrame] = {}
    others = [*_models(nr_scores), *_llms(mllm_scores)]
    for dataset, rater, images in (*_measures(fr_scores, {dataset for dataset, *_ in others}), *others):
        found.setdefault(dataset, []).append(rater)
        labels[dataset] = _joined(labels.get(dataset), images, dataset, rater.name)
    rows, differences = [], []
    for dataset, raters in sorted(found.items()):
        kinds = [rater.kind for rater in raters]
        if len(set(kinds)) > 1 or kinds.count(LLM) > 1:
            of_dataset, of_pairs = _compare(dataset, raters, labels[dataset], level)
            rows += of_dataset
            differences += of_pairs
    return pd.DataFrame(rows, columns=COLUMNS), pd.DataFrame(differences, columns=DIFFERENCE_COLUMNS)


def _measures(scores: pd.DataFrame, datasets: set[str]) -> Iterator[tuple[str, Rater, pd.DataFrame]]:
    """Yield data set, rater and labels by image of every measure, for data sets that others rate too."""
    for (dataset, measure), of in grouped(scores, "dataset", "measure") if len(scores) else ():
        # Without names of their own, images cannot be matched.
        if str(dataset) not in datasets or of["image"].duplicated().any():
            continue
        yield str(dataset), _whole(str(measure), MEASURE, of, "score"), _images(of)


def _models(scores: pd.DataFrame) -> Iterator[tuple[str, Rater, pd.DataFrame]]:
    table = with_defaults(scores) if len(scores) else scores
    table = where(table, stage=NO_STAGE) if len(table) else table
    for key, of in grouped(table, *ARM) if len(table) else ():
        arm = dict(zip(ARM, key, strict=True))
        runs = {
            (int(seed), split): _ok(rows, "score").set_axis(rows["image"])
            for (seed, split), rows in grouped(of, "seed", "split")
        }
        name = " · ".join([arm["model"], arm["initialisation"], *_source(arm)])
        failed = int((of["status"] != "ok").sum())
        yield str(arm["dataset"]), Rater(name, MODEL, bool(of["higher_is_better"].iloc[0]), runs, failed), _images(of)


def _llms(scores: pd.DataFrame) -> Iterator[tuple[str, Rater, pd.DataFrame]]:
    if not len(scores):
        return
    rated = scores if "task" not in scores else where(scores, task="rate")
    rated = rated.assign(label=pd.to_numeric(rated["target"], errors="coerce"), image=rated["item"])
    if "target_higher_is_better" not in rated:
        rated = rated.assign(target_higher_is_better=True)
    rated = rated.rename(columns={"target_higher_is_better": "label_higher_is_better"})
    for (dataset, dimension, scorer), of in grouped(
        rated.loc[rated["label"].notna()], "benchmark", "dimension", "scorer"
    ):
        several = rated.loc[rated["benchmark"] == dataset, "dimension"].nunique() > 1
        value = _ok(of, "value")
        name = f"{scorer} · {dimension}" if several else str(scorer)
        rater = _whole(name, LLM, of.assign(value=value.fillna(value.mean()), status="ok"), "value")
        failed = int((of["status"] != "ok").sum())
        yield str(dataset), Rater(name, LLM, rater.higher_is_better, rater.runs, failed), _images(of)


def _whole(name: str, kind: str, scores: pd.DataFrame, column: str) -> Rater:
    runs: dict[tuple[int, object], pd.Series] = {(NO_SEED, WHOLE): _ok(scores, column).set_axis(scores["image"])}
    return Rater(name, kind, bool(scores["higher_is_better"].iloc[0]), runs, int((scores["status"] != "ok").sum()))


def _ok(scores: pd.DataFrame, column: str) -> pd.Series:
    numbers = cast(pd.Series, pd.to_numeric(scores[column], errors="coerce"))
    return numbers.astype(float).where(scores["status"] == "ok")


def _source(arm: Row) -> list[str]:
    generator, fidelity, discriminator, weight = (arm[name] for name in SOURCE)
    if not discriminator:
        return []
    return [f"{discriminator} {weight:g}", *(part for part in (fidelity, generator) if part)]


def _images(scores: pd.DataFrame) -> pd.DataFrame:
    """Return label, direction and reference by image; an image without a reference is its own."""
    images = scores.drop_duplicates("image").set_index("image")
    reference = images["reference"].astype(object).where(images["reference"].notna(), "")
    return pd.DataFrame(
        {
            "label": images["label"].astype(float),
            "higher": images["label_higher_is_better"].astype(bool),
            "reference": reference.where(reference != "", images.index.to_series()),
        }
    )


def _joined(known: pd.DataFrame | None, images: pd.DataFrame, dataset: str, name: str) -> pd.DataFrame:
    """Add images to the known ones.

    Raises:
        AnalysisError: Labels or their directions differ.
    """
    if known is None:
        return images
    both = known.index.intersection(images.index)
    unlike = (known.loc[both, ["label", "higher"]] != images.loc[both, ["label", "higher"]]).any(axis=1)
    if unlike.any():
        image = both[unlike][0]
        raise AnalysisError(
            f"{dataset}: {int(unlike.sum())} image(s) have other labels for {name} than for others, first {image}:"
            f" {images.loc[image, 'label']:g} instead of {known.loc[image, 'label']:g}. Give one of the sets another"
            " name, or the same labels."
        )
    return pd.concat([known, images.loc[images.index.difference(known.index)]])


def _compare(dataset: str, raters: list[Rater], labels: pd.DataFrame, level: float) -> tuple[list[Row], list[Row]]:
    kinds = {rater.kind for rater in raters}
    common = set.intersection(
        *(set().union(*(rater.images for rater in raters if rater.kind == kind)) for kind in kinds)
    )
    splits = _splits(raters, common)
    used = labels.loc[sorted(set().union(*splits.values()))]
    codes, references = pd.factorize(used["reference"], sort=True)
    group = pd.Series(codes % min(max(len(references), 1), MOST_GROUPS), used.index)
    rows, values, parts = [], {}, {}
    for rater in raters:
        value, without_each, status = _agreement(rater, splits, used, group)
        row = {
            "dataset": dataset,
            "rater": rater.name,
            "kind": rater.kind,
            "n": len(used),
            "n_references": len(references),
            "n_splits": len(splits),
            "n_seeds": len({seed for seed, _ in rater.runs} - {NO_SEED}),
            "n_failed": rater.n_failed,
            "higher_is_better": rater.higher_is_better,
            "srcc": value,
            "status": status,
        }
        low, high = jackknife(value, without_each).interval(level)
        rows.append(row | {"srcc_low": float(np.clip(low, -1, 1)), "srcc_high": float(np.clip(high, -1, 1))})
        if status == "ok":
            values[rater.name, rater.kind], parts[rater.name, rater.kind] = value, without_each
    pairs = []
    for a, b in combinations(sorted(values, key=lambda name: -values[name]), 2):
        found = jackknife(values[a] - values[b], parts[a] - parts[b])
        ends = found.interval(level)
        row = (dataset, *a, *b, found.value, *ends, found.p, np.nan, len(references))
        pairs.append(dict(zip(DIFFERENCE_COLUMNS, row, strict=True)))
    for pair, p in zip(pairs, holm([pair["p"] for pair in pairs]), strict=True):
        pair["p_holm"] = p
    return sorted(rows, key=lambda row: -np.nan_to_num(row["srcc"], nan=-2)), pairs


def _splits(raters: list[Rater], common: set) -> dict[object, list]:
    """Return the common images by split: the test images of the models' splits, or all."""
    splits: dict[object, set] = {}
    for rater in raters:
        if rater.kind == MODEL:
            for (_, split), scores in rater.runs.items():
                splits.setdefault(split, set()).update(scores.index)
    found = {split: sorted(images & common) for split, images in splits.items()} or {WHOLE: sorted(common)}
    return {split: images for split, images in sorted(found.items(), key=lambda item: str(item[0])) if images}


def _agreement(
    rater: Rater, splits: dict[object, list], labels: pd.DataFrame, group: pd.Series
) -> tuple[float, Floats, str]:
    """Return the mean SRCC over seeds and splits, that without each group of references, and "ok" or what is wrong."""
    n_groups = int(group.max()) + 1 if len(group) else 0
    values, again = [], []
    nothing = np.nan, np.full(n_groups, np.nan)
    if not splits:
        return *nothing, "no image in common"
    for seed in sorted({seed for seed, _ in rater.runs}):
        for split, images in splits.items():
            scores = rater.runs.get((seed, split if rater.kind == MODEL else WHOLE), pd.Series(dtype=float))
            score, label = scores.reindex(images).to_numpy(dtype=float), labels.loc[images, "label"].to_numpy()
            status = status_of(score, label, 0)
            if status != "ok":
                return *nothing, status if len(splits) == 1 else f"split {split}: {status}"
            direction = rater.higher_is_better, bool(labels.loc[images, "higher"].iloc[0])
            values.append(srcc(score, label, score_higher_is_better=direction[0], label_higher_is_better=direction[1]))
            left_out = leave_one_out(group.loc[images].to_numpy(dtype=np.intp), n_groups)
            again.append(orientation(*direction) * srcc_replicates(score, label, left_out)[1:])
    return float(np.mean(values)), np.mean(again, axis=0), "ok"
