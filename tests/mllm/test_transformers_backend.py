import json
import shutil
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("transformers", reason="multimodal LLMs need the extra [mllm]")

import huggingface_hub
import tokenizers
import torch
import transformers
from PIL import Image
from scipy.stats import spearmanr
from torch.nn import functional as F

from lopsided.mllm import MllmError
from lopsided.mllm.backends.backend import Prompt
from lopsided.mllm.backends.transformers import Draws, TransformersBackend
from lopsided.mllm.scoring.presets import create_preset
from lopsided.mllm.scoring.scale import ScoreScale
from lopsided.mllm.scoring.scorer import Scorer

ASK, BEGIN = "How would you rate the quality of this image?", "The quality of the image is"
LEVELS = (" excellent", " good", " fair", " poor", " bad")


@pytest.fixture(scope="module")
def folder(tiny_vlm) -> Path:
    return tiny_vlm.trained()


@pytest.fixture(scope="module")
def backend(folder) -> TransformersBackend:
    return TransformersBackend(folder)


@pytest.fixture
def copied(folder, tmp_path) -> Path:
    return shutil.copytree(folder, tmp_path / "copy")


@pytest.fixture(scope="module")
def unlike(tiny_vlm) -> list[Prompt]:
    """Prompts of unlike length, about none to two images of unlike size, one of them several times."""
    images = tiny_vlm.images(12, seed=3)
    prompts = [Prompt((image,), ASK, BEGIN) for image in images[:8]]
    prompts += [Prompt((images[8],), "Rate " + "the very same image " * n, BEGIN) for n in (1, 9, 3)]
    prompts += [Prompt((images[9], images[10]), "Which one?", "The"), Prompt((), "No image at all?")]
    prompts += [Prompt((images[11],), ASK, BEGIN, system="Be strict."), Prompt((images[8],), ASK, system="Be kind.")]
    return prompts


def by_hand(folder: Path, prompt: Prompt) -> tuple[Any, dict[str, Any], list[int]]:
    """Model, inputs of one prompt and ids of the levels, without anything of ours."""
    model = transformers.Qwen2_5_VLForConditionalGeneration.from_pretrained(folder).eval()
    processor = transformers.Qwen2_5_VLProcessor.from_pretrained(folder)
    text = (
        f"<|im_start|>system\n{prompt.system or 'You look at images.'}<|im_end|>\n<|im_start|>user\n"
        + "<|vision_start|><|image_pad|><|vision_end|>" * len(prompt.images)
        + f"{prompt.text}<|im_end|>\n<|im_start|>assistant\n{prompt.prefix}"
    )
    inputs = processor(text=[text], images=list(prompt.images) or None, return_tensors="pt")
    ids = [processor.tokenizer(f"is{level}").input_ids[-1] for level in LEVELS]
    return model, dict(inputs), ids


def log_probabilities(results) -> np.ndarray:
    assert not [result.failure for result in results if result.failure]
    return np.array([result.log_probabilities for result in results])


def test_the_trained_model_ranks_unseen_images_through_a_preset(backend, tiny_vlm):
    images = tiny_vlm.images(64, seed=77)
    ratings = Scorer(backend, create_preset("q-align")).rate(images)
    truth = [tiny_vlm.brightness(image) for image in images]
    assert [rating.status for rating in ratings] == ["ok"] * 64
    assert spearmanr([rating.value for rating in ratings], truth).statistic > 0.99  # pyright: ignore[reportAttributeAccessIssue]
    assert all(rating.mass is not None and rating.mass > 0.8 for rating in ratings)


def test_log_probabilities_are_those_of_a_plain_forward_of_each_prompt(backend, folder, unlike):
    found = log_probabilities(backend.level_logits(unlike, LEVELS))
    for prompt, row, tokens in zip(unlike, found, backend.level_logits(unlike, LEVELS), strict=True):
        model, inputs, ids = by_hand(folder, prompt)
        with torch.no_grad():
            expected = F.log_softmax(model(**inputs).logits[0, -1].double(), -1)[ids]
        np.testing.assert_allclose(row, expected, atol=1e-5)
        assert tokens.prompt_tokens == inputs["input_ids"].shape[1]
    assert np.ptp(found, axis=0).min() > 0.1  # prompts differ, and so must their probabilities


