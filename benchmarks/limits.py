"""How far each loss is from what the machine can do: bytes it must move and operations it must do, against peaks.

The peaks are measured in the same process, in turns with the losses: a large matrix product (operations per second) and
a copy of a large tensor (bytes per second, read and written). The bound of a loss is the larger of two times: its least
operations at the peak of the product, and its least bytes at the peak of the copy. ``share`` is bound / measured time:
1.00 could not be faster on this machine with these operations; the rest is temporaries, small operations and Python.

    python benchmarks/limits.py [--sizes 64 256] [--rounds 7] [--keys ssim dists-vgg16-r ...]

Counted are operations of products and convolutions, with torch's counter; where they are products with band matrices,
only the sums that the windows need. Least bytes: image, reference and gradient once, and every feature map once written
and once read in each pass, reference, forward and backward.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from lopsided.losses import FeatureMeasure, Measure, create_measure
from lopsided.losses.gaussian import WIDTH

BATCH = 4
KEYS = (
    *("l1", "charbonnier", "ssim", "ms_ssim", "gmsd", "nlpd"),
    *("lpips-alexnet-r", "lpips-vgg16-r", "dists-vgg16-r", "perceptual-vgg16-r", "style-vgg16-r", "contextual-vgg16-r"),
)
# Of the hand-crafted, per pixel of luma or of three channels: multiplications and additions of the windows, forward and
# backward, in the fewest separable passes. SSIM blurs four maps twice and its gradient as often.
WINDOWS = {
    "ssim": 2 * 4 * 2 * 2 * WIDTH,
    "ms_ssim": 2 * 4 * 2 * 2 * WIDTH * 4 / 3,
    "gmsd": 2 * 2 * 12,
    "nlpd": 2 * 2 * 60,
}


def operations(measure: Measure, step: Callable[[], object], pixels: int) -> float:
    if measure.spec.key in WINDOWS:
        return WINDOWS[measure.spec.key] * pixels
    with FlopCounterMode(display=False) as counter:
        step()
    return counter.get_total_flops()


def least_bytes(measure: Measure, image: Tensor) -> float:
    total = 3 * image.numel()  # image, reference, gradient
    if isinstance(measure, FeatureMeasure):
        with torch.no_grad():
            maps = measure.extractor(image)
        # Twice in each of three passes. Maps within a stage are as large as the one it ends with, where there are any.
        total += 6 * sum(map_.numel() for map_ in maps)
    return 4.0 * total


def rounds_of(runs: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(rounds + 1):
        for name, run in runs.items():
            began = time.process_time()
            run()
            if turn:
                seconds[name].append(time.process_time() - began)
    return {name: statistics.median(values) for name, values in seconds.items()}


def step_of(measure: Measure, image: Tensor, reference: Tensor) -> Callable[[], object]:
    def step() -> None:
        leaf = image.clone().requires_grad_()
        measure(leaf, reference).backward()

    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 256])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--keys", nargs="+", default=list(KEYS))
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, Python {platform.python_version()}, 1 thread, CPU time")
    side, many = 1536, 1 << 24
    left, right, source, target = torch.rand(side, side), torch.rand(side, side), torch.rand(many), torch.empty(many)
    peaks: dict[str, Callable[[], object]] = {
        "product": lambda: torch.mm(left, right),
        "copy": lambda: target.copy_(source),
    }
    for size in options.sizes:
        image, reference = torch.rand(2, BATCH, 3, size, size)
        measures = [create_measure(key) for key in options.keys]
        measures = [measure for measure in measures if measure.spec.min_size <= size]
        steps = {measure.spec.key: step_of(measure, image, reference) for measure in measures}
        seconds = rounds_of(peaks | steps, options.rounds)
        flops, bandwidth = 2 * side**3 / seconds["product"], 8 * many / seconds["copy"]
        print(f"\n{BATCH}×{size}²: product {flops / 1e9:.0f} GFLOP/s, copy {bandwidth / 1e9:.1f} GB/s")
        print(f"{'':24}{'GFLOP':>9}{'MB':>9}{'bound ms':>10}{'ms':>9}{'share':>7}  bound by")
        for measure in measures:
            key = measure.spec.key
            work, moved = operations(measure, steps[key], image.numel() // 3), least_bytes(measure, image)
            by_work, by_bytes = work / flops, moved / bandwidth
            bound = max(by_work, by_bytes)
            print(
                f"{key:24}{work / 1e9:9.3f}{moved / 1e6:9.1f}{1e3 * bound:10.2f}{1e3 * seconds[key]:9.2f}"
                f"{bound / seconds[key]:7.2f}  {'operations' if by_work > by_bytes else 'bytes'}",
                flush=True,
            )


if __name__ == "__main__":
    main()
