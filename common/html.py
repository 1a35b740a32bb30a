"""Small pieces of HTML, for objects that a notebook shows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

LEFT = ' style="text-align: left; vertical-align: top"'


def html_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return an HTML table; every value is escaped.

    Examples:
        >>> html_table(["a < b"], [[1]]).count("&lt;")
        1
    """

    def line(values: Sequence[object], tag: str) -> str:
        return f"<tr>{''.join(f'<{tag}{LEFT}>{escape(str(value))}</{tag}>' for value in values)}</tr>"

    return (
        f"<table><thead>{line(header, 'th')}</thead><tbody>{''.join(line(row, 'td') for row in rows)}</tbody></table>"
    )


def html_paragraph(text: str) -> str:
    """Return an HTML paragraph; the text is escaped."""
    return f"<p>{escape(text)}</p>"