def test_batching_does_not_move_float32_results(folder, unlike):
    batched = TransformersBackend(folder, batch_size=5)
    assert 0 < batched.batch_invariance(unlike, LEVELS) <= 1e-5


def test_batch_invariance_sees_a_model_that_counts_padding(folder, unlike, monkeypatch):
    backend = TransformersBackend(folder, batch_size=5)
    inputs = backend._inputs

    def unmasked(*args, **kwargs):
        found = inputs(*args, **kwargs)
        return found | {"attention_mask": torch.ones_like(found["attention_mask"])}

    monkeypatch.setattr(backend, "_inputs", unmasked)
    assert backend.batch_invariance(unlike, LEVELS) > 1e-3


def test_bfloat16_is_as_exact_as_bfloat16_is(folder, unlike):
    half = TransformersBackend(folder, dtype="bfloat16", batch_size=5)
    assert half.definition()["dtype"] == "bfloat16"
    # From below there is no bound: kernels without vector instructions round every batch alike.
    assert half.batch_invariance(unlike, LEVELS) < 0.5


def test_prompts_about_one_image_encode_it_once(folder, tiny_vlm):
    backend = TransformersBackend(folder)
    images = tiny_vlm.images(3, seed=5)
    asked = ("How bright?", ASK, "A much longer question about the quality of this image, is it not?")
    # Copies, as scorers make them: it is the pixels that count.
    prompts = [Prompt((image.copy(),), text, BEGIN) for text in asked for image in images]
    grids = []
    backend.model.model.visual.register_forward_hook(
        lambda module, args, kwargs, output: grids.append(len(kwargs["grid_thw"])), with_kwargs=True
    )
    shared = log_probabilities(backend.level_logits(prompts, LEVELS))
    assert sum(grids) == len(images)
    backend._shares = False
    np.testing.assert_allclose(shared, log_probabilities(backend.level_logits(prompts, LEVELS)), atol=1e-5)
    assert sum(grids) == len(images) + len(prompts)


@pytest.mark.parametrize(
    ("candidates", "message"),
    [
        (("excellent", "bad"), "'excellent' is not one token"),
        ((" good", " unfathomable"), "' unfathomable' is not one token"),
        ((" good", ""), "'' is not one token"),
        ((" good", " bad", " good"), "' good' and ' good' are the same token"),
    ],
)
def test_candidates_must_be_one_token_each_where_they_stand(backend, tiny_vlm, candidates, message):
    prompt = Prompt((tiny_vlm.image(0.5, 0),), ASK, BEGIN)
    with pytest.raises(MllmError, match=message):
        backend.level_logits([prompt], candidates)
    with pytest.raises(MllmError, match=message):
        backend.check_candidates(candidates)


def test_what_is_one_token_depends_on_the_prefix(backend, tiny_vlm):
    backend.check_candidates(tuple("ABCD"))
    prompt = Prompt((tiny_vlm.image(0.5, 0),), ASK, "The answer is")
    with pytest.raises(MllmError, match="a word that continues a prefix must begin with a space"):
        backend.level_logits([prompt, replace(prompt, prefix="good")], ("poor", "bad"))


def test_candidates_of_the_presets_are_single_tokens(backend):
    for key in ("q-align", "q-bench", "deqa", "unipercept"):
        preset = create_preset(key)
        for dimension in preset.dimensions:
            scale = preset.question(dimension).reading
            assert isinstance(scale, ScoreScale)
            backend.check_candidates(scale.candidates)


