"""Training steps and the data path against BasicSR's own trainer, and where the time of a step goes on both sides.

BasicSR runs its real code: the model class from ``build_model``, ``PairedImageDataset`` behind its own data loader, and
the calls that its ``train_pipeline`` makes, logging included. Both sides train the same generator from the same
weights on the same sub-images, with the same VGG-16 (seeded random weights: speed does not depend on their values) and
the same U-Net discriminator, in one process, in turns. Before anything is timed, both do one step on one batch, and
their losses must agree.

    python benchmarks/training.py [--parts step sections data] [--rounds 5] [--stretch 1] [--threads 1] [--device cpu]
                                  [--images FOLDER] [--side 480] [--workers 2] [--only TEXT]

Parts: ``step`` (images/s against BasicSR), ``sections`` (time by section), ``data`` (crops/s without networks).
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import logging
import math
import os
import platform
import statistics
import tempfile
import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from lopsided.backbones import build_extractor
from lopsided.common.basicsr_compat import load_basicsr
from lopsided.common.images import read_rgb
from lopsided.common.sources import parse_source
from lopsided.discriminators import build_discriminator, objective
from lopsided.losses import create_measure
from lopsided.sr import (
    Adversarial,
    Fidelity,
    FinetuneSpec,
    GeneratorSpec,
    PairCache,
    Runtime,
    Trainer,
    build_generator,
    pairs,
)

SCALE = 4
LEARNING_RATE, BETAS, EMA, ADVERSARIAL_WEIGHT = 1e-4, (0.9, 0.99), 0.999, 0.1
# BasicSR's perceptual loss: absolute differences of these layers' features, here with weight 1 each.
PERCEPTUAL = "perceptual-vgg16-r, l1"
LAYERS = ("relu1_2", "relu2_2", "relu3_3", "relu4_3", "relu5_3")
# The generators as options of BasicSR.
SWINIR: dict[str, dict[str, Any]] = {
    "swinir-tiny": {"embed_dim": 32, "depths": [2, 2], "num_heads": [2, 2], "upsampler": "pixelshuffledirect"},
    "swinir-lightweight": {"embed_dim": 60, "depths": [6] * 4, "num_heads": [6] * 4, "upsampler": "pixelshuffledirect"},
    "swinir-classical": {"embed_dim": 180, "depths": [6] * 6, "num_heads": [6] * 6, "upsampler": "pixelshuffle"},
}
# How lopsided runs: precision, channels last.
WAYS: dict[str, tuple[str, bool]] = {
    "fp32": ("fp32", False),
    "fp32, channels last": ("fp32", True),
    "bf16, channels last": ("bf16", True),
}
NETWORKS = ("generator", "pixel", "fidelity", "discriminator", "optimiser")


@dataclass(frozen=True)
class Setting:
    """Generator, fidelity measure, discriminator, crops of a batch and their HR side; and the steps of a round."""

    generator: str
    fidelity: str | None
    discriminator: str | None
    batch: int
    patch: int
    steps: int

    def __str__(self) -> str:
        terms = " + ".join(term for term in ("pixel", self.fidelity, self.discriminator) if term)
        return f"{self.generator}, {terms}, {self.batch}×{self.patch}²"


AGAINST_BASICSR = [
    Setting("swinir-tiny", None, None, 4, 64, 30),
    Setting("swinir-tiny", PERCEPTUAL, "unet", 4, 64, 3),
    Setting("swinir-lightweight", None, None, 4, 128, 3),
    Setting("swinir-lightweight", PERCEPTUAL, None, 4, 128, 1),
    Setting("swinir-lightweight", PERCEPTUAL, "unet", 4, 128, 1),
    Setting("swinir-classical", None, None, 2, 96, 2),
    Setting("swinir-classical", PERCEPTUAL, "unet", 2, 96, 1),
]
OURS_ALONE = [
    Setting("swinir-tiny", "ssim", "patch", 4, 64, 20),
    Setting("swinir-tiny", "dists-resnet50-r", "patch", 4, 64, 5),
    Setting("swinir-tiny", "dists-vgg16-r", "vanilla", 4, 64, 5),
    Setting("swinir-lightweight", "dists-vgg16-r", "patch", 4, 128, 2),
]


def chosen(settings: list[Setting], only: str) -> list[Setting]:
    """Return those whose name has a text in it."""
    return [setting for setting in settings if only in str(setting)]


# --- both trainers ----------------------------------------------------------------------------------------------------


def build_trainer(setting: Setting, cache: PairCache, steps: int, runtime: Runtime, **options: Any) -> Trainer:
    """Return lopsided's trainer; options are the trainer's ``section`` and settings of its spec."""
    section = options.pop("section", lambda _: contextlib.nullcontext())
    spec = FinetuneSpec(
        steps=steps,
        batch=setting.batch,
        patch=setting.patch,
        learning_rate=LEARNING_RATE,
        betas=BETAS,
        ema=EMA,
        gradient_matching=False,
        **options,
    )
    measure, adversarial = None, None
    if setting.fidelity == PERCEPTUAL:
        measure = {"measure": "perceptual", "backbone": "vgg16-r", "distance": "l1", "precision": spec.precision}
    elif setting.fidelity:
        measure = setting.fidelity
    if setting.discriminator:
        discriminator = build_discriminator(setting.discriminator)
        adversarial = Adversarial(discriminator, objective("bce"), ADVERSARIAL_WEIGHT, LEARNING_RATE)
    return Trainer(
        spec,
        build_generator(GeneratorSpec(name=setting.generator), SCALE),
        cache,
        seed=0,
        stream="benchmark",
        fidelity=Fidelity(create_measure(measure), 1.0) if measure else None,
        adversarial=adversarial,
        runtime=runtime,
        section=section,
    )


class BasicSR:
    """BasicSR's trainer, with the weights of one of lopsided's."""

    def __init__(self, setting: Setting, folder: Path, weights: Trainer, device: str, workers: int) -> None:
        from basicsr.data import build_dataloader, build_dataset
        from basicsr.data.data_sampler import EnlargedSampler
        from basicsr.models import build_model
        from basicsr.utils import AvgTimer, MessageLogger

        generator = {"type": "SwinIR", "upscale": SCALE, "img_size": setting.patch // SCALE, "window_size": 8}
        generator |= {"in_chans": 3, "img_range": 1.0, "mlp_ratio": 2, "resi_connection": "1conv"}
        optimiser = {"type": "Adam", "lr": LEARNING_RATE, "weight_decay": 0, "betas": list(BETAS)}
        train: dict[str, Any] = {
            "ema_decay": EMA,
            "optim_g": dict(optimiser),
            "optim_d": dict(optimiser),
            "scheduler": {"type": "MultiStepLR", "milestones": [10**9], "gamma": 0.5},
            "total_iter": 10**9,
            "pixel_opt": {"type": "L1Loss", "loss_weight": 1.0, "reduction": "mean"},
        }
        if setting.fidelity:
            train["perceptual_opt"] = {
                "type": "PerceptualLoss",
                "layer_weights": dict.fromkeys(LAYERS, 1.0),
                "vgg_type": "vgg16",
                "perceptual_weight": 1.0,
                "criterion": "l1",
            }
        if setting.discriminator:
            train["gan_opt"] = {"type": "GANLoss", "gan_type": "vanilla", "loss_weight": ADVERSARIAL_WEIGHT}
        options: dict[str, Any] = {
            "name": "benchmark",
            "model_type": "SRGANModel" if setting.discriminator else "SwinIRModel",
            "scale": SCALE,
            "num_gpu": int(device != "cpu"),
            "is_train": True,
            "dist": False,
            "rank": 0,
            "path": {},
            "network_g": generator | SWINIR[setting.generator],
            "network_d": {"type": "UNetDiscriminatorSN_basicsr", "num_in_ch": 3, "num_feat": 64},
            "train": train,
            "logger": {"print_freq": 1, "use_tb_logger": False},
        }
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*(pretrained|weight enum|meshgrid)")  # BasicSR's old calls
            self.model = build_model(options)
        self._load(weights)
        data = dataset_options(folder, setting, workers)
        dataset = build_dataset(data)
        self.sampler = EnlargedSampler(dataset, 1, 0, data["dataset_enlarge_ratio"])
        self.loader = build_dataloader(dataset, data, num_gpu=1, sampler=self.sampler, seed=0)
        self.logger = MessageLogger(options)
        self.data_timer, self.iter_timer = AvgTimer(), AvgTimer()
        self.epoch, self.iteration = -1, 0
        self.prefetcher: Any = None

    def _load(self, trainer: Trainer) -> None:
        derived = ("attn_mask", "relative_position_index")  # constants of the window and the crop, which it computes
        state = {k: v for k, v in trainer.generator.state_dict().items() if not k.endswith(derived)}
        for network in (self.model.net_g, self.model.net_g_ema):
            keys = network.load_state_dict(state, strict=False)
            assert not keys.unexpected_keys, keys
            assert all(key.endswith(derived) for key in keys.missing_keys), keys
        if trainer.adversarial:
            self.model.net_d.load_state_dict(trainer.adversarial.discriminator.network.state_dict())

    def _next(self) -> Any:
        from basicsr.data.prefetch_dataloader import CPUPrefetcher

        batch = self.prefetcher.next() if self.prefetcher else None
        if batch is None:
            self.epoch += 1
            self.sampler.set_epoch(self.epoch)
            self.prefetcher = CPUPrefetcher(self.loader)
            batch = self.prefetcher.next()
        return batch

    def run(self, steps: int) -> None:
        """Train as ``basicsr.train.train_pipeline`` does, with one line of log at the end."""
        for step in range(steps):
            self.data_timer.start()
            self.iter_timer.start()
            batch = self._next()
            self.data_timer.record()
            self.iteration += 1
            self.model.update_learning_rate(self.iteration, warmup_iter=-1)
            self.model.feed_data(batch)
            self.model.optimize_parameters(self.iteration)
            self.iter_timer.record()
            if step == steps - 1:
                row = {"epoch": self.epoch, "iter": self.iteration, "lrs": self.model.get_current_learning_rate()}
                row |= {"time": self.iter_timer.get_avg_time(), "data_time": self.data_timer.get_avg_time()}
                self.logger(row | self.model.get_current_log())


def dataset_options(folder: Path, setting: Setting, workers: int, suffix: str = "") -> dict[str, Any]:
    """Return BasicSR's options of the data under ``folder``; ``suffix`` is that of its LMDB folders."""
    return {
        "name": "benchmark",
        "type": "PairedImageDataset",
        "phase": "train",
        "scale": SCALE,
        "dataroot_gt": str(folder / f"hr{suffix}"),
        "dataroot_lq": str(folder / f"lr{suffix}"),
        "io_backend": {"type": "lmdb" if suffix else "disk"},
        "gt_size": setting.patch,
        "use_hflip": True,
        "use_rot": True,
        "batch_size_per_gpu": setting.batch,
        "num_worker_per_gpu": workers,
        "dataset_enlarge_ratio": 1000,
    }


