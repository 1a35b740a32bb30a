"""Strict YAML: plain values, with the nodes that know their lines; what YAML lets pass silently is an error here."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from .errors import SettingsError, one_line
from .paths import is_file, read_file

_MOST_VALUES = 100_000  # aliases can make a small file hold endlessly many
_MOST_BYTES = 10_000_000
_DEEPEST = 100  # levels of nesting
_BACKSLASH = "in double quotes a backslash begins an escape; use single quotes, or / in paths"


_IN_WORDS = {"int": "a whole number", "float": "a number", "bool": "true or false", "timestamp": "a date"}
_OTHER_BASE = re.compile(r"[-+]?0[0-9_]+|[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?")  # of 8, of 60


class _RefusedError(yaml.MarkedYAMLError):
    """What YAML allows and settings do not: nesting that would exhaust Python's stack, or a number of another base."""


class _Loader(yaml.SafeLoader):
    """YAML to plain values, up to a depth."""

    _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        self._depth += 1
        if self._depth > _DEEPEST:
            mark = self.peek_event().start_mark
            raise _RefusedError(problem=f"nested more than {_DEEPEST} levels deep", problem_mark=mark)
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        kind = node.tag.removeprefix("tag:yaml.org,2002:")
        if kind in ("int", "float") and _OTHER_BASE.fullmatch(str(node.value)):
            base = 60 if ":" in node.value else 8
            problem = f"YAML reads {node.value} in base {base}; write the number in base 10, or text in quotes"
            raise _RefusedError(problem=problem, problem_mark=node.start_mark)
        try:
            return super().construct_object(node, deep)
        except (ValueError, LookupError, AttributeError, TypeError) as error:  # 2024-13-45, or !!int with no digits
            meant = _IN_WORDS.get(kind, "what its tag says")
            problem = f"'{shortened(str(node.value), 40)}' is not {meant}; put text in quotes"
            raise _RefusedError(problem=problem, problem_mark=node.start_mark) from error


def read_mapping(path: Path, noun: str, begins: str) -> tuple[yaml.MappingNode, dict[str, Any]]:
    """Read a file that holds one mapping.

    Args:
        path: the file.
        noun: what it is, for messages; a word that takes "an".
        begins: the first keys of such a file, for the message about an empty one.

    Returns:
        The nodes, and the values.

    Raises:
        SettingsError: ``file:line: what is wrong``.
    """
    try:
        content = read_file(path, _MOST_BYTES)
    except (OSError, ValueError) as error:  # ValueError: a name with a character that no file can have
        near = Path(f"{path}.yaml")
        hint = f"; did you mean '{near}'?" if is_file(near) else ""
        raise SettingsError(
            f"cannot read {noun} '{path}': {getattr(error, 'strerror', None) or one_line(error)}{hint}"
        ) from None
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        seen = f"byte 0x{content[error.start]:02x}"
        raise SettingsError(f"{path}:{line}: not UTF-8 text ({seen}); save the file as UTF-8") from None
    try:
        root = yaml.compose(text, Loader=_Loader)
        if root is None or root.tag == "tag:yaml.org,2002:null":
            raise SettingsError(f"{path}:1: the file is empty; an {noun} begins with {begins}")
        if not isinstance(root, yaml.MappingNode):
            seen = "a list" if isinstance(root, yaml.SequenceNode) else "a single value"
            raise SettingsError(f"{path}:{root.start_mark.line + 1}: an {noun} is a mapping of keys, this is {seen}")
        _check(f"{path}:", root)
        return root, _unshared(yaml.load(text, Loader=_Loader))  # noqa: S506  (a SafeLoader)
    except yaml.YAMLError as error:
        raise SettingsError(_fault(path, text, error, noun)) from None


def parse_value(text: str, where: str) -> Any:
    """Read a value that is written on the command line.

    Args:
        text: the YAML.
        where: the option, for messages.

    Raises:
        SettingsError: it is not YAML, or a key is given twice.

    Examples:
        >>> parse_value("{a: [1, 2.5], b: text}", "--set x")
        {'a': [1, 2.5], 'b': 'text'}
    """
    try:
        root = yaml.compose(text, Loader=_Loader)
        if root is not None:
            _check(f"{where}: line ", root)
        return _unshared(yaml.load(text, Loader=_Loader))  # noqa: S506  (a SafeLoader)
    except yaml.YAMLError as error:
        hint = "write a list as [a, b], a mapping as {a: b}, other text in quotes"
        if _escapes(error):
            hint = _BACKSLASH
        elif isinstance(error, _RefusedError):
            hint = str(error.problem)
        raise SettingsError(f"{where}: '{shortened(text)}' is not a YAML value; {hint}") from None


def shortened(text: str, most: int = 200) -> str:
    """Return a text that fits in a message."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _escapes(error: Exception) -> bool:
    r"""Tell whether YAML failed at a backslash in double quotes, as in "C:\data"."""
    problem = getattr(error, "problem", None) or ""
    return "escape" in problem


def _fault(path: Path, text: str, error: yaml.YAMLError, noun: str) -> str:
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
        problem = f"a second document; one file holds one {noun}"
    elif _escapes(error):
        problem = _BACKSLASH
    elif begun and "flow" in (error.context or ""):
        line, problem = begun.line + 1, "a bracket that opens here is not closed, or a comma is missing"
    elif begun and "quoted" in (error.context or ""):
        line, problem = begun.line + 1, "a quotation that opens here is not closed"
    elif "expected <block end>" in problem and "block" in problem.partition("found")[2]:
        problem = "the indentation does not fit the lines above"
    elif "expected <block end>" in problem:
        problem = "the value ends before this; put text that begins with {, [ or a quote in quotes as a whole"
    return f"{path}:{line}: not valid YAML: {problem}"


def _check(where: str, root: yaml.Node) -> None:
    """Refuse equal keys (YAML silently keeps the last one) and endless aliases.

    Args:
        where: what a message begins with, before the number of the line.
        root: the node.

    Raises:
        SettingsError: names the line.
    """
    nodes, count = [root], 0
    while nodes:
        node = nodes.pop()
        count += len(node.value) if isinstance(node, yaml.CollectionNode) else 0
        if count > _MOST_VALUES:
            raise SettingsError(f"{where}1: more than {_MOST_VALUES} values; does an alias refer to itself?")
        if isinstance(node, yaml.SequenceNode):
            nodes += node.value
        elif isinstance(node, yaml.MappingNode):
            seen: dict[str, int] = {}
            for key, value in node.value:
                line = key.start_mark.line + 1
                if not isinstance(key, yaml.ScalarNode):
                    raise SettingsError(f"{where}{line}: a key must be text, this is a list or a mapping")
                if key.value in seen:
                    message = f"'{key.value}' is given twice (first on line {seen[key.value]}); keep one"
                    raise SettingsError(f"{where}{line}: {message}")
                seen[key.value] = line
                nodes.append(value)


def _unshared(value: Any) -> Any:
    """Copy nested values, so that an override of one use of an alias leaves the others."""
    if isinstance(value, dict):
        return {key: _unshared(child) for key, child in value.items()}
    return [_unshared(child) for child in value] if isinstance(value, list) else value