@pytest.mark.parametrize("model", ["nobody/no-such-model", "/no/such/folder", "no-such-model"])
def test_a_model_that_is_not_on_disk_is_said_at_once(model, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    began = time.perf_counter()
    with pytest.raises(MllmError) as caught:
        TransformersBackend(model)
    assert time.perf_counter() - began < 1
    assert model in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_model_of_the_hub_is_its_commit(folder, tmp_path, monkeypatch):
    commit = "0123456789abcdef" * 2 + "01234567"
    cached = tmp_path / "models--someone--tiny-vlm"
    shutil.copytree(folder, cached / "snapshots" / commit)
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text(commit)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    backend = TransformersBackend("someone/tiny-vlm")
    assert backend.name == "tiny-vlm"
    assert backend.definition()["weights"] == f"hub:someone/tiny-vlm@{commit}"
    assert TransformersBackend("someone/tiny-vlm", revision=commit).identity == backend.identity
    with pytest.raises(MllmError, match="someone/tiny-vlm at v2 is not on disk"):
        TransformersBackend("someone/tiny-vlm", revision="v2")


def test_weights_other_than_safetensors_are_not_loaded(copied):
    (copied / "model.safetensors").rename(copied / "pytorch_model.bin")
    with pytest.raises(MllmError, match="safetensors"):
        TransformersBackend(copied)


def test_damaged_weights_are_an_error(copied):
    weights = copied / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    with pytest.raises(MllmError, match="cannot be loaded"):
        TransformersBackend(copied)


def test_weights_that_do_not_fit_are_an_error(copied):
    tensors = transformers.Qwen2_5_VLForConditionalGeneration.from_pretrained(copied).state_dict()
    assert tensors.pop("lm_head.weight") is not None
    safetensors = pytest.importorskip("safetensors.torch")
    safetensors.save_file(tensors, copied / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(MllmError, match=r"lm_head\.weight"):
        TransformersBackend(copied)


def test_a_template_that_loses_its_last_newline_is_refused(copied):
    file = copied / "chat_template.jinja"
    text = file.read_text()
    file.write_text(
        text.replace("{{ '<|im_start|>assistant\\n' }}{% endif %}", "{{ '<|im_start|>assistant' }}{% endif %}")
    )
    assert file.read_text() != text
    with pytest.raises(MllmError, match="loses the newline"):
        TransformersBackend(copied)


def test_greedy_replies_are_those_of_generate_for_each_prompt_alone(backend, folder, unlike, tiny_vlm):
    prompts = [*unlike, Prompt(tuple(tiny_vlm.images(1)), tiny_vlm.NUMBER.text)]
    replies = backend.generate(prompts, max_tokens=2)
    processor = transformers.AutoProcessor.from_pretrained(folder)
    for prompt, reply in zip(prompts, replies, strict=True):
        model, inputs, _ = by_hand(folder, prompt)
        tokens = model.generate(**inputs, max_new_tokens=2, do_sample=False)[0, inputs["input_ids"].shape[1] :]
        assert reply.text == processor.tokenizer.decode(tokens, skip_special_tokens=True)
        assert reply.new_tokens == len(tokens)
        assert reply.finished == (tokens[-1] == processor.tokenizer.eos_token_id)
        assert reply.prompt_tokens == inputs["input_ids"].shape[1]
    assert replies[-1].text.isdecimal()
    assert {reply.finished for reply in replies} == {True, False}


def test_a_reply_that_is_cut_off_says_so(backend, tiny_vlm):
    prompt = Prompt((tiny_vlm.image(0.5, 0),), tiny_vlm.NUMBER.text)
    whole, cut = (backend.generate([prompt], max_tokens=tokens)[0] for tokens in (3, 1))
    assert len(whole.text) == 2
    assert (whole.finished, whole.new_tokens) == (True, 3)  # two digits and the end
    assert (cut.text, cut.finished, cut.new_tokens) == (whole.text[0], False, 1)


def test_the_checkpoints_own_decoding_habits_are_left_out(copied, backend, unlike):
    file = copied / "generation_config.json"
    habits = {"do_sample": True, "temperature": 5.0, "repetition_penalty": 3.0, "top_k": 3}
    file.write_text(json.dumps(json.loads(file.read_text()) | habits))
    assert TransformersBackend(copied).generate(unlike, max_tokens=4) == backend.generate(unlike, max_tokens=4)


def test_draws_depend_on_seed_and_prompt_alone(backend, unlike):
    state = torch.get_rng_state()
    draw = partial(backend.generate, max_tokens=4, temperature=1.5)
    replies = draw(unlike, seed=1)
    assert torch.equal(torch.get_rng_state(), state)
    assert draw(unlike[::-1], seed=1)[::-1] == replies
    assert draw(unlike[3:4], seed=1) == replies[3:4]
    assert draw(unlike, seed=2) != replies
    assert draw(unlike, seed=1) != backend.generate(unlike, max_tokens=4)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_draws_follow_the_softmax_at_the_temperature(temperature):
    scores, number = torch.tensor([2.0, 1.0, 0.0, -1.0, -3.0]), 20_000
    processor = Draws(temperature, range(number))
    drawn = processor(torch.empty(number, 0), scores.expand(number, -1)).argmax(1)
    shares = torch.bincount(drawn, minlength=5) / number
    expected = torch.softmax(scores / temperature, 0)
    assert ((shares - expected).abs() < 4 * (expected * (1 - expected) / number).sqrt() + 1e-4).all()


def test_a_prompt_that_cannot_be_put_fails_alone(backend, tiny_vlm):
    good = [Prompt((image,), ASK, BEGIN) for image in tiny_vlm.images(3)]
    thin, clear = Image.new("RGB", (4, 2000)), Image.new("RGBA", (60, 60))
    bad = [Prompt((thin,), ASK), Prompt((clear,), ASK), Prompt(good[0].images, "far too long " * 2000)]
    bad += [Prompt(good[0].images, "two images? <|vision_start|><|image_pad|><|vision_end|>")]
    mixed = [good[0], bad[0], bad[1], good[1], bad[2], good[2], bad[3]]
    found = backend.level_logits(mixed, LEVELS)
    failures = [result.failure for result in found]
    assert [bool(failure) for failure in failures] == [False, True, True, False, True, False, True]
    assert "aspect ratio" in failures[1]
    assert "RGBA, not RGB" in failures[2]
    assert "takes 4096" in failures[4]
    assert np.isnan(found[1].log_probabilities).all()
    kept = [result for result in found if not result.failure]
    np.testing.assert_allclose(
        log_probabilities(kept), log_probabilities(backend.level_logits(good, LEVELS)), atol=1e-5
    )
    replies = backend.generate(mixed, max_tokens=2)
    assert [reply.failure for reply in replies] == failures


def test_a_text_too_long_for_a_shared_image_fails_alone(backend, tiny_vlm):
    image = tiny_vlm.image(0.5, 0)
    found = backend.level_logits([Prompt((image,), text, BEGIN) for text in (ASK, ASK * 500, "Rate it.")], LEVELS)
    assert ["takes 4096" in result.failure for result in found] == [False, True, False]


def test_logits_that_are_not_finite_are_a_failure(folder, tiny_vlm):
    broken = TransformersBackend(folder)
    with torch.no_grad():
        broken.model.lm_head.weight[0] = torch.nan
    (result,) = broken.level_logits([Prompt((tiny_vlm.image(0.5, 0),), ASK, BEGIN)], LEVELS)
    assert "not finite" in result.failure


def test_nothing_asked_nothing_answered(backend):
    assert backend.level_logits([], LEVELS) == []
    assert backend.generate([], max_tokens=1) == []


def test_images_are_resized_to_the_limits_in_pixels(folder, backend, tiny_vlm):
    prompt = Prompt((tiny_vlm.images(1)[0].resize((112, 112)),), ASK, BEGIN)
    small = TransformersBackend(folder, max_pixels=56 * 56)
    few, many = (each.level_logits([prompt], LEVELS)[0].prompt_tokens or 0 for each in (small, backend))
    assert many - few == 16 - 4
    assert small.definition()["images"]["size"]["longest_edge"] == 56 * 56
    with pytest.raises(MllmError, match="min_pixels 50000 is above max_pixels"):
        TransformersBackend(folder, min_pixels=50_000)


def test_the_identity_is_the_content_of_the_model_and_how_it_is_run(folder, copied, backend):
    assert TransformersBackend(copied, batch_size=3).identity == backend.identity
    json.dumps(backend.definition(), allow_nan=False)
    others = [
        TransformersBackend(folder, dtype="bfloat16").identity,
        TransformersBackend(folder, max_pixels=56 * 56).identity,
    ]
    template = copied / "chat_template.jinja"
    template.write_text(template.read_text().replace("You look at images.", "You look."))
    others.append(TransformersBackend(copied).identity)
    template.write_text((folder / "chat_template.jinja").read_text())
    weights = copied / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\1")
    others.append(TransformersBackend(copied).identity)
    assert len({backend.identity, *others}) == 5


# Other architectures: real, tiny, with random weights. The first three number positions in one dimension. InternVL cuts
# images into tiles; Gemma 3 has a first token that template and tokenizer both write, and sliding windows.
TEXT: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 2048,
    "initializer_range": 0.1,
}
VISION: dict[str, Any] = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
SQUARE: Any = {"height": 56, "width": 56}


class Parts:
    """The tokenizer of the tiny model with other special tokens, and what configurations take from it."""

    def __init__(self, folder: Path, template: str, image: str, bos: str | None = None, **special: str) -> None:
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(folder, extra_special_tokens=special)
        if bos:
            self.tokenizer.add_special_tokens({"bos_token": bos})
            self.tokenizer.backend_tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
                single=f"{bos} $A", special_tokens=[(bos, self.tokenizer.bos_token_id)]
            )
        start = "{{ bos_token }}" if bos else ""
        self.template = start + template.replace("<|vision_start|><|image_pad|><|vision_end|>", image)
        self.id = self.tokenizer.convert_tokens_to_ids
        self.text: dict[str, Any] = TEXT | {
            "vocab_size": len(self.tokenizer),
            "pad_token_id": self.tokenizer.pad_token_id,
            "eos_token_id": self.tokenizer.eos_token_id,
            "bos_token_id": self.tokenizer.bos_token_id,
        }


