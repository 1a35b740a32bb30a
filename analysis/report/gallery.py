"""The report's section on what was restored."""

from __future__ import annotations

from collections.abc import Sequence

from .. import figures
from ..figures.gallery import GalleryRow, caption
from ..figures.recovery_strips import caption as recovery_caption
from ..figures.style import count
from .blocks import Block, picture


def gallery_blocks(rows: Sequence[GalleryRow]) -> list[Block]:
    """Return the gallery, if there is anything to show."""
    if not rows:
        return []
    crops, strips = [row for row in rows if "whole" in row], [row for row in rows if "whole" not in row]
    blocks: list[Block] = []
    if crops:
        titles = ", ".join(crops[0]["crops"])
        alt = f"Crops of {count(len(crops), 'image')}: {titles}."
        blocks.append(picture(figures.gallery(crops), alt, caption(crops)))
    if strips:
        alt = f"What descending each measure recovered, from {count(len(strips), 'start')}."
        blocks.append(picture(figures.recovery_strips(strips), alt, recovery_caption(strips)))
    return blocks
