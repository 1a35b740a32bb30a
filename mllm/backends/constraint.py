"""Lets a model in this process write nothing but JSON of a schema, token by token, through llguidance."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...common.errors import one_line
from ..errors import MllmError


def make_guide(tokenizer: Any, stops: Sequence[int], vocabulary: int) -> Any:
    """Return what llguidance knows of a tokenizer; it takes about a second.

    Raises:
        MllmError: llguidance is not installed, or does not understand the tokenizer.
    """
    try:
        import llguidance.hf
    except ImportError:
        raise MllmError(
            "constrained replies of a model in this process need llguidance: pip install 'lopsided[constrained]', or "
            "leave parser=constrained out"
        ) from None
    try:
        return llguidance.hf.from_tokenizer(tokenizer, n_vocab=vocabulary, eos_token=list(stops))
    except Exception as error:  # its own errors have no common class
        raise MllmError(f"llguidance does not understand this tokenizer: {one_line(error)}") from error


class Constraint:
    """Sets tokens that no JSON of the schema could go on with to −∞; after its end only a stop token is left.

    Args:
        guide: of ``make_guide``.
        schemas: one JSON schema per row of the batch; None leaves a row free.
        stops: ids of the tokens that end a reply.

    Raises:
        MllmError: a schema that llguidance refuses.
    """

    def __init__(self, guide: Any, schemas: Sequence[Mapping[str, Any] | None], stops: Sequence[int]) -> None:
        from llguidance import LLMatcher

        self._stops = list(stops)
        self._matchers: list[Any] = []
        for schema in schemas:
            matcher = None
            if schema is not None:
                # Without spaces to choose there is no way to fill the limit on tokens with them.
                grammar = LLMatcher.grammar_from_json_schema(
                    json.dumps(_with_few_decimals(schema)),
                    defaults={"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "},
                )
                matcher = LLMatcher(guide, grammar, log_level=0)
                if matcher.is_error():
                    raise MllmError(f"llguidance refuses the schema of the reply: {matcher.get_error()[:200]}")
            self._matchers.append(matcher)
        self._begun = False

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Return the scores of the next token, ``(rows, vocabulary)``, with −∞ for what may not follow."""
        allowed = torch.ones_like(scores, dtype=torch.bool)
        for row, matcher in enumerate(self._matchers):
            if matcher is None:
                continue
            if self._begun and not matcher.is_stopped():
                matcher.consume_token(int(input_ids[row, -1]))
            if matcher.is_stopped():
                allowed[row] = False
                allowed[row, self._stops] = True
                continue
            bits = np.unpackbits(np.frombuffer(matcher.compute_bitmask(), np.uint8), bitorder="little")
            mask = torch.from_numpy(bits[: scores.shape[1]].astype(bool))
            allowed[row, : len(mask)] = mask.to(allowed.device)
            allowed[row, len(mask) :] = False
        self._begun = True
        return scores.masked_fill(~allowed, float("-inf"))


def _with_few_decimals(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema of an object whose numbers have three decimals at most: else digits could go on for ever."""
    fields = {
        name: {**field, "multipleOf": 0.001} if field.get("type") == "number" else field
        for name, field in schema["properties"].items()
    }
    return {**schema, "properties": fields}
