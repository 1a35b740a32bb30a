"""A tiny but real multimodal LLM, built and trained here: the Qwen2.5-VL architecture with 0.4 M parameters.

The folder that ``trained`` returns is a model like any of the hub's: configuration, safetensors, tokenizer, image
processor and chat template. It rates how bright an image is, in every way in which a model is asked for a rating:
level words, a written number, letter pairs and options. Built once (20 s on one core) and kept in the system's folder
of temporary files, under a name that changes with this file and with the libraries.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import string
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
import torch
import transformers
from filelock import FileLock
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from torch.nn import functional as F
from transformers import (
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
    Qwen2Tokenizer,
    Qwen2VLImageProcessor,
    Qwen2VLVideoProcessor,
)
from transformers.models.qwen2.tokenization_qwen2 import PRETOKENIZE_REGEX

LEVELS = (" excellent", " good", " fair", " poor", " bad")
PAIRS = tuple(  # 0..100
    first + second
    for first, letters in zip("acde", (26, 25, 25, 25), strict=True)
    for second in string.ascii_lowercase[:letters]
)
COMPARISONS = (" inferior", " worse", " similar", " better", " superior")
SPECIAL = (
    *("<|endoftext|>", "<|im_start|>", "<|im_end|>"),
    *("<|vision_start|>", "<|vision_end|>", "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>"),
)
# The generation prompt's newline is inside an expression: Jinja would strip one that ends the template.
CHAT_TEMPLATE = """\
{%- if messages[0].role != 'system' %}{{ '<|im_start|>system\\nYou look at images.<|im_end|>\\n' }}{% endif %}
{%- for message in messages %}
{{- '<|im_start|>' + message.role + '\\n' }}
{%- if message.content is string %}{{ message.content }}
{%- else %}
{%- for part in message.content %}
{%- if part.type == 'image' %}{{ '<|vision_start|><|image_pad|><|vision_end|>' }}
{%- else %}{{ part.text }}
{%- endif %}
{%- endfor %}
{%- endif %}
{{- '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}
"""


@dataclass(frozen=True)
class Question:
    """A way to ask for the rating of an image; a number is written in steps of 10."""

    text: str
    prefix: str
    candidates: tuple[str, ...]  # from the worst to the best, evenly spaced; none where a number is written


QUALITY, AESTHETICS = (
    Question(f"How would you rate the {noun} of this image?", f"The {noun} of the image is", LEVELS[::-1])
    for noun in ("quality", "aesthetics")
)
LETTERS = Question(
    "Given the image and the following multiple-choice question, choose the best answer. Only reply with the letter "
    "(A, B, C, or D).\n\nQuestion:\n\nHow bright is this image?\nA. dark\nB. dim\nC. light\nD. bright",
    "",
    tuple("ABCD"),
)
LETTER_PAIRS = Question(
    "Rate the quality score of the image in 0-100. In the output format, numbers are replaced by 2 corresponding "
    "letters. The answer only outputs 2 corresponding letters.",
    "",
    PAIRS,
)
NUMBER = Question(
    "Please rate the quality of this image and provide a score between 0 and 100, where 0 represents the lowest "
    "quality and 100 represents the highest. Your response should contain only an integer value.",
    "",
    (),
)
NUMERIC = Question(
    "Rate the quality of this image with one number from 0 (lowest) to 100 (highest). Reply with the number only.",
    "",
    (),
)
QUESTIONS = (QUALITY, AESTHETICS, LETTERS, LETTER_PAIRS, NUMBER, NUMERIC)


def image(brightness: float, seed: int) -> Image.Image:
    """Return a square image of 4 to 16 merged patches whose brightness is about the given one, in [0, 1]."""
    rng = np.random.default_rng(seed)
    side = int(rng.integers(48, 112))  # square, so that a preset that pads to a square leaves the brightness alone
    slope = np.linspace(-0.1, 0.1, side)[None, :, None] * rng.choice((-1, 1), 3)
    pixels = brightness + slope + rng.normal(0, 0.05, (side, side, 3))
    return Image.fromarray((pixels.clip(0, 1) * 255).round().astype(np.uint8))


def brightness(of: Image.Image) -> float:
    """Return what the model is trained to rate: the mean of all pixels, in [0, 1]."""
    return float(np.asarray(of, dtype=np.float64).mean() / 255)


def images(number: int, seed: int = 0) -> list[Image.Image]:
    """Return unlike images, dark to bright in random order."""
    rng = np.random.default_rng(seed)
    return [image(x, int(s)) for x, s in zip(rng.uniform(0, 1, number), rng.integers(2**31, size=number), strict=True)]


def build_processor() -> Qwen2_5_VLProcessor:
    """Return a processor whose byte-level BPE has every word of the questions and candidates as one token."""
    whole = [*LEVELS, *COMPARISONS, *PAIRS, *string.ascii_uppercase, " Yes", " No", "Yes", "No"]
    bpe = Tokenizer(models.BPE())
    split = pre_tokenizers.Split(tokenizers.Regex(PRETOKENIZE_REGEX), behavior="isolated")
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    # Frequent enough to be merged to the end, and before any part of another word is.
    texts = [q.text + q.prefix for q in QUESTIONS] + [word for word in whole for _ in range(100)]
    trainer = trainers.BpeTrainer(
        vocab_size=1024, min_frequency=2, show_progress=False, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    bpe.train_from_iterator(texts, trainer)
    with tempfile.TemporaryDirectory() as folder:
        vocabulary, merges = bpe.model.save(folder)
        tokenizer = Qwen2Tokenizer(
            vocab=vocabulary,
            merges=merges,
            eos_token="<|im_end|>",
            extra_special_tokens=list(SPECIAL),
            model_max_length=4096,
        )
    for word in whole:
        if len(tokenizer.encode(f"\n{word}")) != 2:
            raise AssertionError(f"{word!r} is not one token: {tokenizer.tokenize(word)}")
    sizes = {"shortest_edge": 56 * 56, "longest_edge": 112 * 112}
    return Qwen2_5_VLProcessor(
        Qwen2VLImageProcessor(size=sizes),
        tokenizer,
        Qwen2VLVideoProcessor(size=sizes),
        chat_template=CHAT_TEMPLATE,
    )


def build_model(processor: Qwen2_5_VLProcessor, seed: int = 0) -> Qwen2_5_VLForConditionalGeneration:
    """Return a model with random weights for the vocabulary of a processor; the global generator is left alone."""
    token = processor.tokenizer.convert_tokens_to_ids
    config = Qwen2_5_VLConfig(
        text_config={
            "vocab_size": len(processor.tokenizer),
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": 4096,
            "rope_parameters": {"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 10000.0},
            "bos_token_id": None,
            "eos_token_id": token("<|im_end|>"),
            "pad_token_id": token("<|endoftext|>"),
            "initializer_range": 0.08,
        },
        vision_config={
            "depth": 2,
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_heads": 4,
            "out_hidden_size": 64,
            "window_size": 112,
            "fullatt_block_indexes": [1],
            "initializer_range": 0.08,
        },
        image_token_id=token("<|image_pad|>"),
        video_token_id=token("<|video_pad|>"),
        vision_start_token_id=token("<|vision_start|>"),
        vision_end_token_id=token("<|vision_end|>"),
        tie_word_embeddings=False,
        dtype="float32",
    )
    with torch.random.fork_rng(devices=[]):  # narrow layers start wider than the default 0.02, else they learn slowly
        torch.manual_seed(seed)
        return Qwen2_5_VLForConditionalGeneration(config)


def chat(processor: Qwen2_5_VLProcessor, text: str, prefix: str) -> str:
    content = [{"type": "image"}, {"type": "text", "text": text}]
    messages: list[Any] = [{"role": "user", "content": content}]
    return processor.apply_chat_template(messages, add_generation_prompt=True) + prefix


def train_rating(
    model: Qwen2_5_VLForConditionalGeneration,
    processor: Qwen2_5_VLProcessor,
    questions: Sequence[Question] = QUESTIONS,
    *,
    steps: int = 160,
    batch: int = 16,
    rate: float = 4e-3,
    seed: int = 0,
) -> list[float]:
    """Train a model in place to rate brightness, with soft labels over the whole vocabulary; return the losses.

    Every sample is one next token: a level, an option, or the token that continues a begun answer.
    """
    rng = np.random.default_rng(seed)
    optimiser = torch.optim.AdamW(model.parameters(), rate, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=steps, pct_start=0.1)
    # As they are tokenised after the newline of the generation prompt.
    tokens = {*"0123456789", "<|im_end|>", *(candidate for question in questions for candidate in question.candidates)}
    index = {token: processor.tokenizer.encode(f"\n{token}")[-1] for token in tokens}
    losses = []
    model.train()
    for _ in range(steps):
        shown = images(batch, int(rng.integers(2**31)))
        texts, targets = [], torch.zeros(batch, len(processor.tokenizer))
        for row, picture in enumerate(shown):
            question = questions[int(rng.integers(len(questions)))]
            prefix, distribution = _sample(question, brightness(picture), rng)
            texts.append(chat(processor, question.text, prefix))
            for token, probability in distribution.items():
                targets[row, index[token]] = probability
        inputs = processor(text=texts, images=shown, padding=True, padding_side="left", return_tensors="pt")
        logits = model(**inputs, logits_to_keep=1, use_cache=False).logits[:, -1]
        loss = F.cross_entropy(logits, targets)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        losses.append(float(loss.detach()))
    model.eval()
    return losses


def _sample(question: Question, score: float, rng: np.random.Generator) -> tuple[str, dict[str, float]]:
    """Return how the answer begins and how its next token is distributed."""
    if not question.candidates:
        answer = str(10 * round(score * 10))
        begun = int(rng.integers(len(answer) + 1))
        return answer[:begun], {(*answer, "<|im_end|>")[begun]: 1.0}
    weights = np.exp(-32 * (np.linspace(0, 1, len(question.candidates)) - score) ** 2)
    if rng.random() < 0.2:
        return question.prefix + question.candidates[int(weights.argmax())], {"<|im_end|>": 1.0}
    return question.prefix, dict(zip(question.candidates, weights / weights.sum(), strict=True))


def trained() -> Path:
    """Return the folder of the trained model, built first where it is not there yet."""
    versions = f"{torch.__version__} {transformers.__version__} {tokenizers.__version__}"
    key = hashlib.sha256(Path(__file__).read_bytes() + versions.encode()).hexdigest()[:12]
    home = Path(tempfile.gettempdir()) / f"lopsided-tests-{os.getuid()}"
    home.mkdir(mode=0o700, exist_ok=True)
    folder = home / f"tiny-vlm-{key}"
    with FileLock(home / f"tiny-vlm-{key}.lock"):  # processes of pytest-xdist wait for the first
        if not folder.exists():
            unfinished = Path(tempfile.mkdtemp(dir=home))
            try:
                processor = build_processor()
                model = build_model(processor)
                train_rating(model, processor)
                model.save_pretrained(unfinished)
                processor.save_pretrained(unfinished)
                unfinished.rename(folder)
            finally:
                shutil.rmtree(unfinished, ignore_errors=True)
    return folder


if __name__ == "__main__":  # python tests/support/tiny_vlm.py FOLDER
    shutil.copytree(trained(), sys.argv[1])
