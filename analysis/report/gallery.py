"""The report's section on what was restored."""

from __future__ import annotations

from collections.abc import Sequence

from .. import figures
from ..figures.gallery import GalleryRow, caption
from ..figures.style import count
from .blocks import Block, picture


def gallery_blocks(rows: Sequence[GalleryRow]) -> list[Block]:
    """Return the gallery, if there is anything to show."""
    if not rows:
        return []
    titles = ", ".join(rows[0]["crops"])
    return [picture(figures.gallery(rows), f"Crops of {count(len(rows), 'image')}: {titles}.", caption(rows))]
