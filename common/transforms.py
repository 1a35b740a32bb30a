"""Code under ``torch.func`` (``grad``, ``vmap``, ``jvp`` …) and forward-mode differentiation."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad


def transformed() -> bool:
    """Return whether ``torch.func`` or forward-mode differentiation is at work, and no compiler.

    They want the operations themselves, in the place of which a hand-written backward pass stands.

    Examples:
        >>> transformed(), torch.func.vmap(lambda x: x * transformed())(torch.ones(1))
        (False, tensor([1.]))
    """
    if torch.compiler.is_compiling():
        return False
    # torch has no public question for either.
    return torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0


def bare(tensor: Tensor) -> Tensor:
    """Return the numbers of a tensor under ``torch.func``: the whole batch under ``vmap``, without derivatives.

    Examples:
        >>> torch.func.vmap(lambda x: x * bare(x).sum())(torch.ones(2))
        tensor([2., 2.])
    """
    functorch: Any = vars(torch._C)["_functorch"]  # public questions there are none
    while functorch.is_functorch_wrapped_tensor(tensor):
        tensor = functorch.get_unwrapped(tensor)
    return tensor
