"""Several measures at once: those that see the same feature maps share the pass that makes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..backbones import FeatureExtractor
from ..common.building import ordinary_tensors, usable
from .features import FeatureMeasure, FeatureSpec
from .measure import Measure, MeasureError, MeasureSpec, Reduction, Reference
from .registry import parse_measure


class MeasureGroup(nn.Module):
    """Measures under one call; each returns what it would return alone.

    Measures on the same backbone, weights, pooling, precision and resize policy share the passes of one network: one of
    the images, with gradients if these are needed, and one of the references.

    Args:
        measures: keys, mappings, specs or built measures, which are used as they are; their keys must differ.
        reduction: how :meth:`forward` reduces the losses that are built here.

    Raises:
        MeasureError: none, an unknown one, or two of equal key.

    Examples:
        >>> import torch
        >>> from lopsided.losses import MeasureGroup
        >>> group = MeasureGroup(["l1", "dists-squeezenet1_1-r", "style-squeezenet1_1-r"])
        >>> image = torch.rand(1, 3, 32, 32)
        >>> {key: round(loss.item(), 6) for key, loss in group(image, image).items()}
        {'l1': 0.0, 'dists-squeezenet1_1-r': 0.0, 'style-squeezenet1_1-r': 0.0}
    """

    def __init__(
        self,
        measures: Sequence[str | Mapping[str, Any] | MeasureSpec | Measure[Any]],
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__()
        built = {m.spec.key: m for m in measures if isinstance(m, Measure)}
        specs = [m.spec if isinstance(m, Measure) else parse_measure(m) for m in measures]
        keys = [spec.key for spec in specs]
        if not specs or len(set(keys)) < len(keys):
            raise MeasureError(f"a group needs one or more measures of different keys, got {', '.join(keys) or 'none'}")
        extractors: dict[Any, FeatureExtractor] = {}
        # The deepest first: its backbone has the stages of the others.
        for spec in sorted((s for s in specs if isinstance(s, FeatureSpec)), key=lambda s: max(s.stages), reverse=True):
            if spec.backbone_pass not in extractors:
                measure = built.get(spec.key)
                extractors[spec.backbone_pass] = (
                    measure.extractor
                    if isinstance(measure, FeatureMeasure)
                    else spec.build_extractor(spec.stages[-1] + 1)
                )
        self.measures: dict[str, Measure[Any]] = {}
        for spec in specs:
            if spec.key in built:
                self.measures[spec.key] = built[spec.key]
            elif isinstance(spec, FeatureSpec):
                self.measures[spec.key] = spec.build(reduction=reduction, extractor=extractors[spec.backbone_pass])
            else:
                self.measures[spec.key] = spec.build(reduction=reduction)
        self._held = nn.ModuleList(self.measures.values())  # a ModuleDict refuses keys with a dot
        features = [measure for measure in self.measures.values() if isinstance(measure, FeatureMeasure)]
        features.sort(key=lambda measure: max(measure.spec.stages), reverse=True)
        # One after the other, so that the feature maps of one backbone at a time are in memory.
        self._sharing = [[m for m in features if m.spec.backbone_pass == shared] for shared in extractors]
        self._others = [measure for measure in self.measures.values() if not isinstance(measure, FeatureMeasure)]

    def prepare(self, references: Tensor) -> Reference:
        """Compute what depends only on the references; see :meth:`Measure.prepare`."""
        for measure in self.measures.values():
            measure.check_references(references)
        return self._prepared(references)

    def _prepared(self, references: Tensor) -> Reference:
        references = usable(references)
        prepared: dict[MeasureSpec, Any] = {measure.spec: None for measure in self._others}  # nothing to compute once
        for measures in self._sharing:
            with torch.no_grad(), ordinary_tensors():
                passed = measures[0].backbone_pass(references)
                prepared |= {measure.spec: measure.digest(*passed) for measure in measures}
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
        scores = {measure.spec.key: measure.scored(images, references) for measure in self._others}
        for measures in self._sharing:
            passed = measures[0].backbone_pass(images)
            for measure in measures:
                scores[measure.spec.key] = measure.compare(*passed, references.prepared[measure.spec])
            del passed
        return {key: scores[key] for key in self.measures}
