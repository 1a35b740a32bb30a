"""Restore image tensors of any size with a trained generator: whole, or in overlapping tiles whose seams do not show.

Tiles are cut from the padded image, at multiples of the generator's side multiple, so that the windows of an attention
generator are where they are in the whole image. Two tiles share some pixels: each tile discards the outer 3/8 of them,
where it cannot see beyond its edge; in the quarter in the middle the two are cross-faded. A convolutional generator
therefore gives the same result as on the whole image if its outputs depend on nothing farther away than 3/8 of the
overlap; attention sees farther and comes close (numbers in docs/restore.md).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .errors import SuperResolutionError

Precision = Literal["fp32", "bf16", "fp16"]
DISCARDED, FADED = 3 / 8, 1 / 4  # of the overlap; what one tile discards the other keeps: 2 · 3/8 + 1/4 = 1
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Tiling:
    """How an image is cut; all in LR pixels. The tile bounds the memory, whatever the image's size.

    Attributes:
        tile: largest side of a tile, overlap included; rounded down to a multiple of the generator's side multiple.
        overlap: pixels that neighbouring tiles share, at least.
        batch: tiles that go through the generator together.

    Examples:
        >>> Tiling(tile=100, overlap=16).fitted(8)
        Tiling(tile=96, overlap=16, batch=1)
    """

    tile: int = 192
    overlap: int = 32
    batch: int = 1

    def fitted(self, multiple: int) -> Tiling:
        """Return the tiling with tiles whose sides are multiples of ``multiple``.

        Raises:
            SuperResolutionError: such tiles cannot cover an image; the message says which number to change.
        """
        tile = self.tile // multiple * multiple
        if tile < 1:
            raise SuperResolutionError(f"tile {self.tile}: must be at least {multiple} for this generator")
        if not 0 <= self.overlap <= tile - multiple:
            raise SuperResolutionError(
                f"overlap {self.overlap}: must be between 0 and {tile - multiple} for tiles of {tile}"
            )
        if self.batch < 1:
            raise SuperResolutionError(f"batch {self.batch}: must be at least 1")
        return Tiling(tile, self.overlap, self.batch)


def super_resolve(
    generator: nn.Module,
    images: Tensor,
    scale: int,
    *,
    multiple: int = 8,
    tiling: Tiling | None = None,
    precision: Precision = "fp32",
) -> Tensor:
    """Return the super-resolved images, clamped to [0, 1].

    Sides that are not a multiple of ``multiple`` are reflected at the lower and right border, and the surplus is cut
    off the result.

    Args:
        generator: LR to HR; used in evaluation mode without gradients, and left in the mode it was in.
        images: LR RGB in [0, 1], ``(N, 3, h, w)``.
        scale: the generator's scale.
        multiple: the generator needs sides that are multiples of it (``GeneratorSpec.side_multiple(scale)``).
        tiling: how to cut the images; None takes them whole.
        precision: arithmetic of the generator: fp32, or autocast to bf16 or fp16.

    Returns:
        ``(N, 3, scale·h, scale·w)`` in [0, 1], float32, on the device of ``images``.

    Raises:
        SuperResolutionError: tiles that cannot cover an image, a generator of another scale, too little memory.

    Examples:
        >>> from lopsided.sr import GeneratorSpec, build_generator
        >>> generator = build_generator(GeneratorSpec(name="swinir-tiny"), 2)
        >>> super_resolve(generator, torch.rand(1, 3, 13, 21), 2).shape
        torch.Size([1, 3, 26, 42])
    """
    bands = restored_bands(generator, images, scale, multiple=multiple, tiling=tiling, precision=precision)
    return torch.cat(list(bands), dim=-2).clamp_(0, 1)


def restored_bands(
    generator: nn.Module,
    images: Tensor,
    scale: int,
    *,
    multiple: int,
    tiling: Tiling | None,
    precision: Precision,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Iterator[Tensor]:
    """Yield the result of :func:`super_resolve` in bands from top to bottom, unclamped.

    So the whole result is never in memory as floats. The generator can be on another device than ``images``: only
    tiles are copied there.

    Args:
        generator: as for :func:`super_resolve`, like all other arguments.
        images: LR RGB in [0, 1], ``(N, 3, h, w)``.
        scale: the generator's scale.
        multiple: the generator needs sides that are multiples of it.
        tiling: how to cut the images; None takes them whole.
        precision: arithmetic of the generator.
        progress: called with (tiles done, tiles in all) after each batch.

    Raises:
        SuperResolutionError: as for :func:`super_resolve`.
    """
    height, width = images.shape[-2:]
    pad_h, pad_w = -height % multiple, -width % multiple
    # Reflection needs more pixels than it adds; images smaller than that repeat their border.
    mode = "reflect" if pad_h < height and pad_w < width else "replicate"
    padded = F.pad(images.detach(), (0, pad_w, 0, pad_h), mode=mode)
    tiling = (tiling or Tiling(max(padded.shape[-2:]), 0)).fitted(multiple)
    tops, row_weights = _cut(padded.shape[-2], tiling, multiple, scale)
    lefts, column_weights = _cut(padded.shape[-1], tiling, multiple, scale)
    tile_h, tile_w = min(tiling.tile, padded.shape[-2]), min(tiling.tile, padded.shape[-1])
    corners = [(top, left) for top in tops for left in lefts]

    def restored_tiles() -> Iterator[Tensor]:
        for first in range(0, len(corners), tiling.batch):
            group = corners[first : first + tiling.batch]
            crops = torch.cat([padded[..., top : top + tile_h, left : left + tile_w] for top, left in group])
            yield from _run(generator, crops, scale, precision).chunk(len(group))
            progress(first + len(group), len(corners))

    tiles = restored_tiles()
    shared: Tensor | None = None  # rows of the strip above that this one continues
    for top, next_top, row_weight in zip(tops, [*tops[1:], height], row_weights, strict=True):
        strip = torch.zeros(*images.shape[:2], tile_h * scale, padded.shape[-1] * scale, device=images.device)
        for left, weight in zip(lefts, column_weights, strict=True):
            strip[..., left * scale : (left + tile_w) * scale] += next(tiles) * weight.to(strip)
        strip *= row_weight.to(strip)[:, None]
        if shared is not None:
            strip[..., : shared.shape[-2], :] += shared
        finished = (next_top - top) * scale
        shared = strip[..., finished:, :]
        yield strip[..., :finished, : width * scale]


@torch.inference_mode()
def _run(generator: nn.Module, crops: Tensor, scale: int, precision: Precision) -> Tensor:
    """Restore crops of one size on the generator's device."""
    device = next((parameter.device for parameter in generator.parameters()), crops.device)
    was_training = generator.training
    generator.eval()
    try:
        with torch.autocast(device.type, dtype=DTYPES[precision], enabled=precision != "fp32"):
            restored = generator(crops.to(device)).to(crops.device, torch.float32)
    except torch.cuda.OutOfMemoryError:
        size = f"{len(crops)}×{crops.shape[-1]}×{crops.shape[-2]}"
        raise SuperResolutionError(f"{device} has too little memory for {size} pixels; use smaller tiles") from None
    finally:
        generator.train(was_training)
    expected = (crops.shape[-2] * scale, crops.shape[-1] * scale)
    if restored.shape[-2:] != expected:
        seen = f"{tuple(crops.shape[-2:])} into {tuple(restored.shape[-2:])}"
        raise SuperResolutionError(f"the generator is not ×{scale}: it turns {seen}")
    return restored


