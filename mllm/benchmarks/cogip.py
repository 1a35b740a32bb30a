"""CogIP-Bench: aesthetics, funniness, emotional valence and memorability, each with the authors' own prompts.

Source: From Pixels to Feelings, arXiv 2511.22805; repository and Hugging Face data of the same name.

The authors' evaluation draws 120 items per dimension. One generator serves all dimensions, in the order in which the
file system lists them, so the draw differs between machines. It is not reproduced here: all items are read. The test
split on Hugging Face has 120 fixed items per dimension.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import MllmError
from ..item import Item
from ..scoring.presets import COGIP_LABELS
from .reading import (
    Count,
    EmbeddedImages,
    Found,
    inside,
    number,
    one_of,
    read_lines,
    read_list,
    read_parquet,
    text,
)

SCALES: dict[str, tuple[float, float]] = {
    "Aesthetics": (0, 10),
    "Funniness": (0, 10),
    "Emotional_Valence": (-3, 3),
    "Memorability": (0, 1),
}
# (from, below, label) as in the prompts, which use all kinds of brackets; the scores follow [from, below). Between the
# labels of valence there are gaps, in which no whole number lies.
LABELS: dict[str, tuple[tuple[float, float, str], ...]] = {
    name: tuple((low, high, label) for label, (low, high) in zip(bins.labels, bins.bounds, strict=True))
    for name, bins in ((name, COGIP_LABELS[name.lower()]) for name in SCALES)
}
REPOSITORY_ITEMS = {"Aesthetics": 120, "Funniness": 199, "Emotional_Valence": 700, "Memorability": 700}
HUB_ITEMS = {"test": 120, "train": 800}  # per dimension
IMAGE_MARKER = "<image>"
NOT_SAMPLED = "the authors' draw of 120 items per dimension depends on the file system and is not reproduced"


def label_of(dimension: str, score: float) -> str:
    """Return the label whose interval [from, below) holds a score; "" if none does.

    Raises:
        MllmError: a dimension without labels.
    """
    if dimension not in LABELS:
        raise MllmError(f"CogIP-Bench has no labels for {dimension!r}; it has {', '.join(LABELS)}.")
    # The last interval for memorability ends with 1.0, which needs a label, too.
    top = LABELS[dimension][-1]
    if score == top[1] == SCALES[dimension][1]:
        return top[2]
    return next((label for low, high, label in LABELS[dimension] if low <= score < high), "")


def read_cogip(folder: Path, *, split: str = "test", extract: str = "", image_marker: bool = False) -> Found:
    """Read the first of three editions that is there.

    1. The repository: ``data/test_msg_file/<dimension>/<dimension>_messages.json`` and ``…_scores.json``, aligned by
       index, with the images in ``data/cognition/cognition_images/<dimension>``.
    2. Hugging Face as a folder: ``metadata_<split>.jsonl`` with ``id``, ``dimension``, ``prompt``, ``score`` and the
       image's path in ``image`` or ``file_name``.
    3. Hugging Face as ``data/<split>-*.parquet``, with the images inside.

    Args:
        folder: of the repository or the data set.
        split: test or train; the repository's chats are its test split.
        extract: where to write images that are inside a parquet file.
        image_marker: keep the text ``<image>`` before the prompts, as the authors' Qwen script does. Many processors
            read it as a second image.
    """
    if split not in HUB_ITEMS:
        raise MllmError(f"cogip has the splits {', '.join(HUB_ITEMS)}, not {split!r}.")
    chats = folder / "data" / "test_msg_file"
    if split == "test" and chats.exists():
        found = _repository(folder, chats)
    else:
        place = one_of(folder, f"metadata_{split}.jsonl", "data")
        found = _metadata(folder, place, split) if place.suffix else _parquet(folder, split, extract)
    if not image_marker:
        found.items[:] = [_without_marker(item) for item in found.items]
    found.notes.append(NOT_SAMPLED)
    return found


def _repository(folder: Path, chats: Path) -> Found:
    found = Found([])
    images = folder / "data" / "cognition" / "cognition_images"
    for dimension, official in REPOSITORY_ITEMS.items():
        if not (chats / dimension).exists():
            found.notes.append(f"{dimension} is not there")
            continue
        path = chats / dimension / f"{dimension}_messages.json"
        messages, scores = read_list(path), read_list(path.with_name(f"{dimension}_scores.json"))
        if len(messages) != len(scores):
            raise MllmError(f"{path}: {len(messages)} chats but {len(scores)} scores; they are aligned by index.")
        for n, (message, score) in enumerate(zip(messages, scores, strict=True), start=1):
            where = f"{path}, entry {n}"
            image, prompt = _chat(where, message)
            found.items.append(
                _item(
                    where,
                    dimension,
                    Path(image).stem,
                    inside(where, images, image),
                    prompt,
                    _written(where, dimension, score),
                )
            )
        found.counts.append(Count(dimension, len(scores), official))
    return found


def _chat(where: str, message: Any) -> tuple[str, str]:
    """Return image and prompt of a chat of one turn."""
    match message:
        case [{"content": [{"type": "image", "image": str(image)}, {"type": "text", "text": str(prompt)}]}]:
            return image, prompt
    raise MllmError(f"{where}: must be a chat of one turn with an image and a text.")


def _written(where: str, dimension: str, written: Any) -> float:
    """Return the number of ``medium 5.577``, whose label must be that of the number."""
    label, _, digits = str(written).rpartition(" ")
    score = number(where, digits, SCALES[dimension])
    if label != label_of(dimension, score):
        raise MllmError(
            f"{where}: {written!r} has the label {label!r}, but {score:g} is {label_of(dimension, score)!r}."
        )
    return score


def _metadata(folder: Path, path: Path, split: str) -> Found:
    entries = read_lines(path, ("id", "dimension", "prompt", "score"))
    found = Found([])
    for where, entry in entries:
        name = entry.get("image") or entry.get("file_name")
        if not isinstance(name, str):
            raise MllmError(f"{where}: neither image nor file_name is the path of an image.")
        found.items.append(_hub_item(where, entry, inside(where, folder, name)))
    _count(found, split)
    return found


def _parquet(folder: Path, split: str, extract: str) -> Found:
    paths = sorted((folder / "data").glob(f"{split}-*.parquet"))
    if not paths:
        raise MllmError(
            f"{folder}: neither data/test_msg_file, metadata_{split}.jsonl nor data/{split}-*.parquet is there."
        )
    images = EmbeddedImages(folder, extract)
    found = Found([], extract=images.write)
    for where, entry in read_parquet(paths, ("id", "image", "dimension", "prompt", "score")):
        # The file has float32: take the shortest decimal it stands for, or 0.35 is below its label's interval.
        if isinstance(entry["score"], float):
            entry["score"] = float(str(np.float32(entry["score"])))
        name = f"{text(where, entry, 'dimension')}/{text(where, entry, 'id').replace('/', '_')}"
        found.items.append(_hub_item(where, entry, images.path(where, entry["image"], name)))
    _count(found, split)
    return found


def _hub_item(where: str, entry: dict[str, Any], image: Path) -> Item:
    dimension = text(where, entry, "dimension")
    if dimension not in SCALES:
        raise MllmError(f"{where}: dimension must be one of {', '.join(SCALES)}, got {dimension!r}.")
    score = number(where, entry["score"], SCALES[dimension])
    return _item(where, dimension, text(where, entry, "id"), image, text(where, entry, "prompt"), score)


def _count(found: Found, split: str) -> None:
    for dimension in SCALES:
        items = sum(item.dimension == dimension for item in found.items)
        found.counts.append(Count(dimension, items, HUB_ITEMS[split]))


def _item(where: str, dimension: str, name: str, image: Path, prompt: str, score: float) -> Item:
    if not prompt.strip():
        raise MllmError(f"{where}: the prompt is empty.")
    return Item(
        benchmark="cogip",
        dimension=dimension,
        id=name,
        task="rate",
        images=(image,),
        question=prompt,
        target=score,
        scale=SCALES[dimension],
        groups={"label": label_of(dimension, score)},
    )


def _without_marker(item: Item) -> Item:
    question = item.question.lstrip()
    return replace(item, question=question.removeprefix(IMAGE_MARKER).lstrip())