# --- agreement --------------------------------------------------------------------------------------------------------


def agreement(setting: Setting, cache: PairCache, folder: Path, device: str) -> str:
    """Do one step on one batch with both, compare the losses and the generator's new weights; return a summary.

    Without stochastic depth, for which the two draw differently.
    """
    trainer = build_trainer(setting, cache, 1, Runtime(device=device))
    with torch.no_grad():  # lopsided clamps images to [0, 1] for all terms except the pixel loss: keep them inside
        for parameter in list(trainer.generator.parameters())[-2:]:
            parameter *= 0.1
    peer = BasicSR(setting, folder, trainer, device, workers=0)
    trainer.generator.eval()
    peer.model.net_g.eval()
    low, high = trainer.batch(0)
    peer.model.feed_data({"lq": low.clone(), "gt": high.clone()})
    peer.model.optimize_parameters(1)
    theirs = peer.model.get_current_log()
    ours = trainer.train_step()
    compared = {"pixel": (ours["pixel"], theirs.get("l_g_pix", theirs.get("l_pix")))}
    if setting.fidelity:
        compared["perceptual"] = (ours["fidelity"], theirs.get("l_g_percep", theirs.get("l_percep")))
    if setting.discriminator:
        compared["adversarial"] = (ADVERSARIAL_WEIGHT * ours["adversarial"], theirs["l_g_gan"])
        compared["discriminator"] = (ours["discriminator"], theirs["l_d_real"] + theirs["l_d_fake"])
    for name, (mine, other) in compared.items():
        assert math.isclose(mine, other, rel_tol=1e-3), f"{setting}: {name} is {mine} here and {other} in BasicSR"
    own = dict(trainer.generator.named_parameters())
    moved = torch.cat([(own[k] - v).abs().flatten() for k, v in peer.model.net_g.named_parameters()])
    losses = ", ".join(f"{name} {mine:.6f} / {other:.6f}" for name, (mine, other) in compared.items())
    # Adam's first step is ± the learning rate, so that only gradients near 0 can give another result.
    return f"losses, ours / BasicSR's: {losses}; weights apart after the step: {(moved > 1e-6).float().mean():.2%}"


