"""lmms-eval: a benchmark written as its tasks, whose functions read replies and compute metrics as ``rate`` does."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from PIL import Image

from ...analysis.statistics import grouped
from ...common.files import write_text
from ...common.images import read_rgb
from ..errors import MllmError
from ..item import Item
from ..metrics.choices import choice_accuracy
from ..metrics.ratings import AS_WORST, rating_metrics
from ..scoring.presets import create_preset
from ..scoring.scorer import with_options
from ..table import join_items
from .asking import question_text, read_reply

METRICS = {"rate": ("srcc", "plcc", "valid"), "answer": ("accuracy", "valid")}


def write_lmms_tasks(
    items: Sequence[Item], preset: str, folder: str | Path, *, options: Mapping[str, Any] | None = None
) -> list[str]:
    """Write items as tasks of lmms-eval, one per benchmark, dimension and kind of task.

    Run them with ``lmms-eval --include_path FOLDER --tasks NAME …``; it needs the extra ``lmms-eval``. Images
    stay where they are.

    Args:
        items: ratings and choices; open questions are left out.
        preset: what is asked and how replies are read; it must read written replies, and leave images as they are.
        folder: where the YAML files and their data go.
        options: of the preset.

    Returns:
        The names of the tasks.

    Raises:
        MllmError: no ratings or choices, or a preset that lmms-eval cannot ask.
    """
    folder, asked = Path(folder), create_preset(preset, **(options or {}))
    frame = pd.DataFrame([{"b": item.benchmark, "d": item.dimension, "t": item.task} for item in items])
    names = []
    for (benchmark, dimension, task), rows in grouped(frame, "b", "d", "t") if len(frame) else ():
        if task not in METRICS:
            continue
        of = [items[n] for n in rows.index]
        name = "_".join(["lopsided", *(_plain(part) for part in (benchmark, dimension, task) if _plain(part))])
        docs = [_doc(item, question_text(asked, item), asked.multiple_choice, preset, options) for item in of]
        write_text(folder / f"{name}.jsonl", "".join(f"{json.dumps(doc)}\n" for doc in docs))
        write_text(folder / f"{name}.yaml", _yaml(name, folder, str(task), asked.max_tokens, asked.temperature))
        names.append(name)
    if not names:
        raise MllmError("there are no ratings and no choices to write as tasks")
    return names


def _doc(item: Item, text: str, choice: Any, preset: str, options: Mapping[str, Any] | None) -> dict[str, Any]:
    if item.task == "answer":
        text = choice.text.replace("{question}", with_options(text, item.options))
    facts = {name: getattr(item, name) for name in ("benchmark", "dimension", "id", "task", "higher_is_better")}
    facts |= {"options": list(item.options), "target": "" if item.target is None else str(item.target)}
    facts |= {"scale": list(item.scale or ()), "reference": item.reference}
    return {**facts, "text": text, "images": [str(file.resolve()) for file in item.images]} | {
        "preset": preset,
        "preset_options": json.dumps(dict(options or {})),
    }


def _yaml(name: str, folder: Path, task: str, max_tokens: int, temperature: float) -> str:
    functions = ("doc_to_visual", "doc_to_text", "doc_to_target", "process_results")
    metrics = "".join(
        f"  - metric: {metric}\n    aggregation: !function {__name__}.{metric}\n    higher_is_better: true\n"
        for metric in METRICS[task]
    )
    data = json.dumps(str((folder / f"{name}.jsonl").resolve()))
    sampling = f"  do_sample: {str(temperature > 0).lower()}\n  temperature: {temperature:g}\n"
    return (
        f"task: {name}\ndataset_path: json\ndataset_kwargs:\n  data_files:\n    test: {data}\ntest_split: test\n"
        f"output_type: generate_until\ngeneration_kwargs:\n  max_new_tokens: {max_tokens}\n{sampling}"
        + "".join(f"{function}: !function {__name__}.{function}\n" for function in functions)
        + f"metric_list:\n{metrics}metadata:\n  - version: 1.0\n"
    )


def doc_to_visual(doc: Mapping[str, Any]) -> list[Image.Image]:
    """Return the images of an item."""
    return [Image.fromarray(read_rgb(Path(file))) for file in doc["images"]]


def doc_to_text(doc: Mapping[str, Any], lmms_eval_specific_kwargs: object = None) -> str:
    """Return the preset's question about an item; a model's own additions are left out."""
    del lmms_eval_specific_kwargs
    return str(doc["text"])


def doc_to_target(doc: Mapping[str, Any]) -> str:
    """Return what people said."""
    return str(doc["target"])


def process_results(doc: Mapping[str, Any], results: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Read a reply as the preset says; each metric gets the same row.

    Examples:
        >>> doc = {"benchmark": "own", "dimension": "IQA", "id": "1", "task": "rate", "images": [], "options": []}
        >>> doc |= {"target": "3", "scale": [1, 5], "reference": "", "higher_is_better": True}
        >>> doc |= {"preset": "numeric", "preset_options": '{"low": 1, "high": 5}'}
        >>> process_results(doc, ["Score: 4"])["srcc"]["value"]
        4.0
    """
    item = _item(doc)
    preset = create_preset(doc["preset"], **json.loads(doc["preset_options"]))
    found = read_reply(preset, item, results[0])
    rated = item.task == "rate"
    row = {"value": getattr(found, "value", None), "choice": getattr(found, "choice", None), "status": found.status}
    row |= {"raw": found.raw, "higher_is_better": preset.scale(item.dimension).higher_is_better if rated else True}
    return {metric: {"doc": dict(doc), **row} for metric in METRICS[item.task]}


