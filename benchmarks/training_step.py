"""Where the time of one fine-tuning step goes, and how much of it is outside the networks.

Runs the real trainer on the real image cache and times its sections with a stopwatch; the ratio reported is that of
data loading, logging and everything unnamed to the whole step.

    python benchmarks/training_step.py [--steps 60] [--threads 1] [--device cpu]
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import platform
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import torch

from lopsided.common.sources import parse_source
from lopsided.discriminators import build_discriminator, objective
from lopsided.losses import create_measure
from lopsided.sr import Adversarial, Fidelity, FinetuneSpec, GeneratorSpec, Trainer, build_generator
from lopsided.sr.images import PairCache

SETTINGS = [  # generator, fidelity, discriminator, batch, HR patch
    ("swinir-tiny", None, None, 4, 64),
    ("swinir-tiny", "ssim", "patch", 4, 64),
    ("swinir-tiny", "dists-resnet50-r", "patch", 4, 64),
    ("swinir-tiny", "dists-vgg16-r", "vanilla", 4, 64),
    ("swinir-lightweight", "dists-vgg16-r", "patch", 4, 128),
]
NETWORKS = ("generator", "pixel", "fidelity", "discriminator", "optimiser")


class Stopwatch:
    """Adds up the seconds of named sections; waits for the device at their ends."""

    def __init__(self, device: str) -> None:
        self.device, self.seconds = device, defaultdict[str, float](float)

    @contextlib.contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Time one section."""
        began = time.perf_counter()
        yield
        if self.device.startswith("cuda"):
            torch.cuda.synchronize()
        self.seconds[name] += time.perf_counter() - began


def measure(
    pairs: PairCache, setting: tuple[str, str | None, str | None, int, int], steps: int, device: str
) -> tuple[dict[str, float], float]:
    """Return seconds per step by section, and of the whole step, median over three runs of ``steps`` steps."""
    name, fidelity, discriminator, batch, patch = setting
    watch = Stopwatch(device)
    runs = []
    with tempfile.TemporaryDirectory() as folder:
        spec = FinetuneSpec(steps=5 + 3 * steps, batch=batch, patch=patch, log_every=5, gradient_matching=False)
        adversary = (
            Adversarial(build_discriminator(discriminator), objective("bce"), 0.01, 1e-4) if discriminator else None
        )
        trainer = Trainer(
            spec,
            build_generator(GeneratorSpec(name=name), pairs.scale),
            pairs,
            seed=0,
            stream="benchmark",
            fidelity=Fidelity(create_measure(fidelity), 1.0) if fidelity else None,
            adversarial=adversary,
            device=device,
            section=watch,
        )
        marks: list[tuple[float, dict[str, float]]] = []

        def mark(step: int, _loss: float) -> None:
            if step >= 5 and (step - 5) % steps == 0:  # the first five steps warm up
                marks.append((time.perf_counter(), dict(watch.seconds)))

        trainer.run(Path(folder), checkpoint_every=10**9, progress=mark)
    for (start, before), (end, after) in itertools.pairwise(marks):
        sections = {key: (after[key] - before.get(key, 0.0)) / steps for key in after}
        runs.append((sections, (end - start) / steps))
    keys = runs[0][0].keys()
    sections = {key: statistics.median(run[0].get(key, 0.0) for run in runs) for key in keys}
    return sections, statistics.median(run[1] for run in runs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=60, help="steps per run; three runs a setting")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    python = platform.python_version()
    print(f"torch {torch.__version__}, Python {python}, {options.threads} thread(s), {options.device}")
    print(f"{'generator':20} {'fidelity':18} {'discriminator':14} {'N×HR':>7} {'ms/step':>8} {'images/s':>9}", end="")
    print("".join(f" {name:>13}" for name in ("data", *NETWORKS, "logging", "unnamed")) + "   overhead")
    with tempfile.TemporaryDirectory() as folder:
        items = parse_source({"source": "skimage", "split": "train"}).items()
        pairs = PairCache.build(items, 4, Path(folder))
        for setting in SETTINGS:
            sections, whole = measure(pairs, setting, options.steps, options.device)
            sections["unnamed"] = whole - sum(sections.values())
            outside = whole - sum(sections.get(name, 0.0) for name in NETWORKS)
            name, fidelity, discriminator, batch, patch = setting
            print(f"{name:20} {fidelity or '-':18} {discriminator or '-':14} {batch:>3}×{patch:<3}", end=" ")
            print(f"{1e3 * whole:8.1f} {batch / whole:9.1f}", end="")
            shares = [sections.get(key, 0.0) / whole for key in ("data", *NETWORKS, "logging", "unnamed")]
            print("".join(f" {share:12.1%} " for share in shares) + f" {outside / whole:8.1%}", flush=True)


if __name__ == "__main__":
    main()
