"""Do the discriminators learn? Accuracy on unseen crops after a few hundred steps, by discriminator and objective.

Real images are photographs of scikit-image that are sharp everywhere, generated images are their bicubic ×4
enlargements; left halves are for training, right halves for testing. Every step sees one batch of both kinds, because
batch statistics of one kind alone would reveal the kind. By default the backbones have random weights; keys without
``-r`` use the official ones.

    python benchmarks/discriminators.py [--keys patch unet patch-vgg16-r ...] [--objectives bce hinge ...] [--steps 300]
"""

from __future__ import annotations

import argparse
import time

import skimage.data
import torch
from torch import Tensor

from lopsided.discriminators import (
    DiscriminatorSpec,
    build_discriminator,
    gradient_penalty,
    list_discriminators,
    list_objectives,
    objective,
)
from lopsided.sr import bicubic_resize

PHOTOGRAPHS = ("brick", "grass", "gravel")
BATCH, UNSEEN = 8, 64  # crops of each kind: in a training step, and in the test
Pairs = list[tuple[Tensor, Tensor]]


def photographs() -> tuple[Pairs, Pairs]:
    """Left and right halves of the photographs, each with its enlargement, ``(3, 512, 256)``."""
    halves: tuple[Pairs, Pairs] = ([], [])
    for name in PHOTOGRAPHS:
        pixels = torch.from_numpy(getattr(skimage.data, name)()).float()[:512, :512] / 255
        for side, half in zip(halves, pixels.expand(3, -1, -1).chunk(2, dim=2), strict=True):
            side.append((half, bicubic_resize(bicubic_resize(half, 1 / 4), 4).clamp(0, 1)))
    return halves


def crops(pairs: Pairs, side: int, batch: int, draws: torch.Generator) -> Tensor:
    """Crops of photographs, then of their enlargements at the same places, ``(2 · batch, 3, side, side)``."""
    found: tuple[list[Tensor], list[Tensor]] = ([], [])
    for _ in range(batch):
        pair = pairs[int(torch.randint(len(pairs), (), generator=draws))]
        y, x = (int(torch.randint(size - side + 1, (), generator=draws)) for size in pair[0].shape[1:])
        for images, image in zip(found, pair, strict=True):
            images.append(image[:, y : y + side, x : x + side])
    return torch.stack(found[0] + found[1])


def learn(
    spec: DiscriminatorSpec, name: str, halves: tuple[Pairs, Pairs], *, side: int, steps: int, rate: float
) -> tuple[float, float]:
    """Train a discriminator; return its accuracy on unseen crops, in evaluation mode, and the seconds per step.

    Where an objective has no threshold of its own, it is the median of all logits.
    """
    draws = torch.Generator().manual_seed(0)
    discriminator, losses = build_discriminator(spec), objective(name)
    learnt = [p for p in discriminator.parameters() if p.requires_grad]
    optimiser = torch.optim.Adam(learnt, rate, betas=(0.9, 0.99))
    unseen = crops(halves[1], side, UNSEEN, torch.Generator().manual_seed(1))
    began = time.perf_counter()
    for _ in range(steps):
        images = crops(halves[0], side, BATCH, draws)
        discriminator.begin_step()
        real, fake = discriminator(images).chunk(2)
        loss = losses.discriminator(real, fake)
        if name == "wasserstein":
            sharp, blurred = images.chunk(2)
            loss = loss + 10 * gradient_penalty(discriminator, sharp, blurred, draws)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    seconds = (time.perf_counter() - began) / steps
    with torch.no_grad():
        logits = discriminator.eval()(unseen).mean((1, 2, 3))
    threshold = logits.median() if losses.threshold is None else losses.threshold
    real, fake = (logits > threshold).chunk(2)
    return 0.5 * (real.float().mean() + (~fake).float().mean()).item(), seconds


def main() -> None:
    """Print one row per discriminator and one column per objective."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    own = [key for key in list_discriminators() if key != "none" and ("-" not in key or key.endswith("-r"))]
    parser.add_argument("--keys", nargs="+", default=own)
    parser.add_argument("--objectives", nargs="+", default=["bce"], choices=list_objectives())
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--side", type=int, default=64, help="side of a crop; larger where a discriminator needs it")
    parser.add_argument("--learning-rate", type=float, default=1e-4)
    parser.add_argument("--width", type=int, help="width of patchgan, srgan and unet; default: their papers'")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    halves = photographs()
    print(f"| discriminator | ms per step | {' | '.join(arguments.objectives)} |")
    print(f"|---|---|{'---|' * len(arguments.objectives)}")
    for key in arguments.keys:
        spec = DiscriminatorSpec.model_validate(key)
        if arguments.width and spec.width:
            spec = DiscriminatorSpec.model_validate({**spec.model_dump(), "width": arguments.width})
        cells, times = [], []
        for name in arguments.objectives:
            side = max(arguments.side, spec.min_size)
            accuracy, seconds = learn(
                spec, name, halves, side=side, steps=arguments.steps, rate=arguments.learning_rate
            )
            cells.append(f"{accuracy:.2f}")
            times.append(seconds)
        print(f"| `{key}` | {1e3 * min(times):.0f} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
