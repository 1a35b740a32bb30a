"""Kept replies read again: after a change of the parser, or with another one, without asking the model."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from ..common.files import write_json
from ..common.identity import identity
from .backends.backend import Reply
from .benchmarks.benchmark import Benchmark
from .errors import MllmError
from .item import Item
from .rating import Run, labels_of, question_key
from .rating_folder import META, RESULTS, Rated, read_meta, write_metrics, write_table
from .results import UNJUDGED, ResultFile, Row
from .scoring.preset import Preset, WrittenLetter, WrittenNumber
from .scoring.scorer import read_choice, read_rating

CHANGES = "changes.csv"
READING = ("value", "choice", "status")


def reparse_into(
    folder: str | Path, kept: str | Path, benchmark: Benchmark, preset: Preset, *, asked: Mapping[str, Any]
) -> tuple[Rated, pd.DataFrame]:
    """Read the replies in one folder of ratings again, and write what comes out into another; no model is asked.

    What the parser does not read (probabilities of levels, open answers) is taken over as it is. A reply counts as cut
    off if it was ``truncated`` before. What a judge of replies had read is read by the parser alone.

    Args:
        folder: where the new results go; it must hold none.
        kept: a folder that ``rate_into`` filled from the same benchmark.
        benchmark: what was rated; items without a kept reply are left out.
        preset: how the replies are read now; its prompts must be those that were asked.
        asked: as for ``rate_into``.

    Returns:
        What ``rate_into`` returns, and one row per reply that is read otherwise: ``benchmark``, ``dimension``,
        ``item``, ``before`` and ``after`` (a value, a letter or a status), ``raw``.

    Raises:
        MllmError: no results there, results here already, another benchmark, model or prompt.
    """
    folder, kept = Path(folder), Path(kept)
    meta = read_meta(kept / META, benchmark)
    if not meta or not (kept / RESULTS).is_file():
        raise MllmError(f"'{kept}' has no finished run of rate: {META} or {RESULTS} is missing")
    if (folder / RESULTS).exists():
        raise MllmError(f"'{folder}' holds results already; give another folder")
    _refuse_other_question(meta, preset, asked, kept)
    with ResultFile(kept / RESULTS, meta["scorer_id"]) as file:
        before = file.last
    definition = {**meta["definition"], "preset": preset.definition()}
    definition.pop("judge", None)
    scorer_id = identity({"kind": "mllm-scorer", "backend": definition["backend"], "preset": definition["preset"]})
    scorer = f"{meta['scorer'].rpartition('/')[0]}/{preset.key}"
    items = [item for item in benchmark.items if (item.benchmark, item.dimension, item.id) in before]
    if not items:
        raise MllmError(f"'{kept}' has no reply to an item of {benchmark.name}")
    rows, changes, hashes = [], [], {}
    with ResultFile(folder / RESULTS, scorer_id) as file:
        for item in items:
            old = before[item.benchmark, item.dimension, item.id]
            new = {**old, **UNJUDGED, **_read(item, preset, old), **labels_of(scorer, scorer_id, preset, item)}
            new["key"] = question_key(scorer_id, item, hashes)
            file.keep(new)
            rows.append(new)
            if any(old[name] != new[name] for name in READING):
                name = {"benchmark": item.benchmark, "dimension": item.dimension, "item": item.id}
                changes.append({**name, "before": _shown(old), "after": _shown(new), "raw": old["raw"]})
    again = {"scorer": scorer, "scorer_id": scorer_id, "definition": definition, "asked": dict(asked)}
    write_json(folder / META, {**meta, **again, "reparsed_from": meta["scorer_id"]})
    rated = write_metrics(folder, items, Run(tuple(rows), 0, len(rows), 0, 0.0), preset)
    changed = pd.DataFrame(changes, columns=["benchmark", "dimension", "item", "before", "after", "raw"])
    write_table(changed, folder / CHANGES)
    return rated, changed


def _refuse_other_question(meta: Mapping[str, Any], preset: Preset, asked: Mapping[str, Any], kept: Path) -> None:
    """Refuse replies that were given to another prompt or by another model."""
    any_reading = {"preset": "", "reply_judge": ""}
    if _prompts(meta["definition"]["preset"]) != _prompts(preset.definition()):
        raise MllmError(f"'{kept}' holds replies to other prompts than those of preset {preset.key}; rate again")
    if {**meta["asked"], **any_reading} != {**asked, **any_reading}:
        raise MllmError(f"'{kept}' holds replies of {meta['scorer']}: model or settings differ; give the same ones")


def _prompts(definition: Mapping[str, Any]) -> dict[str, Any]:
    """Return a preset's definition without what only its parser determines."""
    shown = deepcopy(dict(definition))
    questions = (*shown["ratings"].values(), *filter(None, [shown["multiple_choice"]]))
    for question in questions:
        constrained = question["reading"].get("parser") == "constrained"  # its prompts differ, too
        question["reading"] = {**question["reading"], "parser": constrained, "grammar": ""}
    return shown


def _read(item: Item, preset: Preset, old: Row) -> Row:
    """Return what the parser makes of a kept reply; empty where it has nothing to read."""
    if old["status"] == "failed" or not isinstance(_reading(item, preset), WrittenNumber | WrittenLetter):
        return {}
    reply = Reply(old["raw"], finished=old["status"] != "truncated")
    found = read_rating(preset, item.dimension, reply) if item.task == "rate" else None
    found = found or read_choice(preset, item.options, reply)
    return {name: value for name, value in asdict(found).items() if name in READING}


def _reading(item: Item, preset: Preset) -> Any:
    if item.task == "rate":
        return preset.question(item.dimension).reading
    return preset.multiple_choice.reading if item.task == "answer" and preset.multiple_choice else None


def _shown(row: Row) -> str:
    if row["value"] is not None:
        return f"{row['value']:g}"
    return row["choice"] or row["status"]
