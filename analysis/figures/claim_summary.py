"""One row per claim, from one row per test: the verdicts, and the strongest test or what is missing."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pandas as pd
from pandas.io.formats.style import Styler

from ..statistics.frames import Row, records
from ..verdicts import CONTRADICTED, SUPPORTED, UNDECIDED, UNTESTABLE
from .style import BLUE, GREY, VERMILION, interval, p_text

# A mark besides the colour, so that a grey print says the same.
MARKS = {SUPPORTED: ("✓", BLUE), CONTRADICTED: ("✗", VERMILION), UNDECIDED: ("?", GREY), UNTESTABLE: ("–", GREY)}
COLUMNS = ["claim", "statement", "verdict", "tests", "evidence"]


def summarise_claims(claims: pd.DataFrame) -> pd.DataFrame:
    """Return one row per claim.

    Args:
        claims: Part ``claims`` of a study, one row per test.

    Returns:
        ``verdict`` of the claim as a whole: what its tests that decide agree on, else "undecided" or "not testable";
        the verdicts of all its ``tests`` in words; ``evidence``: the test with the smallest corrected p, or what is
        missing.

    Examples:
        >>> claims = pd.DataFrame({
        ...     "claim": "T1", "statement": "Better metrics are better objectives.", "estimate": [0.4, 0.1],
        ...     "low": [0.1, -0.2], "high": [0.7, 0.4], "unit": "judge SDs", "p_corrected": [0.01, 0.6],
        ...     "verdict": ["supported", "undecided"], "missing": "",
        ... })
        >>> summarise_claims(claims)[["verdict", "tests"]].values.tolist()
        [['supported', '1 × supported, 1 × undecided']]
    """
    rows = [_row(tests) for _, tests in claims.groupby("claim", sort=False)]
    return pd.DataFrame(rows, columns=COLUMNS)


def style_claims(claims: pd.DataFrame) -> Styler:
    """Return the claims as a table that a notebook shows: one row per claim, decided verdicts in colour.

    Args:
        claims: Part ``claims`` of a study.
    """
    table = summarise_claims(claims)

    def coloured(verdict: str) -> str:
        weight = "bold" if verdict in (SUPPORTED, CONTRADICTED) else "normal"
        return f"color: {MARKS[verdict][1]}; font-weight: {weight}"

    shown = table.style.hide(axis="index").set_uuid("claims").map(coloured, subset=["verdict"])
    shown.format(lambda verdict: f"{MARKS[verdict][0]} {verdict}", subset=["verdict"])
    shown.format(escape="html", subset=["claim", "statement", "tests", "evidence"])
    shown = shown.set_properties(**{"text-align": "left", "vertical-align": "top", "white-space": "pre-line"})
    shown = shown.set_table_styles([{"selector": "th", "props": [("text-align", "left")]}])
    return shown.set_properties(subset=["verdict"], **{"white-space": "nowrap"})


def _row(tests: pd.DataFrame) -> Row:
    counts = Counter(tests["verdict"])
    said = ", ".join(verdict if len(tests) == 1 else f"{n} × {verdict}" for verdict, n in counts.most_common())
    decided = {verdict for verdict in (SUPPORTED, CONTRADICTED) if counts[verdict]}
    # A claim supported here and contradicted there is undecided as a whole.
    verdict = decided.pop() if len(decided) == 1 else UNTESTABLE if set(counts) == {UNTESTABLE} else UNDECIDED
    tested = tests.loc[tests["estimate"].notna()].sort_values("p_corrected")
    if len(tested):
        best = records(tested)[0]
        digits = 3 if str(best["unit"]).startswith("SRCC") else 2
        evidence = f"{interval(best['estimate'], best['low'], best['high'], digits)} {best['unit']}".strip()
        if np.isfinite(best["p_corrected"]):
            evidence += f"\n{p_text(best['p_corrected'])}, corrected"
    else:
        evidence = next((reason for reason in tests["missing"] if reason), "")
    first = tests.iloc[0]
    return dict(zip(COLUMNS, (first["claim"], first["statement"], verdict, said, evidence), strict=True))
