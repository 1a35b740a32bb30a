"""Losses against other packages, and perceptual ones against the floor, which is the cost of the bare VGG-16.

All sides run in one process, in turns, with the same VGG-16 (seeded random weights: speed does not depend on their
values) and the same images; ratios of medians are reported, of CPU time on the CPU. The floor is the three passes that
every perceptual loss needs: the reference without gradient, the prediction with gradient, and back to the image.

    python benchmarks/losses.py [--sizes 64 128 256] [--rounds 5] [--threads 1] [--device cpu] [--parts train eval ...]

Parts: ``train`` (forward and backward, batch 4), ``eval`` (one reference, many images), ``group`` (several measures on
one backbone), ``bf16`` (agreement with float32; a pretrained VGG-19 too where LOPSIDED_WEIGHTS has one),
``handcrafted`` (SSIM, MS-SSIM, GMSD and NLPD, forward and backward, batch 4; peers that are not installed are left
out: pytorch-msssim, kornia).
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import importlib
import platform
import statistics
import time
from collections.abc import Callable
from typing import Any
from unittest import mock

import numpy as np
import skimage.data
import torch
import torchvision
from torch import Tensor, nn

from lopsided.backbones import BackboneError, build_extractor
from lopsided.common.images import to_tensor
from lopsided.losses import DISTS, DistsSpec, MeasureGroup, create_measure
from lopsided.losses.luma import studio_luma
from lopsided.sr import bicubic_resize

Loss = Callable[[Tensor, Tensor], Tensor]
BATCH = 4
GROUP = [
    "perceptual-vgg16-r",
    "style-vgg16-r",
    "lpips-vgg16-r",
    {"measure": "dists", "backbone": "vgg16-r", "pooling": "max"},
]


def vgg16() -> nn.Module:
    """Return torchvision's VGG-16 with our seeded weights."""
    with torch.device("meta"):
        network = torchvision.models.vgg16(weights=None)
    network = network.to_empty(device="cpu")
    network.load_state_dict(build_extractor("vgg16-r").trunk.state_dict(), strict=False)
    return network.eval().requires_grad_(False)


def peers(device: str) -> dict[str, Loss]:
    """Return the other packages' losses, called as their users call them, with frozen weights where possible."""
    network = vgg16()
    alpha_beta = {name: torch.rand(1, 1475, 1, 1) for name in ("alpha", "beta")}
    linear = {f"lin{i}": torch.rand(1, c, 1, 1) for i, c in enumerate((64, 128, 256, 512, 512))}

    def make(*_: Any, **__: Any) -> nn.Module:
        return copy.deepcopy(network)

    def download(url: str, **_: Any) -> Any:
        return alpha_beta if "dists" in url else list(linear.values())

    dists_pytorch, pyiqa_dists, pyiqa_lpips, piq, lpips_networks, lpips = (
        importlib.import_module(name)
        for name in (
            "DISTS_pytorch.DISTS_pt",
            "pyiqa.archs.dists_arch",
            "pyiqa.archs.lpips_arch",
            "piq",
            "lpips.pretrained_networks",
            "lpips",
        )
    )
    with (
        mock.patch.object(dists_pytorch.models, "vgg16", make),
        mock.patch.object(lpips_networks.tv, "vgg16", make),
        mock.patch.object(piq.perceptual, "vgg16", make),
        mock.patch.object(torch.hub, "load_state_dict_from_url", download),
    ):
        built: dict[str, Any] = {
            "DISTS_pytorch": dists_pytorch.DISTS(load_weights=False),
            "pyiqa dists": pyiqa_dists.DISTS(pretrained=False),
            "piq DISTS": piq.DISTS(),
            "lpips package": lpips.LPIPS(net="vgg", pnet_rand=True, verbose=False),
            "pyiqa lpips": pyiqa_lpips.LPIPS(net="vgg", pretrained=False),
        }
    for loss in built.values():
        loss.to(device).eval().requires_grad_(False)
    return {
        "DISTS_pytorch": lambda x, y: built["DISTS_pytorch"](x, y, require_grad=True, batch_average=True),
        "pyiqa dists": lambda x, y: built["pyiqa dists"](x, y).mean(),
        "piq DISTS": lambda x, y: built["piq DISTS"](x.clamp(0, 1), y),
        "lpips package": lambda x, y: built["lpips package"](x, y, normalize=True).mean(),
        "pyiqa lpips": lambda x, y: built["pyiqa lpips"](x, y).mean(),
    }


def floor(device: str, memory_format: torch.memory_format, dtype: torch.dtype = torch.float32) -> Loss:
    """Return the bare backbone up to relu5_3."""
    layers = nn.Sequential(*list(vgg16().get_submodule("features").children())[:30])
    layers.to(device, dtype=dtype, memory_format=memory_format)  # type: ignore[call-overload]

    def run(x: Tensor, y: Tensor) -> Tensor:
        with torch.no_grad():
            layers(y.to(dtype).contiguous(memory_format=memory_format))
        return layers(x.to(dtype).contiguous(memory_format=memory_format)).sum()

    return run


