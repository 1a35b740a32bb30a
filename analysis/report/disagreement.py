"""The report's section on where multimodal LLMs and the other judges disagree."""

from __future__ import annotations

from collections.abc import Sequence

from ..figures.gallery import GalleryRow
from ..figures.style import pretty, setting_name
from ..statistics.frames import Row
from ..study import Study
from .blocks import Block, Cell, name, number, table, text
from .gallery import gallery_blocks

NOTE = (
    "Every two restorations of one image, made with one seed. Opposed: the LLM prefers one and the judge the other;"
    " pairs that either does not tell apart are left out of the share. 0.5 is what unrelated judges have. It describes"
    " these images, and no test is made."
)
WORST = (
    "The images on which each LLM and the mean of the other judges are furthest apart, in opposite directions; sizes in"
    " SDs of each judge's scores of restorations of one image."
)


def disagreement_blocks(study: Study, rows: Sequence[GalleryRow] = ()) -> list[Block]:
    """Return how often they disagree, on which images most, and crops of these.

    Args:
        study: Result of ``analyse``.
        rows: The crops.
    """
    pairs, images = study.parts["judge_disagreement"], study.parts["judge_disagreement_images"]
    if pairs.empty:
        return []
    columns: dict[str, Cell] = {
        "generator": name("generator"),
        "LLM": name("rater"),
        "judge": name("judge"),
        "pairs": text("n_pairs"),
        "opposed": text("n_opposed"),
        "tied": text("n_tied"),
        "share opposed": number("opposed"),
    }
    blocks: list[Block] = [table(pairs, "LLMs against other judges", columns, note=NOTE)]
    if len(images):
        worst: dict[str, Cell] = {
            "LLM": name("rater"),
            "image": lambda row: f"{row['image']}, {row['test_set']}, seed {row['seed']}",
            "the LLM prefers": lambda row: setting_of(row, "preferred"),
            "by": number("by_rater"),
            "the others prefer": lambda row: setting_of(row, "other"),
            "by (others)": number("by_judges"),
            "judges": text("n_judges"),
        }
        blocks.append(table(images, "Images on which they disagree most", worst, note=WORST))
    return [*blocks, *gallery_blocks(rows)]


def setting_of(row: Row, of: str) -> str:
    """Show the training of a restoration."""
    setting = setting_name(row[f"discriminator_{of}"], row[f"gan_weight_{of}"])
    return f"{pretty(row[f'fidelity_{of}'])}, {setting}"
