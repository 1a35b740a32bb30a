"""The page docs/experiment_options.md: tables of all options, written from the experiment's own fields."""

from __future__ import annotations

import json
import re
from typing import Any

from ...common.fields import NUMBER
from .experiment import Experiment

_INTRO = """\
# Options of an experiment

Every key that an experiment can have. [experiments.md](experiments.md) is the guide; this page is written from the
code by `make schema`. A key without a default must be given. `<name>` means a name of your choice.
"""
_SHOWN = 12  # of an enumeration, only so many members are shown
_SHARED = 3  # a mapping that shares at least this many options with an earlier one refers to it

Schema = dict[str, Any]


def option_tables() -> str:
    """Return the page: one section for each mapping of an experiment, in the order of the file.

    Examples:
        >>> option_tables().splitlines()[0]
        '# Options of an experiment'
    """
    return _Page(Experiment.model_json_schema()).text


class _Page:
    """The page, made by walking through the JSON schema.

    Attributes:
        text: the page in Markdown.
    """

    def __init__(self, schema: Schema) -> None:
        self._definitions: dict[str, Schema] = schema["$defs"]
        self._titles: dict[str, str] = {}  # titles of the definitions that have a section
        self._written: list[str] = []
        self.text = f"{_INTRO}\n{self._sections(schema, '', '## The file')}"

    def _sections(self, schema: Schema, path: str, heading: str) -> str:
        """Return the section of a mapping, followed by sections for the mappings inside it that have none yet."""
        fields = {key: field for key, field in schema.get("properties", {}).items() if "const" not in field}
        start = f"{path}." if path else ""
        new = [found for key, field in fields.items() for found in self._name_mappings(start + key, field)]
        lines = [heading, "", _summary(schema), ""]
        if base := self._base(fields):
            lines += [f"The keys of {self._link(base)}; these are new or have other defaults:", ""]
            known = self._definitions[base]["properties"]
            fields = {key: field for key, field in fields.items() if field != known.get(key)}
        if fields:
            lines += ["| key | default | values | what it is |", "|---|---|---|---|"]
            lines += [self._row(schema, key, field) for key, field in fields.items()] + [""]
        text = "\n".join(lines)
        for name, place in new:
            self._written.append(name)
            text += "\n" + self._sections(
                self._definitions[name], place, f"{'###' if path else '##'} {self._titles[name]}"
            )
        return text

    def _row(self, schema: Schema, key: str, field: Schema) -> str:
        what = _prose(field.get("description", "")) or _attributes(schema).get(key, "")
        if not what and "$ref" in field:
            what = _summary(self._definitions[_name(field)])
        default = "" if key in schema.get("required", ()) else _default(field)
        return f"| `{key}` | {default} | {self._values(field)} | {what} |"

    def _name_mappings(self, path: str, field: Schema) -> list[tuple[str, str]]:
        """Give a title to each mapping in a field that has none yet; returns these mappings with their place."""
        place = f"{path}.<name>" if "additionalProperties" in field else path
        names = _references(field)
        new = [name for name in names if name not in self._titles]
        for name in new:
            self._titles[name] = f"`{place}`" + (f" with {self._sign(name, names)}" if len(names) > 1 else "")
        return [(name, place) for name in new]

    def _sign(self, name: str, members: list[str]) -> str:
        """Return what distinguishes a member of a union from the others: a constant, or a key that only it has."""
        if constant := self._constant(name):
            return "`{}: {}`".format(*constant)
        others = {key for other in members if other != name for key in self._definitions[other]["properties"]}
        required = self._definitions[name]["required"]
        return next((f"`{key}`" for key in required if key not in others), f"`{required[0]}` alone")

    def _constant(self, name: str) -> tuple[str, str] | None:
        fields = self._definitions[name]["properties"]
        return next(((key, field["const"]) for key, field in fields.items() if "const" in field), None)

    def _base(self, fields: Schema) -> str | None:
        """Return the earlier mapping that shares the most options with these, if it shares many and has no others."""

        def same(name: str) -> int:
            known = {key: field for key, field in self._definitions[name]["properties"].items() if "const" not in field}
            return sum(fields[key] == field for key, field in known.items()) if known.keys() <= fields.keys() else 0

        best = max(self._written[:-1], key=same, default=None)
        return best if best and same(best) >= _SHARED else None

    def _link(self, name: str, text: str | None = None) -> str:
        anchor = re.sub(r"[^\w\- ]", "", self._titles[name].lower()).replace(" ", "-")
        return f"[{text or self._titles[name]}](#{anchor})"

    def _values(self, field: Schema) -> str:
        """Say in words which values are allowed."""
        kind = field.get("type")
        if "$ref" in field:
            return self._link(_name(field), "mapping")
        if "const" in field:
            return f"`{field['const']}`"
        if "enum" in field:
            keys = [f"`{key}`" for key in field["enum"]]
            return ", ".join(keys if len(keys) <= _SHOWN else [*keys[:4], "…"])
        if members := field.get("anyOf") or field.get("oneOf"):
            return self._union([member for member in members if member.get("type") != "null"])
        if kind == "array":
            if "prefixItems" in field:
                return f"`[…]` of {len(field['prefixItems'])}: {self._values(field['prefixItems'][0])}"
            return f"list of {self._values(field['items'])}"
        if kind == "object":
            return self._mapping(field)
        if kind == "boolean":
            return "`true`, `false`"
        if kind in ("integer", "number"):
            return f"{'whole number' if kind == 'integer' else 'number'}{_range(field)}"
        return "path" if field.get("format") == "path" else "text"

    def _union(self, members: list[Schema]) -> str:
        first, last = members[0], members[-1]
        if len(members) == 2 and last.get("items") == first:
            return f"{self._values(first)}; one or a list"
        if len(members) == 2 and last.get("prefixItems", [None])[0] == first:
            return f"{self._values(first)}, or a range `[low, high]`"
        names = _references(members)
        if len(names) > 1 and "enum" in first:  # each key is short for one of the mappings
            named = {constant[1]: name for name in names if (constant := self._constant(name))}
            return ", ".join(self._link(named[key], f"`{key}`") for key in first["enum"])
        if len(names) > 1:
            return ", ".join(self._link(name, self._sign(name, names)) for name in names)
        return " or ".join(dict.fromkeys(self._values(member) for member in members))

    def _mapping(self, field: Schema) -> str:
        if fields := field.get("properties"):
            few = len(fields) <= 4
            keys = ", ".join(f"`{key}`" for key in (fields if few else field["required"]))
            return f"mapping of {keys}" if few else f"mapping of {keys} and its options"
        values = field.get("additionalProperties")
        return f"`<name>`: {self._values(values)}" if isinstance(values, dict) else "mapping"