def internvl(folder: Path, template: str) -> tuple[Any, Any]:
    tokens = {"start_image": "<img>", "end_image": "</img>", "context_image": "<IMG_CONTEXT>", "video": "<video>"}
    parts = Parts(folder, template, "<IMG_CONTEXT>\\n", **{f"{key}_token": token for key, token in tokens.items()})
    processor = transformers.InternVLProcessor(
        transformers.GotOcr2ImageProcessor(size=SQUARE, crop_to_patches=True, min_patches=1, max_patches=4),
        parts.tokenizer,
        transformers.InternVLVideoProcessor(size=SQUARE),
        image_seq_length=4,
        chat_template=parts.template,
    )
    config = transformers.InternVLConfig(
        vision_config=VISION | {"image_size": [56, 56], "patch_size": [14, 14]},
        text_config=parts.text | {"model_type": "qwen2"},
        image_token_id=parts.id("<IMG_CONTEXT>"),
        image_seq_length=4,
    )
    return transformers.InternVLForConditionalGeneration(config), processor


def llava_onevision(folder: Path, template: str) -> tuple[Any, Any]:
    parts = Parts(folder, template, "<image>\\n", image_token="<image>", video_token="<video>")
    grid: dict[str, Any] = {"image_grid_pinpoints": [[56, 56], [56, 112], [112, 56], [112, 112]]}
    processor = transformers.LlavaOnevisionProcessor(
        transformers.LlavaOnevisionImageProcessor(size=SQUARE, **grid),
        parts.tokenizer,
        transformers.LlavaOnevisionVideoProcessor(size=SQUARE),
        num_image_tokens=16,
        vision_feature_select_strategy="full",
        chat_template=parts.template,
    )
    config = transformers.LlavaOnevisionConfig(
        vision_config=VISION
        | {"model_type": "siglip_vision_model", "image_size": 56, "patch_size": 14, "vision_use_head": False},
        text_config=parts.text | {"model_type": "qwen2"},
        image_token_index=parts.id("<image>"),
        video_token_index=parts.id("<video>"),
        vision_feature_select_strategy="full",
        **grid,
    )
    return transformers.LlavaOnevisionForConditionalGeneration(config), processor