def srcc(rows: Sequence[Mapping[str, Any]]) -> float:
    """Return SRCC with people; replies without a value count as the worst opinion."""
    return _rating(rows, "srcc")


def plcc(rows: Sequence[Mapping[str, Any]]) -> float:
    """Return PLCC with people; replies without a value count as the worst opinion."""
    return _rating(rows, "plcc")


def accuracy(rows: Sequence[Mapping[str, Any]]) -> float:
    """Return the share of right choices; replies without one count as wrong."""
    return float(choice_accuracy(_table(rows))["accuracy"].iloc[0])


def valid(rows: Sequence[Mapping[str, Any]]) -> float:
    """Return the share of replies with a value."""
    return sum(row["status"] == "ok" for row in rows) / len(rows)


def _rating(rows: Sequence[Mapping[str, Any]], metric: str) -> float:
    metrics = rating_metrics(_table(rows))
    return float(metrics.loc[metrics["reading"] == AS_WORST, metric].iloc[0])


def _table(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Return what all metrics take."""
    items = [_item(row["doc"]) for row in rows]
    results = pd.DataFrame([{name: value for name, value in row.items() if name != "doc"} for row in rows])
    names = pd.DataFrame([{"benchmark": i.benchmark, "dimension": i.dimension, "item": i.id} for i in items])
    results["value"] = pd.to_numeric(results["value"])
    return join_items(pd.concat([names, results], axis=1).assign(scorer="lmms-eval", scorer_id=""), items)


def _item(doc: Mapping[str, Any]) -> Item:
    target = doc["target"] or None
    scale = tuple(doc["scale"])
    return Item(
        benchmark=doc["benchmark"],
        dimension=doc["dimension"],
        id=doc["id"],
        task=doc["task"],
        images=tuple(map(Path, doc["images"])),
        options=tuple(doc["options"]),
        target=float(target) if target and doc["task"] == "rate" else target,
        scale=(float(scale[0]), float(scale[1])) if scale else None,
        higher_is_better=doc["higher_is_better"],
        reference=doc["reference"],
    )


def _plain(text: object) -> str:
    return "".join(character if character.isalnum() else "_" for character in str(text).lower()).strip("_")
