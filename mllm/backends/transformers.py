"""A multimodal LLM in this process: any image-text-to-text model of transformers, by its hub name or local folder.

Prompts become characters in ``rendering``. How fast, and why:

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

import inspect
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from safetensors import SafetensorError
from torch import Tensor
from transformers import (
    AutoModelForImageTextToText,
    DynamicCache,
    GenerationConfig,
    LogitsProcessorList,
)
from transformers import __version__ as transformers_version
from transformers.cache_utils import DynamicLayer

from ...common.errors import one_line
from ..errors import MllmError
from .backend import Backend, LevelLogits, Prompt, Reply
from .constraint import Constraint, make_guide
from .draws import Draws
from .model_folder import find_model, weights_identity
from .rendering import Rendered, Renderer

Dtype = Literal["auto", "float32", "bfloat16", "float16"]
Result = TypeVar("Result", Reply, LevelLogits)


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
        self.renderer = Renderer(self.folder, self._name, min_pixels=min_pixels, max_pixels=max_pixels)
        self.processor, self.tokenizer = self.renderer.processor, self.renderer.tokenizer
        try:
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

    @property
    def name(self) -> str:
        """Last part of the hub name, or name of the folder."""
        return self._name

    def definition(self) -> dict[str, Any]:
        """Return what determines the results; device, batch size and attention change them only by rounding."""
        return {
            "backend": "transformers",
            "weights": self.weights,
            "dtype": str(self.model.dtype).removeprefix("torch."),
            **self.renderer.definition(),
            "decoding": "plain",  # argmax, or softmax at a temperature, without the checkpoint's penalties and cuts
            "transformers": ".".join(transformers_version.split(".")[:2]),
        }

    @cached_property
    def weights(self) -> str:
        """What tells the weights from others: the hub's commit, or a hash of the files."""
        return self._hub or weights_identity(self.folder)

    @cached_property
    def _guide(self) -> Any:
        return make_guide(self.tokenizer, self._stops, self.model.get_output_embeddings().weight.shape[0])

    def check_candidates(self, candidates: Sequence[str]) -> None:
        """Raise MllmError unless every candidate is one token after the generation prompt, and no two are the same."""
        self.renderer.candidate_ids("", tuple(candidates))

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

        def write(batch: list[Rendered]) -> list[Reply]:
            inputs = self._inputs(batch)
            processors = LogitsProcessorList()
            schemas = [rendered.prompt.schema for rendered in batch]
            if any(schema is not None for schema in schemas):
                processors.append(Constraint(self._guide, schemas, self._stops))
            if temperature > 0:
                processors.append(Draws(temperature, [rendered.seed(seed) for rendered in batch]))
            written = self.model.generate(
                **inputs, max_new_tokens=max_tokens, do_sample=False, logits_processor=processors
            )[:, inputs["input_ids"].shape[1] :]
            replies = []
            for tokens, prompt_tokens in zip(written.tolist(), inputs["attention_mask"].sum(1).tolist(), strict=True):
                end = next((i for i, token in enumerate(tokens) if token in self._stops), None)
                new = tokens if end is None else tokens[:end]
                text = self.renderer.opened + self.tokenizer.decode(
                    new, skip_special_tokens=True, clean_up_tokenization_spaces=False
                )
                number = len(new) + (end is not None)
                replies.append(Reply(text, finished=end is not None, prompt_tokens=prompt_tokens, new_tokens=number))
            return replies

        return self._run(prompts, self.batch_size, write, lambda failure: Reply("", failure=failure))

    def _levels(self, prompts: Sequence[Prompt], candidates: tuple[str, ...], batch_size: int) -> list[LevelLogits]:
        for prefix in dict.fromkeys(prompt.prefix for prompt in prompts):
            self.renderer.candidate_ids(prefix, candidates)

        def score(batch: list[Rendered]) -> list[LevelLogits]:
            ids = torch.tensor([self.renderer.candidate_ids(rendered.prompt.prefix, candidates) for rendered in batch])
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
        work: Callable[[list[Rendered]], list[Result]],
        failed: Callable[[str], Result],
    ) -> list[Result]:
        """Work in batches; a prompt that the processor refuses gets a failure, and the rest of its batch goes on."""
        results: dict[int, Result] = {}
        rendered: dict[int, Rendered] = {}
        for index, prompt in enumerate(prompts):
            try:
                rendered[index] = self.renderer.render(prompt)
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

    def _inputs(self, batch: Sequence[Rendered], *, context: bool = False) -> dict[str, Tensor]:
        """Return the model's inputs for prompts, or for their contexts: left-padded, on its device.

        Raises:
            _RefusedError: the processor refuses a prompt, or one is too long.
        """
        texts = [rendered.context if context else rendered.text for rendered in batch]
        images = [list(rendered.prompt.images) for rendered in batch]
        try:
            inputs = self.processor(
                text=texts,
                images=images if images[0] else None,
                padding=True,
                padding_side="left",
                add_special_tokens=not self.renderer.begins(texts[0]),  # some templates write it themselves
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

    def _next_token(self, batch: list[Rendered]) -> tuple[Tensor, list[int]]:
        """Return the logits of the next token, ``(prompts, vocabulary)``, and how long the prompts are."""
        shared = list(dict.fromkeys(rendered.images for rendered in batch))
        if self._shares and batch[0].prompt.images and len(shared) < len(batch) and self._splits(batch):
            return self._next_token_shared(batch, shared)
        inputs = self._inputs(batch)
        logits = self._forward(inputs, position_ids=self._positions(inputs), use_cache=False).logits
        return logits[:, -1], inputs["attention_mask"].sum(1).tolist()

    def _next_token_shared(self, batch: list[Rendered], shared: list[Hashable]) -> tuple[Tensor, list[int]]:
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

    def _splits(self, batch: list[Rendered]) -> bool:
        """Whether contexts and texts have the same tokens apart and together."""
        return all(
            self.renderer.tokenise(context) + self.renderer.tokenise(rest) == self.renderer.tokenise(context + rest)
            for context, rest in {(each.context, each.rest) for each in batch}
        )


class _RefusedError(Exception):
    """Prompts that the model cannot be asked."""


def _batches(rendered: dict[int, Rendered], size: int) -> Iterator[list[int]]:
    """Yield batches of similar length: prompts about the same images together, those without images apart."""
    groups: dict[Hashable, list[int]] = defaultdict(list)
    for index, each in rendered.items():
        groups[each.images].append(index)
    ordered = sorted(groups.values(), key=lambda group: rendered[group[0]].length)
    for shown in (False, True):
        indices = [index for group in ordered for index in group if bool(rendered[index].prompt.images) == shown]
        for start in range(0, len(indices), size):
            yield indices[start : start + size]
