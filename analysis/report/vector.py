"""A figure as SVG inside a page: text stays text, marks say their values on hover, panels can be shown one by one."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree as ET

import matplotlib as mpl
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedFormatter, FuncFormatter
from matplotlib.transforms import Bbox

from ..figures.style import RC, minus

SVG, XLINK = "http://www.w3.org/2000/svg", "{http://www.w3.org/1999/xlink}href"
ET.register_namespace("", SVG)
REFERENCE = re.compile(r"#([\w.-]+)")
# What the label of an axis says besides what is measured.
DIRECTION = re.compile(r" ?\((?:higher|lower) is better\)|, (?:higher|lower) is better")
MARGIN = 2.0  # points around a panel that is cut out


@dataclass(frozen=True)
class Vector:
    """A figure for a page.

    Attributes:
        svg: The whole figure.
        width: Its width in points.
        height: Its height in points.
        panels: (SVG, width in points) of each of its panels, drawn by reference to ``svg``; none if there is only one.
    """

    svg: str
    width: float
    height: float
    panels: list[tuple[str, float]]


def vector(figure: Figure, name: str, alt: str = "") -> Vector:
    """Draw a figure.

    Args:
        figure: What to draw.
        name: Begins every id, so that the figures of one page do not clash.
        alt: What it shows, for readers who do not see it.

    Examples:
        >>> figure = Figure(figsize=(2, 1))
        >>> _ = figure.subplots().plot([1, 2], [3, 4], "o")
        >>> drawn = vector(figure, "figure-1")
        >>> drawn.width, drawn.panels, "<title>3, 1</title>" in drawn.svg
        (144.0, [], True)
    """
    tips = _name_parts(figure)
    buffer = io.BytesIO()
    # No date and no program: the same study gives the same bytes.
    metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.patch.set_facecolor("none")
    look: dict[Any, Any] = {**RC, "svg.fonttype": "none", "svg.hashsalt": name}
    with mpl.rc_context(look):
        # Figure.savefig would draw twice, once to lay out: two thirds of the time of a report.
        FigureCanvasSVG(figure).print_svg(buffer, metadata=metadata)
    root = ET.fromstring(buffer.getvalue())  # noqa: S314 - matplotlib wrote it
    width, height = figure.get_size_inches() * 72
    for group in root.iter(f"{{{SVG}}}g"):
        if (key := group.get("id")) in tips:
            _add_titles(group, tips[key])
    panels = _panels(figure, name, height)
    _tidy(root, name, set(tips))
    root.attrib = {"viewBox": f"0 0 {width:g} {height:g}", "role": "img", "aria-label": alt}
    svg = ET.tostring(root, encoding="unicode").replace("'DejaVu Sans'", "var(--plot)")
    return Vector(svg, float(width), float(height), panels)


def _name_parts(figure: Figure) -> dict[str, list[str]]:
    """Give names to what is looked for in the SVG; return what the marks of each line say, by its name."""
    tips: dict[str, list[str]] = {}
    for number, axis in enumerate(figure.axes):
        axis.set_gid(f"panel{number}")
        axis.yaxis.set_gid(f"rows{number}")
        for artist in (*axis.lines, *axis.collections):
            if said := _said(axis, artist):
                key = f"tip{len(tips)}"
                artist.set_gid(key)
                tips[key] = said
    for number, outside in enumerate((*figure.legends, *figure.texts)):
        outside.set_gid(f"outside{number}")
    return tips


def _said(axis: Axes, artist: Artist) -> list[str]:
    """Return a line for each mark of an artist, or one for a line without marks; none if it has nothing to say."""
    if not axis.axison or not artist.get_visible():
        return []
    if isinstance(artist, PathCollection):
        points = np.ma.filled(np.ma.asarray(artist.get_offsets(), dtype=float), np.nan)
        known, marked, in_data = points, True, artist.get_offset_transform() == axis.transData
    elif isinstance(artist, Line2D):
        known, marked = artist.get_xydata(), artist.get_marker() not in ("", " ", "None", None)
        in_data = artist.get_transform() == axis.transData
    else:
        return []
    label = str(artist.get_label())
    of = "" if label.startswith("_") else label
    points = np.asarray(known, dtype=float)
    points = points[np.isfinite(points).all(axis=1)]
    if not in_data or not len(points):
        return []
    if marked:
        return [", ".join(filter(None, (of, _value(axis.yaxis, y), _value(axis.xaxis, x)))) for x, y in points]
    ends = [(points[:, i].min(), points[:, i].max()) for i in (0, 1)]
    across, up = (low == high for low, high in ends)
    if len(points) == 2 and across != up:
        along, fixed, of_along = (axis.yaxis, axis.xaxis, 1) if across else (axis.xaxis, axis.yaxis, 0)
        span = " to ".join(_number(end) for end in ends[of_along])
        where = _category(fixed, ends[1 - of_along][0])
        return [": ".join(filter(None, (of or where or _title(along), span)))]
    return [of] if of else []


def _value(axis: Axis, at: float) -> str:
    """Say where on an axis a mark is: the name of its row or column, or the number with what is measured."""
    return _category(axis, at) or ": ".join(filter(None, (_title(axis), _number(at))))


def _title(axis: Axis) -> str:
    return " ".join(DIRECTION.sub("", " ".join(axis.get_label_text().split())).split())


def _category(axis: Axis, at: float) -> str:
    """Return the text of the tick that a mark is at, if it is no number."""
    words = axis.get_major_formatter()
    ticks = np.asarray(axis.get_majorticklocs(), dtype=float)
    if not isinstance(words, FixedFormatter | FuncFormatter) or not len(ticks) or abs(ticks - at).min() >= 0.5:
        return ""
    nearest = int(abs(ticks - at).argmin())
    text = " ".join(words(ticks[nearest], nearest).split())
    return "" if re.fullmatch(r"[\d.−-]*", text) else text


def _number(value: float) -> str:
    return minus(value, 3).rstrip("0").rstrip(".") if abs(value) < 1000 and "." in minus(value, 3) else f"{value:.4g}"


def _add_titles(group: ET.Element, said: list[str]) -> None:
    """Put a title into each mark; where some marks are not drawn, nobody knows which, so they get none."""
    marks = list(group.iter(f"{{{SVG}}}use")) or [path for path in group if path.tag == f"{{{SVG}}}path"]
    if len(marks) == len(said):
        for mark, text in zip(marks, said, strict=True):
            ET.SubElement(mark, f"{{{SVG}}}title").text = text


def _tidy(root: ET.Element, name: str, tips: set[str]) -> None:
    """Leave out what a page has no use for; let ids begin with the figure's name, and only those that are needed."""
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in (f"{{{SVG}}}metadata", f"{{{SVG}}}style"):
                parent.remove(child)
    used = {found for element in root.iter() for value in element.attrib.values() for found in REFERENCE.findall(value)}
    for element in root.iter():
        key = element.attrib.pop("id", None)
        if key and key not in tips and (key in used or key.startswith(("panel", "rows", "outside"))):
            element.set("id", f"{name}-{key}")
        if reference := element.attrib.pop(XLINK, None):
            element.set("href", reference.replace("#", f"#{name}-"))
        for attribute, value in element.attrib.items():
            if "url(#" in value:
                element.set(attribute, value.replace("url(#", f"url(#{name}-"))
        if element.tag != f"{{{SVG}}}text":
            element.text = (element.text or "").strip() if element.tag == f"{{{SVG}}}title" else None
        element.tail = None


