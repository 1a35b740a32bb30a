"""Your own benchmark: one JSON object per line, with the fields of an item."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ..errors import MllmError
from ..item import Item
from .reading import Found, inside, letter, number, read_lines, text

REQUIRED = ("id", "task", "images")
OPTIONAL = ("dimension", "question", "options", "target", "scale", "higher_is_better", "reference", "groups")
TASKS = ("rate", "answer", "open")


def read_jsonl(path: Path, *, benchmark: str = "") -> Found:
    """Read a file of items.

    Args:
        path: the file; images are relative to its folder.
        benchmark: its name in tables; by default the file's, without its ending.
    """
    if path.is_dir():
        raise MllmError(f"{path}: is a folder; give the file of JSON lines.")
    return Found(
        [_item(where, entry, path.parent, benchmark or path.stem) for where, entry in read_lines(path, REQUIRED)]
    )


def _item(where: str, entry: dict[str, Any], folder: Path, benchmark: str) -> Item:
    if unknown := [name for name in entry if name not in REQUIRED + OPTIONAL]:
        raise MllmError(f"{where}: unknown field {unknown[0]!r}; known: {', '.join(REQUIRED + OPTIONAL)}.")
    task, images = entry["task"], entry["images"]
    if task not in TASKS:
        raise MllmError(f"{where}: task must be one of {', '.join(TASKS)}, got {task!r}.")
    images = [images] if isinstance(images, str) else images
    if not isinstance(images, list) or not images or not all(isinstance(image, str) for image in images):
        raise MllmError(f"{where}: images must be a path or a list of them, got {images!r}.")
    options = _texts(where, entry.get("options", []))
    question = entry.get("question", "")
    if not isinstance(question, str) or (task != "rate" and not question.strip()):
        raise MllmError(f"{where}: the task {task!r} needs a question, got {question!r}.")
    if (task == "answer") != (len(options) >= 2):
        raise MllmError(f"{where}: the task 'answer' needs two options or more, other tasks none; got {len(options)}.")
    scale = _scale(where, entry.get("scale"))
    higher_is_better = entry.get("higher_is_better", True)
    if not isinstance(higher_is_better, bool):
        raise MllmError(f"{where}: higher_is_better must be true or false, got {higher_is_better!r}.")
    return Item(
        benchmark=benchmark,
        dimension=text(where, {"dimension": "quality", **entry}, "dimension"),
        id=text(where, entry, "id"),
        task=task,
        images=tuple(inside(where, folder, image) for image in images),
        question=question,
        options=options,
        target=_target(where, task, entry.get("target"), scale, options),
        scale=scale,
        higher_is_better=higher_is_better,
        reference=_reference(where, entry.get("reference")),
        groups=_groups(where, entry.get("groups", {})),
    )


def _reference(where: str, value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise MllmError(f"{where}: reference must be text or a whole number, got {value!r}.")
    return str(value)


def _target(
    where: str, task: str, target: Any, scale: tuple[float, float] | None, options: tuple[str, ...]
) -> float | str | None:
    if target is None:
        return None
    if task == "rate":
        return number(where, target, scale, "target")
    answer = text(where, {"target": target}, "target")
    return letter(where, answer, len(options)) if task == "answer" else answer


def _scale(where: str, scale: Any) -> tuple[float, float] | None:
    if scale is None:
        return None
    if not isinstance(scale, list) or len(scale) != 2:
        raise MllmError(f"{where}: scale must be [lowest, highest], got {scale!r}.")
    low, high = (number(where, value, name="scale") for value in scale)
    if low >= high:
        raise MllmError(f"{where}: scale must be [lowest, highest], got {scale!r}.")
    return low, high


def _texts(where: str, values: Any) -> tuple[str, ...]:
    if not isinstance(values, list) or not all(isinstance(value, str) and value.strip() for value in values):
        raise MllmError(f"{where}: options must be a list of texts, got {values!r}.")
    return tuple(values)


def _groups(where: str, groups: Any) -> Mapping[str, str]:
    if not isinstance(groups, dict) or not all(isinstance(value, str) for value in groups.values()):
        raise MllmError(f"{where}: groups must be an object whose values are texts, got {groups!r}.")
    return MappingProxyType(groups)
