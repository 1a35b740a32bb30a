""""""

from __future__ import annotations

from typing import Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    GetJsonSchemaHandler,
)


def _listed(value: Any) -> Any:
    return value if value is None or isinstance(value, list) else [value]


class _OneOrMore(BeforeValidator):
    """A list, or one value for a list of one."""

    def __get_pydantic_json_schema__(self, schema: Any, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        several = handler(schema)
        return {"anyOf": [several["items"], several]}


class _ByKey:
    """In the JSON schema: one of ``keys``, which editors complete, or a mapping."""

    def __init__(
        self, keys: list[str], mapping: dict[str, Any] | None = None, *others: dict[str, Any], **options: Any
    ) -> None:
        self.keys, self.mapping, self.others, self.options = keys, mapping, others, options

    def __get_pydantic_json_schema__(self, schema: Any, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        mapping = self.mapping
        if mapping is None:
            mapping = handler(schema)
            handler.resolve_ref_schema(mapping)["properties"].update(self.options)
        return {"anyOf": [{"enum": self.keys}, mapping, *self.others]}


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