def _panels(figure: Figure, name: str, height: float) -> list[tuple[str, float]]:
    """Return the panels of a drawn figure, one by one, and what is outside all of them, such as a legend.

    A panel that leaves the names of its rows to its neighbour gets a copy of them.
    """
    groups: dict[tuple[float, ...], list[int]] = {}
    for number, axis in enumerate(figure.axes):
        groups.setdefault(tuple(np.round(axis.get_position().bounds, 4)), []).append(number)
    outside = (*figure.legends, *figure.texts)
    if len(groups) + len(outside) < 2:
        return []
    FigureCanvasAgg(figure)  # a renderer to measure with
    box = {number: _box(figure, axis.get_tightbbox(), height) for number, axis in enumerate(figure.axes)}
    found = []
    for numbers in groups.values():
        boxes = [of for number in numbers if (of := box[number]) is not None]
        if not boxes:
            continue
        parts = [([f"{name}-panel{number}" for number in numbers], Bbox.union(boxes))]
        if (left := _names_its_rows(figure, numbers[0])) is not None:
            names = _box(figure, figure.axes[left].yaxis.get_tightbbox(None), height)
            if names is not None:
                parts.insert(
                    0, ([f"{name}-rows{left}"], Bbox.from_extents(names.x0, parts[0][1].y0, names.x1, parts[0][1].y1))
                )
        found.append(_cut(parts))
    for number, artist in enumerate(outside):
        if (of := _box(figure, artist.get_window_extent(), height)) is not None:
            found.append(_cut([([f"{name}-outside{number}"], of)]))
    return found


def _names_its_rows(figure: Figure, number: int) -> int | None:
    """Return the panel to the left that names the rows of this one, if it does not do so itself."""

    def names(axis: Axes) -> bool:
        return axis.axison and any(label.get_visible() and label.get_text() for label in axis.get_yticklabels())

    axis = figure.axes[number]
    if not axis.axison or names(axis):
        return None
    place = axis.get_position()
    left = [
        other
        for other, found in enumerate(figure.axes)
        if names(found)
        and found.get_ylim() == axis.get_ylim()
        and np.isclose(found.get_position().y0, place.y0, atol=1e-3)
        and found.get_position().x0 < place.x0
    ]
    return left[0] if left else None


def _box(figure: Figure, found: Bbox | None, height: float) -> Bbox | None:
    """Return a box in points from the upper left corner, as SVG has it."""
    if found is None or not np.isfinite(found.get_points()).all() or found.width <= 0 or found.height <= 0:
        return None
    x0, y0, x1, y1 = np.asarray(found.extents) * 72 / figure.dpi
    return Bbox.from_extents(x0 - MARGIN, height - y1 - MARGIN, x1 + MARGIN, height - y0 + MARGIN)


def _cut(parts: list[tuple[list[str], Bbox]]) -> tuple[str, float]:
    """Return an SVG that shows parts of another one side by side."""
    width, tall = sum(of.width for _, of in parts), max(of.height for _, of in parts)
    x, inner = 0.0, ""
    for names, of in parts:
        view = f"{of.x0:.1f} {of.y0:.1f} {of.width:.1f} {of.height:.1f}"
        uses = "".join(f'<use href="#{key}"/>' for key in names)
        inner += f'<svg x="{x:.1f}" width="{of.width:.1f}" height="{of.height:.1f}" viewBox="{view}">{uses}</svg>'
        x += of.width
    return f'<svg viewBox="0 0 {width:.1f} {tall:.1f}" aria-hidden="true">{inner}</svg>', float(width)