def _cut(length: int, tiling: Tiling, multiple: int, scale: int) -> tuple[list[int], Tensor]:
    """Return where tiles begin along an axis, and the weights (tiles, scale · tile) for summing them.

    Tiles are spread evenly; where they overlap, their weights sum to 1.
    """
    tile = min(tiling.tile, length)
    stride = (tiling.tile - tiling.overlap) // multiple * multiple  # overlap at least as asked for
    gaps = math.ceil((length - tile) / stride) if length > tile else 0
    steps = (length - tile) // multiple
    origins = [steps * index // max(gaps, 1) * multiple for index in range(gaps + 1)]
    distance = (torch.arange(tile * scale, dtype=torch.float64) + 0.5) / scale  # to the tile's first edge
    rise = ((distance - DISCARDED * tiling.overlap) / max(FADED * tiling.overlap, 1e-9)).clamp(0, 1)
    weights = rise.minimum(rise.flip(0)).repeat(len(origins), 1)
    weights[0, : tile * scale // 2] = weights[-1, tile * scale // 2 :] = 1  # the image ends here, not only the tile
    total = torch.zeros(length * scale, dtype=torch.float64)
    for origin, weight in zip(origins, weights, strict=True):
        total[origin * scale : (origin + tile) * scale] += weight
    for origin, weight in zip(origins, weights, strict=True):
        weight /= total[origin * scale : (origin + tile) * scale]
    return origins, weights
