"""Full-reference evaluation of a data set against pyiqa's benchmark: pairs per second, one measure and three at once.

A set shaped like KADID-10k is made from scikit-image's photographs: few references, many distortions of each. pyiqa
runs as in its benchmark script: metric by metric, with its own data set and loader (with the prefetching thread, but
without worker processes, whose time would not be measured), one pair at a time; each reference is decoded and passed
through the network again for every pair. Ours opens the manifest and evaluates it. Both sides run in one process, in
turns, on one VGG-16 with seeded random weights and equal channel weights (speed does not depend on their values), and
must agree on every score. The three measures are LPIPS, LPIPS+ and DISTS with max pooling, which share one backbone's
passes.

    python benchmarks/assessment.py [--references 2] [--distortions 25] [--width 512] [--height 384] [--format png]
        [--rounds 3] [--threads 1] [--device cpu] [--parts dists lpips three]

KADID-10k has 81 references × 125 distortions. The bootstrap and its coverage are measured by ``resampling.py``.
"""

from __future__ import annotations

import argparse
import copy
import csv
import logging
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import skimage.data
import torch
import torchvision
from PIL import Image
from torch import nn

from lopsided.backbones import build_extractor
from lopsided.iqa import DISTORTIONS, LEVELS, FRDataset, distort, evaluate_fr, evaluate_fr_group
from lopsided.losses import MeasureGroup, create_measure

Scores = dict[str, list[float]]
PHOTOGRAPHS = ("astronaut", "chelsea", "coffee", "rocket", "immunohistochemistry", "retina")
DISTS = {"measure": "dists", "backbone": "vgg16-r"}
LPIPS = {"measure": "lpips", "backbone": "vgg16-r"}
# Our measures, and pyiqa's metrics with the options that make them the same.
PARTS: dict[str, dict[str, Any]] = {
    "dists": {"dists": (DISTS, {"pretrained": False})},
    "lpips": {"lpips-vgg": (LPIPS, {"pretrained": False, "lpips": False})},
    "three": {
        "lpips-vgg": (LPIPS, {"pretrained": False, "lpips": False}),
        "lpips-vgg+": (LPIPS | {"semantic_layer": "relu3_3"}, {"pretrained": False}),
        "dists": (DISTS | {"pooling": "max"}, {"pretrained": False}),
    },
}


