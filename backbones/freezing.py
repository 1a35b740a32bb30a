"""Networks that nothing can train."""

from __future__ import annotations

from collections.abc import Set

from torch import nn


def freeze(network: nn.Module, learning: Set[int] = frozenset()) -> None:
    """Turn the parameters of a network into buffers, except those whose ``id`` is in ``learning``.

    No loop over ``parameters()`` can then make them learn: many trainers switch ``requires_grad`` of all parameters off
    and on again. Programs that shard or flatten parameters leave them alone. The keys of the state dict stay.

    Examples:
        >>> layer = nn.Linear(2, 1)
        >>> freeze(layer)
        >>> list(layer.parameters()), list(layer.state_dict())
        ([], ['weight', 'bias'])
    """
    for part in network.modules():
        for name, parameter in list(part.named_parameters(recurse=False)):
            if id(parameter) not in learning:
                delattr(part, name)
                part.register_buffer(name, parameter.detach())
