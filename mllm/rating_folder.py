"""A folder with one scorer's ratings: replies, what they were made with, their table and its metrics.

==================================  =================================================================================
``results.jsonl``                   every reply, written the moment it is there; see :mod:`lopsided.mllm.results`
``meta.json``                       the scorer, the benchmark, and what each run took
``mllm_scores.parquet``, ``.csv``   one row per item
``scores.csv``                      of a folder of images: image, value, status; with repetitions mean and spread
``items.parquet``                   where the images of each item are, seen from the folder, and what was asked
``<metrics>.parquet``, ``.csv``     the tables of :func:`lopsided.mllm.summarise`
==================================  =================================================================================
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd

from ..common.files import atomic_path, write_json
from ..common.identity import identity
from ..common.paths import expanded
from ..common.sources import hash_file, images_below
from ..common.spreadsheets import without_formulas
from .backends.meter import Meter
from .benchmarks.benchmark import Benchmark
from .errors import MllmError
from .item import Item
from .metrics.repeats import REPEAT
from .metrics.summary import summarise
from .rating import CHUNK, Run, rate
from .scoring.preset import Preset
from .scoring.reply_judge import ReplyJudge
from .scoring.scorer import Scorer
from .table import scores_table, storable

RESULTS, META, SCORES, ITEMS = "results.jsonl", "meta.json", "mllm_scores.parquet", "items.parquet"
IMAGES, IMAGE_SCORES = "images", "scores.csv"  # the benchmark that a folder of images is, and the file of its scores


@dataclass(frozen=True)
class Rated:
    """What a run left in a folder.

    Attributes:
        run: the result of every item, and how many were asked.
        scores: the table ``mllm_scores``, one row per item.
        metrics: tables of metrics by name.
        cost: what the tokens of this run cost at the prices given; None without prices.
        batching: by how much batching moved log-probabilities at most, on a sample; None where it was not measured.
    """

    run: Run
    scores: pd.DataFrame
    metrics: dict[str, pd.DataFrame]
    cost: float | None
    batching: float | None


def rate_into(
    folder: str | Path,
    benchmark: Benchmark,
    meter: Meter,
    preset: Preset,
    *,
    asked: Mapping[str, Any],
    judge: ReplyJudge | None = None,
    limit: int | None = None,
    shuffle_seed: int | None = None,
    repeat: int = 1,
    chunk: int = CHUNK,
    prices: tuple[float, float] | None = None,
    provenance: Mapping[str, Any] | None = None,
    progress: Callable[[int, int, str], None] = lambda _done, _total, _note: None,
) -> Rated:
    """Rate the items of a benchmark into a folder; the same call continues after any interruption.

    Nothing is asked twice, and the model is not even loaded if there is nothing to ask it.

    Args:
        folder: where the results go; one scorer and one benchmark per folder.
        benchmark: what is rated.
        meter: the model, loaded when it is first asked.
        preset: what is asked and how replies are read.
        asked: JSON that determines the results as far as it is known before the model is loaded; it tells whether an
            earlier run was of the same scorer.
        judge: another model, which reads the replies that the preset cannot; none by default.
        limit: rate only this many items: the first ones, or with ``shuffle_seed`` a random sample.
        shuffle_seed: of the draw of that sample.
        repeat: ask each question this many times; repetitions are items called ``name#2`` and so on, of the same
            reference, and each draws its own reply if the preset's temperature is above 0.
        chunk: items put to the model together.
        prices: price of a million tokens read, and of a million written, by the model; not by a judge of replies.
        provenance: what to record of the machine.
        progress: told (items done, items to be asked, name of the last one).

    Raises:
        MllmError: a folder of another benchmark, a damaged ``meta.json``, and as for :func:`lopsided.mllm.rate`.
    """
    folder, items = Path(folder), chosen(benchmark, limit, shuffle_seed, repeat)
    meta = read_meta(folder / META, benchmark)
    scorer = Scorer(meter, preset, judge)
    remembered = meta.get("scorer_id") if meta.get("asked") == asked else None
    run = rate(scorer, items, folder / RESULTS, chunk=chunk, remembered=remembered, progress=progress)
    cost = None if prices is None else (meter.prompt_tokens * prices[0] + meter.new_tokens * prices[1]) / 1e6
    moved = _batch_invariance(meter) if run.asked else None
    if run.asked:
        took = {**(provenance or {}), **_counts(run, meter), **_judged(judge), "cost": cost, "batch_invariance": moved}
        meta |= {**_described(scorer, meter, benchmark), "asked": dict(asked), "runs": [*meta.get("runs", []), took]}
        write_json(folder / META, meta)
    rated = write_metrics(folder, items, run, preset)
    return replace(rated, cost=cost, batching=moved["max_log_probability_difference"] if moved else None)


def write_metrics(folder: Path, items: Sequence[Item], run: Run, preset: Preset) -> Rated:
    """Write the table of scores and the tables of metrics that follow from a run."""
    write_table(_shown(folder, items, preset), folder / ITEMS)
    table = scores_table(items, run.rows)
    metrics = summarise(table, items, preset)
    scores = storable(table)
    for name, values in {Path(SCORES).stem: scores, **metrics}.items():
        for suffix in (".parquet", ".csv"):
            write_table(values, folder / f"{name}{suffix}")
    rated = Rated(run, scores, metrics, None, None)
    if {item.benchmark for item in items} == {IMAGES}:
        write_table(image_scores(rated), folder / IMAGE_SCORES)
    return rated


def image_scores(rated: Rated) -> pd.DataFrame:
    """Return the scores of a folder's images by name: image, value, status and, of repetitions, their spread."""
    if (repeats := rated.metrics.get("repeats")) is None:
        return cast(pd.DataFrame, rated.scores[["item", "value", "status"]]).rename(columns={"item": "image"})
    shown = cast(pd.DataFrame, repeats[["item", "mean", "status", "n", "n_valid", "sd", "low", "high"]])
    return shown.rename(columns={"item": "image", "mean": "value"})


