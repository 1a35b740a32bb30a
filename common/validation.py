"""Settings from a YAML file: pydantic's errors in the words and paths of the file; true and false only where meant."""

from __future__ import annotations

import difflib
import math
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, TypeGuard, TypeVar

from pydantic import BaseModel, ValidationError

from .errors import SettingsError, did_you_mean
from .fields import Settings
from .origin import Location, Origin

Model = TypeVar("Model", bound=BaseModel)

# By pydantic's type of error; braces are filled with values that come with the error.
_WORDING = {
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_parsing_size": "must be a smaller number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "string_type": "must be text (in quotes if it looks like something else)",
    "path_type": "must be a path",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "dict_type": "must be a mapping",
    "model_type": "must be a mapping",
    "model_attributes_type": "must be a mapping",
    "greater_than": "must be above {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be below {lt}",
    "less_than_equal": "must be at most {le}",
    "literal_error": "must be {expected}",
    "union_tag_not_found": "must have the key {discriminator}",
    "too_long": "must have at most {max_length} entries",
}


def validated(model: type[Model], data: Any, origin: Origin) -> Model:
    """Return the settings that values describe.

    Args:
        model: what they are settings of.
        data: the values, as they were read.
        origin: where.

    Raises:
        SettingsError: one line per problem, each ``file:line: path: what is wrong and what would be right``.
    """
    try:
        settings = model.model_validate(data)
    except ValidationError as error:
        problems = without_echoes(model, data, error.errors())
        lines = [origin.message(*described(model, data, problem)) for problem in problems]
        raise SettingsError("\n".join(dict.fromkeys(lines))) from None
    for location, value in _leaves(data):
        kinds = allowed_types(model, location)
        if isinstance(value, bool) and kinds and not {bool, Any} & set(kinds):
            text = "true and false mean nothing here (YAML also reads unquoted yes, no, on and off as such)"
            raise SettingsError(origin.message(location, text))
        if value == "" and Path in kinds:
            raise SettingsError(origin.message(location, "must be a path, got ''"))
    return settings


def _leaves(value: Any) -> Iterator[tuple[Location, Any]]:
    """Yield everything that is neither a mapping nor a list, with its place."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in items:
        if isinstance(child, dict | list):
            yield from (((key, *location), leaf) for location, leaf in _leaves(child))
        else:
            yield (key,), child


def without_echoes(model: type[BaseModel], data: Any, problems: list[Any]) -> Iterator[Any]:
    """Yield the problems, each fault once.

    Two kinds are left out: a missing key, if a misspelt one was meant to be it; and, for a value that fits no branch
    of a union, the branch that is a single word.
    """
    meant = {(place, near) for problem in problems for place, near in _misspelt(model, data, problem)}
    for problem in problems:
        place = problem["loc"]
        if problem["type"] == "missing" and (_within(data, place[:-1], problem["input"]), place[-1]) in meant:
            continue
        others = (other["loc"] for other in problems if other is not problem)
        if (
            place
            and str(place[-1]).startswith("literal[")
            and any(other[: len(place) - 1] == place[:-1] for other in others)
        ):
            continue
        yield problem


def _misspelt(model: type[BaseModel], data: Any, problem: Any) -> Iterator[tuple[Location, str]]:
    if problem["type"] == "extra_forbidden":
        location = _within(data, problem["loc"], problem["input"])
        yield from ((location[:-1], near) for near in _near(str(location[-1]), _known(model, data, location[:-1])))


def described(model: type[BaseModel], data: Any, problem: Any) -> tuple[Location, str]:
    """Return where a problem is and what it is."""
    kind, given, place = problem["type"], problem["input"], problem["loc"]
    if kind == "missing":
        location, name = _within(data, place[:-1], given), place[-1]
        return location, f"'{name}' is missing" if isinstance(name, str) else f"value number {name + 1} is missing"
    if kind == "invalid_key" or place[-1:] == ("[key]",):
        holder = _within(data, place[: -1 if kind == "invalid_key" else -2], None)
        return holder, f"the key {_shown(given)} must be text; put it in quotes"
    location = _within(data, place, given)
    if kind == "extra_forbidden":
        name, known = str(location[-1]), _known(model, data, location[:-1])
        return location, f"unknown key '{name}'" + (_hint(name, known) or f"; known: {', '.join(known)}")
    if kind == "union_tag_invalid":
        context = problem["ctx"]
        hint = did_you_mean(context["tag"], context["expected_tags"].replace("'", "").split(", "))
        seen = given.get(context["discriminator"].strip("'")) if isinstance(given, dict) else context["tag"]
        return location, f"unknown {context['discriminator']}: {_shown(seen)}; {hint}"
    if kind == "value_error":
        return _found_by_check(location, given, problem["ctx"]["error"])
    if kind == "too_short":
        return location, "must not be empty"
    if kind in ("image_source", "fr_set"):
        kinds = ["source", "folder", "ladder", "manifest"]
        hints = [_hint(key, kinds) for key in map(str, given or ()) if key not in kinds]
        return location, f"{problem['msg']}, got {_shown(given)}{next(filter(None, hints), '')}"
    return location, _worded(problem)


def _found_by_check(location: Location, given: Any, fault: Exception) -> tuple[Location, str]:
    """Describe what a validator raised; if a pydantic error is behind it, that error is described instead."""
    cause: BaseException | None = fault
    while cause and not isinstance(cause, ValidationError):
        cause = cause.__context__
    if cause:
        problem = cause.errors()[0]
        if problem["type"] in _WORDING:
            # The options of a judge are those of its measure.
            return (*location, *_within(given, ("options", *problem["loc"]), problem["input"])), _worded(problem)
    return (*location, *getattr(fault, "place", ())), str(fault)


def _worded(problem: Any) -> str:
    context = problem.get("ctx", {})
    wording = _WORDING.get(problem["type"])
    text = wording.format(**context) if wording else str(problem["msg"])
    if context.get("class_name") in {kind.__name__ for kind in _kinds(Settings) if kind.one_word}:
        text = "must be a name or a mapping"
    return f"{text}, got {_shown(problem['input'])}"


def _kinds(kind: type[Settings]) -> Iterator[type[Settings]]:
    for narrower in kind.__subclasses__():
        yield narrower
        yield from _kinds(narrower)


def _near(name: str, known: list[str]) -> list[str]:
    return difflib.get_close_matches(name, known, 1)


def _hint(name: str, known: list[str]) -> str:
    return "".join(f"; did you mean '{near}'?" for near in _near(name, known))


def _shown(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return f"a mapping with {', '.join(map(str, value))}" if value else "an empty mapping"
    if isinstance(value, list | tuple):
        return f"a list of {len(value)}"
    if isinstance(value, int) and abs(value) >= 10**20:
        return f"a number of about {round(value.bit_length() * math.log10(2))} digits"
    return repr(value) if isinstance(value, str | int | float) else str(value)


def _within(data: Any, place: Location, value: Any) -> Location:
    """Drop the parts of a pydantic location that are not keys of the data, such as names of union branches.

    A part can be both; the longest reading that leads to ``value`` is right.
    """
    readings = list(_readings(data, place))
    exact = [location for location, seen in readings if seen is value]
    return max(exact or [location for location, _ in readings], key=len)


def _readings(data: Any, place: Location) -> Iterator[tuple[Location, Any]]:
    if not place:
        yield (), data
        return
    part: Any = place[0]
    rest = place[1:]
    if (isinstance(data, dict) and part in data) or (isinstance(data, list) and part in range(len(data))):
        for location, value in _readings(data[part], rest):
            yield (part, *location), value
    yield from _readings(data, rest)


def _known(model: type[BaseModel], data: Any, location: Location) -> list[str]:
    """Return the keys that the models allow at ``location``; of a union's members, those of the one that is named."""
    kinds = [inner for kind in allowed_types(model, location) for inner in (kind, *_elements(kind))]
    models = [kind for kind in kinds if _is_model(kind)]
    for part in location:
        data = data[part]
    named = [kind for kind in models if _names(data, kind)]
    return sorted({key for kind in named or models for key in kind.model_fields})


