"""YAML to a typed experiment, with errors that name the file, the line, the path and the way out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from ...backbones import weights_names
from ...common.errors import one_line
from ...common.paths import expanded, read_file
from ...sr import list_shipped
from .errors import ExperimentError, PlacedError
from .experiment import Experiment
from .grid import expand
from .origin import Location, Origin
from .wording import allowed_types, described, without_echoes

_PATHS = {"folder", "manifest", "path", "weights", "alpha_beta"}  # keys of paths, relative to the YAML
_WORDS = {"official", "uniform", "published"}  # values of those keys that are not paths
_MOST_VALUES = 100_000  # aliases can make a small file hold endlessly many
_MOST_BYTES = 10_000_000
_DEEPEST = 100  # levels of nesting


class _TooDeepError(yaml.YAMLError):
    """Nesting that no experiment has, and that would exhaust Python's stack."""


class _Loader(yaml.SafeLoader):
    """YAML to plain values, up to a depth."""

    _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise _TooDeepError(f"nested more than {_DEEPEST} levels deep")
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


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
        if experiment.grid:
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
        content = read_file(path, _MOST_BYTES)
    except OSError as error:
        near = path.with_name(f"{path.name}.yaml")
        hint = f"; did you mean '{near}'?" if near.is_file() else ""
        raise ExperimentError(f"cannot read experiment '{path}': {error.strerror or one_line(error)}{hint}") from None
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        seen = f"byte 0x{content[error.start]:02x}"
        raise ExperimentError(f"{path}:{line}: not UTF-8 text ({seen}); save the file as UTF-8") from None
    try:
        root = yaml.compose(text, Loader=_Loader)
        if root is None or root.tag == "tag:yaml.org,2002:null":
            raise ExperimentError(f"{path}:1: the file is empty; an experiment begins with name, data, …")
        if not isinstance(root, yaml.MappingNode):
            seen = "a list" if isinstance(root, yaml.SequenceNode) else "a single value"
            raise ExperimentError(
                f"{path}:{root.start_mark.line + 1}: an experiment is a mapping of keys, this is {seen}"
            )
        _check(f"{path}:", root)
        return root, _unshared(yaml.load(text, Loader=_Loader))  # noqa: S506  (a SafeLoader)
    except yaml.YAMLError as error:
        raise ExperimentError(_yaml_fault(path, text, error)) from None
    except ValueError as error:  # an impossible date or number, such as 2024-13-45
        reason = "a number has too many digits; put it in quotes if it is text"
        if "limit" not in str(error):  # Python's, of digits
            reason = f"{one_line(error)}; put such a value in quotes"
        raise ExperimentError(f"{path}:1: not valid YAML: {reason}") from None


_BACKSLASH = "in double quotes a backslash begins an escape; use single quotes, or / in paths"


def _escapes(error: Exception) -> bool:
    r"""Tell whether YAML failed at a backslash in double quotes, as in "C:\data"."""
    problem = getattr(error, "problem", None) or ""
    return "escape" in problem


def _yaml_fault(path: Path, text: str, error: yaml.YAMLError) -> str:
    if isinstance(error, yaml.reader.ReaderError):
        line = text.count("\n", 0, error.position) + 1
        return f"{path}:{line}: not text: it holds the control character {error.character:#04x}"
    if not isinstance(error, yaml.MarkedYAMLError):
        return f"{path}:1: not valid YAML: {one_line(error)}"
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
    elif _escapes(error):
        problem = _BACKSLASH
    elif begun and "flow" in (error.context or ""):
        line, problem = begun.line + 1, "a bracket that opens here is not closed, or a comma is missing"
    elif begun and "quoted" in (error.context or ""):
        line, problem = begun.line + 1, "a quotation that opens here is not closed"
    elif "expected <block end>" in problem:
        problem = "the indentation does not fit the lines above"
    return f"{path}:{line}: not valid YAML: {problem}"


def _check(where: str, root: yaml.Node) -> None:
    """Refuse equal keys (YAML silently keeps the last one) and endless aliases.

    Args:
        where: what a message begins with, before the number of the line.
        root: the node.

    Raises:
        ExperimentError: names the line.
    """
    nodes, count = [root], 0
    while nodes:
        node = nodes.pop()
        count += 1
        if count > _MOST_VALUES:
            raise ExperimentError(f"{where}1: more than {_MOST_VALUES} values; does an alias refer to itself?")
        if isinstance(node, yaml.SequenceNode):
            nodes += node.value
        elif isinstance(node, yaml.MappingNode):
            seen: dict[str, int] = {}
            for key, value in node.value:
                line = key.start_mark.line + 1
                if not isinstance(key, yaml.ScalarNode):
                    raise ExperimentError(f"{where}{line}: a key must be text, this is a list or a mapping")
                if key.value in seen:
                    message = f"'{key.value}' is given twice (first on line {seen[key.value]}); keep one"
                    raise ExperimentError(f"{where}{line}: {message}")
                seen[key.value] = line
                nodes.append(value)


def _unshared(value: Any) -> Any:
    """Copy nested values, so that an override of one use of an alias leaves the others."""
    if isinstance(value, dict):
        return {key: _unshared(child) for key, child in value.items()}
    return [_unshared(child) for child in value] if isinstance(value, list) else value


def _parsed(override: str, text: str) -> Any:
    """Read the value of an override."""
    root = yaml.compose(text, Loader=_Loader)
    if root is not None:
        _check(f"--set {_short(override)}: line ", root)
    return _unshared(yaml.load(text, Loader=_Loader))  # noqa: S506  (a SafeLoader)


def _short(text: str) -> str:
    return text if len(text) <= 200 else f"{text[:199]}…"


def _override(data: dict[str, Any], text: str) -> Location:
    """Set one value in ``data``; returns its location."""
    key, separator, value = text.partition("=")
    names = key.strip().split(".")
    if not separator or not all(names):
        raise ExperimentError(
            f"--set {_short(text)}: write it as key.path=value, e.g. --set super_resolution.finetune.steps=100"
        )
    location: list[str | int] = []
    target: Any = data  # a mapping or a list; anything else is refused below
    try:
        for index, name in enumerate(names):
            step: Any = int(name) if isinstance(target, list) and name.isdecimal() else name
            location.append(step)
            if index == len(names) - 1:
                target[step] = _parsed(text, value)
            else:
                target = target.setdefault(step, {}) if isinstance(target, dict) else target[step]
    except (yaml.YAMLError, ValueError) as error:
        hint = "a list is written [a, b]"
        if _escapes(error):
            hint = _BACKSLASH
        elif isinstance(error, _TooDeepError):
            hint = str(error)
        raise ExperimentError(f"--set {_short(text)}: '{_short(value)}' is not a YAML value; {hint}") from None
    except (IndexError, TypeError):
        raise ExperimentError(f"--set {_short(text)}: there is no '{'.'.join(names[: len(location)])}'") from None
    return tuple(location)


def _known_weights() -> set[str]:
    return weights_names() | set(list_shipped())


def _make_absolute(value: Any, base: Path, within: str = "") -> None:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in list(items):
        if isinstance(child, str) and (key == "model" or (within, key) == ("model", "path")):
            if (base / expanded(child)).is_dir():  # else a name on a hub or server
                value[key] = str(base / expanded(child))
        elif key in _PATHS and isinstance(child, str) and child not in _WORDS:
            if key == "weights" and child in _known_weights() and not (base / child).is_file():
                continue  # a file that is found by its name
            value[key] = str(base / expanded(child))
        else:
            _make_absolute(child, base, str(key))
