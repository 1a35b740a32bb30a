"""Our SwinIR against basicsr's: the same weights and images, in one process, in turns.

    python benchmarks/swinir.py [--presets tiny lightweight classical] [--rounds 9] [--side 48] [--batch 2]
        [--threads 1] [--device cpu] [--parts train eval] [--types float32 bfloat16]

``train`` is a forward and a backward pass in training mode, ``eval`` a forward pass in evaluation mode under
``inference_mode``. A round times both sides once, in alternating order. The output has the medians, and the median,
smallest and largest ratio of a round (above 1: ours is faster). ``--clock cpu`` counts CPU seconds of the process, for
shared machines.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn

from lopsided.common.basicsr_compat import load_basicsr
from lopsided.sr import GeneratorSpec, build_generator

SIZES = {
    "tiny": {"embed_dim": 32, "depths": (2,) * 2, "num_heads": (2,) * 2, "upsampler": "pixelshuffledirect"},
    "small": {"embed_dim": 48, "depths": (4,) * 2, "num_heads": (4,) * 2, "upsampler": "pixelshuffledirect"},
    "lightweight": {"embed_dim": 60, "depths": (6,) * 4, "num_heads": (6,) * 4, "upsampler": "pixelshuffledirect"},
    "classical": {"embed_dim": 180, "depths": (6,) * 6, "num_heads": (6,) * 6, "upsampler": "pixelshuffle"},
}


def pair(preset: str, side: int, device: str) -> tuple[nn.Module, nn.Module]:
    """Return ours and basicsr's ×4 network with equal weights; basicsr's has its masks ready for the size."""
    load_basicsr()
    from basicsr.archs.swinir_arch import SwinIR

    ours = build_generator(GeneratorSpec(name=f"swinir-{preset}"), 4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = SwinIR(upscale=4, img_size=side, window_size=8, mlp_ratio=2, **SIZES[preset])
    theirs.load_state_dict(ours.state_dict(), strict=False)
    return ours.to(device), theirs.to(device)


def run(network: nn.Module, images: Tensor, dtype: torch.dtype, *, train: bool) -> None:
    """Make one pass, or two."""
    with (
        torch.inference_mode(not train),
        torch.autocast(images.device.type, torch.bfloat16, enabled=dtype == torch.bfloat16),
    ):
        restored = network(images)
    if train:
        restored.float().square().mean().backward()


def compare(
    networks: tuple[nn.Module, nn.Module],
    images: Tensor,
    dtype: torch.dtype,
    *,
    train: bool,
    rounds: int,
    clock: Callable[[], float],
) -> str:
    """Time both networks in turns."""

    def timed(network: nn.Module) -> float:
        start = clock()
        run(network, images, dtype, train=train)
        if images.is_cuda:
            torch.cuda.synchronize()
        return clock() - start

    seconds: tuple[list[float], list[float]] = ([], [])
    for index in range(-1, rounds):  # the first warms up
        for side in (0, 1) if index % 2 else (1, 0):
            took = timed(networks[side].train(train))
            if index >= 0:
                seconds[side].append(took)
    ratios = sorted(theirs / ours for ours, theirs in zip(*seconds, strict=True))
    ours, theirs = (statistics.median(side) * 1e3 for side in seconds)
    spread = f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
    return f"| {ours:.1f} ms | {theirs:.1f} ms | {spread} |"


def main() -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--presets", nargs="+", choices=SIZES, default=["tiny", "lightweight", "classical"])
    parser.add_argument("--parts", nargs="+", choices=["train", "eval"], default=["train", "eval"])
    parser.add_argument("--types", nargs="+", choices=["float32", "bfloat16"], default=["float32", "bfloat16"])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--side", type=int, default=48, help="of the LR images, a multiple of 8")
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    device = arguments.device
    name = torch.cuda.get_device_name() if device.startswith("cuda") else platform.processor() or platform.machine()
    print(
        f"torch {torch.__version__}, {name}, {arguments.threads} thread(s), {arguments.batch} images of "
        f"{arguments.side} px, {arguments.rounds} rounds, {arguments.clock} clock\n"
    )
    print("| preset | type | part | ours | basicsr | ratio (spread) |\n|---|---|---|---|---|---|")
    clock = time.process_time if arguments.clock == "cpu" else time.perf_counter
    for preset in arguments.presets:
        networks = pair(preset, arguments.side, device)
        images = torch.rand(arguments.batch, 3, arguments.side, arguments.side, device=device)
        for part in arguments.parts:
            for dtype in arguments.types:
                row = compare(
                    networks,
                    images,
                    getattr(torch, dtype),
                    train=part == "train",
                    rounds=arguments.rounds,
                    clock=clock,
                )
                print(f"| {preset} | {dtype} | {part} {row}", flush=True)


if __name__ == "__main__":
    main()
