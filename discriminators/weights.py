"""A whole discriminator's weights from a file: one of an experiment, or a published one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

from ..common.state_dicts import read_state_dict
from .errors import DiscriminatorError


def load_weights(discriminator: nn.Module, path: Path, key: str) -> None:
    """Fill ``discriminator`` strictly from the file ``path``, without running code from it.

    A ``.pth`` can hold its tensors under ``params``, as basicsr writes them, and can hold only those of the plain
    network, as published discriminators do.

    Args:
        discriminator: what to fill; where it has a ``network``, keys may be those of the network.
        path: ``.safetensors`` or ``.pth`` file.
        key: the discriminator's name, for messages.

    Raises:
        DiscriminatorError: the file is missing or damaged, or does not hold these tensors; names the first of them.
    """
    state = read_state_dict(path, DiscriminatorError, under=("params",))
    network = getattr(discriminator, "network", None)
    if network is not None and not any(name.startswith("network.") for name in state):
        discriminator = network
    own = discriminator.state_dict()
    problem = next(_problems(own, state), None)
    if problem:
        raise DiscriminatorError(f"'{path}' does not hold the weights of discriminator '{key}': {problem}")
    discriminator.load_state_dict(state)


def _problems(own: dict[str, Tensor], state: dict[str, Tensor]) -> Iterator[str]:
    yield from (f"no tensor '{name}'" for name in own if name not in state)
    yield from (f"'{name}' is not one of its tensors" for name in state if name not in own)
    for name, tensor in state.items():
        if tensor.shape != own[name].shape:
            yield f"'{name}' is {tuple(tensor.shape)}, not {tuple(own[name].shape)}"
        if not torch.isfinite(tensor).all():
            yield f"'{name}' is not finite"
