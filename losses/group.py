"""Several measures at once: those that see the same feature maps share the pass that makes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..backbones import FeatureExtractor
from .features import FeatureMeasure, FeatureSpec
from .measure import Measure, MeasureError, MeasureSpec, Reduction, Reference
from .registry import parse_measure


class MeasureGroup(nn.Module):
    """Measures under one call; each returns what it would return alone.

    Measures on the same backbone, weights, pooling, precision and resize policy hold one network and share its passes:
    one of the images, with gradients where they are wanted, and one of the references.

    Args:
        measures: keys, mappings or specs; no two of equal key.
        reduction: how :meth:`forward` reduces each loss over the batch.

    Raises:
        MeasureError: none, an unknown one, or two of equal key.
    """

    def __init__(
        self, measures: Sequence[str | Mapping[str, Any] | MeasureSpec], reduction: Reduction = "mean"
    ) -> None:
        super().__init__()
        specs = [parse_measure(measure) for measure in measures]
        keys = [spec.key for spec in specs]
        if not specs or len(set(keys)) < len(keys):
            raise MeasureError(f"a group needs one or more measures of different keys, got {', '.join(keys) or 'none'}")
        extractors: dict[Any, FeatureExtractor] = {}
        # The deepest first: the others use its shallower stages.
        for spec in sorted((s for s in specs if isinstance(s, FeatureSpec)), key=lambda s: max(s.stages), reverse=True):
            if spec.backbone_pass not in extractors:
                extractors[spec.backbone_pass] = spec.build_extractor(spec.stages[-1] + 1)
        self.measures: dict[str, Measure[Any]] = {}
        for spec in specs:
            if isinstance(spec, FeatureSpec):
                measure = spec.build(reduction=reduction, extractor=extractors[spec.backbone_pass])
            else:
                measure = spec.build(reduction=reduction)
            self.measures[spec.key] = measure
        self._held = nn.ModuleList(self.measures.values())  # a ModuleDict refuses keys with a dot

    def prepare(self, references: Tensor) -> Reference:
        """Compute once what depends on the references alone; see :meth:`Measure.prepare`."""
        for measure in self.measures.values():
            measure.check_references(references)
        return self._prepared(references)

    def _prepared(self, references: Tensor) -> Reference:
        prepared: dict[MeasureSpec, Any] = {}
        passes: dict[Any, tuple[Tensor, list[Tensor]]] = {}
        for measure in self.measures.values():
            if isinstance(measure, FeatureMeasure):
                with torch.no_grad():
                    prepared[measure.spec] = measure.digest(*_pass(measure, references, passes))
            else:
                prepared[measure.spec] = None  # nothing to be computed once
        return Reference(references, prepared)

    def score(self, images: Tensor, references: Tensor | Reference) -> dict[str, Tensor]:
        """Return one ``(N,)`` tensor per measure, in its own direction; arguments as for :meth:`Measure.score`."""
        return self._scores(images, references, as_loss=False)

    def forward(self, prediction: Tensor, reference: Tensor | Reference) -> dict[str, Tensor]:
        """Return one loss per measure, lower is better; arguments as for :meth:`Measure.forward`."""
        scores = self._scores(prediction, reference, as_loss=True)
        return {key: self.measures[key].reduced(score) for key, score in scores.items()}

    def _scores(self, images: Tensor, references: Tensor | Reference, *, as_loss: bool) -> dict[str, Tensor]:
        for measure in self.measures.values():
            measure.check(images, references, as_loss=as_loss)
        if not isinstance(references, Reference):
            references = self._prepared(references)
        scores: dict[str, Tensor] = {}
        passes: dict[Any, tuple[Tensor, list[Tensor]]] = {}
        for key, measure in self.measures.items():
            if isinstance(measure, FeatureMeasure):
                scores[key] = measure.compare(*_pass(measure, images, passes), references.prepared[measure.spec])
            else:
                scores[key] = measure.scored(images, references)
        return scores


def _pass(
    measure: FeatureMeasure[Any], images: Tensor, passes: dict[Any, tuple[Tensor, list[Tensor]]]
) -> tuple[Tensor, list[Tensor]]:
    key = measure.spec.backbone_pass
    if key not in passes:
        passes[key] = measure.backbone_pass(images)
    return passes[key]
