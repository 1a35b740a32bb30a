"""Whether torch is about to do more with an operation than run it and differentiate it backwards."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd import forward_ad


def transformed() -> bool:
    """Return whether code is compiled, or under ``torch.func`` or forward-mode differentiation.

    A hand-written backward pass stands in the way of these: they want the operations themselves.

    Examples:
        >>> transformed(), torch.func.vmap(lambda x: x * transformed())(torch.ones(1))
        (False, tensor([1.]))
    """
    return (
        torch.compiler.is_compiling()
        or torch._C._are_functorch_transforms_active()
        or forward_ad._current_level >= 0  # torch has no public question for either
    )


def bare(tensor: Tensor) -> Tensor:
    """Return the numbers of a tensor under ``torch.func``: the whole batch under ``vmap``, without derivatives.

    Examples:
        >>> torch.func.vmap(lambda x: x * bare(x).sum())(torch.ones(2))
        tensor([2., 2.])
    """
    while torch._C._functorch.is_functorch_wrapped_tensor(tensor):
        tensor = torch._C._functorch.get_unwrapped(tensor)
    return tensor
