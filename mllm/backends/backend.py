"""What a multimodal LLM must be able to do to score images; turning prompts into scores is the scorer's job."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ...common.identity import identity


@dataclass(frozen=True, eq=False)
class Prompt:
    """One question to a model.

    Attributes:
        images: RGB images, in the order in which they are shown, before the text.
        text: what the user says.
        prefix: how the model's answer begins; the model continues from there.
        system: the system message; empty for none, which leaves the chat template's own.
        schema: JSON schema of the reply: the backend lets the model write nothing else, or raises; None leaves it free.
    """

    images: tuple[Image.Image, ...]
    text: str
    prefix: str = ""
    system: str = ""
    schema: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Reply:
    """What a model wrote.

    Attributes:
        text: the words after the prefix, special tokens left out.
        finished: whether the model stopped by itself; False if the limit on tokens cut the reply off.
        failure: why there is no reply (a request that failed every time); empty if there is one.
        prompt_tokens: tokens of the prompt, images included; None where unknown.
        new_tokens: tokens written; None where unknown.
    """

    text: str
    finished: bool = True
    failure: str = ""
    prompt_tokens: int | None = None
    new_tokens: int | None = None


@dataclass(frozen=True, eq=False)
class LevelLogits:
    """How probable a model finds candidate next tokens.

    Attributes:
        log_probabilities: natural logarithms of the candidates' probabilities under the softmax over the whole
            vocabulary, computed in float32 or better, ``(candidates,)``; NaN where a server does not report it.
        failure: why there are none; empty if there are.
        prompt_tokens: tokens of the prompt, images included; None where unknown.
        over_vocabulary: False if a server normalised over the candidates only: their mass is then unknown.
    """

    log_probabilities: NDArray[np.float64]
    failure: str = ""
    prompt_tokens: int | None = None
    over_vocabulary: bool = True


class Backend(ABC):
    """A multimodal LLM, in this process or behind a server.

    Every method returns one result per prompt, in order: a prompt that fails has a result that says why.
    """

    @property
    @abstractmethod
    def name(self) -> str:
        """Short name for tables, e.g. ``Qwen2.5-VL-7B-Instruct``."""

    @abstractmethod
    def definition(self) -> dict[str, Any]:
        """Return what determines the results, as JSON: weights by revision or hash, dtype, image limits."""

    @property
    def identity(self) -> str:
        """Short content hash of the definition."""
        return identity({"kind": "mllm-backend", **self.definition()})

    @abstractmethod
    def check_candidates(self, candidates: Sequence[str]) -> None:
        """Raise MllmError unless every candidate is one token, and no two are the same one.

        A server does not show its tokenizer; its backend says what it relies on instead.
        """

    @abstractmethod
    def level_logits(self, prompts: Sequence[Prompt], candidates: Sequence[str]) -> list[LevelLogits]:
        """Return, for each prompt, how probable each candidate is as the next token.

        Raises:
            MllmError: candidates that are not single tokens, or a backend that has no probabilities.
        """

    @abstractmethod
    def generate(
        self, prompts: Sequence[Prompt], *, max_tokens: int, temperature: float = 0.0, seed: int = 0
    ) -> list[Reply]:
        """Return what the model writes; ``temperature`` 0 is greedy and deterministic."""
