"""Level-token scoring by ``TransformersBackend`` against published scorers' methods: one image at a time, or a reply.

All methods run in one process, in turns, on the same images; images per second and ratios of medians are reported. On
the CPU, seconds are CPU time of this process, so that other programs on the machine do not count.

    python benchmarks/mllm.py [--model FOLDER-OR-NAME] [--device cpu] [--dtype float32] [--images 64] [--batch 16]
        [--sides 48 112] [--questions 4] [--rounds 5] [--threads 1]

Without ``--model``, the tiny Qwen2.5-VL of the tests, which is built first if necessary. The methods:

- ``levels``: ours; one forward pass per batch, the vocabulary at the last position only, five levels read.
- ``levels, one by one``: chat template, processor, forward pass and softmax of each image alone, as the code of
  Q-Align, DeQA and UniPercept does.
- ``reply, one by one``: ``generate`` for each image alone, then the number in the text, as scorers that write do.
- ``reply``: the same in batches, by ``TransformersBackend.generate``.
- ``k questions, shared``, ``k questions, apart``: several questions about each image, in one batch, with the image
  encoded once, or once per question; ``k questions, one by one`` as above. Seconds are per question.

Each method's probabilities are compared with those of ``levels, one by one``.
"""

from __future__ import annotations

import argparse
import copy
import importlib.util
import platform
import re
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from PIL import Image

from lopsided.mllm.backends import Prompt, TransformersBackend

NOUNS = ("quality", "aesthetics", "sharpness and the colours", "structure and the texture", "composition")
LEVELS = (" excellent", " good", " fair", " poor", " bad")
NUMBER = "Rate the quality of this image with one number from 0 (lowest) to 100 (highest). Reply with the number only."