def _names(data: dict[str, Any], kind: type[BaseModel]) -> bool:
    """Tell whether the values hold the one word by which a model is told apart from others."""
    words = {name: typing.get_args(field.annotation) for name, field in kind.model_fields.items() if _is_word(field)}
    return any(data.get(name) in allowed for name, allowed in words.items())


def _is_word(field: Any) -> bool:
    return typing.get_origin(field.annotation) is Literal and len(typing.get_args(field.annotation)) == 1


def allowed_types(model: type[BaseModel], location: Location) -> list[Any]:
    """Return the types that the models allow at ``location``; none where a model reads the value in its own way."""
    kinds: list[Any] = [model]
    for part in location:
        kinds = [inner for kind in kinds for inner in _step(kind, part)]
    return kinds


def _step(kind: Any, part: str | int) -> list[Any]:
    arguments = typing.get_args(kind)
    if typing.get_origin(kind) is dict:
        return _branches(arguments[1])
    if typing.get_origin(kind) is tuple and isinstance(part, int) and Ellipsis not in arguments:
        return _branches(arguments[part]) if part < len(arguments) else []
    if typing.get_origin(kind) in (list, tuple):
        # One value can be written in place of a list of one; then the part is a key of that value.
        return _elements(kind) if isinstance(part, int) else [k for e in _elements(kind) for k in _step(e, part)]
    if _is_model(kind) and part in kind.model_fields:
        return _branches(kind.model_fields[str(part)].annotation)
    return []


def _is_model(kind: Any) -> TypeGuard[type[BaseModel]]:
    # To Python 3.10 a `list[int]` is a type as well, and no class.
    return typing.get_origin(kind) is None and isinstance(kind, type) and issubclass(kind, BaseModel)


def _elements(kind: Any) -> list[Any]:
    return _branches(typing.get_args(kind)[0]) if typing.get_origin(kind) in (list, tuple) else []


def _branches(annotation: Any) -> list[Any]:
    """Take an annotation apart into the types it unites."""
    if typing.get_origin(annotation) is Annotated:
        return _branches(typing.get_args(annotation)[0])
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return [kind for argument in typing.get_args(annotation) for kind in _branches(argument)]
    return [annotation]
