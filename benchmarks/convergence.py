"""Does training converge? PSNR-Y of pixel-only training against bicubic, then adversarial fine-tuning, and pictures.

A generator is trained with the pixel loss alone and validated on held-out images during training; then a copy of it is
fine-tuned with each discriminator and a fidelity measure. Writes into ``--output``: ``numbers.json``, ``curves.png``
and ``pictures.png`` (crops of the reference, bicubic, the pixel-only generator and every fine-tuned one).

    python benchmarks/convergence.py --output FOLDER [--images FOLDER] [--generator swinir-tiny] [--steps 8000]
        [--finetune-steps 1500] [--discriminators patch vanilla patch-vgg19_blocks3 vanilla-vgg19_blocks3] [--threads 1]

Without ``--images``, scikit-image's photographs are used. With it, ``train/`` in that folder holds training images at
any depth, and every folder of ``test/`` holds a set of ``x4/<name>_HR.png`` and ``x4/<name>_LR.png``. Pretrained
backbones are found through ``LOPSIDED_WEIGHTS``. Discriminators, the fidelity measure and judges are keys, or mappings
as in YAML.
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
import time
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import torch
import yaml
from numpy.typing import NDArray
from torch import nn

from lopsided.common.files import write_json
from lopsided.common.images import read_rgb, to_tensor, to_uint8
from lopsided.common.sources import parse_source
from lopsided.discriminators import DiscriminatorSpec, build_discriminator, objective
from lopsided.iqa import create_judge
from lopsided.losses import create_measure
from lopsided.sr import (
    Adversarial,
    DivergedError,
    Fidelity,
    FinetuneSpec,
    GeneratorSpec,
    PairCache,
    Trainer,
    TrainingSpec,
    Validated,
    Validation,
    bicubic_resize,
    build_generator,
    pairs,
    read_history,
    summarise_stability,
    super_resolve,
)

SCALE = 4
Image = NDArray[np.uint8]
Sets = dict[str, list[tuple[str, Image, Image]]]  # name, LR and HR of each image of each test set


def test_sets(images: Path | None) -> Sets:
    if images is None:
        items = parse_source({"source": "skimage", "split": "test"}).items()
        return {"skimage": [(pair.name, pair.lr, pair.hr) for pair in pairs(items, SCALE)]}
    found: Sets = {}
    for folder in sorted(images.glob("test/*/x4")):
        files = sorted(folder.glob("*_HR.png"))
        found[folder.parent.name] = [
            (file.stem, read_rgb(file.with_name(file.name.replace("_HR", "_LR"))), read_rgb(file)) for file in files
        ]
    return found


def restore(generator: nn.Module, multiple: int, low: Image) -> Image:
    return to_uint8(super_resolve(generator, to_tensor(low), SCALE, multiple=multiple))


class Judging:
    """Mean scores of a method of restoring images, by judge and test set."""

    def __init__(self, sets: Sets, judges: list[Any]) -> None:
        self.sets = sets
        self.judges = {judge.spec.key: judge for judge in (create_judge(judge, scale=SCALE) for judge in judges)}

    def __call__(self, restored: Any, judges: list[str] | None = None) -> dict[str, float]:
        """Score ``restored(lr)`` of every test image; keys are ``judge, set``."""
        scores: dict[str, float] = {}
        for name, images in self.sets.items():
            outputs = [(to_tensor(restored(low)), to_tensor(high)) for _, low, high in images]
            for key in judges or self.judges:
                judge = self.judges[key]
                scores[f"{key}, {name}"] = float(np.mean([judge.score(*pair).item() for pair in outputs]))
        return scores


def train(trainer: Trainer, folder: Path, label: str, began: float) -> tuple[list[dict[str, Any]], str | None]:
    """Run a training; return its history, and the reason if it ended early."""

    def say(step: int, loss: float) -> None:
        print(f"{time.perf_counter() - began:7.0f} s  {label:28} step {step:6d}  loss {loss:.4f}", flush=True)

    diverged = None
    try:
        trainer.run(folder, checkpoint_every=10**9, progress=say)
    except DivergedError as error:
        diverged = str(error)
    return read_history(folder / "history.jsonl"), diverged


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--images", type=Path)
    parser.add_argument("--generator", default="swinir-tiny")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--patch", type=int, default=64)
    parser.add_argument("--steps", type=int, default=8000)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--finetune-steps", type=int, default=1500)
    parser.add_argument("--fidelity", type=yaml.safe_load, default="perceptual-vgg19_blocks3")
    parser.add_argument("--gan-weight", type=float, default=0.1)
    default = ["patch", "vanilla", "patch-vgg19_blocks3", "vanilla-vgg19_blocks3"]
    parser.add_argument("--discriminators", type=yaml.safe_load, nargs="*", default=default)
    judges = ["psnr_y", "ssim", "dists-vgg19_blocks3"]
    parser.add_argument("--judges", type=yaml.safe_load, nargs="+", default=judges)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    options.output.mkdir(parents=True, exist_ok=True)
    began = time.perf_counter()

    source: Any = {"source": "skimage", "split": "train"}
    if options.images:
        source = {"folder": str(options.images / "train"), "pattern": "**/*.[jp][pn]g"}
    judging = Judging(test_sets(options.images), options.judges)
    spec = GeneratorSpec(name=options.generator)
    multiple = spec.side_multiple(SCALE)
    bicubic = judging(lambda low: bicubic_resize(low, SCALE))
    first = f"psnr_y, {next(iter(judging.sets))}"

    def validate(generator: nn.Module) -> Validated:
        return Validated(judging(lambda low: restore(generator, multiple, low), ["psnr_y"]))

    def validation(steps: int, checks: int) -> Validation:
        return Validation(max(1, steps // checks), first, lower_is_better=False, top=1, score=validate)

    numbers: dict[str, Any] = {
        "torch": torch.__version__,
        "python": platform.python_version(),
        "settings": {key: str(value) for key, value in vars(options).items()},
        "bicubic": bicubic,
    }
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        cache = PairCache.build(parse_source(source).items(), SCALE, work, lr_patch=options.patch // SCALE)
        steps = options.steps
        trainer = Trainer(
            TrainingSpec(
                steps=steps,
                batch=options.batch,
                patch=options.patch,
                learning_rate=options.learning_rate,
                milestones=(steps // 2, steps * 3 // 4, steps * 9 // 10),
                warmup=100,
                log_every=max(1, steps // 80),
            ),
            build_generator(spec, SCALE),
            cache,
            seed=0,
            stream="pixel",
            validation=validation(steps, 20),
        )
        histories = {}
        histories["pixel-only"], diverged = train(trainer, work / "pixel", "pixel-only", began)
        generators = {"pixel-only": trainer.averaged_generator()}
        numbers["pixel-only"] = outcome(judging, generators["pixel-only"], multiple, histories["pixel-only"], diverged)
        for value in options.discriminators:
            discriminator = DiscriminatorSpec.model_validate(value)
            key = discriminator.key
            generator = build_generator(spec, SCALE)
            generator.load_state_dict(generators["pixel-only"].state_dict())
            trainer = Trainer(
                FinetuneSpec(
                    steps=options.finetune_steps,
                    batch=options.batch,
                    patch=options.patch,
                    learning_rate=1e-4,
                    ema=0.99,  # a short run: a longer average would still contain the initial weights
                    log_every=max(1, options.finetune_steps // 60),
                ),
                generator,
                cache,
                seed=0,
                stream="finetune",
                fidelity=Fidelity(create_measure(options.fidelity), None),
                adversarial=Adversarial(build_discriminator(discriminator), objective("bce"), options.gan_weight, 1e-4),
                validation=validation(options.finetune_steps, 8),
            )
            histories[key], diverged = train(trainer, work / key, key, began)
            generators[key] = trainer.averaged_generator()
            numbers[key] = outcome(judging, generators[key], multiple, histories[key], diverged)
            write_json(options.output / "numbers.json", numbers)
    numbers["seconds"] = time.perf_counter() - began
    numbers["histories"] = histories
    write_json(options.output / "numbers.json", numbers)
    draw_curves(histories, bicubic, options.output / "curves.png")
    draw_pictures(judging.sets, generators, multiple, options.output / "pictures.png")
    print(json.dumps({key: value for key, value in numbers.items() if key != "histories"}, indent=1))


def outcome(
    judging: Judging, generator: nn.Module, multiple: int, history: list[dict[str, Any]], diverged: str | None
) -> dict[str, Any]:
    return {
        "scores": judging(lambda low: restore(generator, multiple, low)),
        "diverged": diverged,
        "stability": summarise_stability(history),
    }


def draw_curves(histories: dict[str, list[dict[str, Any]]], bicubic: dict[str, float], path: Path) -> None:
    """Draw PSNR-Y of every training against its steps, and what the discriminators make of the images."""
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(14, 4), layout="constrained")
    names = [key for key in bicubic if key.startswith("psnr_y")]
    for index, name in enumerate(names):
        rows = [row for row in histories["pixel-only"] if f"validation/{name}" in row]
        (line,) = left.plot(
            [row["step"] for row in rows], [row[f"validation/{name}"] for row in rows], marker=".", color=f"C{index}"
        )
        left.axhline(bicubic[name], linestyle="--", color=line.get_color())
        left.annotate(name.removeprefix("psnr_y, "), (rows[-1]["step"], rows[-1][f"validation/{name}"]))
    left.set(title="Pixel loss alone (dashed: bicubic)", xlabel="step", ylabel="PSNR-Y in dB")
    for key, history in histories.items():
        if key == "pixel-only":
            continue
        rows = [row for row in history if f"validation/{names[0]}" in row]
        middle.plot([row["step"] for row in rows], [row[f"validation/{names[0]}"] for row in rows], label=key)
        rows = [row for row in history if "d_accuracy" in row]
        right.plot([row["step"] for row in rows], [row["d_accuracy"] for row in rows], label=key)
    middle.set(title=f"Fine-tuning: {names[0]}", xlabel="step", ylabel="PSNR-Y in dB")
    right.set(title="Fine-tuning: accuracy of the discriminator", xlabel="step", ylim=(0, 1.02))
    right.axhline(0.5, linestyle="--", color="grey")
    if len(histories) > 1:
        middle.legend(frameon=False)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def draw_pictures(sets: Sets, generators: dict[str, nn.Module], multiple: int, path: Path, side: int = 96) -> None:
    """Draw a crop of each of the first images of every test set, where its detail is strongest."""
    chosen = [image for images in sets.values() for image in images[:4]]
    names = ["reference", "bicubic", *generators]
    figure, axes = plt.subplots(
        len(chosen), len(names), figsize=(2.6 * len(names), 2.6 * len(chosen)), layout="constrained", squeeze=False
    )
    for row, (title, low, high) in zip(axes, chosen, strict=True):
        restored = [high, bicubic_resize(low, SCALE)]
        restored += [restore(generator, multiple, low) for generator in generators.values()]
        top, left = busiest(high, side)
        for axis, name, image in zip(row, names, restored, strict=True):
            axis.imshow(image[top : top + side, left : left + side], interpolation="nearest")
            axis.set(xticks=[], yticks=[])
            axis.set_title(f"{name}" + (f"\n{title}" if name == "reference" else ""), fontsize=9)
    figure.savefig(path, dpi=100)
    plt.close(figure)


def busiest(image: Image, side: int) -> tuple[int, int]:
    """Return where the square with the strongest gradients begins."""
    luma = image.mean(2)
    slope = np.abs(np.diff(luma, axis=0))[:, :-1] + np.abs(np.diff(luma, axis=1))[:-1]
    total = np.pad(slope, ((1, 0), (1, 0))).cumsum(0).cumsum(1)
    squares = total[side - 1 :, side - 1 :] - total[: 1 - side, side - 1 :]
    squares = squares - total[side - 1 :, : 1 - side] + total[: 1 - side, : 1 - side]
    top, left = np.unravel_index(squares.argmax(), squares.shape)
    return int(top), int(left)


if __name__ == "__main__":
    main()