def _name(reference: Schema) -> str:
    return reference["$ref"].rsplit("/", 1)[-1]


def _references(value: Any) -> list[str]:
    """Return the names of the definitions that a value can be or contain, each once."""
    if isinstance(value, list):
        return list(dict.fromkeys(name for child in value for name in _references(child)))
    if not isinstance(value, dict):
        return []
    if "$ref" in value:
        return [_name(value)]
    return _references([value[key] for key in ("anyOf", "oneOf", "items", "additionalProperties") if key in value])


def _range(field: Schema) -> str:
    low, high = field.get("minimum"), field.get("maximum", field.get("exclusiveMaximum", 0) == 2**31 and "2³¹ − 1")
    high = (
        None if high == NUMBER else f"{high:,}" if isinstance(high, int) and high else high
    )  # NUMBER stops slips only
    if low is not None and high:
        return f" from {low:g} to {high}"
    above, below = field.get("exclusiveMinimum"), field.get("exclusiveMaximum")
    bounds = (("≥", low), (">", above), ("≤", high or None), ("<", below))
    return " and".join(
        f" {sign} {bound if isinstance(bound, str) else f'{bound:g}'}" for sign, bound in bounds if bound is not None
    )


def _default(field: Schema) -> str:
    value = field.get("default")
    if value in (None, {}):
        return "none"
    if value == "":
        return "empty"
    first = value[0] if isinstance(value, list) and value else value
    if isinstance(first, dict):  # if there is a key for it, the key says enough
        return next((f"`{word}`" for word in first.values() if word in _keys(field)), "its defaults")
    text = json.dumps(round(value, 4) if isinstance(value, float) else value, ensure_ascii=False)
    return "`{}`".format(text.replace('"', ""))


def _keys(value: Any) -> list[Any]:
    """Return the keys that can be written in place of a value."""
    children = [value["items"]] if "items" in value else value.get("anyOf", ())
    return [*value.get("enum", ()), *(key for child in children for key in _keys(child))]


def _summary(schema: Schema) -> str:
    """Return the first paragraph of a docstring."""
    return _prose(schema.get("description", "").split("\n\n")[0])


def _attributes(schema: Schema) -> dict[str, str]:
    """Return what a docstring says of each attribute."""
    _, _, block = schema.get("description", "").partition("\nAttributes:\n")
    found = re.findall(r"^ {4}(\w+): (.*(?:\n {5,}.*)*)", block, re.MULTILINE)
    return {name: _prose(text[0].upper() + text[1:]) for name, text in found}


def _prose(text: str) -> str:
    """Return Markdown that fits into a table: one line, with code for roles and with links for pages."""
    line = re.sub(r":\w+:`~?(?:[\w.]+\.)?(\w+)`", r"`\1`", " ".join(text.split())).replace("``", "`")
    return re.sub(r"docs/(\w+\.md)", r"[\1](\1)", line).replace("|", "\\|")
