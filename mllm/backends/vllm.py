"""A multimodal LLM in this process, run by vLLM, which computes many prompts at a time on a GPU.

Prompts are the characters of ``rendering``, as for ``TransformersBackend``, and level probabilities are those of the
candidates' tokens, so that both ask the same. vLLM comes with the extra ``vllm``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from typing_extensions import override

from ...common.errors import one_line
from ..errors import MllmError
from .backend import Backend, LevelLogits, Prompt, Reply
from .model_folder import find_model, weights_identity
from .rendering import Rendered, Renderer

Result = TypeVar("Result", Reply, LevelLogits)


class VllmBackend(Backend):
    """A model run by vLLM.

    Args:
        model: a folder, or a name on the hub, which is downloaded if it is not on disk yet.
        revision: branch, tag or commit on the hub; its commit becomes part of the identity.
        device: what the installed vLLM is for, ``cuda`` or ``cpu``, or ``auto`` for that; ``CUDA_VISIBLE_DEVICES``
            chooses a GPU.
        dtype: of weights and activations; ``auto`` is the checkpoint's. Probabilities are float32 in any case.
        batch_size: most prompts computed together.
        max_pixels: images of more pixels are reduced to it; for models that resize by area, as Qwen's.

    Raises:
        MllmError: vLLM is not installed or cannot run the model, and as for ``TransformersBackend``.
    """

    def __init__(
        self,
        model: str | Path,
        *,
        revision: str | None = None,
        device: str = "cuda",
        dtype: str = "auto",
        batch_size: int = 256,
        max_pixels: int | None = None,
    ) -> None:
        os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")  # it would report to its makers what it runs on
        os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
        try:
            import vllm  # pyright: ignore[reportMissingImports]
            from vllm.platforms import current_platform  # pyright: ignore[reportMissingImports]
            from vllm.v1.engine.exceptions import EngineDeadError  # pyright: ignore[reportMissingImports]
        except ImportError as error:
            raise MllmError(
                f"vLLM cannot be imported ({one_line(error)}): pip install 'lopsided[mllm,vllm]', or leave engine out"
            ) from None
        if device not in ("auto", current_platform.device_type):
            raise MllmError(
                f"the installed vLLM runs on {current_platform.device_type or 'no device here'}, not on {device}: give "
                "that device, and choose a GPU by CUDA_VISIBLE_DEVICES"
            )
        self.folder, self._hub = find_model(str(model), revision)
        self._name = Path(model).resolve().name if self._hub is None else str(model).split("/")[-1]
        self.renderer = Renderer(self.folder, self._name, max_pixels=max_pixels)
        self._vllm, self._ended = vllm, EngineDeadError
        try:
            self._llm = vllm.LLM(  # pyright: ignore[reportAttributeAccessIssue] takes this file for vLLM
                model=str(self.folder),
                dtype=_checkpoint_dtype(self.folder) if dtype == "auto" else dtype,
                load_format="safetensors",
                max_num_seqs=batch_size,
                max_model_len=-1,  # as many tokens as the model takes and memory holds
                mm_processor_kwargs=None if max_pixels is None else {"max_pixels": max_pixels},
                # Else a model may write blanks between the parts of JSON until its tokens are spent.
                structured_outputs_config={"backend": "guidance", "disable_any_whitespace": True},
            )
        except Exception as error:  # vLLM, its engine's process and its drivers raise all kinds
            raise MllmError(f"vLLM cannot run {model}: {one_line(error)}") from error

    @property
    @override
    def name(self) -> str:
        """Last part of the hub name, or name of the folder."""
        return self._name

    @override
    def definition(self) -> dict[str, Any]:
        """Return what determines the results; batch size and device change them only by rounding."""
        return {
            "backend": "vllm",
            "weights": self.weights,
            "dtype": str(self._llm.model_config.dtype).removeprefix("torch."),
            **self.renderer.definition(),
            "decoding": "plain",
            "vllm": ".".join(self._vllm.__version__.split(".")[:2]),
        }

    @cached_property
    def weights(self) -> str:
        """What tells the weights from others: the hub's commit, or a hash of the files."""
        return self._hub or weights_identity(self.folder)

    @override
    def check_candidates(self, candidates: Sequence[str]) -> None:
        """Raise MllmError unless every candidate is one token after the generation prompt, and no two are the same."""
        self.renderer.candidate_ids("", tuple(candidates))

    @override
    def level_logits(self, prompts: Sequence[Prompt], candidates: Sequence[str]) -> list[LevelLogits]:
        """Return, for each prompt, how probable each candidate is as the next token.

        Raises:
            MllmError: candidates that are not single tokens after a prompt's prefix, or an engine that has ended.
        """
        ids = {prefix: self.renderer.candidate_ids(prefix, tuple(candidates)) for prefix in {p.prefix for p in prompts}}

        def read(rendered: Rendered, output: Any) -> LevelLogits:
            (step,) = output.outputs[0].logprobs
            found = np.array([step[token].logprob for token in ids[rendered.prompt.prefix]])
            if not np.isfinite(found).all():
                return failed("the log-probabilities are not finite: try dtype bfloat16 or float32")
            return LevelLogits(found, prompt_tokens=len(output.prompt_token_ids))

        def failed(failure: str) -> LevelLogits:
            return LevelLogits(np.full(len(candidates), np.nan), failure=failure)

        def asked(rendered: Rendered) -> dict[str, Any]:
            return {"max_tokens": 1, "temperature": 0.0, "logprob_token_ids": ids[rendered.prompt.prefix]}

        return self._run(prompts, asked, read, failed)

    @override
    def generate(
        self, prompts: Sequence[Prompt], *, max_tokens: int, temperature: float = 0.0, seed: int = 0
    ) -> list[Reply]:
        """Return what the model writes; above temperature 0 a draw depends on the seed and the prompt.

        Raises:
            MllmError: limits out of range, or an engine that has ended.
        """
        if max_tokens < 1 or temperature < 0:
            raise MllmError(f"max_tokens must be 1 or more and temperature 0 or more, got {max_tokens}, {temperature}")

        def asked(rendered: Rendered) -> dict[str, Any]:
            fields = {"max_tokens": max_tokens, "temperature": temperature, "seed": rendered.seed(seed)}
            if (schema := rendered.prompt.schema) is None:
                return fields
            from vllm.sampling_params import StructuredOutputsParams  # pyright: ignore[reportMissingImports]

            return {**fields, "structured_outputs": StructuredOutputsParams(json=json.dumps(schema))}

        def read(_: Rendered, output: Any) -> Reply:
            (written,) = output.outputs
            if written.finish_reason not in ("stop", "length"):
                return Reply("", failure=f"vLLM ended the reply: {written.finish_reason}")
            text, number = self.renderer.opened + written.text, len(written.token_ids)
            return Reply(text, written.finish_reason == "stop", "", len(output.prompt_token_ids), number)

        return self._run(prompts, asked, read, lambda failure: Reply("", failure=failure))

    def _run(
        self,
        prompts: Sequence[Prompt],
        asked: Callable[[Rendered], dict[str, Any]],
        read: Callable[[Rendered, Any], Result],
        failed: Callable[[str], Result],
    ) -> list[Result]:
        """Ask all prompts at once; where one is refused, each alone."""
        results: dict[int, Result] = {}
        rendered: dict[int, Rendered] = {}
        for index, prompt in enumerate(prompts):
            try:
                rendered[index] = self.renderer.render(prompt)
            except MllmError as error:
                results[index] = failed(str(error))
        pending = [list(rendered)] if rendered else []
        while pending:
            batch = pending.pop()
            of = [rendered[index] for index in batch]
            try:
                outputs = self._outputs(of, [self._vllm.SamplingParams(**asked(each)) for each in of])
            except self._ended as error:
                raise MllmError(f"vLLM ended while {self.name} was asked: {one_line(error)}") from error
            except Exception as error:  # a prompt is refused, by vLLM or a processor, and with it all beside it
                if len(batch) == 1:
                    results[batch[0]] = failed(f"vLLM refuses the prompt: {one_line(error)}")
                else:
                    pending.extend([index] for index in batch)
                continue
            results.update({index: read(rendered[index], one) for index, one in zip(batch, outputs, strict=True)})
        return [results[index] for index in range(len(prompts))]

    def _outputs(self, rendered: Sequence[Rendered], parameters: Sequence[Any]) -> list[Any]:
        shown = [
            {"prompt": each.text, "multi_modal_data": {"image": list(each.prompt.images)}}
            if each.prompt.images
            else {"prompt": each.text}
            for each in rendered
        ]
        added = {"add_special_tokens": not self.renderer.begins(rendered[0].text)}
        return self._llm.generate(shown, parameters, use_tqdm=False, tokenization_kwargs=added)


def _checkpoint_dtype(folder: Path) -> str:
    """Return the type of a checkpoint's weights: vLLM by itself would make 16 bits of 32."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return str(config.get("dtype") or config.get("torch_dtype") or "auto")
