"""Weights that learn to rank distortions by strength, without a human label."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ...common.images import to_tensor
from ...common.sources import hash_file
from ..ladder import DISTORTIONS, LEVELS, distort
from ..manifest import FRRow, RatedImage
from .errors import NRDivergedError
from .features import Progress, pool
from .initialisation import Trunk
from .losses import rank
from .model import Network
from .pixels import Pixels
from .spec import LinearProbe, NRSpec, SelfSupervised


def sources(rows: Sequence[RatedImage]) -> list[Path]:
    """Return the files to learn from, each content once: the references of ``rows``, or images without reference."""
    files = {}
    for row in rows:
        path = row.reference_path if isinstance(row, FRRow) else row.image_path
        files.setdefault(hash_file(path), path)
    return [files[content] for content in sorted(files)]


def learn_to_rank(
    spec: NRSpec, start: SelfSupervised, trunk: Trunk, files: Sequence[Path], device: str, progress: Progress
) -> None:
    """Train ``trunk``, on ``device``, in place; see :class:`SelfSupervised`.

    Raises:
        ImageError: a file that cannot be read.
        NRDivergedError: a loss that is not finite.
        NRError: an image smaller than the crop.
        SourceError: a distortion that this Pillow cannot make.
    """
    generator, rng = torch.Generator().manual_seed(start.seed), np.random.default_rng(start.seed)
    # All stages are pooled, whichever the model pools, so that models of different stages share these weights.
    pooled = spec.model_copy(update={"stages": "all", "statistics": "mean_std", "protocol": LinearProbe()})
    network = Network(pooled, trunk, generator).to(device)
    optimizer = torch.optim.Adam([*network.head.parameters(), *trunk.parameters()], lr=start.learning_rate)
    pixels = Pixels(start.crop)
    for step in range(start.steps):
        images = torch.cat([_graded(pixels, files, rng) for _ in range(start.batch)]).to(device)
        if step == 0:
            with torch.no_grad():
                network.standardise(pool(trunk(images)))
        optimizer.zero_grad()
        scores = network(images).reshape(start.batch, -1)
        qualities = -torch.arange(scores.shape[1], device=scores.device)
        loss = torch.stack([rank(sequence, qualities, start.margin) for sequence in scores]).mean()
        loss.backward()
        optimizer.step()
        number = loss.item()
        if not math.isfinite(number):
            raise NRDivergedError(f"the ranking loss of self-supervision is {number} at step {step + 1}")
        progress(step + 1, start.steps, f"self-supervised, loss {number:.4f}")
    optimizer.zero_grad()


def _graded(pixels: Pixels, files: Sequence[Path], rng: np.random.Generator) -> Tensor:
    """Return one crop of one photograph, untouched and at every grade of one distortion: ``(6, 3, crop, crop)``."""
    crop = pixels.cut(files[int(rng.integers(len(files)))], rng)
    kind = DISTORTIONS[int(rng.integers(len(DISTORTIONS)))]
    return torch.cat([to_tensor(crop), *(to_tensor(distort(crop, kind, level, rng)) for level in LEVELS)])