def tiny_model() -> Path:
    path = Path(__file__).parents[1] / "tests" / "support" / "tiny_vlm.py"
    spec = importlib.util.spec_from_file_location("tiny_vlm", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["tiny_vlm"] = module
    spec.loader.exec_module(module)
    return module.trained()


def pictures(number: int, sides: tuple[int, int]) -> list[Image.Image]:
    """Images of different sizes and brightness."""
    rng = np.random.default_rng(0)
    found = []
    for light in rng.uniform(0, 1, number):
        height, width = rng.integers(sides[0], sides[1], 2, endpoint=True)
        pixels = (light + rng.normal(0, 0.05, (height, width, 3))).clip(0, 1)
        found.append(Image.fromarray((pixels * 255).round().astype(np.uint8)))
    return found


def question(noun: str) -> tuple[str, str]:
    return f"How would you rate the {noun} of this image?", f"The {noun} of the image is"


class OneByOne:
    """The steps of published scorers' code for each image, on the same model."""

    def __init__(self, backend: TransformersBackend) -> None:
        self.model, self.processor = backend.model, backend.processor
        self.ids = [self.processor.tokenizer(f"is{level}", add_special_tokens=False).input_ids[-1] for level in LEVELS]

    def inputs(self, prompt: Prompt) -> Any:
        """Return the model's inputs."""
        content = [{"type": "image"}, {"type": "text", "text": prompt.text}]
        messages: list[Any] = [{"role": "user", "content": content}]
        text = self.processor.apply_chat_template(messages, add_generation_prompt=True) + prompt.prefix
        inputs = self.processor(text=[text], images=list(prompt.images), return_tensors="pt")
        return inputs.to(self.model.device, self.model.dtype)

    @torch.inference_mode()
    def levels(self, prompts: list[Prompt]) -> np.ndarray:
        """Return log-probabilities of the levels, ``(prompts, levels)``."""
        rows = [self.model(**self.inputs(prompt)).logits[0, -1].float().log_softmax(-1)[self.ids] for prompt in prompts]
        return torch.stack(rows).double().cpu().numpy()

    @torch.inference_mode()
    def reply(self, prompts: list[Prompt], max_tokens: int) -> list[str]:
        """Return the model's text."""
        replies = []
        for prompt in prompts:
            inputs = self.inputs(prompt)
            written = self.model.generate(**inputs, max_new_tokens=max_tokens, do_sample=False)
            words = self.processor.tokenizer.decode(
                written[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True
            )
            replies.append(words)
        return replies


def numbers(replies: list[str]) -> list[float | None]:
    found = [re.search(r"\d+(\.\d+)?", reply) for reply in replies]
    return [float(match.group()) if match else None for match in found]


def measure(ways: dict[str, Callable[[], Any]], rounds: int, clock: Callable[[], float]) -> dict[str, float]:
    """Return each method's median seconds; the first round is a warm-up."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds + 1):
        for name, way in ways.items():
            began = clock()
            way()
            seconds[name].append(clock() - began)
    return {name: statistics.median(each[1:]) for name, each in seconds.items()}


def report(seconds: dict[str, float], number: int, ours: str, differences: dict[str, float]) -> None:
    for name, each in seconds.items():
        difference = f"{differences[name]:.1e}" if name in differences else ""
        ratio = each / seconds[ours]
        print(f"{name:28s} {number / each:9.1f}/s {1000 * each / number:9.2f} ms   {ratio:5.2f} x   {difference}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=None)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="auto", choices=("auto", "float32", "bfloat16", "float16"))
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--sides", type=int, nargs=2, default=(48, 112), metavar=("SHORTEST", "LONGEST"))
    parser.add_argument("--questions", type=int, default=4, choices=range(2, len(NOUNS) + 1))
    parser.add_argument("--max-tokens", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    clock = time.process_time if args.device == "cpu" else time.perf_counter
    model = args.model or tiny_model()
    backend = TransformersBackend(model, device=args.device, dtype=args.dtype, batch_size=args.batch)
    apart = copy.copy(backend)  # of the same weights
    apart._shares = False
    alone = OneByOne(backend)
    where = torch.cuda.get_device_name() if args.device.startswith("cuda") else f"{args.threads} thread(s)"
    print(
        f"{backend.name}, {backend.definition()['dtype']}, {args.device} ({where}), {platform.machine()}; "
        f"torch {torch.__version__}, transformers {transformers.__version__}; {args.images} images, batches of "
        f"{args.batch}"
    )
    shown = pictures(args.images, tuple(args.sides))

    def levels(of: TransformersBackend, prompts: list[Prompt]) -> np.ndarray:
        return np.array([result.log_probabilities for result in of.level_logits(prompts, LEVELS)])

    rating = [Prompt((image,), *question(NOUNS[0])) for image in shown]
    writing = [Prompt((image,), NUMBER) for image in shown]
    written = backend.generate(writing, max_tokens=args.max_tokens)
    tokens = statistics.mean(reply.new_tokens or 0 for reply in written)
    read = sum(value is not None for value in numbers([reply.text for reply in written]))
    print(f"replies: {tokens:.1f} tokens on average, {read} of {len(written)} hold a number\n")
    print(f"{'way':28s} {'images':>11s} {'per image':>12s}   time      max |Δ log p|")
    seconds = measure(
        {
            "levels": lambda: levels(backend, rating),
            "levels, one by one": lambda: alone.levels(rating),
            "reply": lambda: numbers([r.text for r in backend.generate(writing, max_tokens=args.max_tokens)]),
            "reply, one by one": lambda: numbers(alone.reply(writing, args.max_tokens)),
        },
        args.rounds,
        clock,
    )
    truth = alone.levels(rating)
    report(seconds, len(rating), "levels", {"levels": float(np.abs(levels(backend, rating) - truth).max())})
    asked = [Prompt((image,), *question(noun)) for image in shown for noun in NOUNS[: args.questions]]
    k = f"{args.questions} questions"
    seconds = measure(
        {
            f"{k}, shared": lambda: levels(backend, asked),
            f"{k}, apart": lambda: levels(apart, asked),
            f"{k}, one by one": lambda: alone.levels(asked),
        },
        args.rounds,
        clock,
    )
    truth = alone.levels(asked)
    ways = {f"{k}, shared": backend, f"{k}, apart": apart}
    differences = {name: float(np.abs(levels(of, asked) - truth).max()) for name, of in ways.items()}
    report(seconds, len(asked), f"{k}, shared", differences)


if __name__ == "__main__":
    main()
