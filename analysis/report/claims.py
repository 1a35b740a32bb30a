"""The report's section on the claims of the asymmetry paper."""

from __future__ import annotations

import pandas as pd

from ..claims import CLAIMS, UNTESTABLE
from ..figures.claim_summary import summarise_claims
from ..statistics.frames import Row, where
from ..study import Study
from ..verdicts import MIN_SEEDS
from .blocks import Block, Cell, Text, between, p_value, readable, table, text


def claim_blocks(study: Study) -> list[Block]:
    """Return all claims with what became of them, then the tests of each claim that was tested."""
    claims = study.parts["claims"]
    if not study.trains and (claims["verdict"] == UNTESTABLE).all():
        return []
    overview: dict[str, Cell] = {
        "claim": text("claim"),
        "statement": text("statement"),
        "verdict": text("verdict"),
        "all tests": lambda row: "–" if row["tests"] == row["verdict"] else row["tests"],
        "strongest test, or what is missing": lambda row: readable("evidence")(row).replace("\n", "; "),
    }
    blocks: list[Block] = [
        Text(
            "The claims are those of arXiv:2509.20878 and its public reviews, in our own operational form. A verdict is"
            " about these tables and no replication of the paper. Supported or contradicted: p below 0.05, corrected"
            f" for the tests of the claim, from {MIN_SEEDS} seeds or more where seeds play a part. Undecided is no"
            " evidence against a claim. An estimate above 0, or a ratio above 1, speaks for it."
        ),
        table(summarise_claims(claims), "All claims", overview),
    ]
    tested: dict[str, Cell] = {
        "where": readable("where"),
        "verdict": text("verdict"),
        "estimate": estimate,
        "unit": text("unit"),
        "p, corrected": p_value("p_corrected"),
        "from": text("n"),
        "what is missing": readable("missing"),
        "sample that would find it": text("needed"),
    }
    for rows in _rows_of_claims(claims):
        if (rows["verdict"] == UNTESTABLE).all():
            continue
        first = rows.iloc[0]
        note = f"Test: {first['test']}"
        optional = ("unit", "p, corrected", "what is missing", "sample that would find it")
        blocks.append(table(rows, f"{first['claim']}. {first['statement']}", tested, note=note, optional=optional))
    return blocks


def _rows_of_claims(claims: pd.DataFrame) -> list[pd.DataFrame]:
    return [rows for claim in CLAIMS if len(rows := where(claims, claim=claim.key))]


def estimate(row: Row) -> str:
    """Show the estimate with its interval; differences in SRCC are small numbers."""
    return between("estimate", "low", "high", 3 if str(row["unit"]).startswith("SRCC") else 2)(row)
