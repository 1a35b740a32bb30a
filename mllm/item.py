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
        benchmark: name of the benchmark, with its data set where each has its own scale: ``unipercept-vr/KADID``.
        dimension: what is rated or asked about, e.g. ``IQA`` or ``Memorability``; metrics are per dimension.
        id: unique within the benchmark and dimension.
        task: ``rate`` (a number), ``answer`` (one of ``options``) or ``open`` (words).
        images: the files shown, in order; text is converted to ``Path``.
        question: the question or the benchmark's own prompt, unchanged; it can list the options already. Empty to use
            the preset's prompt.
        options: texts of the options, in order, for ``answer``; the letters A, B, … are their names.
        target: what people said: a number for ``rate``, the letter for ``answer``, the words for ``open``; None
            where the benchmark does not publish it.
        scale: lowest and highest target possible, for ``rate``; None where unknown.
        higher_is_better: direction of the targets.
        reference: items with the same one are not independent (distortions of one image, contexts of one dish);
            intervals are clustered by it. By default the item's own id.
        repeat: how many times the same question was asked before; each draws a reply of its own.
        groups: what accuracies are broken down by, e.g. ``category``, ``criterion``, ``template``, ``context``.

    Examples:
        >>> photo = Path("photos/lamp.png")
        >>> item = Item(benchmark="own", dimension="IQA", id="lamp", task="rate", images=(photo,), target=3.5)
        >>> item.cluster
        'lamp'
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
    repeat: int = 0
    groups: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    def __post_init__(self) -> None:
        """Take paths as text, too."""
        object.__setattr__(self, "images", tuple(map(Path, self.images)))

    @property
    def cluster(self) -> str:
        """What intervals are clustered by."""
        return self.reference or self.id