# --- parts ------------------------------------------------------------------------------------------------------------


def step(cache: PairCache, folder: Path, options: argparse.Namespace) -> None:
    print(f"\nstep: images/s, medians of {options.rounds} rounds, and median ratio (its range)")
    for setting in chosen(AGAINST_BASICSR, options.only):
        print(f"\n{setting}\n  {agreement(setting, cache, folder, options.device)}", flush=True)
        for way in WAYS:
            ours, theirs = versus(setting, way, cache, folder, options)
            mine, other = (
                setting.batch * setting.steps * options.stretch / np.median(seconds[:, 0]) for seconds in (ours, theirs)
            )
            wall, cpu = (theirs / ours).T
            print(
                f"  {way:20} lopsided {mine:7.2f}, BasicSR (fp32) {other:7.2f}: {spread(wall)}; "
                f"by CPU time {spread(cpu)}",
                flush=True,
            )


def spread(ratios: NDArray[np.float64]) -> str:
    return f"{np.median(ratios):.2f} × ({ratios.min():.2f}-{ratios.max():.2f})"


def versus(
    setting: Setting, way: str, cache: PairCache, folder: Path, options: argparse.Namespace
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return wall and CPU seconds of each round, ours and BasicSR's; they alternate when a window of ours is logged.

    CPU seconds are this process's, which leave other people's programs out: BasicSR's data workers are not in them,
    threads of ours are.
    """
    steps = setting.steps * options.stretch
    total = steps * (options.rounds + 1)
    precision, channels_last = WAYS[way]
    runtime = Runtime(device=options.device, channels_last=channels_last)
    trainer = build_trainer(setting, cache, total, runtime, log_every=steps, precision=precision)
    peer = BasicSR(setting, folder, trainer, options.device, options.workers)
    marks: list[tuple[float, float]] = []

    def mark() -> None:
        marks.append((time.perf_counter(), time.process_time()))

    def take_turns(_step: int, _loss: float) -> None:
        mark()
        peer.run(steps)
        mark()

    with tempfile.TemporaryDirectory() as runs:
        mark()
        trainer.run(Path(runs), checkpoint_every=10**9, progress=take_turns)
    seconds = np.diff(marks, axis=0)
    return seconds[2::2], seconds[3::2]  # the first round of each warms up


class Stopwatch:
    """Adds up seconds by section, of lopsided's trainer (as its ``section``) or of BasicSR's (:meth:`attach`)."""

    def __init__(self, device: str) -> None:
        self.cuda, self.seconds = device.startswith("cuda"), defaultdict[str, float](float)
        self._current, self._since = "", self.now()

    @contextlib.contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Time one section."""
        outer = self._current
        self.begin(name)
        yield
        self.begin(outer)

    def begin(self, name: str) -> None:
        """End the current section, if any, and begin ``name``."""
        now = self.now()
        self.seconds[self._current] += now - self._since
        self._current, self._since = name, now

    def now(self) -> float:
        """Wall seconds on a GPU; on the CPU those of this process, which exclude other programs."""
        if self.cuda:
            torch.cuda.synchronize()
        return time.perf_counter() if self.cuda else time.process_time()

    def attach(self, peer: BasicSR) -> None:
        """Start sections where BasicSR's networks and losses start: forward, and backward by hooks on tensors."""
        model: Any = peer.model

        def entered(name: str) -> Callable[..., None]:
            return lambda *_: self.begin(name)

        def left(name: str, after: str) -> Callable[..., None]:
            def hook(_module: Any, _inputs: Any, output: Tensor | tuple[Tensor, Any]) -> None:
                output = output[0] if isinstance(output, tuple) else output
                if output.requires_grad:
                    output.register_hook(entered(name))  # the gradient has arrived: the backward pass begins
                self.begin(after)

            return hook

        parts = [(model.net_g, "generator", "pixel"), (getattr(model, "cri_perceptual", None), "fidelity", "pixel")]
        parts.append((getattr(model, "net_d", None), "discriminator", "discriminator"))
        for module, name, after in parts:
            if module is not None:
                module.register_forward_pre_hook(entered(name))
                module.register_forward_hook(left(name, after))
        for optimiser in model.optimizers:
            optimiser.register_step_pre_hook(entered("optimiser"))
        # The average of the weights follows the last step of an optimiser; ours counts it there as well.
        fetch, feed = peer._next, model.feed_data

        def next_batch() -> Any:
            self.begin("data")
            return fetch()

        def feed_data(batch: Any) -> None:
            feed(batch)
            self.begin("unnamed")

        peer._next, model.feed_data = next_batch, feed_data


def sections(cache: PairCache, folder: Path, options: argparse.Namespace) -> None:
    names = ("data", *NETWORKS, "logging", "unnamed")
    print(
        f"\nsections: milliseconds of a step (median of {options.rounds}); overhead: all but {', '.join(NETWORKS)}; "
        f"arithmetic, to be compared with {matmul_rate(options.device):.0f} GFLOP/s of a plain matrix product"
    )
    print(" " * 10 + "".join(f"{name:>14}" for name in (*names, "step", "overhead", "GFLOP", "GFLOP/s")))
    for setting in chosen([*AGAINST_BASICSR, *OURS_ALONE], options.only):
        rows = {"lopsided": our_sections(setting, "fp32", cache, options)}
        if setting in AGAINST_BASICSR:
            rows["…, bf16"] = our_sections(setting, "bf16, channels last", cache, options)
            rows["BasicSR"] = their_sections(setting, cache, folder, options)
        print(setting)
        for side, (row, operations) in rows.items():
            whole = sum(row.values())
            overhead = whole - sum(row.get(name, 0.0) for name in NETWORKS)
            values = "".join(f"{1e3 * row.get(name, 0.0):14.1f}" for name in names)
            print(f"{side:10}{values}{1e3 * whole:14.1f}{overhead / whole:14.1%}", end="")
            print(f"{operations / 1e9:14.1f}{operations / 1e9 / whole:14.1f}", flush=True)


def matmul_rate(device: str, side: int = 2048) -> float:
    """Return GFLOP/s of the product of two square float32 matrices, the best of five."""
    watch = Stopwatch(device)
    left, right = torch.rand(2, side, side, device=device)
    seconds = []
    for _ in range(5):
        began = watch.now()
        torch.mm(left, right)
        seconds.append(watch.now() - began)
    return 2e-9 * side**3 / min(seconds)


def arithmetic(run: Callable[[], object]) -> int:
    """Return the floating-point operations of the convolutions and matrix products of ``run``."""
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


def our_sections(
    setting: Setting, way: str, cache: PairCache, options: argparse.Namespace
) -> tuple[dict[str, float], int]:
    """Return seconds of a step by section, and its floating-point operations."""
    watch = Stopwatch(options.device)
    steps = setting.steps * options.stretch
    total = steps * (options.rounds + 1)
    precision, channels_last = WAYS[way]
    runtime = Runtime(device=options.device, channels_last=channels_last)
    trainer = build_trainer(setting, cache, total, runtime, log_every=steps, precision=precision, section=watch)
    marks: list[dict[str, float]] = []

    def mark(_step: int, _loss: float) -> None:
        watch.begin("logging")
        marks.append(dict(watch.seconds))

    with tempfile.TemporaryDirectory() as runs:
        trainer.run(Path(runs), checkpoint_every=10**9, progress=mark)
    return medians(marks, steps), arithmetic(trainer.train_step)


def their_sections(
    setting: Setting, cache: PairCache, folder: Path, options: argparse.Namespace
) -> tuple[dict[str, float], int]:
    watch = Stopwatch(options.device)
    trainer = build_trainer(setting, cache, 1, Runtime(device=options.device))
    peer = BasicSR(setting, folder, trainer, options.device, options.workers)
    watch.attach(peer)
    steps = setting.steps * options.stretch
    marks = []
    for _ in range(options.rounds + 1):
        peer.run(steps)
        watch.begin("")
        marks.append(dict(watch.seconds))
    return medians(marks, steps), arithmetic(lambda: peer.run(1))


def medians(marks: list[dict[str, float]], steps: int) -> dict[str, float]:
    """Return the median seconds per step of each section between marks; the time before the first mark is left out."""
    rounds = [
        {name: (after[name] - before.get(name, 0.0)) / steps for name in after}
        for before, after in itertools.pairwise(marks)
    ]
    seconds = {name: statistics.median(row.get(name, 0.0) for row in rounds) for name in rounds[0]}
    seconds["unnamed"] = seconds.get("unnamed", 0.0) + seconds.pop("", 0.0)
    return seconds


def data(cache: PairCache, folder: Path, options: argparse.Namespace) -> None:
    from basicsr.data import build_dataloader, build_dataset
    from basicsr.utils.lmdb_util import make_lmdb_from_imgs

    for name in ("hr", "lr"):
        files = sorted(path.name for path in (folder / name).iterdir())
        with Path(os.devnull).open("w") as null, contextlib.redirect_stdout(null), contextlib.redirect_stderr(null):
            make_lmdb_from_imgs(
                str(folder / name), str(folder / f"{name}.lmdb"), files, [file.split(".")[0] for file in files]
            )
    for batch, patch in ((16, 96), (16, 192), (16, 256)):
        if patch > options.side:
            continue
        setting = Setting("swinir-tiny", None, None, batch, patch, 1)
        trainer = build_trainer(setting, cache, 1, Runtime(device=options.device, loader_threads=0))
        steps = itertools.count()
        runs: dict[str, Callable[[], object]] = {
            "lopsided": lambda trainer=trainer, steps=steps: trainer.batch(next(steps))
        }
        for name, suffix in (("BasicSR, PNG", ""), ("BasicSR, LMDB", ".lmdb")):
            opt = dataset_options(folder, setting, 0, suffix)
            loader = build_dataloader(build_dataset(opt), opt)
            batches = itertools.chain.from_iterable(itertools.repeat(loader))
            runs[name] = lambda batches=batches: next(batches)
        seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
        for _ in range(options.rounds + 1):
            for name, run in runs.items():
                repeats = 20 if name == "lopsided" else 2
                wall, cpu = time.perf_counter(), time.process_time()
                for _ in range(repeats):
                    run()
                per_crop = 1 / repeats / batch
                seconds[name].append(((time.perf_counter() - wall) * per_crop, (time.process_time() - cpu) * per_crop))
        print(
            f"\ndata: {batch} crops of {patch}² from {len(cache)} sub-images of {options.side}², crops/s and our gain"
        )
        rounds = {name: np.array(values[1:]) for name, values in seconds.items()}
        for name, values in rounds.items():
            wall, cpu = (values / rounds["lopsided"]).T
            rate = 1 / np.median(values[:, 0])
            print(f"  {name:14}{rate:9.0f}   {spread(wall)}; by CPU time {spread(cpu)}", flush=True)


# --- material ---------------------------------------------------------------------------------------------------------


def write_sub_images(source: dict[str, str], side: int, folder: Path) -> None:
    """Cut images into squares, overlapping by half as BasicSR's ``extract_subimages`` does, and write them as PNG."""
    for name in ("hr", "lr"):
        (folder / name).mkdir(parents=True)
    for item in parse_source(source).items():
        image = read_rgb(item.path)
        height, width = image.shape[:2]
        for top, left in itertools.product(
            range(0, height - side + 1, side // 2), range(0, width - side + 1, side // 2)
        ):
            square = image[top : top + side, left : left + side, ::-1]
            cv2.imwrite(str(folder / "hr" / f"{item.name}_{top}_{left}.png"), square, [cv2.IMWRITE_PNG_COMPRESSION, 3])
    for pair in pairs(parse_source({"folder": str(folder / "hr")}).items(), SCALE):
        cv2.imwrite(str(folder / "lr" / f"{pair.name}.png"), pair.lr[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 3])


def write_vgg16() -> None:
    """Write our random VGG-16 to where BasicSR looks for weights before downloading any, below the working folder."""
    from basicsr.archs.vgg_arch import VGG_PRETRAIN_PATH

    state: dict[str, Tensor] = dict(build_extractor("vgg16-r").trunk.state_dict())
    for index, shape in ((0, (4096, 25088)), (3, (4096, 4096)), (6, (1000, 4096))):  # unused, and one number on disk
        state[f"classifier.{index}.weight"] = torch.zeros(1).expand(shape)
        state[f"classifier.{index}.bias"] = torch.zeros(1).expand(shape[0])
    Path(VGG_PRETRAIN_PATH).parent.mkdir(parents=True)
    torch.save(state, VGG_PRETRAIN_PATH)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", default=["step", "sections", "data"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--stretch", type=int, default=1, help="factor of the steps of a round")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--images", help="folder of training images; default: scikit-image's photographs")
    parser.add_argument("--side", type=int, default=480, help="side of the sub-images")
    parser.add_argument("--workers", type=int, default=2, help="BasicSR's num_worker_per_gpu, in steps")
    parser.add_argument("--only", default="", help="settings of step and sections with this in their name")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.backends.cudnn.benchmark = True  # as train_pipeline sets it
    basicsr = load_basicsr()
    print(
        f"torch {torch.__version__}, basicsr {basicsr.__version__}, Python {platform.python_version()}, "
        f"{options.threads} thread(s), {options.device}"
    )
    source = (
        {"folder": str(Path(options.images).resolve())} if options.images else {"source": "skimage", "split": "all"}
    )
    parts = {"step": step, "sections": sections, "data": data}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.chdir(folder)  # BasicSR reads and writes below the working folder
        basicsr.utils.get_root_logger(log_file="train.log")
        handler = logging.getLogger("basicsr").handlers[0]
        assert isinstance(handler, logging.StreamHandler)
        handler.setStream(Path(os.devnull).open("w"))  # noqa: SIM115 - to the end of the process
        write_sub_images(source, options.side, folder)
        write_vgg16()
        cache = PairCache.build(parse_source({"folder": str(folder / "hr")}).items(), SCALE, folder)
        for part in options.parts:
            parts[part](cache, folder, options)
        os.chdir("/")


if __name__ == "__main__":
    main()