def gemma3(folder: Path, template: str) -> tuple[Any, Any]:
    tokens = {"boi": "<start_of_image>", "eoi": "<end_of_image>", "image": "<image_soft_token>"}
    special = {f"{key}_token": token for key, token in tokens.items()}
    parts = Parts(folder, template, tokens["boi"], bos="<bos>", **special)
    processor = transformers.Gemma3Processor(
        transformers.Gemma3ImageProcessor(size=SQUARE),
        parts.tokenizer,
        image_seq_length=4,
        chat_template=parts.template,
    )
    config = transformers.Gemma3Config(
        vision_config=VISION | {"image_size": 56, "patch_size": 14},
        text_config=parts.text
        | {"head_dim": 16, "sliding_window": 32, "layer_types": ["sliding_attention", "full_attention"]},
        mm_tokens_per_image=4,
        **{f"{key}_token_index": parts.id(token) for key, token in tokens.items()},
    )
    return transformers.Gemma3ForConditionalGeneration(config), processor


def qwen3_vl(folder: Path, template: str) -> tuple[Any, Any]:
    parts = Parts(folder, template, "<|vision_start|><|image_pad|><|vision_end|>")
    size: Any = {"shortest_edge": 64 * 64, "longest_edge": 128 * 128}
    processor = transformers.Qwen3VLProcessor(
        transformers.Qwen2VLImageProcessor(size=size, patch_size=16),
        parts.tokenizer,
        transformers.Qwen3VLVideoProcessor(size=size),
        chat_template=parts.template,
    )
    rope = {"rope_type": "default", "mrope_section": [4, 2, 2], "rope_theta": 10000.0, "mrope_interleaved": True}
    config = transformers.Qwen3VLConfig(
        text_config=parts.text | {"head_dim": 16, "rope_parameters": rope},
        vision_config={"depth": 2, "hidden_size": 64, "intermediate_size": 128, "num_heads": 4}
        | {"out_hidden_size": 64, "patch_size": 16, "num_position_embeddings": 256, "deepstack_visual_indexes": [0]},
        image_token_id=parts.id("<|image_pad|>"),
        video_token_id=parts.id("<|video_pad|>"),
        vision_start_token_id=parts.id("<|vision_start|>"),
        vision_end_token_id=parts.id("<|vision_end|>"),
    )
    return transformers.Qwen3VLForConditionalGeneration(config), processor


