"""The report's section on what was restored."""

from __future__ import annotations

from collections.abc import Sequence

from ..figures.gallery import GalleryRow, caption, checked
from .blocks import Block, Crops


def gallery_blocks(rows: Sequence[GalleryRow]) -> list[Block]:
    """Return the crops of each image; pixels are enlarged by the browser, so that any crop can be flipped to another.

    Raises:
        AnalysisError: See ``figures.gallery``.
    """
    return [Crops(row["label"], checked(row), "" if number else caption(rows)) for number, row in enumerate(rows)]
