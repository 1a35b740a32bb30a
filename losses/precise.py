"""Measures that are computed in float32 or better, for images of any type and under autocast too."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from ..common.value_range import to_unit
from .measure import Measure, Spec


class PreciseMeasure(Measure[Spec]):
    """A measure whose arithmetic does not survive half precision.

    Variances are small differences of large squares, and squares on the 0..255 scale overflow float16.
    Scores are float64 for float64 images, float32 for all others.
    """

    @abstractmethod
    def _compute(self, images: Tensor, references: Tensor) -> Tensor:
        """Return ``(N,)`` scores of images and references of one type, float32 or float64."""

    def _score(self, images: Tensor, references: Tensor) -> Tensor:
        dtype = torch.float64 if images.dtype == torch.float64 else torch.float32
        with torch.autocast(images.device.type, enabled=False):
            both = (to_unit(given.to(dtype), self.spec.input_range) for given in (images, references))
            return self._compute(*both)