@pytest.mark.parametrize(
    ("build", "shares"), [(internvl, True), (llava_onevision, True), (gemma3, False), (qwen3_vl, True)]
)
def test_other_architectures_are_batched_as_exactly(build, shares, folder, tiny_vlm, tmp_path):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model, processor = build(folder, tiny_vlm.CHAT_TEMPLATE)
    model.eval().save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    backend = TransformersBackend(tmp_path, batch_size=4)
    assert backend._shares == shares
    images = tiny_vlm.images(4, seed=8)
    prompts = [Prompt((image,), text, BEGIN) for image in images for text in (ASK, "Rate it.")]
    assert backend.batch_invariance(prompts, LEVELS) <= 1e-5
    found = backend.level_logits(prompts, LEVELS)
    content = [{"type": "image", "image": images[2]}, {"type": "text", "text": ASK}]
    messages: list[Any] = [{"role": "user", "content": content}, {"role": "assistant", "content": BEGIN}]
    inputs = processor.apply_chat_template(
        messages, continue_final_message=True, tokenize=True, return_dict=True, return_tensors="pt"
    )
    with torch.no_grad():
        expected = F.log_softmax(model(**inputs).logits[0, -1].double(), -1)
    ids = [processor.tokenizer(f"is{level}", add_special_tokens=False).input_ids[-1] for level in LEVELS]
    np.testing.assert_allclose(found[4].log_probabilities, expected[ids], atol=1e-5)
    assert np.ptp(log_probabilities(found), axis=0).min() > 1e-3
    alone = [backend.generate([prompt], max_tokens=3)[0] for prompt in prompts]
    assert backend.generate(prompts, max_tokens=3) == alone
