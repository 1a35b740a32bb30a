"""Prompts as characters: put into a model's own chat template, with candidates as the tokens that come next.

A prompt is a system message if there is one, the images and the text, all through the model's chat template, then
the generation prompt and the unchanged characters of ``Prompt.prefix``. A candidate is what comes next, character by
character: after the prefix ``The quality of the image is`` the candidates are words with a leading space, after an
empty prefix words without one. Tokenising the generation prompt, the prefix and the candidate together checks that
each candidate is one token *there*.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Hashable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from transformers import AutoProcessor

from ...common.errors import one_line
from ...common.identity import identity
from ..errors import MllmError
from .backend import Prompt

PIXELS_PER_TOKEN, CHARACTERS_PER_TOKEN = 28 * 28, 4  # rough: they only change how much padding there is


@dataclass(frozen=True, eq=False)
class Rendered:
    """A prompt as characters: what is before its text (system message and images), and the rest."""

    prompt: Prompt
    context: str
    rest: str
    images: Hashable  # the same for the same pixels

    @property
    def text(self) -> str:
        """The whole prompt."""
        return self.context + self.rest

    @property
    def length(self) -> float:
        """About how many tokens it has."""
        pixels = sum(image.width * image.height for image in self.prompt.images)
        return pixels / PIXELS_PER_TOKEN + len(self.text) / CHARACTERS_PER_TOKEN

    def seed(self, seed: int) -> int:
        """Return a seed for this prompt that does not depend on the rest of its batch."""
        return int(hashlib.sha256(f"{seed} {self.images} {self.text}".encode()).hexdigest()[:15], 16)


class Renderer:
    """A model's processor and chat template.

    Args:
        folder: of the model.
        name: of the model, for messages.
        min_pixels: images of fewer pixels are enlarged to it; for models that resize by area, as Qwen's.
        max_pixels: images of more pixels are reduced to it.

    Attributes:
        generation_prompt: what the chat template writes before the model's answer.

    Raises:
        MllmError: a processor that cannot be loaded, sees no images, has no chat template or not the option, or a
            template that loses its end.
    """

    def __init__(
        self, folder: Path, name: str, *, min_pixels: int | None = None, max_pixels: int | None = None
    ) -> None:
        self.name = name
        try:
            self.processor: Any = AutoProcessor.from_pretrained(folder, trust_remote_code=False)
        except (OSError, ValueError, ImportError) as error:
            raise MllmError(f"{name} cannot be loaded as an image-text-to-text model: {one_line(error)}") from error
        if not hasattr(self.processor, "image_processor") or not getattr(self.processor, "chat_template", None):
            raise MllmError(f"{name} has no image processor or no chat template: is it an instruction-tuned model?")
        self.tokenizer: Any = self.processor.tokenizer
        self._limit_pixels(min_pixels, max_pixels)
        self._candidates: dict[tuple[str, tuple[str, ...]], list[int]] = {}
        self.generation_prompt = self._check_template()

    def _limit_pixels(self, smallest: int | None, largest: int | None) -> None:
        if smallest is None and largest is None:
            return
        images = self.processor.image_processor
        if "max_pixels" not in getattr(images.valid_kwargs, "__annotations__", {}):
            raise MllmError(f"{self.name} does not resize by area: it takes no min_pixels or max_pixels")
        size = dict(images.size)
        size["shortest_edge"] = smallest or size["shortest_edge"]  # areas, in spite of the names
        size["longest_edge"] = largest or size["longest_edge"]
        if not 0 < size["shortest_edge"] <= size["longest_edge"]:
            raise MllmError(f"min_pixels {size['shortest_edge']} is above max_pixels {size['longest_edge']}")
        images.size = size

    def _check_template(self) -> str:
        r"""Return the generation prompt, or refuse a template that loses its end.

        Jinja drops a newline that ends a template. A model that has learnt to answer after ``assistant\n`` then gets
        one token less: ranks stay, probabilities are wrong.
        """
        user = {"role": "user", "content": [{"type": "text", "text": "?"}]}
        answer = {"role": "assistant", "content": [{"type": "text", "text": "!"}]}
        asked = self._template([user], generate=False)
        opened = self._template([user], generate=True)
        answered = self._template([user, answer], generate=False)
        if not opened.startswith(asked) or opened == asked:
            raise MllmError(f"the chat template of {self.name} has no generation prompt")
        if answered.startswith(opened + "\n"):
            raise MllmError(
                f"the chat template of {self.name} loses the newline that ends its generation prompt "
                f"{opened[len(asked) :]!r}: write it within an expression, {{{{ '…\\n' }}}}"
            )
        return opened[len(asked) :]

    def _template(self, messages: list[dict[str, Any]], *, generate: bool) -> str:
        return self.processor.apply_chat_template(messages, add_generation_prompt=generate, tokenize=False)

    def definition(self) -> dict[str, Any]:
        """Return what of it determines results."""
        images = self.processor.image_processor.to_dict()
        shown = {key: images[key] for key in sorted(images) if key != "processor_class"}
        return {"images": shown, "chat_template": identity(self.processor.chat_template)}

    @cached_property
    def opened(self) -> str:
        """The thinking that the generation prompt opens, "" if none: a reply shows otherwise only its end."""
        opened = re.search(r"(<think>|\[THINK\]|◁think▷)\s*$", self.generation_prompt)
        return opened[1] if opened else ""

    def begins(self, text: str) -> bool:
        """Whether a template has written the first token, which the tokenizer must then not add."""
        return self.tokenizer.bos_token is not None and text.startswith(self.tokenizer.bos_token)

    def tokenise(self, text: str) -> list[int]:
        """Return the tokens of text, none added."""
        return self.tokenizer(text, add_special_tokens=False)["input_ids"]

    def candidate_ids(self, prefix: str, candidates: tuple[str, ...]) -> list[int]:
        """Return the candidates' token ids where they follow a prefix.

        Raises:
            MllmError: a candidate is not one token there, or two are the same one.
        """
        if (prefix, candidates) in self._candidates:
            return self._candidates[prefix, candidates]
        before = self.generation_prompt + prefix
        context = self.tokenise(before)
        found: dict[int, str] = {}
        for candidate in candidates:
            tokens = self.tokenise(before + candidate)
            if len(tokens) != len(context) + 1 or tokens[:-1] != context:
                pieces = self.tokenizer.convert_ids_to_tokens(tokens[-8:])
                raise MllmError(
                    f"candidate {candidate!r} is not one token of {self.name} after {before[-24:]!r}: {pieces}; "
                    "a word that continues a prefix must begin with a space"
                )
            if tokens[-1] == self.tokenizer.unk_token_id and candidate != self.tokenizer.unk_token:
                raise MllmError(f"{self.name} does not know candidate {candidate!r}")
            if tokens[-1] in found:
                raise MllmError(f"candidates {found[tokens[-1]]!r} and {candidate!r} are the same token of {self.name}")
            found[tokens[-1]] = candidate
        return self._candidates.setdefault((prefix, candidates), list(found))

    def render(self, prompt: Prompt) -> Rendered:
        """Put a prompt into the chat template.

        Raises:
            MllmError: images that are not RGB, or a template that leaves out part of the prompt.
        """
        if not prompt.text.strip():
            raise MllmError("the prompt has no text")
        digest = hashlib.sha256()
        for number, image in enumerate(prompt.images, 1):
            if image.mode != "RGB":
                raise MllmError(f"image {number} of the prompt is {image.mode}, not RGB")
            digest.update(f"{image.size}".encode() + image.tobytes())
        content = [{"type": "image"} for _ in prompt.images] + [{"type": "text", "text": prompt.text}]
        messages: list[dict[str, Any]] = [{"role": "user", "content": content}]
        if prompt.system:
            messages.insert(0, {"role": "system", "content": [{"type": "text", "text": prompt.system}]})
        try:
            text = self._template(messages, generate=True)
        except Exception as error:  # templates raise any exception
            raise MllmError(f"the chat template of {self.name} refuses the prompt: {one_line(error)}") from error
        place = text.rfind(prompt.text.strip())
        if place < 0 or prompt.system.strip() not in text:
            raise MllmError(f"the chat template of {self.name} changes or drops the text or the system message")
        return Rendered(prompt, text[:place], text[place:] + prompt.prefix, (digest.digest(), text[:place]))
