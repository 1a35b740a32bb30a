"""Choose crops of restored images for the report: where networks differ most and least, and where judges disagree."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ...analysis.figures import GalleryRow, pretty, setting_name
from ...common.images import read_rgb
from ...sr.images import pairs
from ..planning import Plan
from ..stages.cell import Cell
from ..stages.restore import IMAGES, Restore
from ..store import Store, checked

CROP = 64  # pixels per side
SHOWN = 2  # images in which methods differ most; one more shows where they differ least
# Crops between these quantiles of an image's detail: flat ones show nothing, the busiest are texture nobody recognises.
DETAIL = (0.4, 0.9)
SETTING = ("fidelity", "discriminator", "gan_weight")
Image = NDArray[np.uint8]


def gallery_rows(plan: Plan, store: Store) -> list[GalleryRow]:
    """Return up to three crops of the first test set, each restored by every setting at the first seed.

    The crop of an image is chosen among windows of middling detail, so that it shows something: the window in which
    the restorations vary most between settings. The two images with the largest such variation are shown, and of the
    remaining images that window of all in which the restorations vary least. So the choice favours no setting.
    """
    done = [cell for cell in plan.of(Restore) if store.status(cell.stage, cell.id).state == "done"]
    trained = [cell for cell in done if cell.inputs]
    if not trained:
        return []
    first = trained[0].labels
    trained = [c for c in trained if all(c.labels[k] == first[k] for k in ("seed", "test_set", "generator"))]
    # The pixel-only network first: what the others are compared with.
    trained.sort(key=lambda cell: (cell.labels["fidelity"] != "none", cell.labels["discriminator"] != "none"))
    baseline = next((c for c in done if not c.inputs and c.labels["test_set"] == first["test_set"]), None)
    if baseline is None:
        return []
    spec = trained[0].spec
    folders = [checked(store.folder(cell.stage, cell.id), IMAGES)[0] for cell in [baseline, *trained]]
    most: list[tuple[float, GalleryRow]] = []
    least: list[tuple[float, GalleryRow]] = []
    for pair in pairs(spec.test.images.items(), spec.scale, crop=spec.test.crop, task=spec.task):
        restored = [read_rgb(folder / f"{pair.name}.png") for folder in folders]
        variation = np.stack(restored[1:]).astype(np.float32).std(0).mean(2)
        found = [(float(variation[window].mean()), window) for window in _windows(pair.hr)]
        for rows, (amount, window), how in (
            (most, max(found, key=_amount), "most"),
            (least, min(found, key=_amount), "least"),
        ):
            label = f"{pair.name}, seed {first['seed']}: where restorations differ {how}"
            crops = {"reference": pair.hr[window], spec.task.baseline: restored[0][window]}
            crops |= {_title(cell): image[window] for cell, image in zip(trained, restored[1:], strict=True)}
            rows.append((amount, GalleryRow(label=label, crops=crops, whole=pair.hr, box=_box(window))))
    order = np.argsort([-amount for amount, _ in most], kind="stable")
    shown = order[:SHOWN]
    rest = [least[index] for index in order[SHOWN:]] or [least[index] for index in shown]
    return [*(most[index][1] for index in shown), min(rest, key=_amount)[1]]


def disagreement_rows(plan: Plan, store: Store, disagreements: pd.DataFrame) -> list[GalleryRow]:
    """Return crops of the images on which multimodal LLMs and the other judges disagree most.

    Args:
        plan: Of the experiment.
        store: With its restored images.
        disagreements: ``judge_disagreement_images`` of its study.

    Returns:
        One row per disagreement whose two restorations are there: the window in which they differ most.
    """
    done = [cell for cell in plan.of(Restore) if store.status(cell.stage, cell.id).state == "done"]
    rows = []
    for found in disagreements.to_dict("records"):
        names = {"generator": found["generator"], "test_set": found["test_set"], "seed": found["seed"]}
        here = [cell for cell in done if cell.inputs and all(cell.labels[key] == names[key] for key in names)]
        shown = [
            next((cell for cell in here if all(cell.labels[key] == found[f"{key}_{of}"] for key in SETTING)), None)
            for of in ("preferred", "other")
        ]
        baseline = next((c for c in done if not c.inputs and c.labels["test_set"] == found["test_set"]), None)
        if baseline is None or shown[0] is None or shown[1] is None:
            continue
        spec = shown[0].spec
        images = pairs(spec.test.images.items(), spec.scale, crop=spec.test.crop, task=spec.task)
        pair = next(pair for pair in images if pair.name == found["image"])
        folders = [checked(store.folder(cell.stage, cell.id), IMAGES)[0] for cell in (baseline, *shown) if cell]
        enlarged, preferred, other = (read_rgb(folder / f"{pair.name}.png") for folder in folders)
        apart = np.abs(preferred.astype(np.float32) - other).mean(axis=2)
        window = max(_windows(pair.hr), key=lambda window: float(apart[window].mean()))
        crops = {"reference": pair.hr[window], spec.task.baseline: enlarged[window]}
        crops["the LLM prefers"], crops["the others prefer"] = preferred[window], other[window]
        settings = [_title(cell).replace("\n", ", ") for cell in shown if cell]
        label = (
            f"{pair.name}, seed {found['seed']}, where the two restorations differ most: {found['rater']} prefers "
            f"{settings[0]}; the other judges prefer {settings[1]}"
        )
        rows.append(GalleryRow(label=label, crops=crops, whole=pair.hr, box=_box(window)))
    return rows


def _amount(found: tuple[float, object]) -> float:
    return found[0]


def _title(cell: Cell) -> str:
    return f"{pretty(cell.labels['fidelity'])}\n{setting_name(cell.labels['discriminator'], cell.labels['gan_weight'])}"


def _box(window: tuple[slice, slice]) -> tuple[int, int, int, int]:
    rows, columns = window
    return rows.start, columns.start, rows.stop - rows.start, columns.stop - columns.start


def _windows(image: Image) -> Iterator[tuple[slice, slice]]:
    """Yield windows of middling detail, on a grid of quarter windows."""
    height, width = image.shape[:2]
    tall, wide = min(CROP, height), min(CROP, width)
    grey = image.astype(np.float32).mean(axis=2)
    steps = np.abs(np.diff(grey, axis=0))[:, :-1] + np.abs(np.diff(grey, axis=1))[:-1]
    windows = [
        (slice(top, top + tall), slice(left, left + wide))
        for top in range(0, height - tall + 1, CROP // 4)
        for left in range(0, width - wide + 1, CROP // 4)
    ]
    detail = np.array([steps[window].mean() for window in windows])
    low, high = np.quantile(detail, DETAIL)
    yield from (window for window, amount in zip(windows, detail, strict=True) if low <= amount <= high)
