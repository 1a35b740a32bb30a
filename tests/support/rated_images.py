"""What tests of rating share: a benchmark of bright and dark images, and a model behind a line that drops prompts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from lopsided.mllm import Backend, Meter, Scorer, create_preset
from lopsided.mllm.backends import LevelLogits, Prompt

COUNT = 10


def write_benchmark(folder: Path, tiny_vlm: ModuleType, seed: int = 7) -> Path:
    """Write a JSONL of images with their brightness for a target; the last one shows what the first one does."""
    lines: list[dict[str, Any]] = []
    for n, image in enumerate(tiny_vlm.images(COUNT, seed)):
        image.save(folder / f"{n}.png")
        target = 1 + 4 * tiny_vlm.brightness(image)
        lines.append({"id": f"image{n}", "task": "rate", "images": f"{n}.png", "target": target, "scale": [1, 5]})
    lines.append({**lines[0], "id": "twin"})
    (folder / "own.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    return folder / "own.jsonl"


class Flaky(Meter):
    """The real model behind a line that drops some prompts."""

    def __init__(self, backend: Backend, drops: Sequence[int] = ()) -> None:
        super().__init__(backend.name, lambda: backend)
        self.drops = set(drops)

    def level_logits(self, prompts: Sequence[Prompt], candidates: Sequence[str]) -> list[LevelLogits]:
        first = self.prompts
        found = super().level_logits(prompts, candidates)
        lost = LevelLogits(np.full(len(candidates), np.nan), failure="the line dropped")
        return [lost if first + n in self.drops else result for n, result in enumerate(found)]


def q_align(backend: Backend) -> Scorer:
    return Scorer(backend, create_preset("q-align"))


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
