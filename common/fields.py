"""How settings are written: by key or by mapping, one or more, tagged by a key of their own."""

from __future__ import annotations

import os
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, GetJsonSchemaHandler, model_validator
from pydantic_core import core_schema

# Upper bounds: far above what anybody needs, so that what they stop is a slip of the keyboard.
STEPS = 10**8
BATCH = 2**16
SIDE = 2**16  # of crops, in pixels
WIDTH = 2**16  # channels or units of a layer
COUNT = 10**6  # of other things
THREADS = 1024
NUMBER = 1e9  # weights and widths


class Settings(BaseModel):
    """Base of everything that a YAML file can contain: frozen, and an unknown key is an error.

    Attributes:
        one_word: whether one word can stand for all of it.
    """

    one_word: ClassVar[bool] = False
    model_config = ConfigDict(frozen=True, extra="forbid")

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: Any, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Describe the settings by their docstring, without its examples: editors show it."""
        json_schema = handler(schema)
        described = handler.resolve_ref_schema(json_schema)
        if text := described.get("description"):
            described["description"] = text.partition("\n\nExamples:")[0]
        return json_schema


class Keyed(Settings):
    """Settings that can be written as one word: ``vgg16`` means ``{name: vgg16}``.

    Attributes:
        key_field: the field that the word fills.
    """

    one_word: ClassVar[bool] = True
    key_field: ClassVar[str] = "name"

    @model_validator(mode="before")
    @classmethod
    def _from_key(cls, value: Any) -> Any:
        return {cls.key_field: value} if isinstance(value, str) else value


class ByKey:
    """Annotation of a field that is given by one of some keys or by a mapping.

    Args:
        keys: the keys; editors complete them.
        field: the field of the mapping that a key fills. Leave it out if the field's type reads keys itself.
        mapping: JSON schema of the mapping; default: the type's own.
        others: JSON schemas of other forms, such as a prefix with a name.
        options: JSON schemas of single fields of the mapping, by name.

    Examples:
        >>> from typing import Annotated
        >>> class Blur(Settings):
        ...     kind: str
        ...     sigma: float = 1.0
        >>> class Task(Settings):
        ...     blur: Annotated[Blur, ByKey(["gaussian"], "kind")]
        >>> Task(blur="gaussian") == Task(blur={"kind": "gaussian"})
        True
    """

    def __init__(
        self,
        keys: list[str],
        field: str | None = None,
        *,
        mapping: dict[str, Any] | None = None,
        others: tuple[dict[str, Any], ...] = (),
        **options: Any,
    ) -> None:
        self.keys, self.field, self.others, self.mapping, self.options = keys, field, others, mapping, options

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> core_schema.CoreSchema:
        schema = handler(source)
        field = self.field
        if field is None:
            return schema
        return core_schema.no_info_before_validator_function(
            lambda value: {field: value} if isinstance(value, str) else value, schema
        )

    def __get_pydantic_json_schema__(self, schema: Any, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        mapping = self.mapping
        if mapping is None:
            mapping = handler(schema)
            if self.options:
                handler.resolve_ref_schema(mapping)["properties"].update(self.options)
            if "oneOf" in mapping and self.field:  # members of a union are told apart by it
                mapping = {**mapping, "required": [self.field]}
        return {"anyOf": [{"enum": self.keys}, mapping, *self.others]}


class OneOrMore(BeforeValidator):
    """Annotation of a list that can be given as a single value.

    Examples:
        >>> from typing import Annotated
        >>> class Grid(Settings):
        ...     seed: Annotated[list[int], OneOrMore()]
        >>> Grid(seed=3).seed
        [3]
    """

    def __init__(self) -> None:
        super().__init__(lambda value: value if value is None or isinstance(value, list) else [value])

    def __get_pydantic_json_schema__(self, schema: Any, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        several = handler(schema)
        return {"anyOf": [several["items"], several]}


PathText = Annotated[str, BeforeValidator(lambda value: str(value) if isinstance(value, os.PathLike) else value)]
"""Field type of a path that is kept as text, because a word such as ``official`` can take its place."""


def by_own_key(*keys: str, default: str | None = None, error: str | None = None, message: str = "") -> Discriminator:
    """Return the discriminator of a union in which every member has a key that no other member has.

    The tag of a member is that key, or ``default`` for the member without one. With several of the keys, or none of
    them and no default, a mapping is refused.

    Args:
        keys: the keys that tell the members apart.
        default: tag of the member that has none of them.
        error: pydantic's type of the error for a mapping that is refused.
        message: its text.
    """

    def tag(value: Any) -> str | None:
        given = value if isinstance(value, dict) else getattr(type(value), "model_fields", {})
        found = [key for key in keys if key in given]
        return found[0] if len(found) == 1 else default if not found else None

    return Discriminator(tag, custom_error_type=error, custom_error_message=message or None)