def ours(device: str, **options: Any) -> Any:
    return DISTS(DistsSpec.model_validate({"backbone": "vgg16-r", **options})).to(device)


def photographs(size: int, device: str) -> tuple[Tensor, Tensor]:
    """Return enlarged and original crops, as super-resolution compares them."""
    crops = [np.roll(skimage.data.astronaut(), (-top, -100), (0, 1))[:size, :size] for top in (0, 60, 120, 180)]
    low = [bicubic_resize(crop[::4, ::4].copy(), 4) for crop in crops]
    return tuple(torch.cat([to_tensor(c.copy()) for c in images]).to(device) for images in (low, crops))  # type: ignore[return-value]


def interleaved(candidates: dict[str, Callable[[], object]], rounds: int, device: str) -> dict[str, float]:
    """Return median seconds of each candidate over ``rounds`` rounds in which each runs once, after a warm-up."""
    clock = time.process_time if device == "cpu" else time.perf_counter  # other programs take no CPU time of ours
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for turn in range(rounds + 1):
        for name, run in candidates.items():
            wait(device)
            began = clock()
            run()
            wait(device)
            if turn:
                seconds[name].append(clock() - began)
    return {name: statistics.median(values) for name, values in seconds.items()}


def wait(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def report(title: str, seconds: dict[str, float], against: str) -> None:
    print(f"\n{title}\n{'':28}{'ms':>9}{'ratio':>8}   (ratio to: {against})")
    for name, value in seconds.items():
        print(f"{name:28}{1e3 * value:9.1f}{value / seconds[against]:8.2f}", flush=True)


def train(sizes: list[int], rounds: int, device: str) -> None:
    measure, lpips = ours(device), create_measure("lpips-vgg16-r").to(device)
    losses: dict[str, Loss] = {
        "floor, contiguous": floor(device, torch.contiguous_format),
        "floor, channels_last": floor(device, torch.channels_last),
        "floor, bf16": floor(device, torch.channels_last, torch.bfloat16),
        "lopsided DISTS": measure,
        "lopsided DISTS, bf16": ours(device, precision="bf16"),
        "lopsided LPIPS": lpips,
        **peers(device),
    }
    for size in sizes:
        image, reference = photographs(size, device)
        prepared = measure.prepare(reference)
        runs = {name: _step(loss, image, reference) for name, loss in losses.items()}
        runs["lopsided DISTS, cached"] = _step(measure, image, prepared)
        report(
            f"train: forward and backward, {BATCH}×{size}²", interleaved(runs, rounds, device), "floor, channels_last"
        )


def _step(loss: Any, image: Tensor, reference: Any) -> Callable[[], object]:
    def run() -> None:
        leaf = image.clone().requires_grad_()
        loss(leaf, reference).backward()

    return run


def evaluate(sizes: list[int], rounds: int, device: str) -> None:
    measure, others = ours(device), peers(device)
    for size in sizes:
        image, reference = photographs(size, device)
        prepared = measure.prepare(reference[:1])

        def score(loss: Any, image: Tensor = image, reference: Any = reference) -> Callable[[], object]:
            def run() -> None:
                with torch.inference_mode():
                    loss(image, reference)

            return run

        runs = {
            "lopsided, cached": score(measure.score, reference=prepared),
            "lopsided": score(measure.score),
            **{name: score(loss) for name, loss in others.items() if "lpips" not in name},
        }
        report(f"eval: {BATCH} images of one reference, {size}²", interleaved(runs, rounds, device), "lopsided, cached")


def group(sizes: list[int], rounds: int, device: str) -> None:
    together = MeasureGroup(GROUP).to(device)
    alone = {key: create_measure(measure.spec).to(device) for key, measure in together.measures.items()}
    for size in sizes:
        image, reference = photographs(size, device)

        def every(images: Tensor, references: Tensor) -> Tensor:
            return torch.stack(list(together(images, references).values())).sum()

        runs = {key: _step(measure, image, reference) for key, measure in alone.items()}
        name = f"{len(GROUP)} in a group"
        runs[name] = _step(every, image, reference)
        seconds = interleaved(runs, rounds, device)
        report(f"group: forward and backward, {BATCH}×{size}²", seconds, next(iter(alone)))
        singles = [seconds[key] for key in alone]
        print(
            f"{name}: {seconds[name] / max(singles):.2f} × the slowest alone, {seconds[name] / sum(singles):.2f} × all"
        )


def handcrafted_peers() -> dict[str, dict[str, Loss]]:
    """Return the other packages' losses by ours: what is compared has the same window, scales and colours."""
    import piq
    import pyiqa
    from torchmetrics.functional.image import (
        multiscale_structural_similarity_index_measure as multiscale,
    )
    from torchmetrics.functional.image import structural_similarity_index_measure as single

    def pyiqa_loss(name: str, **options: Any) -> Loss:
        loss = pyiqa.create_metric(name, as_loss=True, device="cpu", **options)
        return lambda x, y: loss(x, y).mean()

    one = {
        "piq": lambda x, y: piq.ssim(x, y, downsample=False),
        "torchmetrics": lambda x, y: single(x, y, data_range=1.0),
    }
    several = {
        "piq": piq.multi_scale_ssim,
        "torchmetrics": lambda x, y: multiscale(x, y, data_range=1.0),
    }
    with contextlib.suppress(ImportError):
        import pytorch_msssim  # pyright: ignore[reportMissingImports]

        one["pytorch_msssim"] = lambda x, y: pytorch_msssim.ssim(x, y, data_range=1.0)
        several["pytorch_msssim"] = lambda x, y: pytorch_msssim.ms_ssim(x, y, data_range=1.0)
    with contextlib.suppress(ImportError):
        from kornia.metrics import ssim  # pyright: ignore[reportMissingImports]

        one["kornia"] = lambda x, y: ssim(x, y, 11, padding="valid").mean()

    def in_range(losses: dict[str, Loss]) -> dict[str, Loss]:
        return {name: lambda x, y, loss=loss: loss(x.clamp(0, 1), y) for name, loss in losses.items()}

    def of_luma(losses: dict[str, Loss]) -> dict[str, Loss]:
        return {name: lambda x, y, loss=loss: loss(studio_luma(x), studio_luma(y)) for name, loss in losses.items()}

    one, several = in_range(one), in_range(several)
    return {
        "ssim rgb": one | {"pyiqa": pyiqa_loss("ssimc")},
        "ssim luma": of_luma(one) | {"pyiqa": pyiqa_loss("ssim", color_space="ycbcr")},
        "ms_ssim rgb": several,
        "ms_ssim luma": of_luma(several) | {"pyiqa": pyiqa_loss("ms_ssim", color_space="ycbcr")},
        "gmsd": in_range({"piq": piq.gmsd}) | {"pyiqa": pyiqa_loss("gmsd")},
        "nlpd": {"pyiqa": pyiqa_loss("nlpd")},
    }


def handcrafted(sizes: list[int], rounds: int, device: str) -> None:
    for name, losses in handcrafted_peers().items():
        key, *color = name.split()
        options = {"measure": key} | ({"color": color[0]} if color else {})
        ours = create_measure(options)
        for size in sizes:
            if size < ours.spec.min_size:
                continue
            image, reference = photographs(size, device)
            runs = {
                other: _step(loss, image, reference) for other, loss in ({"lopsided": ours.to(device)} | losses).items()
            }
            seconds = interleaved(runs, rounds, device)
            fastest = min(losses, key=seconds.__getitem__)
            report(f"{name}: forward and backward, {BATCH}×{size}²", seconds, fastest)


def bf16(device: str) -> None:
    print(
        "\nbf16 against float32 (128², enlarged photographs): relative difference of the loss, cosine of the gradient"
    )
    image, reference = photographs(128, device)
    # A quarter of a grey level of noise: how far the float32 gradient itself turns.
    noise = 1e-3 * torch.randn(image.shape, generator=torch.Generator().manual_seed(0)).to(device)
    for backbone in ("vgg16-r", "alexnet-r", "vgg19_blocks3-r", "vgg19_blocks3"):
        try:
            full, half = (ours(device, backbone=backbone, precision=p) for p in ("fp32", "bf16"))
        except BackboneError as error:
            print(f"{backbone:20} not measured: {str(error)[:80]}…")
            continue
        values, gradients = zip(
            *(_loss_and_gradient(m, x, reference) for m, x in ((full, image), (half, image), (full, image + noise))),
            strict=True,
        )
        turned = [torch.cosine_similarity(gradients[0], g, dim=0).item() for g in gradients[1:]]
        print(
            f"{backbone:20} loss {abs(values[1] / values[0] - 1):.2%}, gradient {turned[0]:.4f} "
            f"(float32 with 1e-3 of noise on the image: {turned[1]:.4f})"
        )


def _loss_and_gradient(loss: Any, image: Tensor, reference: Tensor) -> tuple[float, Tensor]:
    leaf = image.clone().requires_grad_()
    value = loss(leaf, reference)
    value.backward()
    return value.item(), torch.autograd.grad(loss(leaf, reference), leaf)[0].flatten()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 128, 256])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--parts", nargs="+", default=["train", "eval", "group", "bf16"])
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(
        f"torch {torch.__version__}, Python {platform.python_version()}, {options.threads} thread(s), {options.device}"
    )
    parts: dict[str, Callable[..., None]] = {
        "train": train,
        "eval": evaluate,
        "group": group,
        "handcrafted": handcrafted,
    }
    for part in options.parts:
        if part == "bf16":
            bf16(options.device)
        else:
            parts[part](options.sizes, options.rounds, options.device)


if __name__ == "__main__":
    main()
