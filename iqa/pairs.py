"""Evaluation on judged pairs: a measure's distances, and what people chose or could not tell apart (BAPPS)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from ..common.images import read_rgb, to_tensor
from ..losses import Measure
from .datasets.pairs import PairDataset, PairRow
from .fr import batch_pixels


@torch.inference_mode()
def evaluate_pairs(
    measure: Measure[Any],
    dataset: PairDataset,
    *,
    device: str = "cpu",
    progress: Callable[[int, int, str], None] = lambda _done, _total, _note: None,
) -> pd.DataFrame:
    """Score every judged pair by one measure; nothing is resized here.

    Args:
        measure: the measure, on ``device``.
        dataset: the pairs; patches of one size are scored together.
        device: where the measure runs.
        progress: called with (pairs done, pairs in all, subset) after each batch.

    Returns:
        One row per pair in the data set's order: pair (its name), task (``2afc`` or ``jnd``), split, subset, judgement
        and votes as in :class:`PairRow`; ``first`` and ``second``; higher_is_better (of the scores), measure,
        measure_id, status (``ok``, or ``non-finite`` with NaN scores). For 2afc, ``first`` and ``second`` are the
        measure between the reference and each patch. For jnd, ``first`` is the measure between the two patches, with
        the second as reference, and ``second`` is NaN. ``lopsided.analysis.assess_pairs`` computes 2AFC accuracy
        and JND precision from the table.

    Raises:
        ImageError: a patch that cannot be read.
        MeasureError: a patch that the measure cannot take.
    """
    scores: dict[str, tuple[float, float]] = {}
    for rows, patches in _batches(dataset, batch_pixels(device)):
        first, second = patches["first"].to(device), patches["second"].to(device)
        if rows[0].task == "2afc":
            reference = measure.prepare(patches["reference"].to(device))
            both = [measure.score(patch, reference).double().tolist() for patch in (first, second)]
        else:
            both = [measure.score(first, second).double().tolist(), [math.nan] * len(rows)]
        scores |= dict(zip([row.name for row in rows], zip(*both, strict=True), strict=True))
        progress(len(scores), len(dataset), rows[0].subset)
    return pd.DataFrame(_scored(row, *scores[row.name], measure) for row in dataset.rows)


def _batches(dataset: PairDataset, pixels: int) -> Iterator[tuple[list[PairRow], dict[str, Tensor]]]:
    """Decode pairs of one task and patch size together."""
    rows: list[PairRow] = []
    decoded: list[dict[str, Tensor]] = []
    for row in dataset.rows:
        paths: dict[str, Path | None] = {"reference": row.reference, "first": row.first, "second": row.second}
        patches = {name: to_tensor(read_rgb(path)) for name, path in paths.items() if path}
        height, width = patches["first"].shape[-2:]
        alike = rows and row.task == rows[0].task and patches["first"].shape == decoded[0]["first"].shape
        if rows and not (alike and (len(rows) + 1) * height * width <= pixels):
            yield rows, _stacked(decoded)
            rows, decoded = [], []
        rows.append(row)
        decoded.append(patches)
    if rows:
        yield rows, _stacked(decoded)


def _stacked(decoded: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    return {name: torch.cat([patches[name] for patches in decoded]) for name in decoded[0]}


def _scored(row: PairRow, first: float, second: float, measure: Measure[Any]) -> dict[str, Any]:
    finite = math.isfinite(first) and (row.task == "jnd" or math.isfinite(second))
    return {
        "pair": row.name,
        "task": row.task,
        "split": row.split,
        "subset": row.subset,
        "judgement": row.judgement,
        "votes": row.votes,
        "first": first if finite else math.nan,
        "second": second if finite else math.nan,
        "higher_is_better": not measure.lower_is_better,
        "measure": measure.spec.key,
        "measure_id": measure.spec.identity,
        "status": "ok" if finite else "non-finite",
    }
