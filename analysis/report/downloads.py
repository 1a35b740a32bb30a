"""A table of the report as CSV, for computing, and as LaTeX, for papers; both travel inside the page."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence

import pandas as pd

from ..result_tables import without_formulas

# What LaTeX does not take as it is: its own signs, and signs that a font of pdfLaTeX may lack.
LATEX = {
    **{sign: "\\" + sign for sign in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "−": "$-$",
    "×": r"$\times$",
    "±": r"$\pm$",
    "≥": r"$\geq$",
    "≤": r"$\leq$",
    "∞": r"$\infty$",
    "→": r"$\rightarrow$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "ρ": r"$\rho$",
    "τ": r"$\tau$",
    "χ": r"$\chi$",
    "σ": r"$\sigma$",
    "²": "$^2$",
    "–": "--",
    "—": "---",
    "·": r"$\cdot$",
    "“": "``",
    "”": "''",
    "’": "'",
    "…": r"\ldots{}",
}
SIGNS = re.compile("|".join(map(re.escape, LATEX)))


def csv(frame: pd.DataFrame) -> str:
    """Return the numbers behind a table, six significant digits each.

    Examples:
        >>> print(csv(pd.DataFrame({"measure": ["ssim"], "srcc": [2 / 3]})), end="")
        measure,srcc
        ssim,0.666667
    """
    return without_formulas(frame).to_csv(index=False, float_format="%.6g", lineterminator="\n")


def latex(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    r"""Return a table as it is shown; it needs the package booktabs.

    Examples:
        >>> print(latex("Gains", ["measure", "gain"], [["R&D_1", "−0.5"]]))
        \begin{table}
        \caption{Gains}
        \begin{tabular}{ll}
        \toprule
        measure & gain \\
        \midrule
        R\&D\_1 & $-$0.5 \\
        \bottomrule
        \end{tabular}
        \end{table}
        <BLANKLINE>
    """

    def line(cells: Sequence[str]) -> str:
        return " & ".join(map(_escaped, cells)) + r" \\"

    return "\n".join(
        (
            r"\begin{table}",
            rf"\caption{{{_escaped(title)}}}",
            rf"\begin{{tabular}}{{{'l' * len(header)}}}",
            r"\toprule",
            line(header),
            r"\midrule",
            *map(line, rows),
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        )
    )


def _escaped(text: str) -> str:
    return SIGNS.sub(lambda found: LATEX[found[0]], " ".join(text.split()))


def data_url(content: str, kind: str) -> str:
    """Return a text as an address that holds it, for a link with ``download``.

    Examples:
        >>> data_url("a,b", "text/csv")
        'data:text/csv;charset=utf-8;base64,YSxi'
    """
    return f"data:{kind};charset=utf-8;base64,{base64.b64encode(content.encode()).decode()}"
