"""How well conditioned a measure is near its optimum, from products of its Hessian with vectors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..measure import Measure
from .readings import Reading, dot, gradients

NEAR = 2 / 255  # standard deviation of the noise that is added to the references: at the tip of a cone is no Hessian
# Root mean square of the step of finite differences. With rectifiers, shorter steps see noise where a gradient jumps;
# this one smooths, and finds largest eigenvalues up to 3.5 times smaller than second derivatives do.
STEP = 1e-3

Product = Callable[[Tensor], Tensor]


def curvature(
    measure: Measure[Any], references: Tensor, generator: torch.Generator, *, power_steps: int = 10, probes: int = 4
) -> list[Reading]:
    """Return how the loss curves at references with a little noise (of 2 grey levels).

    With H the Hessian of the loss of one image of d values:

    - ``largest eigenvalue``: by power iteration, the one of the largest size; it can be negative;
    - ``mean eigenvalue``: trace(H) / d, by Hutchinson's estimator (Communications in Statistics 1989);
    - ``largest over mean``: their quotient, 1 for a multiple of the squared error: how unequal directions are;
    - ``effective share``: trace(H)² / (d · trace(H²)), the share of directions that are curved alike; 1 for the squared
      error.

    The last two do not depend on the measure's scale. NaN where a measure has no curvature, as L1. Where there are no
    second derivatives, differences of gradients take their place and the note says so: do not compare the two kinds.

    Args:
        measure: the objective.
        references: ``(N, 3, H, W)``.
        generator: of noise and probes, on the CPU.
        power_steps: of the power iteration.
        probes: random vectors for the traces.
    """
    noise = torch.randn(references.shape, generator=generator).to(references)
    product, note = _hessian(measure, references + NEAR * noise, references)
    size = references[0].numel()
    vector = _unit(torch.randn(references.shape, generator=generator).to(references))
    largest = torch.zeros(len(references)).to(references)
    for _ in range(power_steps):
        image = product(vector)
        largest, vector = dot(vector, image), _unit(image)
    traces, squares = torch.zeros_like(largest), torch.zeros_like(largest)
    for _ in range(probes):
        probe = torch.randint(0, 2, references.shape, generator=generator).to(references) * 2 - 1
        image = product(probe)
        traces += dot(probe, image) / probes
        squares += dot(image, image) / probes
    mean = traces / size
    values = {
        "largest eigenvalue": (largest, "loss per squared intensity"),
        "mean eigenvalue": (mean, "loss per squared intensity"),
        "largest over mean": (largest / mean, "ratio"),
        "effective share": (traces.square() / (size * squares), "share"),
    }
    return [Reading(name, value, unit, note) for name, (value, unit) in values.items()]


def _hessian(measure: Measure[Any], images: Tensor, references: Tensor) -> tuple[Product, str]:
    """Return the product with the Hessian, and how it is computed."""

    def exact(vector: Tensor) -> Tensor:
        _, gradient, leaf = gradients(measure, images, references, graph=True)
        return torch.autograd.grad(dot(gradient, vector).sum(), leaf)[0].detach()

    def differences(vector: Tensor) -> Tensor:
        size = STEP / vector.square().flatten(1).mean(1).sqrt().clamp(min=1e-30).view(-1, 1, 1, 1)
        ahead, behind = (gradients(measure, images + sign * size * vector, references)[1] for sign in (1, -1))
        return (ahead - behind) / (2 * size)

    try:
        exact(torch.ones_like(images))
    except (RuntimeError, NotImplementedError):  # no second derivative: the gradient has no graph, or an operation none
        return differences, "finite differences"
    return exact, "second derivatives"


def _unit(vectors: Tensor) -> Tensor:
    return vectors / dot(vectors, vectors).sqrt().clamp(min=1e-30).view(-1, 1, 1, 1)
