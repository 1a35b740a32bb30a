"""Choose crops of restored images for the report: where the trained networks differ most, beside the reference."""

from __future__ import annotations

import numpy as np

from ...analysis.figures import GalleryRow, pretty, setting_name
from ...common.images import read_rgb
from ...sr.images import pairs
from ..planning import Plan
from ..stages.cell import Cell
from ..stages.restore import IMAGES, Restore
from ..store import Store, checked

CROP = 64  # pixels per side
SHOWN = 3


def gallery_rows(plan: Plan, store: Store) -> list[GalleryRow]:
    """Return up to three images of the first test set, each as crops of every setting at the first seed.

    The crop of an image is the window in which the restorations vary most between settings, and the images are those
    with the largest such variation, so that the choice favours no setting.
    """
    done = [cell for cell in plan.of(Restore) if store.status(cell.stage, cell.id).state == "done"]
    trained = [cell for cell in done if cell.inputs]
    if not trained:
        return []
    first = trained[0].labels
    trained = [c for c in trained if all(c.labels[k] == first[k] for k in ("seed", "test_set", "generator"))]
    baseline = next((c for c in done if not c.inputs and c.labels["test_set"] == first["test_set"]), None)
    if baseline is None:
        return []
    spec = trained[0].spec
    candidates = []
    folders = [checked(store.folder(cell.stage, cell.id), IMAGES)[0] for cell in [baseline, *trained]]
    for pair in pairs(spec.test.images.items(), spec.scale, crop=spec.test.crop, task=spec.task):
        images = [read_rgb(folder / f"{pair.name}.png") for folder in folders]
        variation = np.stack(images[1:]).astype(np.float32).std(0).mean(2)
        top, left, amount = _busiest(variation)
        window = (slice(top, top + CROP), slice(left, left + CROP))
        crops = {"reference": pair.hr[window], spec.task.baseline: images[0][window]}
        crops |= {_title(cell): image[window] for cell, image in zip(trained, images[1:], strict=True)}
        candidates.append((amount, GalleryRow(label=f"{pair.name}, seed {first['seed']}", crops=crops)))
    candidates.sort(key=lambda candidate: -candidate[0])
    return [row for _, row in candidates[:SHOWN]]


def _title(cell: Cell) -> str:
    return f"{pretty(cell.labels['fidelity'])}\n{setting_name(cell.labels['discriminator'], cell.labels['gan_weight'])}"


def _busiest(variation: np.ndarray) -> tuple[int, int, float]:
    """Find the window with the most variation, on a grid of quarter windows."""
    height, width = variation.shape
    side_h, side_w = min(CROP, height), min(CROP, width)
    best = (0, 0, -1.0)
    for top in range(0, height - side_h + 1, CROP // 4):
        for left in range(0, width - side_w + 1, CROP // 4):
            amount = float(variation[top : top + side_h, left : left + side_w].mean())
            if amount > best[2]:
                best = (top, left, amount)
    return best
