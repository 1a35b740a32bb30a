"""Full-reference evaluation: measures on one data set, per-image scores out, as many rows as went in."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd
import torch
from torch import Tensor

from ..common.images import read_rgb, to_tensor
from ..losses import Measure, MeasureGroup
from .manifest import FRDataset, FRRow
from .partial import PartialScores

# Pixels scored together, or one image where it has more. On a CPU small batches stay in its caches: on VGG-16 five
# images of 512×384 at a time took longer per image than one by one. Other devices need larger batches.
BATCH_PIXELS = {"cpu": 1 << 18}
OTHER_BATCH_PIXELS = 1 << 22

Progress = Callable[[int, int, str], None]
T = TypeVar("T")


def evaluate_fr(
    measure: Measure[Any],
    dataset: FRDataset,
    *,
    device: str = "cpu",
    progress: Progress = lambda _done, _total, _note: None,
    partial: Path | str | None = None,
) -> pd.DataFrame:
    """Score every image of a data set against its reference by one measure.

    Arguments and errors are those of :func:`evaluate_fr_group`; ``partial`` is the measure's file.

    Returns:
        One row per image in the data set's order: reference, image, distortion, level, label, label_std, label_std_of,
        votes, label_kind, label_higher_is_better, higher_is_better (of the score), score, status (``ok``, or
        ``non-finite`` with a NaN score).

    Examples:
        >>> import tempfile
        >>> from lopsided.common.sources import SkimageSource
        >>> from lopsided.iqa import LadderSpec, build_ladder
        >>> from lopsided.losses import create_measure
        >>> spec = LadderSpec(source=SkimageSource(split="test"), size=32, types=("gaussian_noise",), levels=(1, 5))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     table = evaluate_fr(create_measure("ssim"), FRDataset(build_ladder(spec, folder)))
        >>> len(table), set(table["status"]), bool(table["score"][0] > table["score"][1])
        (12, {'ok'}, True)
    """
    key, files = measure.spec.key, {measure.spec.key: partial} if partial else {}
    return evaluate_fr_group(MeasureGroup([measure]), dataset, device=device, progress=progress, partial=files)[key]


def evaluate_fr_group(
    group: MeasureGroup,
    dataset: FRDataset,
    *,
    device: str = "cpu",
    progress: Progress = lambda _done, _total, _note: None,
    partial: Mapping[str, Path | str] | None = None,
) -> dict[str, pd.DataFrame]:
    """Score every image of a data set against its reference by several measures at once.

    Every file is decoded once, in a thread beside the computation, and nothing is resized here. Each reference passes
    through every backbone once. Images of one reference have one size and are scored in batches of
    :func:`batch_pixels`. The batches depend on the data set and the device alone, so a measure gives the same bits
    alone, together with others, and in an evaluation that was interrupted.

    Args:
        group: the measures, on ``device``.
        dataset: images, references and labels.
        device: where the measures run.
        progress: called with (images done, images in all, reference) after each batch; an exception that it raises
            ends the evaluation.
        partial: by measure key, a file that keeps each batch's scores as they come. An evaluation of the same measure
            on the same images and kind of device continues from it; any other content is discarded.

    Returns:
        For each measure key a table as :func:`evaluate_fr` returns it.

    Raises:
        ImageError: a file that cannot be read.
        MeasureError: an image that one of the measures does not accept.
    """
    kind, pixels = torch.device(device).type, batch_pixels(device)
    with contextlib.ExitStack() as files, torch.inference_mode():
        kept: dict[str, PartialScores] = {}
        for key, measure in group.measures.items():
            of = {"measure": measure.spec.identity, "dataset": dataset.identity, "device": kind, "batch_pixels": pixels}
            kept[key] = files.enter_context(PartialScores((partial or {}).get(key), of))
        done = frozenset[str].intersection(*(frozenset(one.scores) for one in kept.values()))
        count, reference, prepared = len(done), None, None
        for batch in ahead(_batches(dataset, done, pixels)):
            if prepared is None or batch.reference is not reference:
                reference = batch.reference
                prepared = group.prepare(reference.to(device))
            names = [row.image for row in batch.rows]
            for key, values in group.score(batch.images.to(device), prepared).items():
                kept[key].add(dict(zip(names, values.tolist(), strict=True)))
            count += sum(name not in done for name in names)
            progress(count, len(dataset), batch.rows[0].reference_path.stem)
    return {key: _table(dataset, measure, kept[key].scores) for key, measure in group.measures.items()}


def batch_pixels(device: str) -> int:
    """Return how many pixels are scored together on a device."""
    return BATCH_PIXELS.get(torch.device(device).type, OTHER_BATCH_PIXELS)


@dataclass(frozen=True)
class _Batch:
    """Images of one reference, decoded: ``(N, 3, H, W)`` and ``(1, 3, H, W)``."""

    rows: list[FRRow]
    images: Tensor
    reference: Tensor


def _batches(dataset: FRDataset, done: frozenset[str], pixels: int) -> Iterator[_Batch]:
    """Decode batch after batch; finished batches are left out, a batch that is done in part is repeated whole."""
    for path, rows in dataset.by_reference():
        if all(row.image in done for row in rows):
            continue
        reference = to_tensor(read_rgb(path))
        size = max(1, pixels // (reference.shape[-2] * reference.shape[-1]))
        for batch in (rows[start : start + size] for start in range(0, len(rows), size)):
            if not all(row.image in done for row in batch):
                yield _Batch(batch, torch.cat([to_tensor(read_rgb(row.image_path)) for row in batch]), reference)


def ahead(items: Iterator[T]) -> Iterator[T]:
    """Yield ``items`` while a thread prepares the next one."""
    with ThreadPoolExecutor(1) as thread:
        upcoming = thread.submit(next, items, None)
        while (item := upcoming.result()) is not None:
            upcoming = thread.submit(next, items, None)
            yield item


def _table(dataset: FRDataset, measure: Measure[Any], scores: Mapping[str, float]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "reference": row.reference,
            "image": row.image,
            "distortion": row.distortion,
            "level": row.level,
            "label": row.label,
            "label_std": row.label_std,
            "label_std_of": dataset.labels.std_of,
            "votes": row.votes,
            "label_kind": dataset.label_kind,
            "label_higher_is_better": dataset.label_higher_is_better,
            "higher_is_better": not measure.lower_is_better,
            "score": scores[row.image],
            "status": "ok" if math.isfinite(scores[row.image]) else "non-finite",
        }
        for row in dataset.rows
    )
