"""The report's section on what was restored, and on what the descent of each measure recovered."""

from __future__ import annotations

from collections.abc import Sequence

from ..figures.gallery import GalleryRow, caption, checked, contrasting, error_map, psnr
from ..figures.recovery_strips import caption as recovery_caption
from ..figures.style import minus
from .blocks import Block, Crop, Crops


def gallery_blocks(rows: Sequence[GalleryRow]) -> list[Block]:
    """Return the crops of each image; the browser enlarges the pixels, so that any crop can be flipped to another.

    Raises:
        AnalysisError: See ``figures.gallery``.
    """
    restored, recovered = [row for row in rows if "whole" in row], [row for row in rows if "whole" not in row]
    of_restored = [_crops(row, "" if number else caption(restored)) for number, row in enumerate(restored)]
    of_recovered = [_crops(row, "" if number else recovery_caption(recovered)) for number, row in enumerate(recovered)]
    return [*of_restored, *of_recovered]


def _crops(row: GalleryRow, caption: str) -> Crops:
    crops = checked(row)
    if "whole" in row:
        crops = contrasting(crops)
    reference, scores = crops["reference"], row.get("scores", {})
    shown = []
    for title, crop in crops.items():
        if title == "reference":
            shown.append(Crop(title, crop))
            continue
        score = scores.get(title, f"{minus(psnr(crop, reference), 1)} dB")
        shown.append(Crop(f"{title}\n{score}", crop, error_map(crop, reference) if "whole" in row else None))
    return Crops(row["label"], shown, caption, row.get("whole"), row.get("box"))