def folder_benchmark(images: str | Path, dimension: str) -> Benchmark:
    """Make a benchmark without targets of the images of a folder and its sub-folders.

    Args:
        images: the folder; items are named by their paths below it, such as ``cats/1.png``.
        dimension: what they are rated for.

    Raises:
        SourceError: there is no such folder, or it has no images.
    """
    folder = expanded(images)
    paths = images_below(folder)
    names = [path.relative_to(folder) for path in paths]
    common: dict[str, Any] = {"benchmark": IMAGES, "dimension": dimension, "task": "rate"}
    items = tuple(Item(**common, id=name.as_posix(), images=(path,)) for name, path in zip(names, paths, strict=True))
    hashes = [[name.with_suffix("").as_posix(), hash_file(path)] for name, path in zip(names, paths, strict=True)]
    return Benchmark(IMAGES, items, identity({"images": hashes}))


def _shown(folder: Path, items: Sequence[Item], preset: Preset) -> pd.DataFrame:
    """Return what was shown and asked, for pages that show replies beside their images."""
    rows = []
    for item in items:
        own = item.task == "rate" and not (preset.takes_wording and item.question)
        rows.append(
            {
                "benchmark": item.benchmark,
                "dimension": item.dimension,
                "item": item.id,
                "images": [os.path.relpath(path, folder) for path in item.images],
                "question": preset.question(item.dimension).text if own else item.question,
                "options": list(item.options),
            }
        )
    return pd.DataFrame(rows)


def chosen(benchmark: Benchmark, limit: int | None, shuffle_seed: int | None, repeat: int) -> Sequence[Item]:
    """Return the items that a run asks about; the arguments are those of ``rate_into``."""
    return repeated(_sample(benchmark.items, limit, shuffle_seed), repeat)


def _sample(items: Sequence[Item], limit: int | None, seed: int | None) -> Sequence[Item]:
    """Return the first items or, with a seed, a random sample of them, in their own order."""
    if seed is None or limit is None or limit >= len(items):
        return items[:limit]
    chosen = np.random.default_rng(seed).choice(len(items), limit, replace=False)
    return [items[index] for index in sorted(chosen.tolist())]


def repeated(items: Sequence[Item], times: int) -> Sequence[Item]:
    """Return the items and their repetitions, which are of the same reference."""
    again = [
        replace(item, id=f"{item.id}{REPEAT}{n + 1}", repeat=n, reference=item.cluster)
        for n in range(1, times)
        for item in items
    ]
    return [*items, *again]


def read_meta(path: Path, benchmark: Benchmark) -> dict[str, Any]:
    """Return what is known of the folder's earlier runs; those must be of the same benchmark."""
    try:
        meta = json.loads(path.read_text(encoding="utf-8"))
        name = meta["benchmark"]["name"]
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError, KeyError):
        raise MllmError(f"'{path}' is damaged; delete it, it does not hold the results themselves") from None
    if name != benchmark.name:
        raise MllmError(f"'{path.parent}' holds results of {name}, not of {benchmark.name}; give another folder")
    return meta


def _described(scorer: Scorer, meter: Meter, benchmark: Benchmark) -> dict[str, Any]:
    """Return what a reader of the results must know about scorer and benchmark."""
    return {
        "scorer": scorer.key,
        "scorer_id": scorer.identity,
        "definition": {**scorer.definition(), "model": meter.definition()},
        "reproduces": scorer.preset.reproduces,
        "unknown": scorer.preset.unknown,
        "benchmark": {
            "name": benchmark.name,
            "identity": benchmark.identity,
            "items": len(benchmark.items),
            "notes": list(benchmark.notes),
        },
    }


def _counts(run: Run, meter: Meter) -> dict[str, Any]:
    return {
        "seconds": round(run.seconds, 3),
        "asked": run.asked,
        "known": run.known,
        "shared": run.shared,
        "statuses": dict(run.statuses),
        "prompts": meter.prompts,
        "prompt_tokens": meter.prompt_tokens,
        "new_tokens": meter.new_tokens,
        "prompts_of_untold_tokens": meter.untold,
    }


def _judged(judge: ReplyJudge | None) -> dict[str, Any]:
    """Return what a judge of replies was asked, if its model is counted."""
    if judge is None or not isinstance(judge.backend, Meter):
        return {}
    counts = {name: getattr(judge.backend, name) for name in ("prompts", "prompt_tokens", "new_tokens")}
    return {"judge": {"name": judge.backend.name, **counts}}


def _batch_invariance(meter: Meter) -> dict[str, Any] | None:
    """Measure on a sample by how much batching moves log-probabilities; None where none were asked of a local model."""
    measure = getattr(meter.backend, "batch_invariance", None)
    if measure is None or meter.sample is None:
        return None
    prompts, candidates = meter.sample
    return {"prompts": len(prompts), "max_log_probability_difference": measure(prompts, candidates)}


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Write a table as Parquet or CSV, as its ending says; whole or not at all."""
    with atomic_path(path) as temporary:
        if path.suffix == ".parquet":
            table.to_parquet(temporary, index=False)
        else:
            without_formulas(table).to_csv(temporary, index=False)
