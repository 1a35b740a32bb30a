"""How much of a tensor to work on at once.

A CPU that makes a temporary of a whole feature map waits for memory: large allocations are fresh pages each time, and
nothing stays in the cache from one operation to the next. In smaller blocks the same operations run several times
faster. A GPU, or a compiler that fuses operations, prefers the whole tensor.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

BLOCK = 1 << 18  # values; with two or three temporaries of float32 that fills a second-level cache


def sample_blocks(tensor: Tensor) -> Iterator[slice]:
    """Cut the first axis of ``tensor`` into slices of at least one sample."""
    if _whole(tensor):
        yield slice(None)
        return
    many = max(1, BLOCK // tensor[0].numel())
    for start in range(0, len(tensor), many):
        yield slice(start, start + many)


def row_blocks(tensor: Tensor) -> Iterator[tuple[slice, slice]]:
    """Cut the first two axes of ``tensor`` into blocks: several samples with all their rows, or some rows of one."""
    if _whole(tensor):
        yield slice(None), slice(None)
        return
    rows, width = tensor.shape[1:]
    height = max(1, BLOCK // width)
    for sample in sample_blocks(tensor):
        for row in range(0, rows, height):
            yield sample, slice(row, row + height)


def _whole(tensor: Tensor) -> bool:
    # The size must not be read then: a compiler would fix it in the compiled code.
    return tensor.device.type != "cpu" or torch.compiler.is_compiling()
