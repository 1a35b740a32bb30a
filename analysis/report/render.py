"""Blocks to one HTML file: numbers, anchors, explained words, downloads; template, style and script are beside this."""

from __future__ import annotations

import base64
import hashlib
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray
from PIL import Image

from ...common.files import write_text
from ..claims import CONTRADICTED, SUPPORTED, UNTESTABLE
from ..comparison import NOT_TESTED
from ..verdicts import AGREE_LESS, AGREE_MORE, ESTABLISHED, MEASURE_DOMINATES, SETTING_DOMINATES, UNDECIDED
from .blocks import Block, Crops, Samples, Section, Table, Text
from .downloads import csv, data_url, latex
from .terms import Explained
from .vector import vector

HERE = Path(__file__).parent
# Verdicts: the words that say something are bold, those that leave a question open are pale.
SURE = (ESTABLISHED, SUPPORTED, CONTRADICTED, AGREE_LESS, AGREE_MORE, SETTING_DOMINATES, MEASURE_DOMINATES)
OPEN = (UNDECIDED, UNTESTABLE, NOT_TESTED)
# A cell with more characters than this may wrap; one with an interval is wider.
WRAPS, WRAPS_INTERVAL = 24, 34
TALL = 1.1  # height over width from which a figure is printed panel by panel
PIXELS = 192  # about how wide a crop is shown
VERDICT = re.compile(r"(.+?: .+?[\w)]\.) (.*)", re.DOTALL)


@dataclass
class Page:
    """What is counted while a page is put together, in reading order."""

    explained: Explained = field(default_factory=Explained)
    figures: int = 0
    tables: int = 0

    def section(self, section: Section) -> dict[str, Any]:
        """Return a section as the template wants it."""
        return {"key": section.key, "title": section.title, "blocks": [self.block(block) for block in section.blocks]}

    def block(self, block: Block) -> dict[str, Any]:
        """Return a block as the template wants it, with its kind."""
        if isinstance(block, Text):
            return {"kind": "text", "text": self.explained(block.text)}
        if isinstance(block, Table):
            return self.table(block)
        if isinstance(block, Samples):
            return {"kind": "samples", "title": block.title, "samples": block.samples}
        self.figures += 1
        number = self.figures
        if isinstance(block, Crops):
            return {"kind": "crops", "number": number, "caption": self.explained(block.caption), **crops(block)}
        drawn = vector(block.figure, f"figure-{number}", block.alt)
        return {
            "kind": "picture",
            "number": number,
            "caption": self.explained(block.caption),
            "svg": Markup(drawn.svg),  # noqa: S704 - ElementTree escaped it
            "width": drawn.width,
            "tall": bool(drawn.panels) and drawn.height > TALL * drawn.width,
            "panels": [{"svg": Markup(svg), "width": width} for svg, width in drawn.panels],  # noqa: S704 - as above
        }

    def table(self, block: Table) -> dict[str, Any]:
        """Return a table as the template wants it."""
        self.tables += 1
        return {
            "kind": "table",
            "number": self.tables,
            "title": block.title,
            "header": block.header,
            "rows": [[{"text": cell, "kind": kind(cell)} for cell in row] for row in block.rows],
            "folded": block.folded,
            "note": self.explained(block.note),
            "csv": data_url(csv(block.frame), "text/csv"),
            "latex": data_url(latex(block.title, block.header, block.rows), "text/x-tex"),
        }


def kind(cell: str) -> str:
    """Return the class of a cell: a verdict that says something or leaves a question open, or a text that may wrap."""
    if cell in SURE:
        return "sure"
    if cell in OPEN:
        return "open"
    return "long" if len(cell) > (WRAPS_INTERVAL if "[" in cell else WRAPS) else ""


def crops(block: Crops) -> dict[str, Any]:
    """Return crops as the template wants them: every pixel as large as every other."""
    height, width = block.crops[0].pixels.shape[:2]
    times = max(1, round(PIXELS / width))
    shown: dict[str, Any] = {
        "label": block.label,
        "width": times * width,
        "height": times * height,
        "crops": [
            {"title": crop.title, "url": png(crop.pixels), "error": None if crop.error is None else png(crop.error)}
            for crop in block.crops
        ],
        "whole": None,
    }
    if block.whole is not None and block.box is not None:
        tall, wide = block.whole.shape[:2]
        parts = zip(("top", "left", "height", "width"), block.box, (tall, wide, tall, wide), strict=True)
        style = "; ".join(f"{side}: {100 * at / of:.2f}%" for side, at, of in parts)
        shown |= {"whole": jpeg(block.whole), "place": style}
    return shown


def png(pixels: NDArray[np.uint8]) -> str:
    """Return pixels, unchanged, as an address that holds them."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "png", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def jpeg(pixels: NDArray[np.uint8]) -> str:
    """Return an image, reduced to what is shown of it, as an address that holds it."""
    buffer, image = io.BytesIO(), Image.fromarray(pixels).convert("RGB")
    image.thumbnail((2 * PIXELS, 2 * PIXELS))
    image.save(buffer, "jpeg", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def css_text(text: str) -> Markup:
    r"""Return a text for a style sheet, in quotes.

    Examples:
        >>> print(css_text('a "b" </style>'))
        "a \22 b\22  \3c /style>"
    """
    escaped = re.sub(r"[\"\\<\n&]", lambda found: f"\\{ord(found[0]):x} ", text)
    return Markup(f'"{escaped}"')  # noqa: S704 - escaped for CSS


def verdict(paragraph: str) -> tuple[str, str]:
    """Split a headline into its sentence of the verdict and the numbers behind it.

    Examples:
        >>> verdict("U-Net, KADID. Undecided: they do not tell. The clearest is 0.2 [0.1, 0.3].")
        ('U-Net, KADID. Undecided: they do not tell.', 'The clearest is 0.2 [0.1, 0.3].')
    """
    found = VERDICT.fullmatch(paragraph)
    return (found[1], found[2]) if found else (paragraph, "")


def render(
    path: str | Path,
    sections: Sequence[Section],
    headlines: Sequence[Sequence[str]],
    **context: object,
) -> None:
    """Write one HTML file; opening it needs no network.

    Args:
        path: The file; replaced if it exists.
        sections: In reading order; those without blocks are left out.
        headlines: Paragraphs that come first, the verdict first of each group.
        context: What the template shows besides: ``title``, ``description``, ``question``, ``code``; ``cites=False``
            leaves out what a study cites.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["css_text"] = css_text
    page = Page()
    opened = []
    for first, *others in headlines:
        opened.append((*map(page.explained, verdict(first)), [page.explained(other) for other in others]))
    shown: list[Mapping[str, Any]] = [page.section(section) for section in sections if section.blocks]
    script = (HERE / "report.js").read_text(encoding="utf-8")
    text = environment.get_template("report.html.j2").render(
        headlines=opened,
        sections=shown,
        terms=page.explained.used,
        script=Markup(script),  # noqa: S704 - our own file
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        style=Markup((HERE / "report.css").read_text(encoding="utf-8")),  # noqa: S704 - our own file
        **context,
    )
    write_text(Path(path), text)
