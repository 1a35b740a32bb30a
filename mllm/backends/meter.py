"""A backend that is made when it is first needed and counts its prompts and tokens, for throughput and cost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

from typing_extensions import override

from .backend import Backend, LevelLogits, Prompt, Reply

SAMPLE = 32  # prompts kept


class Meter(Backend):
    """A backend that makes another one when it is needed, passes every call on to it, and counts.

    Args:
        name: of the other backend.
        make: makes the other backend.

    Attributes:
        prompts: number of prompts.
        prompt_tokens: their tokens, as far as the backend reports them.
        new_tokens: tokens written, as far as the backend reports them.
        untold: prompts without a reported number of tokens, including those that failed.
        sample: the first prompts that asked for level probabilities, and their candidates.
    """

    def __init__(self, name: str, make: Callable[[], Backend]) -> None:
        self._name, self._make = name, make
        self.prompts = self.prompt_tokens = self.new_tokens = self.untold = 0
        self.sample: tuple[list[Prompt], Sequence[str]] | None = None

    @cached_property
    def backend(self) -> Backend:
        """The other backend."""
        return self._make()

    @property
    @override
    def name(self) -> str:
        return self._name

    @override
    def definition(self) -> dict[str, Any]:
        return self.backend.definition()

    @override
    def check_candidates(self, candidates: Sequence[str]) -> None:
        self.backend.check_candidates(candidates)

    @override
    def level_logits(self, prompts: Sequence[Prompt], candidates: Sequence[str]) -> list[LevelLogits]:
        self.sample = self.sample or (list(prompts[:SAMPLE]), candidates)
        results = self.backend.level_logits(prompts, candidates)
        for result in results:
            self._count(result.prompt_tokens, 0)
        return results

    @override
    def generate(
        self, prompts: Sequence[Prompt], *, max_tokens: int, temperature: float = 0.0, seed: int = 0
    ) -> list[Reply]:
        replies = self.backend.generate(prompts, max_tokens=max_tokens, temperature=temperature, seed=seed)
        for reply in replies:
            self._count(reply.prompt_tokens, reply.new_tokens)
        return replies

    def _count(self, prompt_tokens: int | None, new_tokens: int | None) -> None:
        self.prompts += 1
        self.prompt_tokens += prompt_tokens or 0
        self.new_tokens += new_tokens or 0
        self.untold += prompt_tokens is None
