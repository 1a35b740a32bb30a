"""Pictures for the report: what descending each measure made of a degraded photograph."""

from __future__ import annotations

from ...analysis.figures import GalleryRow, pretty
from ...common.images import read_rgb
from ..planning import Plan
from ..stages.diagnose import PICTURES, REFERENCES, STARTS, Diagnose
from ..store import Store, checked


def recovered_rows(plan: Plan, store: Store) -> list[GalleryRow]:
    """Return the first photograph of the diagnostics, one row for each start, with every measure's recovery.

    A measure without pictures, because it has no gradient or its recovery failed, is left out.
    """
    done = [cell for cell in plan.of(Diagnose) if store.status(cell.stage, cell.id).state == "done"]
    folders = {cell.labels["measure"]: store.folder(cell.stage, cell.id) for cell in done}
    folders = {measure: folder for measure, folder in folders.items() if (folder / REFERENCES).is_dir()}
    if not folders:
        return []
    settings = done[0].spec.settings
    image = f"{done[0].spec.images.items()[0].name}.png"
    first = next(iter(folders.values()))
    rows = []
    for start in settings.starts:
        crops = {"reference": read_rgb(checked(first, f"{REFERENCES}/{image}")[0])}
        crops["input"] = read_rgb(checked(first, f"{STARTS}/{start}/{image}")[0])
        for measure, folder in folders.items():
            if (folder / PICTURES / start / image).is_file():
                crops[pretty(measure)] = read_rgb(checked(folder, f"{PICTURES}/{start}/{image}")[0])
        label = f"{image.removesuffix('.png')}, {settings.steps} steps of each measure from {pretty(start)}"
        rows.append(GalleryRow(label=label, crops=crops))
    return rows
