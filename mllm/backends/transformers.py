"""A multimodal LLM in this process: any image-text-to-text model of transformers, by its hub name or local folder.

How a prompt is built: system message if there is one, the images, the text, all through the model's own chat template,
then the generation prompt and the unchanged characters of ``Prompt.prefix``. A candidate is what comes next, character
by character: after the prefix ``The quality of the image is`` the candidates are words with a leading space, after an
empty prefix words without one. Tokenising the generation prompt, the prefix and the candidate together checks that each
candidate is one token *there*.

How fast, and why:

- Level probabilities take one forward pass, and only its last position is projected to the vocabulary.
- Prompts are batched with left padding; attention mask and position ids (one-, or three-dimensional as Qwen's) count
  real tokens only. Prompts of similar length go together; results are returned in order.
- Prompts about the same images (options, dimensions, wordings) share them: system message and images are encoded once,
  and only the texts once per prompt. Text *before* the images is not worth sharing between images (some 15
  tokens beside hundreds), and text after them cannot be shared under causal attention. Models whose cache drops
  tokens (sliding windows), or that see images by cross-attention, encode every prompt in full.

Only safetensors are loaded, and no code from a model's repository is run.
"""

from __future__ import annotations

import hashlib
import inspect
import re
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from safetensors import SafetensorError
from torch import Tensor
from transformers import (
    AutoModelForImageTextToText,
    AutoProcessor,
    DynamicCache,
    GenerationConfig,
    LogitsProcessorList,
)
from transformers import __version__ as transformers_version
from transformers.cache_utils import DynamicLayer

from ...common.errors import one_line
from ...common.identity import identity, sha256_file
from ..errors import MllmError
from .backend import Backend, LevelLogits, Prompt, Reply
from .constraint import Constraint, make_guide
from .draws import Draws
from .model_folder import find_model

Dtype = Literal["auto", "float32", "bfloat16", "float16"]
Result = TypeVar("Result", Reply, LevelLogits)
PIXELS_PER_TOKEN, CHARACTERS_PER_TOKEN = 28 * 28, 4  # rough: they only change how much padding there is


@dataclass(frozen=True, eq=False)
class _Rendered:
    """A prompt as characters: what is before its text (system message and images), and the rest."""

    prompt: Prompt
    context: str
    rest: str
    images: Hashable  # the same for the same pixels

    @property
    def text(self) -> str:
        return self.context + self.rest

    @property
    def length(self) -> float:
        """About how many tokens it has."""
        pixels = sum(image.width * image.height for image in self.prompt.images)
        return pixels / PIXELS_PER_TOKEN + len(self.text) / CHARACTERS_PER_TOKEN