def make_set(folder: Path, references: int, distortions: int, size: tuple[int, int], form: str) -> None:
    """Write images, our manifest and pyiqa's list."""
    rng = np.random.default_rng(0)
    kinds = [(kind, level) for level in LEVELS for kind in DISTORTIONS]
    rows = []
    for index in range(references):
        photograph = Image.fromarray(getattr(skimage.data, PHOTOGRAPHS[index % len(PHOTOGRAPHS)])()).convert("RGB")
        if index >= len(PHOTOGRAPHS):
            photograph = photograph.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        reference = np.asarray(photograph.resize(size, Image.Resampling.LANCZOS))
        Image.fromarray(reference).save(folder / f"r{index}.{form}", quality=95)
        for number in range(distortions):
            kind, level = kinds[number % len(kinds)]
            name = f"r{index}_{number}.{form}"
            Image.fromarray(distort(reference, kind, level, rng)).save(folder / name, quality=95)
            rows.append([name, f"r{index}.{form}", kind, 5 - level])
    with (folder / "manifest.csv").open("w", newline="") as file:
        header = ["image", "reference", "distortion", "label", "label_kind", "label_higher_is_better"]
        csv.writer(file).writerows([header, *([*row, "mos", "true"] for row in rows)])
    with (folder / "pyiqa.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["ref", "dis", "mos"], *([row[1], row[0], row[3]] for row in rows)])


def pyiqa_metrics(part: str, device: str) -> dict[str, Any]:
    """Build pyiqa's metrics as ``create_metric`` does, on our VGG-16 and with equal channel weights."""
    from pyiqa import create_metric

    with torch.device("meta"):
        network = torchvision.models.vgg16(weights=None)
    network = network.to_empty(device="cpu")
    network.load_state_dict(build_extractor("vgg16-r").trunk.state_dict(), strict=False)

    def make(*_: Any, **__: Any) -> nn.Module:
        return copy.deepcopy(network)

    metrics = {}
    with mock.patch.object(torchvision.models, "vgg16", make):
        for name, (_, options) in PARTS[part].items():
            metric = create_metric(name, device=torch.device(device), **options)
            for parameter in ("alpha", "beta"):
                if hasattr(metric.net, parameter):
                    getattr(metric.net, parameter).data.fill_(1)
            for linear in getattr(metric.net, "lins", ()):
                linear.model[-1].weight.data.fill_(1)
            if name == "dists" and part == "three":
                for stage in (metric.net.stage2, metric.net.stage3, metric.net.stage4, metric.net.stage5):
                    stage[0] = nn.MaxPool2d(2, 2)
            metrics[name] = metric
    return metrics


def by_pyiqa(metrics: dict[str, Any], folder: Path, device: str) -> Scores:
    """Score the set as pyiqa's benchmark script does."""
    from pyiqa.data import build_dataloader, build_dataset

    options = {
        "name": "set",
        "type": "GeneralFRDataset",
        "phase": "test",
        "dataroot_target": str(folder),
        "meta_info_file": str(folder / "pyiqa.csv"),
        "num_worker_per_gpu": 0,
        "prefetch_mode": "cpu",
        "num_prefetch_queue": 8,
    }
    scores: Scores = {}
    for name, metric in metrics.items():
        loader = build_dataloader(build_dataset(options), options, num_gpu=0 if device == "cpu" else 1)
        scores[name] = [metric(pair["img"].to(device), pair["ref_img"].to(device)).item() for pair in loader]
    return scores


def by_us(measures: Any, folder: Path, device: str) -> Scores:
    dataset = FRDataset(folder / "manifest.csv")
    if isinstance(measures, MeasureGroup):
        tables = evaluate_fr_group(measures, dataset, device=device)
    else:
        tables = {measures.spec.key: evaluate_fr(measures, dataset, device=device)}
    return {key: table["score"].tolist() for key, table in tables.items()}


def compare(part: str, folder: Path, device: str, rounds: int) -> None:
    metrics = pyiqa_metrics(part, device)
    specs = [measure for measure, _ in PARTS[part].values()]
    ours = (MeasureGroup(specs) if len(specs) > 1 else create_measure(specs[0])).to(device)
    runs: dict[str, Callable[[], Scores]] = {
        "ours": lambda: by_us(ours, folder, device),
        "pyiqa": lambda: by_pyiqa(metrics, folder, device),
    }
    wall: dict[str, list[float]] = {name: [] for name in runs}
    cpu: dict[str, list[float]] = {name: [] for name in runs}
    scores: dict[str, Scores] = {}
    for turn in range(rounds):
        # The second in one round is the first in the next.
        for name in sorted(runs, reverse=bool(turn % 2)):
            began, began_cpu = time.perf_counter(), time.process_time()
            scores[name] = runs[name]()
            wall[name].append(time.perf_counter() - began)
            cpu[name].append(time.process_time() - began_cpu)
    pairs = len(next(iter(scores["ours"].values())))
    off = max(
        abs(mine / theirs - 1)
        for key, other in zip(scores["ours"], scores["pyiqa"], strict=True)
        for mine, theirs in zip(scores["ours"][key], scores["pyiqa"][other], strict=True)
    )
    print(f"\n{part}: {', '.join(PARTS[part])}; {pairs} pairs; the relative difference of scores is at most {off:.1e}")
    if off > 1e-3:
        raise SystemExit("the two sides do not compute the same")
    for clock, seconds in (("CPU", cpu), ("wall", wall)):
        ratios = [theirs / mine for mine, theirs in zip(seconds["ours"], seconds["pyiqa"], strict=True)]
        rates = {name: pairs / statistics.median(values) for name, values in seconds.items()}
        print(
            f"  {clock:5} ours {rates['ours']:7.2f} pairs/s, pyiqa {rates['pyiqa']:7.2f} pairs/s, "
            f"ratio {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--references", type=int, default=2)
    parser.add_argument("--distortions", type=int, default=25)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--height", type=int, default=384)
    parser.add_argument("--format", choices=["png", "jpg"], default="png")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    logging.getLogger("pyiqa").setLevel(logging.ERROR)
    print(
        f"torch {torch.__version__}, Python {platform.python_version()}, {options.threads} thread(s), "
        f"{options.device}; {options.references} references × {options.distortions} distortions, "
        f"{options.width}×{options.height} {options.format}"
    )
    with tempfile.TemporaryDirectory() as folder:
        size = (options.width, options.height)
        make_set(Path(folder), options.references, options.distortions, size, options.format)
        for part in options.parts:
            compare(part, Path(folder), options.device, options.rounds)


if __name__ == "__main__":
    main()
