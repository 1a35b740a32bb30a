"""VLMEvalKit: a benchmark written as its TSV file, and the replies in its result files read as a folder of ratings."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from ...common.errors import one_line
from ...common.files import atomic_path, write_json
from ...common.identity import identity, sha256_file
from ..benchmarks.benchmark import Benchmark
from ..errors import MllmError
from ..item import Item
from ..rating import Run, labels_of, question_key
from ..rating_folder import META, RESULTS, Rated, write_metrics
from ..results import ResultFile, Row
from ..scoring.preset import Preset
from .asking import question_text, read_reply

NAME = ("benchmark", "dimension", "item")
NO_REPLY = "Failed to obtain answer"  # how its API models begin what they write for a request that failed


def write_vlmevalkit(items: Sequence[Item], preset: Preset, path: str | Path) -> None:
    """Write items as a TSV file of VLMEvalKit, with images inside.

    Put it into the folder that ``LMUData`` names, and give its name to ``run.py --data``. VLMEvalKit adds words of its
    own to multiple-choice questions; those of ratings are the preset's, unchanged where its data set is plain VQA.

    Args:
        items: all of one task.
        preset: its wording; it must read written replies, and leave images as they are.
        path: the file, ``<name>.tsv``.

    Raises:
        MllmError: items of several tasks, an image that cannot be read, or a preset that cannot be asked so.
    """
    if len({item.task for item in items}) != 1:
        raise MllmError("a TSV file holds items of one task: ratings, choices or open questions; write a file for each")
    rows = []
    for index, item in enumerate(items):
        images = [_encoded(file) for file in item.images]
        letters = {chr(ord("A") + n): text for n, text in enumerate(item.options)}
        row = {"index": index, "image": images[0] if len(images) == 1 else json.dumps(images)}
        row |= {"question": question_text(preset, item), **letters, "answer": item.target}
        row |= {"category": item.groups.get("category", item.dimension), **_named(item)}
        rows.append(row)
    with atomic_path(Path(path)) as temporary:
        pd.DataFrame(rows).to_csv(temporary, sep="\t", index=False)


def read_vlmevalkit(
    file: str | Path, benchmark: Benchmark, items: Sequence[Item], preset: Preset, model: str, folder: str | Path
) -> Rated:
    """Read the replies in a result file of VLMEvalKit into a folder of ratings, which ``leaderboard`` takes.

    Args:
        file: ``<model>_<name>.xlsx``, ``.tsv`` or ``.csv``, with the columns ``index`` and ``prediction``.
        benchmark: that the items are of.
        items: as they were given to ``write_vlmevalkit``, in the same order.
        preset: as it was given there; it reads the replies.
        model: name of the model that replied.
        folder: where the ratings go; it must hold none.

    Raises:
        MllmError: a file that cannot be read, an item without a row or with two, a row of no item or of another one, or
            a folder that holds results.
    """
    file, folder = Path(file), Path(folder)
    if (folder / RESULTS).exists():
        raise MllmError(f"'{folder}' holds results already; give another folder")
    replies = _replies(file, items)
    backend = {"kind": "vlmevalkit", "model": model}
    definition = {"backend": identity(backend), "preset": preset.definition()}
    scorer, scorer_id = f"{model}/{preset.key}", identity({"kind": "mllm-scorer", **definition})
    rows: list[Row] = []
    hashes: dict[Path, str] = {}
    with ResultFile(folder / RESULTS, scorer_id) as results:
        for item, reply in zip(items, replies, strict=True):
            row = labels_of(scorer, scorer_id, preset, item) | _row(preset, item, reply)
            results.keep(row | {"key": question_key(scorer_id, item, hashes), "seconds": 0.0, "attempt": 1})
            rows.append(results.last[item.benchmark, item.dimension, item.id])
    meta = {"scorer": scorer, "scorer_id": scorer_id, "definition": {**definition, "model": backend}, "asked": {}}
    meta |= {"reproduces": preset.reproduces, "unknown": preset.unknown, "runs": []}
    notes = [*benchmark.notes, "replies are VLMEvalKit's; its wording of choices, decoding and limits are its own"]
    of = {"name": benchmark.name, "identity": benchmark.identity, "items": len(benchmark.items), "notes": notes}
    write_json(
        folder / META, {**meta, "benchmark": of, "imported_from": {"file": file.name, "sha256": sha256_file(file)}}
    )
    return write_metrics(folder, items, Run(tuple(rows), 0, len(rows), 0, 0.0), preset)


def _replies(file: Path, items: Sequence[Item]) -> list[str]:
    """Return one reply per item, "" where there is none."""
    try:
        table = (
            pd.read_excel(file)
            if file.suffix == ".xlsx"
            else pd.read_csv(file, sep="\t" if file.suffix == ".tsv" else ",")
        )
    except (OSError, ValueError, ImportError) as error:
        raise MllmError(f"'{file}' cannot be read: {one_line(error)}; give .xlsx, .tsv or .csv") from None
    if missing := {"index", "prediction"} - set(table):
        raise MllmError(f"'{file}' has no column {', '.join(sorted(missing))}; give the file with the replies")
    index = table["index"].astype(str)
    known = {str(n): item for n, item in enumerate(items)}
    if len(twice := index[index.duplicated()]):
        raise MllmError(f"'{file}' has two rows of index {twice.iloc[0]}; remove one")
    if unknown := sorted(set(index) - set(known)):
        raise MllmError(f"'{file}' has {len(unknown)} rows of no item, first index {unknown[0]}; give the same items")
    if absent := [n for n in known if n not in set(index)]:
        raise MllmError(
            f"'{file}' lacks {len(absent)} of {len(items)} items, first {known[absent[0]].id}; finish its run"
        )
    for row in table.to_dict("records"):
        item = known[str(row["index"])]
        if other := [name for name in NAME if name in table and str(row[name]) != _named(item)[name]]:
            raise MllmError(
                f"'{file}', index {row['index']}: {other[0]} is {row[other[0]]}, not {_named(item)[other[0]]}"
            )
    found = dict(zip(index, table["prediction"].fillna("").astype(str), strict=True))
    return [found[n] for n in known]


def _row(preset: Preset, item: Item, reply: str) -> Row:
    if reply.startswith(NO_REPLY):
        found: dict[str, Any] = {"value": None, "choice": None, "status": "failed", "raw": reply}
    else:
        read = read_reply(preset, item, reply)
        found = {"value": getattr(read, "value", None), "choice": getattr(read, "choice", None)}
        found |= {"status": read.status, "raw": read.raw}
    return {"distribution": None, "mass": None, "parsed_by": "preset", "judge_reply": "", **found}


def _named(item: Item) -> dict[str, str]:
    return dict(zip(NAME, (item.benchmark, item.dimension, item.id), strict=True))


def _encoded(file: Path) -> str:
    try:
        return base64.b64encode(file.read_bytes()).decode()
    except OSError as error:
        raise MllmError(f"{file} cannot be read: {one_line(error)}") from None
