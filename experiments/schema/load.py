"""YAML to a typed experiment, with errors that name the file, the line, the path and the way out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...backbones import weights_names
from ...common.errors import SettingsError
from ...common.origin import Location, Origin
from ...common.paths import expanded, is_file, is_folder
from ...common.validation import validated
from ...common.yaml_text import parse_value, read_mapping, shortened
from ...sr import list_shipped
from .errors import ExperimentError, PlacedError
from .experiment import Experiment
from .grid import expand

_WEIGHTS = {"weights", "alpha_beta"}
_PATHS = {"folder", "manifest", "path", "extract", *_WEIGHTS}  # keys of paths, relative to the YAML
_WORDS = {"official", "uniform", "published"}  # weights that are not paths


def load_experiment(path: str | Path, overrides: Sequence[str] = ()) -> Experiment:
    """Read and validate an experiment.

    Args:
        path: the YAML file. Relative paths inside it, and in overrides, are relative to its folder.
        overrides: ``key.path=value`` strings that replace or add values; ``value`` is YAML, e.g. ``grid.seed=[0,1]``.

    Raises:
        ExperimentError: one line per problem, each ``file:line: path: what is wrong and what would be right``.
    """
    path = Path(path)
    try:
        root, data = read_mapping(path, "experiment", "name, data, …")
        origin = Origin(path, root, {_override(data, override): override for override in overrides})
        _make_absolute(data, path.resolve().parent)
        experiment = validated(Experiment, data, origin).read_from(origin)
    except SettingsError as error:
        raise ExperimentError(str(error)) from None
    try:
        if experiment.grid:
            expand(experiment.grid)
    except PlacedError as error:
        raise experiment.error(error.place, str(error)) from None
    return experiment


def _override(data: dict[str, Any], text: str) -> Location:
    """Set one value in ``data``; returns its location."""
    key, separator, value = text.partition("=")
    names = key.strip().split(".")
    if not separator or not all(names):
        raise ExperimentError(
            f"--set {shortened(text)}: write it as key.path=value, e.g. --set super_resolution.finetune.steps=100"
        )
    parsed = parse_value(value, f"--set {shortened(text)}")
    location: list[str | int] = []
    target: Any = data  # a mapping or a list; anything else is refused below
    try:
        for index, name in enumerate(names):
            step: Any = int(name) if isinstance(target, list) and name.isdecimal() else name
            location.append(step)
            if index == len(names) - 1:
                target[step] = parsed
            else:
                target = target.setdefault(step, {}) if isinstance(target, dict) else target[step]
    except (IndexError, TypeError, ValueError):  # ValueError: an index of endless digits
        raise ExperimentError(f"--set {shortened(text)}: there is no '{'.'.join(names[: len(location)])}'") from None
    return tuple(location)


def _known_weights() -> set[str]:
    return weights_names() | set(list_shipped())


def _make_absolute(value: Any, base: Path, within: str = "") -> None:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in list(items):
        if isinstance(child, str) and (key == "model" or (within, key) == ("model", "path")):
            if child and is_folder(base / expanded(child)):  # else a name on a hub or server
                value[key] = str(base / expanded(child))
        elif key in _PATHS and isinstance(child, str) and child:
            if key in _WEIGHTS and (child in _WORDS or (child in _known_weights() and not is_file(base / child))):
                continue  # a file that is found by its name
            value[key] = str(base / expanded(child))
        else:
            _make_absolute(child, base, str(key))
