"""What a measure's loss is made of: by layer, and of structure against texture, where the measure has these."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..dists import DISTS
from ..features import FeatureSpec
from ..layerwise import LayerwiseMeasure
from ..lpips import LPIPS
from ..measure import Measure
from .readings import Reading


def shares(measure: Measure[Any], images: Tensor, references: Tensor) -> list[Reading]:
    """Return the share of each part in the loss; none for a measure that is not a sum of parts.

    Measures on feature maps have one part per layer; those of the DISTS family also ``texture`` and ``structure``.
    """
    with torch.no_grad():
        parts = _parts(measure, images, references)
    readings = []
    for group in parts:
        total = torch.stack(list(group.values())).sum(0)
        readings += [Reading(name, part / total, "share") for name, part in group.items()]
    return readings


def _parts(measure: Measure[Any], images: Tensor, references: Tensor) -> list[dict[str, Tensor]]:
    """Return groups of parts, each ``(N,)``; every group sums to the loss."""
    if isinstance(measure, DISTS):
        names = [*(("image",) if measure.spec.image_layer else ()), *_layers(measure.spec)]
        sizes = list(measure.channels)
        weights = zip(measure.alpha.split(sizes), measure.beta.split(sizes), strict=True)
        terms = [
            (((1 - texture) * alpha).sum(1), ((1 - structure) * beta).sum(1))
            for (texture, structure), (alpha, beta) in zip(measure.terms(images, references), weights, strict=True)
        ]
        texture, structure = (torch.stack(found) for found in zip(*terms, strict=True))
        layers = dict(zip(names, texture + structure, strict=True))
        kinds = {"texture": texture.sum(0), "structure": structure.sum(0)}
        return [layers, kinds]
    if isinstance(measure, LPIPS):
        found = [distances.mean((1, 2)) for distances in measure.terms(images, references)]
        return [dict(zip(_layers(measure.spec), found, strict=True))]
    if isinstance(measure, LayerwiseMeasure):
        return [dict(zip(_layers(measure.spec), measure.terms(images, references), strict=True))]
    return []


def _layers(spec: FeatureSpec) -> list[str]:
    return [spec.architecture.stages[index].name for index in spec.stages]
