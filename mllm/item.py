"""An item of a benchmark: what is shown, what is asked, and what people said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Literal

Task = Literal["rate", "answer", "open"]


@dataclass(frozen=True, kw_only=True)
class Item:
    """One item.

    Attributes:
        benchmark: e.g. ``unipercept-vr/KADID``: what has a scale of its own has a name of its own.
        dimension: what is rated or asked about, e.g. ``IQA`` or ``Memorability``; metrics are per dimension.
        id: unique within the benchmark and dimension.
        task: ``rate`` (a number), ``answer`` (one of ``options``) or ``open`` (words).
        images: the files shown, in order.
        question: the question or the benchmark's own prompt, as it stands there, which may list the options already;
            empty where the preset's prompt is to be used.
        options: texts of the options, in order, for ``answer``; the letters A, B, … are their names.
        target: what people said: a number for ``rate``, the letter for ``answer``, the words for ``open``; None
            where a benchmark keeps it back.
        scale: lowest and highest target possible, for ``rate``; None where unknown.
        higher_is_better: direction of the targets.
        reference: items with the same one are not independent (distortions of one image, contexts of one dish);
            intervals are clustered by it. By default the item's own id.
        groups: what accuracies are broken down by, e.g. ``category``, ``criterion``, ``template``, ``context``.
    """

    benchmark: str
    dimension: str
    id: str
    task: Task
    images: tuple[Path, ...]
    question: str = ""
    options: tuple[str, ...] = ()
    target: float | str | None = None
    scale: tuple[float, float] | None = None
    higher_is_better: bool = True
    reference: str = ""
    groups: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def cluster(self) -> str:
        """What intervals are clustered by."""
        return self.reference or self.id
