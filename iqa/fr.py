"""Full-reference evaluation: one measure on one data set, per-image scores out, as many rows as went in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from ..common.images import read_rgb, to_tensor
from ..losses import Measure
from .manifest import FRDataset, FRRow

BATCH_PIXELS = 1 << 20  # pixels scored together: enough to fill a processor, little enough for any memory


@torch.inference_mode()
def evaluate_fr(
    measure: Measure[Any],
    dataset: FRDataset,
    *,
    device: str = "cpu",
    progress: Callable[[int, int, str], None] = lambda _done, _total, _note: None,
) -> pd.DataFrame:
    """Score every image of a data set against its reference.

    Each reference is decoded once and passed through the measure once; nothing is resized here.

    Args:
        measure: the measure, on ``device``.
        dataset: images, references and labels.
        device: where the measure runs.
        progress: told (images done, images in all, reference).

    Returns:
        One row per image in the data set's order: reference, image, distortion, level, label, label_std, label_std_of,
        votes, label_kind, label_higher_is_better, higher_is_better (of the score), score, status (``ok``, or
        ``non-finite`` with a NaN score).

    Raises:
        ImageError: a file that cannot be read.
        MeasureError: an image that the measure cannot take.
    """
    scores: dict[str, float] = {}
    for reference_path, rows in dataset.by_reference():
        reference = measure.prepare(to_tensor(read_rgb(reference_path)).to(device))
        size = max(1, BATCH_PIXELS // (reference.images.shape[-2] * reference.images.shape[-1]))
        for batch in _batches(rows, size):
            images = torch.cat([to_tensor(read_rgb(row.image_path)) for row in batch]).to(device)
            values = measure.score(images, reference).double().tolist()
            scores |= {row.image: value for row, value in zip(batch, values, strict=True)}
            progress(len(scores), len(dataset), Path(reference_path).stem)
    return pd.DataFrame([_scored(row, scores[row.image], dataset, measure) for row in dataset.rows])


def _batches(rows: list[FRRow], size: int) -> Iterator[list[FRRow]]:
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def _scored(row: FRRow, score: float, dataset: FRDataset, measure: Measure[Any]) -> dict[str, Any]:
    finite = -float("inf") < score < float("inf")
    return {
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
        "score": score if finite else float("nan"),
        "status": "ok" if finite else "non-finite",
    }
