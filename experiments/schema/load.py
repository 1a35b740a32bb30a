"""YAML to a typed experiment, with errors that name the file, the line, the path and the way out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from .errors import ExperimentError, PlacedError
from .experiment import Experiment
from .grid import expand
from .origin import Location, Origin
from .wording import allowed_types, described, without_echoes

_PATHS = {"folder", "manifest", "path", "weights", "alpha_beta"}  # keys of paths, relative to the YAML
_WORDS = {"official", "uniform", "published"}  # values of those keys that are not paths
_MOST_VALUES = 100_000  # aliases can make a small file hold endlessly many


def load_experiment(path: str | Path, overrides: Sequence[str] = ()) -> Experiment:
    """Read and validate an experiment.

    Args:
        path: the YAML file. Relative paths inside it, and in overrides, are relative to its folder.
        overrides: ``key.path=value`` strings that replace or add values; ``value`` is YAML, e.g. ``grid.seed=[0,1]``.

    Raises:
        ExperimentError: one line per problem, each ``file:line: path: what is wrong and what would be right``.
    """
    path = Path(path)
    root, data = _read(path)
    origin = Origin(path, root, {_override(data, override): override for override in overrides})
    _make_absolute(data, path.resolve().parent)
    try:
        experiment = Experiment.model_validate(data)
    except ValidationError as error:
        lines = [origin.message(*described(data, problem)) for problem in without_echoes(data, error.errors())]
        raise ExperimentError("\n".join(dict.fromkeys(lines))) from None
    for location in _booleans(data):
        kinds = allowed_types(location)
        if kinds and not {bool, Any} & set(kinds):
            text = "true and false mean nothing here (YAML also reads unquoted yes, no, on and off as such)"
            raise ExperimentError(origin.message(location, text))
    experiment = experiment.read_from(origin)
    try:
        expand(experiment.grid)
    except PlacedError as error:
        raise experiment.error(error.place, str(error)) from None
    return experiment


def _booleans(value: Any) -> Iterator[Location]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in items:
        if isinstance(child, bool):
            yield (key,)
        yield from ((key, *location) for location in _booleans(child))


# --- reading YAML ---------------------------------------------------------------------------------------------------


def _read(path: Path) -> tuple[yaml.Node, dict[str, Any]]:
    """Return the file's nodes and values."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ExperimentError(f"cannot read experiment '{path}': {error.strerror or error}") from None
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        seen = f"byte 0x{content[error.start]:02x}"
        raise ExperimentError(f"{path}:{line}: not UTF-8 text ({seen}); save the file as UTF-8") from None
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        if root is None or root.tag == "tag:yaml.org,2002:null":
            raise ExperimentError(f"{path}:1: the file is empty; an experiment begins with name, data, …")
        if not isinstance(root, yaml.MappingNode):
            seen = "a list" if isinstance(root, yaml.SequenceNode) else "a single value"
            raise ExperimentError(
                f"{path}:{root.start_mark.line + 1}: an experiment is a mapping of keys, this is {seen}"
            )
        _check(path, root)
        return root, _unshared(yaml.safe_load(text))
    except yaml.YAMLError as error:
        raise ExperimentError(_yaml_fault(path, text, error)) from None
    except ValueError as error:  # an impossible date or number, such as 2024-13-45
        raise ExperimentError(f"{path}:1: not valid YAML: {error}; put such a value in quotes") from None
    except RecursionError:
        raise ExperimentError(f"{path}:1: nested too deeply to be an experiment") from None


def _yaml_fault(path: Path, text: str, error: yaml.YAMLError) -> str:
    if isinstance(error, yaml.reader.ReaderError):
        line = text.count("\n", 0, error.position) + 1
        return f"{path}:{line}: not text: it holds the control character {error.character:#04x}"
    if not isinstance(error, yaml.MarkedYAMLError):
        return f"{path}:1: not valid YAML: {' '.join(str(error).split())}"
    problem, begun, mark = error.problem or "", error.context_mark, error.problem_mark or error.context_mark
    line = mark.line + 1 if mark else 1
    if "'\\t'" in problem:
        problem = "a tab; indent with spaces"
    elif "mapping values are not allowed" in problem:
        problem = "an unexpected ':'; fix the indentation, or put a value that holds ': ' in quotes"
    elif "could not determine a constructor" in problem:
        tag = problem.split("'")[1].replace("tag:yaml.org,2002:", "!!")
        problem = f"the tag {tag} is not allowed; write plain values"
    elif "expected a single document" in (error.context or ""):
        problem = "a second document; one file holds one experiment"
    elif begun and "flow" in (error.context or ""):
        line, problem = begun.line + 1, "a bracket that opens here is not closed, or a comma is missing"
    elif begun and "quoted" in (error.context or ""):
        line, problem = begun.line + 1, "a quotation that opens here is not closed"
    elif "expected <block end>" in problem:
        problem = "the indentation does not fit the lines above"
    return f"{path}:{line}: not valid YAML: {problem}"


def _check(path: Path, root: yaml.Node) -> None:
    """Refuse equal keys (YAML silently keeps the last one) and endless aliases."""
    nodes, count = [root], 0
    while nodes:
        node = nodes.pop()
        count += 1
        if count > _MOST_VALUES:
            raise ExperimentError(f"{path}:1: more than {_MOST_VALUES} values; does an alias refer to itself?")
        if isinstance(node, yaml.SequenceNode):
            nodes += node.value
        elif isinstance(node, yaml.MappingNode):
            seen: dict[str, int] = {}
            for key, value in node.value:
                line = key.start_mark.line + 1
                if not isinstance(key, yaml.ScalarNode):
                    raise ExperimentError(f"{path}:{line}: a key must be text, this is a list or a mapping")
                if key.value in seen:
                    message = f"'{key.value}' is given twice (first on line {seen[key.value]}); keep one"
                    raise ExperimentError(f"{path}:{line}: {message}")
                seen[key.value] = line
                nodes.append(value)


def _unshared(value: Any) -> Any:
    """Copy nested values, so that an override of one use of an alias leaves the others."""
    if isinstance(value, dict):
        return {key: _unshared(child) for key, child in value.items()}
    return [_unshared(child) for child in value] if isinstance(value, list) else value


def _override(data: dict[str, Any], text: str) -> Location:
    """Set one value in ``data``; returns its location."""
    key, separator, value = text.partition("=")
    names = key.strip().split(".")
    if not separator or not all(names):
        raise ExperimentError(
            f"--set {text}: write it as key.path=value, e.g. --set super_resolution.finetune.steps=100"
        )
    location: list[str | int] = []
    target: Any = data  # a mapping or a list; anything else is refused below
    try:
        for index, name in enumerate(names):
            step: Any = int(name) if isinstance(target, list) and name.isdecimal() else name
            location.append(step)
            if index == len(names) - 1:
                target[step] = yaml.safe_load(value)
            else:
                target = target.setdefault(step, {}) if isinstance(target, dict) else target[step]
    except (yaml.YAMLError, ValueError):
        raise ExperimentError(f"--set {text}: '{value}' is not a YAML value; a list is written [a, b]") from None
    except (IndexError, TypeError):
        raise ExperimentError(f"--set {text}: there is no '{'.'.join(names[: len(location)])}'") from None
    return tuple(location)


def _make_absolute(value: Any, base: Path) -> None:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in list(items):
        if key in _PATHS and isinstance(child, str) and child not in _WORDS:
            value[key] = str(base / Path(child).expanduser())
        elif key == "model" and isinstance(child, str) and (base / child).is_dir():  # else a name on a hub or server
            value[key] = str(base / child)
        else:
            _make_absolute(child, base)
