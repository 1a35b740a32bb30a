"""The grid: axes, includes and excludes become a list of points; each point is one super-resolver to train."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

from ...discriminators import DiscriminatorSpec
from ...losses import MeasureSpec
from ...sr import GeneratorSpec
from .axes import AXES, Grid, GridRule
from .errors import PlacedError


@dataclass(frozen=True)
class GridPoint:
    """One super-resolver of the grid.

    Attributes:
        generator: what is trained.
        fidelity: fidelity measure; None is the pixel loss alone.
        discriminator: the adversary; its form may be ``none``.
        gan_weight: weight of the adversarial term; 0 with discriminator ``none``.
        seed: seed of weights and crops.
        why: ``grid``, or ``baseline`` for a pixel-only point that was added.
    """

    generator: GeneratorSpec
    fidelity: MeasureSpec | None
    discriminator: DiscriminatorSpec
    gan_weight: float
    seed: int
    why: str = "grid"

    @property
    def labels(self) -> dict[str, Any]:
        """The point's names in the result tables."""
        return {
            "generator": self.generator.name,
            "fidelity": self.fidelity.key if self.fidelity else "none",
            "discriminator": self.discriminator.key,
            "gan_weight": self.gan_weight,
            "seed": self.seed,
        }


def expand(grid: Grid) -> list[GridPoint]:
    """Return the points of the grid, each once, baselines included.

    Raises:
        PlacedError: an ``exclude`` that matches nothing, or one that leaves nothing.
    """
    axes = {axis: getattr(grid, axis) for axis in AXES}
    points = _product(axes)
    for rule in grid.include:
        points += _product({axis: getattr(rule, axis) or axes[axis] for axis in AXES})
    for index, rule in enumerate(grid.exclude):
        kept = [point for point in points if not _matches(rule, point)]
        if len(kept) == len(points):
            raise PlacedError("matches no cell of the grid; fix or delete this rule", "grid", "exclude", index)
        if not kept:
            raise PlacedError("leaves no cell of the grid; nothing would be trained", "grid", "exclude", index)
        points = kept
    points = list(dict.fromkeys(points))
    no_discriminator = DiscriminatorSpec(form="none")
    baselines = [
        GridPoint(generator, None, no_discriminator, 0.0, seed, "baseline")
        for generator, seed in dict.fromkeys((point.generator, point.seed) for point in points)
    ]
    present = {_key(point) for point in points}
    return [*(point for point in baselines if _key(point) not in present), *points]


def _product(axes: dict[str, list[Any]]) -> list[GridPoint]:
    points = []
    for generator, fidelity, discriminator, gan_weight, seed in itertools.product(*(axes[axis] for axis in AXES)):
        # Without a discriminator the weight has no effect: points that differ only in it are the same point.
        weight = gan_weight if discriminator.form != "none" else 0.0
        points.append(GridPoint(generator, fidelity, discriminator, weight, seed))
    return points


def _key(point: GridPoint) -> tuple[Any, ...]:
    return (point.generator, point.fidelity, point.discriminator, point.gan_weight, point.seed)


def _matches(rule: GridRule, point: GridPoint) -> bool:
    return all(getattr(rule, axis) is None or getattr(point, axis) in getattr(rule, axis) for axis in AXES)