class TransformersBackend(Backend):
    """A model from transformers on one device.

    Results in float32 on the CPU do not depend on the batch beyond rounding (10⁻⁵ in log-probability); in bfloat16
    they do, as everywhere: ``batch_invariance`` measures by how much.

    Args:
        model: a folder, or a name on the hub, which is downloaded if it is not on disk yet.
        revision: branch, tag or commit on the hub; its commit becomes part of the identity.
        device: ``cpu``, ``cuda``, ``cuda:1``, … or ``auto`` to spread a model over all devices.
        dtype: of weights and activations; ``auto`` is the checkpoint's. Probabilities are float32 in any case.
        batch_size: prompts in one forward pass.
        min_pixels: images of fewer pixels are enlarged to it; for models that resize by area, as Qwen's.
        max_pixels: images of more pixels are reduced to it; memory and time grow with it.
        attention: implementation, e.g. ``sdpa``, ``eager``, ``flash_attention_2``; None leaves it to transformers.

    Raises:
        MllmError: a model that is not on disk and cannot be fetched (there is no second attempt), has no safetensors,
            no image processor or no chat template, or does not have an option.
    """

    def __init__(
        self,
        model: str | Path,
        *,
        revision: str | None = None,
        device: str = "cpu",
        dtype: Dtype = "auto",
        batch_size: int = 16,
        min_pixels: int | None = None,
        max_pixels: int | None = None,
        attention: str | None = None,
    ) -> None:
        if batch_size < 1:
            raise MllmError(f"batch_size must be 1 or more, got {batch_size}")
        self.batch_size = batch_size
        self.folder, self._hub = find_model(str(model), revision)
        self._name = Path(model).resolve().name if self._hub is None else str(model).split("/")[-1]
        try:
            self.processor: Any = AutoProcessor.from_pretrained(self.folder, trust_remote_code=False)
            loaded: Any = AutoModelForImageTextToText.from_pretrained(
                self.folder,
                dtype=dtype if dtype == "auto" else getattr(torch, dtype),
                device_map=device,
                attn_implementation=attention,
                use_safetensors=True,
                trust_remote_code=False,
                output_loading_info=True,
            )
        except (OSError, ValueError, ImportError, RuntimeError, SafetensorError) as error:
            raise MllmError(f"{model} cannot be loaded as an image-text-to-text model: {one_line(error)}") from error
        self.model, report = loaded
        if lacking := sorted(report["missing_keys"]):  # transformers would use random numbers instead
            raise MllmError(f"the weights of {model} lack {len(lacking)} tensors of the model, e.g. {lacking[0]}")
        if not hasattr(self.processor, "image_processor") or not getattr(self.processor, "chat_template", None):
            raise MllmError(f"{model} has no image processor or no chat template: is it an instruction-tuned model?")
        self.tokenizer: Any = self.processor.tokenizer
        self._limit_pixels(min_pixels, max_pixels)
        self.model.eval()
        self._config: Any = self.model.config.get_text_config()
        self._forward_parameters = inspect.signature(self.model.forward).parameters
        # The checkpoint's own settings (repetition penalty, top-k, temperature) would give "greedy" another meaning.
        stops, pad = self.model.generation_config.eos_token_id, self.tokenizer.pad_token_id
        stops = self.tokenizer.eos_token_id if stops is None else stops
        self._stops: list[int] = stops if isinstance(stops, list) else [stops]
        pad = self._stops[0] if pad is None else pad
        self.tokenizer.pad_token_id = pad
        self.model.generation_config = GenerationConfig(eos_token_id=self._stops, pad_token_id=pad)
        self._candidates: dict[tuple[str, tuple[str, ...]], list[int]] = {}
        self._generation_prompt = self._check_template()

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

    @property
    def name(self) -> str:
        """Last part of the hub name, or name of the folder."""
        return self._name

    def definition(self) -> dict[str, Any]:
        """Return what determines the results; device, batch size and attention change them only by rounding."""
        images = self.processor.image_processor.to_dict()
        template = self.processor.chat_template
        return {
            "backend": "transformers",
            "weights": self._weights,
            "dtype": str(self.model.dtype).removeprefix("torch."),
            "images": {key: images[key] for key in sorted(images) if key != "processor_class"},
            "chat_template": identity(template),
            "decoding": "plain",  # argmax, or softmax at a temperature, without the checkpoint's penalties and cuts
            "transformers": ".".join(transformers_version.split(".")[:2]),
        }

    @cached_property
    def _guide(self) -> Any:
        return make_guide(self.tokenizer, self._stops, self.model.get_output_embeddings().weight.shape[0])

    @cached_property
    def _opened(self) -> str:
        """The thinking that the generation prompt opens, "" if none: a reply shows otherwise only its end."""
        opened = re.search(r"(<think>|\[THINK\]|◁think▷)\s*$", self._generation_prompt)
        return opened[1] if opened else ""

    @cached_property
    def _weights(self) -> str:
        if self._hub is not None:
            return self._hub
        files = sorted(
            [*self.folder.glob("*.safetensors"), *self.folder.glob("tokenizer*"), self.folder / "config.json"]
        )
        return f"sha256:{identity({file.name: sha256_file(file) for file in files})}"

    def check_candidates(self, candidates: Sequence[str]) -> None:
        """Raise MllmError unless every candidate is one token after the generation prompt, and no two are the same."""
        self.candidate_ids("", tuple(candidates))

    def candidate_ids(self, prefix: str, candidates: tuple[str, ...]) -> list[int]:
        """Return the candidates' token ids where they follow a prefix.

        Raises:
            MllmError: a candidate is not one token there, or two are the same one.
        """
        if (prefix, candidates) in self._candidates:
            return self._candidates[prefix, candidates]
        before = self._generation_prompt + prefix
        context = self._tokenise(before)
        found: dict[int, str] = {}
        for candidate in candidates:
            tokens = self._tokenise(before + candidate)
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

    def _tokenise(self, text: str) -> list[int]:
        return self.tokenizer(text, add_special_tokens=False)["input_ids"]

    def level_logits(self, prompts: Sequence[Prompt], candidates: Sequence[str]) -> list[LevelLogits]:
        """Return, for each prompt, how probable each candidate is as the next token: one forward pass per batch.

        Raises:
            MllmError: candidates that are not single tokens after a prompt's prefix, or too little memory.
        """
        return self._levels(prompts, tuple(candidates), self.batch_size)

    def batch_invariance(self, prompts: Sequence[Prompt], candidates: Sequence[str]) -> float:
        """Return by how much batching changes results: max |Δ log-probability| against one prompt at a time.

        Padding, shared images and the shapes of matrix products change the order of summation, and nothing else. On the
        CPU in float32 the difference is at most 10⁻⁵; bfloat16 has 8 bits of precision, so expect 10⁻² to 10⁻¹. Give
        more than ``batch_size`` prompts, of different lengths and about images of different sizes.

        Raises:
            MllmError: a prompt that cannot be scored.
        """
        ways = [self._levels(prompts, tuple(candidates), size) for size in (1, self.batch_size)]
        for result in (result for way in ways for result in way):
            if result.failure:
                raise MllmError(f"batch invariance cannot be measured: {result.failure}")
        alone, batched = (np.array([result.log_probabilities for result in way]) for way in ways)
        return float(np.abs(alone - batched).max(initial=0.0))

    def generate(
        self, prompts: Sequence[Prompt], *, max_tokens: int, temperature: float = 0.0, seed: int = 0
    ) -> list[Reply]:
        """Return what the model writes.

        ``temperature`` 0 takes the most probable token each time. Above 0, tokens are drawn from the softmax at that
        temperature. The draw depends only on the seed and the prompt: the same prompt gets the same reply in any batch,
        and the global generator is not used.

        Raises:
            MllmError: limits out of range, or too little memory.
        """
        if max_tokens < 1 or temperature < 0:
            raise MllmError(f"max_tokens must be 1 or more and temperature 0 or more, got {max_tokens}, {temperature}")

        def write(batch: list[_Rendered]) -> list[Reply]:
            inputs = self._inputs(batch)
            processors = LogitsProcessorList()
            schemas = [rendered.prompt.schema for rendered in batch]
            if any(schema is not None for schema in schemas):
                processors.append(Constraint(self._guide, schemas, self._stops))
            if temperature > 0:
                processors.append(Draws(temperature, [_seed(seed, rendered) for rendered in batch]))
            written = self.model.generate(
                **inputs, max_new_tokens=max_tokens, do_sample=False, logits_processor=processors
            )[:, inputs["input_ids"].shape[1] :]
            replies = []
            for tokens, prompt_tokens in zip(written.tolist(), inputs["attention_mask"].sum(1).tolist(), strict=True):
                end = next((i for i, token in enumerate(tokens) if token in self._stops), None)
                new = tokens if end is None else tokens[:end]
                text = self._opened + self.tokenizer.decode(
                    new, skip_special_tokens=True, clean_up_tokenization_spaces=False
                )
                number = len(new) + (end is not None)
                replies.append(Reply(text, finished=end is not None, prompt_tokens=prompt_tokens, new_tokens=number))
            return replies

        return self._run(prompts, self.batch_size, write, lambda failure: Reply("", failure=failure))

    def _levels(self, prompts: Sequence[Prompt], candidates: tuple[str, ...], batch_size: int) -> list[LevelLogits]:
        for prefix in dict.fromkeys(prompt.prefix for prompt in prompts):
            self.candidate_ids(prefix, candidates)

        def score(batch: list[_Rendered]) -> list[LevelLogits]:
            ids = torch.tensor([self.candidate_ids(rendered.prompt.prefix, candidates) for rendered in batch])
            logits, tokens = self._next_token(batch)
            logits = logits.float()
            chosen = logits.gather(1, ids.to(logits.device)) - logits.logsumexp(1, keepdim=True)
            return [
                LevelLogits(row, prompt_tokens=count)
                if np.isfinite(row).all()
                else failed(f"the logits are not finite in {self.model.dtype}: try dtype bfloat16 or float32")
                for row, count in zip(chosen.double().cpu().numpy(), tokens, strict=True)
            ]

        def failed(failure: str) -> LevelLogits:
            return LevelLogits(np.full(len(candidates), np.nan), failure=failure)

        return self._run(prompts, batch_size, score, failed)

    def _run(
        self,
        prompts: Sequence[Prompt],
        batch_size: int,
        work: Callable[[list[_Rendered]], list[Result]],
        failed: Callable[[str], Result],
    ) -> list[Result]:
        """Work in batches; a prompt that the processor refuses gets a failure, and the rest of its batch goes on."""
        results: dict[int, Result] = {}
        rendered: dict[int, _Rendered] = {}
        for index, prompt in enumerate(prompts):
            try:
                rendered[index] = self._render(prompt)
            except MllmError as error:
                results[index] = failed(str(error))
        pending = list(_batches(rendered, batch_size))
        while pending:
            batch = pending.pop()  # the longest first: if memory is short, that shows at once
            try:
                with torch.inference_mode():
                    found = work([rendered[index] for index in batch])
            except torch.cuda.OutOfMemoryError as error:
                raise MllmError(
                    f"{self.name} ran out of memory with batch_size {batch_size}: take a smaller one, or smaller images"
                ) from error
            except _RefusedError as error:
                if len(batch) == 1:
                    results[batch[0]] = failed(str(error))
                else:
                    pending.extend([index] for index in batch)
                continue
            results.update(zip(batch, found, strict=True))
        return [results[index] for index in range(len(prompts))]

    def _render(self, prompt: Prompt) -> _Rendered:
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
        return _Rendered(prompt, text[:place], text[place:] + prompt.prefix, (digest.digest(), text[:place]))

    def _inputs(self, batch: Sequence[_Rendered], *, context: bool = False) -> dict[str, Tensor]:
        """Return the model's inputs for prompts, or for their contexts: left-padded, on its device.

        Raises:
            _RefusedError: the processor refuses a prompt, or one is too long.
        """
        texts = [rendered.context if context else rendered.text for rendered in batch]
        images = [list(rendered.prompt.images) for rendered in batch]
        begins = self.tokenizer.bos_token is not None and texts[0].startswith(self.tokenizer.bos_token)
        try:
            inputs = self.processor(
                text=texts,
                images=images if images[0] else None,
                padding=True,
                padding_side="left",
                add_special_tokens=not begins,  # some templates write the first token themselves
                return_tensors="pt",
            )
        except Exception as error:  # and so do processors
            raise _RefusedError(f"the processor of {self.name} refuses the prompt: {one_line(error)}") from error
        self._check_length(inputs["attention_mask"])
        inputs = {key: value for key, value in inputs.items() if isinstance(value, Tensor)}
        return {
            key: value.to(self.model.device, self.model.dtype if value.is_floating_point() else None)
            for key, value in inputs.items()
        }

    def _check_length(self, mask: Tensor) -> None:
        longest, limit = int(mask.sum(1).max()), getattr(self._config, "max_position_embeddings", None) or float("inf")
        if longest > limit:
            raise _RefusedError(f"the prompt has {longest} tokens, {self.name} takes {limit}")

    def _next_token(self, batch: list[_Rendered]) -> tuple[Tensor, list[int]]:
        """Return the logits of the next token, ``(prompts, vocabulary)``, and how long the prompts are."""
        shared = list(dict.fromkeys(rendered.images for rendered in batch))
        if self._shares and batch[0].prompt.images and len(shared) < len(batch) and self._splits(batch):
            return self._next_token_shared(batch, shared)
        inputs = self._inputs(batch)
        logits = self._forward(inputs, position_ids=self._positions(inputs), use_cache=False).logits
        return logits[:, -1], inputs["attention_mask"].sum(1).tolist()

    def _next_token_shared(self, batch: list[_Rendered], shared: list[Hashable]) -> tuple[Tensor, list[int]]:
        """The same, from one encoding of each different context."""
        first = {rendered.images: rendered for rendered in reversed(batch)}
        inputs = self._inputs([first[images] for images in shared], context=True)
        positions = self._positions(inputs)
        cache = DynamicCache(config=self.model.config)
        self._forward(inputs, position_ids=positions, past_key_values=cache, use_cache=True)
        rows = torch.tensor([shared.index(rendered.images) for rendered in batch], device=self.model.device)
        cache.batch_select_indices(rows)
        texts = self.tokenizer(
            [rendered.rest for rendered in batch],
            padding=True,
            padding_side="left",
            add_special_tokens=False,
            return_tensors="pt",
        ).to(self.model.device)
        mask = texts["attention_mask"]
        # Text continues one after the highest position so far, in every dimension.
        highest = positions.movedim(-2, 0).flatten(1).amax(1)[rows]
        going_on = (highest[:, None] + mask.cumsum(1)) * mask
        whole = torch.cat([inputs["attention_mask"][rows], mask], 1)
        self._check_length(whole)
        logits = self._forward(
            {"input_ids": texts["input_ids"], "attention_mask": whole},
            position_ids=going_on.expand(*positions.shape[:-2], *going_on.shape),
            past_key_values=cache,
            use_cache=True,
        ).logits
        return logits[:, -1], whole.sum(1).tolist()

    def _forward(self, inputs: dict[str, Tensor], **options: Any) -> Any:
        if "logits_to_keep" in self._forward_parameters:
            options["logits_to_keep"] = 1
        return self.model(**inputs, **options)

    def _positions(self, inputs: dict[str, Tensor]) -> Tensor:
        """Return the position of every real token, ``(prompts, tokens)`` or ``(3, prompts, tokens)``."""
        index = getattr(self.model.base_model, "get_rope_index", None)
        if index is not None:  # time, row and column of image patches
            takes = inspect.signature(index).parameters
            return index(**{key: value for key, value in inputs.items() if key in takes})[0]
        return (inputs["attention_mask"].cumsum(1) - 1).clamp(min=0)

    @cached_property
    def _shares(self) -> bool:
        """Whether several prompts can continue from one cache: it keeps all tokens, images included."""
        kept = all(type(layer) is DynamicLayer for layer in DynamicCache(config=self.model.config).layers)
        return kept and not getattr(self._config, "cross_attention_layers", None)

    def _splits(self, batch: list[_Rendered]) -> bool:
        """Whether contexts and texts have the same tokens apart and together."""
        return all(
            self._tokenise(context) + self._tokenise(rest) == self._tokenise(context + rest)
            for context, rest in {(each.context, each.rest) for each in batch}
        )


class _RefusedError(Exception):
    """Prompts that the model cannot be asked."""


def _seed(seed: int, rendered: _Rendered) -> int:
    """Return a seed for a prompt that does not depend on the rest of its batch."""
    return int(hashlib.sha256(f"{seed} {rendered.images} {rendered.text}".encode()).hexdigest()[:15], 16)


def _batches(rendered: dict[int, _Rendered], size: int) -> Iterator[list[int]]:
    """Yield batches of similar length: prompts about the same images together, those without images apart."""
    groups: dict[Hashable, list[int]] = defaultdict(list)
    for index, each in rendered.items():
        groups[each.images].append(index)
    ordered = sorted(groups.values(), key=lambda group: rendered[group[0]].length)
    for shown in (False, True):
        indices = [index for group in ordered for index in group if bool(rendered[index].prompt.images) == shown]
        for start in range(0, len(indices), size):
            yield indices[start : start + size]
