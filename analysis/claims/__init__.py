"""The claims of the asymmetry paper as tests of result tables: estimate, interval, corrected p and verdict.

The statements are those of arXiv 2509.20878 and its public reviews, in our own operational form: the paper's tables
were not at hand, so a verdict is about these tables and no replication.
"""

from __future__ import annotations

from dataclasses import asdict

import pandas as pd

from ..study import Study
from . import adversarial, rankings
from .claim import CONTRADICTED, SUPPORTED, UNDECIDED, UNTESTABLE, Claim, Finding

__all__ = ["CLAIMS", "CONTRADICTED", "SUPPORTED", "UNDECIDED", "UNTESTABLE", "Claim", "Finding", "evaluate_claims"]

CLAIMS: tuple[Claim, ...] = (*rankings.CLAIMS, *adversarial.CLAIMS, *rankings.FEATURES)
COLUMNS = [
    *("claim", "statement", "test", "where", "estimate", "low", "high", "unit", "p", "p_corrected", "verdict"),
    *("n", "n_seeds", "missing", "needed"),
]


def evaluate_claims(study: Study) -> pd.DataFrame:
    """Test every claim that the tables allow; Holm's correction within each claim.

    Returns:
        One row per test, and one per claim without any: ``estimate`` (+ speaks for the claim) with its interval,
        ``p``, ``p_corrected``, ``verdict``, what it rests on, why it was not tested (``missing``), and the sample that
        would find a true effect of the size seen (``needed``).
    """
    rows = [
        {"claim": claim.key, "statement": claim.statement, "test": claim.test, **asdict(finding)}
        for claim in CLAIMS
        for finding in claim.judged(study)
    ]
    return pd.DataFrame(rows, columns=COLUMNS)
