"""Training by several processes: which process computes what, and how gradients are summed. Without torchrun: one.

The micro-batches of a step are divided among the processes, and everything random belongs to a micro-batch, not to a
process; so the number of processes changes the order of sums and nothing else.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from .errors import SuperResolutionError

T = TypeVar("T")


@dataclass(frozen=True)
class Ranks:
    """This process among those that train together.

    Attributes:
        index: its number; process 0 writes the files.
        count: how many there are.
    """

    index: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Whether this process writes history, checkpoints and results."""
        return self.index == 0

    def share(self, micro_batches: int) -> range:
        """Return the micro-batches of a step that this process computes.

        Raises:
            SuperResolutionError: they cannot be divided evenly.
        """
        if micro_batches % self.count:
            raise SuperResolutionError(
                f"{self.count} processes cannot share {micro_batches} micro-batch(es) per step; set micro_batches to a "
                f"multiple of {self.count} (it is part of the result's identity, the number of processes is not)"
            )
        return range(self.index, micro_batches, self.count)

    def sum_(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its sum over the processes, in one exchange per dtype."""
        if self.count == 1:
            return
        for dtype in sorted({tensor.dtype for tensor in tensors}, key=str):
            group = [tensor for tensor in tensors if tensor.dtype == dtype]
            flat = torch.cat([tensor.reshape(-1) for tensor in group])
            dist.all_reduce(flat)
            for tensor, part in zip(group, flat.split([tensor.numel() for tensor in group]), strict=True):
                tensor.copy_(part.view(tensor.shape))

    def agreed(self, value: T) -> T:
        """Return process 0's value in every process, once all processes have called this."""
        if self.count == 1:
            return value
        holder = [value]
        dist.broadcast_object_list(holder, src=0)
        return holder[0]


def current_ranks() -> Ranks:
    """Return this process's place in the process group, if there is one."""
    return Ranks(dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else Ranks()


def join_torchrun(device: str) -> tuple[Ranks, str]:
    """Join the processes that torchrun started, if it did.

    Args:
        device: cpu, or cuda for the GPU of this process's local rank.

    Returns:
        This process's place among them, and its own device.

    Raises:
        SuperResolutionError: one GPU named for several processes, or a device on which they cannot share work.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or "RANK" not in os.environ:
        return Ranks(), device
    if device not in ("cpu", "cuda"):
        raise SuperResolutionError(f"under torchrun the device is cpu or cuda (one GPU per process), got '{device}'")
    if device == "cuda":
        device = f"cuda:{os.environ['LOCAL_RANK']}"
        torch.cuda.set_device(device)
    if not dist.is_initialized():
        dist.init_process_group("gloo" if device == "cpu" else "nccl")
    return current_ranks(), device
