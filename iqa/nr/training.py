"""Training a head, or head and backbone: ridge regression in closed form, or gradient steps."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from .errors import NRDivergedError, NRError
from .features import Progress
from .losses import loss
from .model import Network
from .spec import FineTuned, Frozen

PENALTIES = tuple(10.0 ** (exponent / 2) for exponent in range(-8, 9))  # relative to the mean eigenvalue


def ridge(features: Tensor, labels: Tensor, groups: Tensor, penalty: float | None) -> tuple[Tensor, float]:
    """Return the weights ``(D,)`` that minimise |labels - features · w|² + λ|w|², and λ's ratio to the mean eigenvalue.

    The mean eigenvalue is that of features · featuresᵀ over its rank. The errors on a group that is left out are
    (I - H_gg)⁻¹ r_g, where r are the residuals of the fit to all groups and H_gg is the group's block of the matrix
    that turns labels into fitted values, mean included; no further fit is needed.

    Args:
        features: ``(N, D)`` float64, every column of mean 0.
        labels: ``(N,)`` float64, of mean 0.
        groups: ``(N,)``; rows of one group are left out together.
        penalty: the ratio; None for the one of :data:`PENALTIES` with the smallest squared error of left-out groups.

    Raises:
        NRError: only one group, and no penalty; or features that are all constant.

    Examples:
        >>> features = torch.tensor([[-1.0], [0.0], [1.0]], dtype=torch.float64)
        >>> weights, ratio = ridge(features, 2 * features[:, 0], torch.arange(3), penalty=1.0)
        >>> weights.round(decimals=6).tolist(), ratio
        ([1.0], 1.0)
    """
    u, s, vt = torch.linalg.svd(features, full_matrices=False)
    kept = s > s.max() * max(features.shape) * torch.finfo(s.dtype).eps
    if not kept.any():
        raise NRError("no pooled feature differs between the training images")
    u, s, vt = u[:, kept], s[kept], vt[kept]
    eigenvalues, projected = s.square(), u.T @ labels
    mean = eigenvalues.mean()
    chosen = penalty
    if chosen is None:
        members = [(groups == group).nonzero().flatten() for group in groups.unique()]
        if len(members) < 2:
            raise NRError("a penalty is chosen by leaving out references in turn, but there is 1 to learn from; set it")
        errors = [_left_out(u, eigenvalues, projected, labels, members, float(ratio * mean)) for ratio in PENALTIES]
        chosen = PENALTIES[min(range(len(errors)), key=errors.__getitem__)]
    return vt.T @ (s / (eigenvalues + chosen * mean) * projected), chosen


def _left_out(
    u: Tensor, eigenvalues: Tensor, projected: Tensor, labels: Tensor, members: list[Tensor], penalty: float
) -> float:
    """Return the summed squared error of each group's labels, predicted by the others."""
    shrunk = eigenvalues / (eigenvalues + penalty)
    residual = labels - u @ (shrunk * projected)
    total = 0.0
    for rows in members:
        block = (u[rows] * shrunk) @ u[rows].T + 1 / len(labels)
        identity = torch.eye(len(rows), dtype=u.dtype, device=u.device)
        total += float(torch.linalg.solve(identity - block, residual[rows]).square().sum())
    return total


def descend(
    network: Network,
    protocol: Frozen | FineTuned,
    predict: Callable[[Tensor], Tensor],
    labels: Tensor,
    deviations: Tensor,
    generator: torch.Generator,
    progress: Progress,
) -> None:
    """Train the network's head, and with protocol ``fine_tuned`` its trunk, in place.

    Args:
        network: the network; it stays in evaluation mode, so that normalisation layers keep their statistics and an
            image's score does not depend on its batch.
        protocol: steps, loss, learning rates.
        predict: returns standardised scores ``(B,)`` of the training images with the indices ``(B,)``.
        labels: standardised, ``(N,)`` float32.
        deviations: of the labels, in the same units; NaN where unknown.
        generator: draws the batches.
        progress: called with (steps done, steps in all, loss).

    Raises:
        NRDivergedError: a loss that is not finite.
    """
    groups = [{"params": list(network.head.parameters()), "peak": protocol.learning_rate}]
    if isinstance(protocol, FineTuned):
        groups.append({"params": list(network.trunk.parameters()), "peak": protocol.backbone_learning_rate})
    optimizer = torch.optim.AdamW(groups, lr=protocol.learning_rate, weight_decay=protocol.weight_decay)
    loss_of = loss(protocol.loss, protocol.margin)
    for step in range(protocol.steps):
        for group in optimizer.param_groups:
            group["lr"] = group["peak"] * (1 + math.cos(math.pi * step / protocol.steps)) / 2
        chosen = torch.randperm(len(labels), generator=generator)[: protocol.batch]
        optimizer.zero_grad()
        at = chosen.to(labels.device)
        value = loss_of(predict(chosen), labels[at], deviations[at])
        value.backward()
        optimizer.step()
        number = value.item()
        if not math.isfinite(number):
            raise NRDivergedError(f"the {protocol.loss} loss is {number} at step {step + 1}; lower the learning rates")
        progress(step + 1, protocol.steps, f"loss {number:.4f}")
