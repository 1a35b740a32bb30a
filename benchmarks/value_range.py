"""How often a prediction is taken for an image in [-1, 1], rightly and wrongly, and what the check costs.

python benchmarks/value_range.py
"""

import random
import time

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lopsided.common.images import read_rgb, to_tensor
from lopsided.common.sources import SkimageSource
from lopsided.losses import MeasureError, create_measure

SIDE, NETWORKS = 96, 2000
L1 = create_measure("l1")


def crops() -> list[Tensor]:
    """Squares of scikit-image's photographs."""
    images = [to_tensor(read_rgb(item.path)) for item in SkimageSource(split="all").items()]
    return [
        image[..., top : top + SIDE, left : left + SIDE]
        for image in images
        for top in range(0, image.shape[-2] - SIDE + 1, 2 * SIDE)
        for left in range(0, image.shape[-1] - SIDE + 1, 2 * SIDE)
        if image[..., top : top + SIDE, left : left + SIDE].std() > 0.05  # a picture, not sky
    ]


def refused(prediction: Tensor, reference: Tensor) -> bool:
    """Tell whether the loss refuses the pair."""
    try:
        L1(prediction, reference)
    except MeasureError:
        return True
    return False


def blurred(images: Tensor, factor: int) -> Tensor:
    """Reduce and enlarge images."""
    return F.interpolate(F.avg_pool2d(images, factor), scale_factor=factor, mode="bilinear")


def untrained(rng: random.Random) -> nn.Module:
    """Return a network of random depth, activations, gain and bias."""
    layers: list[nn.Module] = []
    channels = 3
    for _ in range(rng.choice([1, 2, 4, 8])):
        width = rng.choice([8, 32])
        activation = rng.choice([nn.ReLU(), nn.LeakyReLU(0.2), nn.GELU(), nn.Tanh()])
        layers += [nn.Conv2d(channels, width, 3, padding=1), activation]
        channels = width
    last = nn.Conv2d(channels, 3, 3, padding=1)
    with torch.no_grad():
        last.weight *= rng.choice([0.3, 1, 3])
        if rng.random() < 0.3:
            nn.init.uniform_(last.bias, -1, 1)  # pyright: ignore[reportArgumentType] - it has one
    return nn.Sequential(*layers, last)


@torch.no_grad()
def main() -> None:
    """Print the counts and the times."""
    torch.manual_seed(0)
    rng, images = random.Random(0), crops()
    rng.shuffle(images)
    restorations = {
        "the reference itself": lambda r: r,
        "blurred 4 times": lambda r: blurred(r, 4),
        "blurred 8 times": lambda r: blurred(r, 8),
        "with noise of 0.1": lambda r: (r + 0.1 * torch.randn_like(r)).clamp(0, 1),
    }
    for name, restore in restorations.items():
        for size in (1, 4):
            batches = [torch.cat(images[i : i + size]) for i in range(0, len(images) - size + 1, size)]
            found = sum(refused(2 * restore(batch) - 1, batch) for batch in batches)
            print(f"in [-1, 1], {name}, batches of {size}: {found} of {len(batches)} refused")
    wrong = 0
    for _ in range(NETWORKS):
        batch = torch.cat(rng.sample(images, rng.choice([1, 4, 16])))[
            ..., : rng.choice([32, SIDE]), : rng.choice([32, SIDE])
        ]
        network = untrained(rng)
        wrong += refused(network(batch) + (batch if rng.random() < 0.3 else 0), batch)
    print(f"untrained networks: {wrong} of {NETWORKS} refused")
    for side in (64, 128, 256):
        reference = torch.rand(4, 3, side, side)
        times = {}
        for name, value in (("within", -0.04), ("overshoot", -0.1)):
            prediction = reference.clone()
            prediction[0, 0, 0, 0] = value
            seconds = []
            for _ in range(9):
                began = time.process_time()
                for _ in range(20):
                    L1(prediction, reference)
                seconds.append((time.process_time() - began) / 20)
            times[name] = min(seconds) * 1e3
        print(
            f"l1, 4×3×{side}×{side}: {times['within']:.3f} ms, {times['overshoot']:.3f} ms with overshoot below -0.05"
        )


if __name__ == "__main__":
    main()
