"""Finding the generators that an experiment has trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...common.identity import sha256_file
from ...common.paths import expanded
from ...sr.generators import list_generators
from ..schema.errors import ExperimentError
from ..stages.train import GENERATOR
from ..store import Store, checked

STAGES = ("finetune", "pretrain")  # stages whose cells hold a generator


def find_generator(source: str | Path, store: str | Path = "runs") -> tuple[Path, dict[str, Any]]:
    """Return the file of a generator, and what is known of its training.

    Args:
        source: a file of weights; or the folder or the ID of a finished cell.
        store: where IDs are looked up.

    Raises:
        ExperimentError: there is no such file or cell, or the cell is not done, or its weights are damaged.
    """
    path = expanded(source)
    if path.is_file():
        return path, {"file": path.name, "sha256": sha256_file(path)}
    folders = [path] if path.is_dir() else [Store(store).folder(stage, str(source)) for stage in STAGES]
    folder = next((folder for folder in folders if folder.is_dir()), None)
    if folder is None:
        way_out = "give a file of weights, the folder of a cell, or the store that holds the cell"
        if source in list_generators():
            way_out = f"it is an architecture: give a file of its weights, with --generator-name {source} --scale N"
        raise ExperimentError(f"no file '{source}', and no cell with this ID in '{store}'; {way_out}")
    folder = folder.resolve()
    stage, cell = folder.parent.name, folder.name  # a cell's folder is <store>/cells/<stage>/<id>
    if stage not in STAGES:
        raise ExperimentError(f"'{source}' is not a cell that trains a generator; {' and '.join(STAGES)} cells are")
    status = Store(folder.parents[2]).status(stage, cell)
    if status.state != "done":
        raise ExperimentError(f"cell {cell} is {status.state}{f': {status.reason}' if status.reason else ''}")
    return checked(folder, GENERATOR)[0], {"stage": stage, "cell": cell}
