"""YAML to a typed experiment, with errors that name the file, the line, the path and the way out."""

from __future__ import annotations

import difflib
import re
import types
import typing
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from .spec import Experiment, ExperimentError

_PATHS = {"folder", "manifest", "weights", "alpha_beta"}  # keys whose relative values are relative to the YAML
_WORDS = {"official", "uniform", "published"}  # values of those keys that are no paths

Location = tuple[str | int, ...]


def load_experiment(path: str | Path, overrides: Sequence[str] = ()) -> Experiment:
    """Read and validate an experiment.

    Args:
        path: the YAML file. Relative paths inside it are relative to its folder.
        overrides: ``key.path=value`` strings that replace or add values; ``value`` is YAML, e.g. ``grid.seed=[0,1]``.

    Raises:
        ExperimentError: one line per problem, each ``file:line: path: what is wrong and what would be right``.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ExperimentError(f"cannot read experiment '{path}': {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise ExperimentError(f"'{path}' is not UTF-8 text (byte {error.start}); save it as UTF-8") from None
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        if root is None:
            raise ExperimentError(f"{path}:1: the file is empty; an experiment needs name, data, super_resolution, …")
        _refuse_duplicates(path, root)
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else 1
        problem = getattr(error, "problem", None) or str(error)
        raise ExperimentError(f"{path}:{line}: not valid YAML: {problem}") from None
    if not isinstance(data, dict):
        raise ExperimentError(f"{path}:1: an experiment is a mapping of keys, this is a {type(data).__name__}")
    for override in overrides:
        _override(data, override)
    _make_absolute(data, path.resolve().parent)
    try:
        return Experiment.model_validate(data)
    except ValidationError as error:
        lines = [_message(path, root, data, problem) for problem in error.errors()]
        raise ExperimentError("\n".join(dict.fromkeys(lines))) from None


def _refuse_duplicates(path: Path, node: yaml.Node) -> None:
    """YAML keeps the last of two equal keys without a word; that has cost people whole runs."""
    children: Iterable[yaml.Node] = ()
    if isinstance(node, yaml.MappingNode):
        seen: dict[str, int] = {}
        for key, _ in node.value:
            line = key.start_mark.line + 1
            if key.value in seen:
                raise ExperimentError(
                    f"{path}:{line}: '{key.value}' is given twice (first on line {seen[key.value]}); keep one"
                )
            seen[key.value] = line
        children = [value for _, value in node.value]
    elif isinstance(node, yaml.SequenceNode):
        children = node.value
    for child in children:
        _refuse_duplicates(path, child)


def _override(data: dict[str, Any], text: str) -> None:
    key, separator, value = text.partition("=")
    if not separator or not key:
        raise ExperimentError(
            f"--set {text}: write it as key.path=value, e.g. --set super_resolution.finetune.steps=100"
        )
    parts = key.split(".")
    target: Any = data
    for index, part in enumerate(parts[:-1]):
        step: Any = int(part) if isinstance(target, list) and part.isdigit() else part
        try:
            target = target.setdefault(step, {}) if isinstance(target, dict) else target[step]
        except (IndexError, TypeError):
            raise ExperimentError(f"--set {text}: there is no '{'.'.join(parts[: index + 1])}'") from None
    last: Any = int(parts[-1]) if isinstance(target, list) and parts[-1].isdigit() else parts[-1]
    try:
        target[last] = yaml.safe_load(value)
    except yaml.YAMLError:
        raise ExperimentError(f"--set {text}: '{value}' is not a YAML value") from None
    except (IndexError, TypeError):
        raise ExperimentError(f"--set {text}: there is no '{key}'") from None


def _make_absolute(value: Any, base: Path) -> None:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in list(items):
        if key in _PATHS and isinstance(child, str) and child not in _WORDS:
            value[key] = str(base / Path(child).expanduser())
        else:
            _make_absolute(child, base)


def _message(path: Path, root: yaml.Node, data: Any, problem: Any) -> str:
    location, message = _within(data, problem["loc"]), problem["msg"].removeprefix("Value error, ")
    kind = problem["type"]
    if kind == "extra_forbidden":
        name = str(problem["loc"][-1])
        known = _known_keys(location[:-1])
        near = difflib.get_close_matches(name, known, 1)
        message = f"unknown key '{name}'; " + (f"did you mean '{near[0]}'?" if near else f"known: {', '.join(known)}")
    elif kind == "missing":
        location = (*location, *problem["loc"][-1:]) if problem["loc"][-1:] != location[-1:] else location
        message = f"'{problem['loc'][-1]}' is missing"
    elif not problem["msg"].startswith("Value error, ") and not isinstance(problem["input"], (dict, list)):
        message = f"{message[0].lower()}{message[1:]}, got {problem['input']!r}"
    # Messages of whole-model checks name their own path.
    dotted = re.sub(r"\.(\d+)", r"[\1]", ".".join(str(part) for part in location))
    return f"{path}:{_line(root, location)}: " + (f"{dotted}: {message}" if dotted else message)


def _within(data: Any, location: Location) -> Location:
    """Drop the parts of a pydantic location that are names of union branches and not keys of the data."""
    kept: list[str | int] = []
    for index, part in enumerate(location):
        if isinstance(data, dict) and part in data:
            kept.append(part)
            data = data[part]
        elif isinstance(data, list) and isinstance(part, int) and part < len(data):
            kept.append(part)
            data = data[part]
        elif index == len(location) - 1 and isinstance(data, dict) and isinstance(part, str):
            kept.append(part)  # a missing key
    return tuple(kept)


def _line(node: yaml.Node, location: Location) -> int:
    """Line of the deepest part of ``location`` that the file has (an override may have added the rest)."""
    line = node.start_mark.line + 1
    for part in location:
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                if key.value == str(part):
                    line, node = key.start_mark.line + 1, value
                    break
            else:
                break
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line + 1
        else:
            break
    return line


def _known_keys(location: Location) -> list[str]:
    """Return the keys that the models allow at ``location``."""
    models: list[Any] = [Experiment]
    for part in location:
        following: list[Any] = []
        for model in models:
            if isinstance(part, str) and isinstance(model, type) and issubclass(model, BaseModel):
                field = model.model_fields.get(part)
                following += _models(field.annotation) if field else []
            else:  # an index, or the name of an entry: the models stay those of the container's values
                following.append(model)
        models = following
    return sorted({name for model in models for name in model.model_fields})


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if isinstance(annotation, types.GenericAlias | types.UnionType) or typing.get_origin(annotation) is not None:
        return [model for argument in typing.get_args(annotation) for model in _models(argument)]
    return []
