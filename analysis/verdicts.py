"""The words in which a finding is reported, and what each of them requires."""

from __future__ import annotations

import numpy as np

from .statistics.multiplicity import ALPHA
from .statistics.noise_free_rho import AGREE_LESS, AGREE_MORE, UNDECIDED
from .statistics.variance_components import MEASURE_DOMINATES, SETTING_DOMINATES

__all__ = [
    "AGREE_LESS",
    "AGREE_MORE",
    "CONTRADICTED",
    "ESTABLISHED",
    "FAMILIES",
    "MEASURE_DOMINATES",
    "MIN_RANKED",
    "MIN_SEEDS",
    "SETTING_DOMINATES",
    "SUGGESTED",
    "SUPPORTED",
    "UNDECIDED",
    "UNTESTABLE",
    "verdict",
    "weakened",
]

# Of a test of a claim, and of a finding.
SUPPORTED, CONTRADICTED, UNTESTABLE = "supported", "contradicted", "not testable"
ESTABLISHED, SUGGESTED = "established", "suggested"
# With two seeds of strongly unequal noise whole-study error is .06-.08 instead of .05: too much for "established".
MIN_SEEDS = 3
# Measures from which a ranking is worth a picture and a sentence, where other data sets have one.
MIN_RANKED = 3
SUGGESTED_BELOW = 0.2
# The first sentence of a report picks among trends and pairs. Each has its own correction, so together they could be
# wrong twice as often.
FAMILIES = 2


def verdict(corrected: float, n_seeds: int) -> str:
    """Return what a test says.

    Args:
        corrected: Its p-value, corrected for everything that was looked at.
        n_seeds: Seeds it rests on.

    Returns:
        "established": p < .05 from three seeds or more; "suggested": p < .20, or p < .05 from two seeds, so that of
        studies in which there is nothing to find one in five suggests something; "undecided": neither, or no test.

    Examples:
        >>> verdict(0.02, n_seeds=5), verdict(0.02, n_seeds=2), verdict(0.3, n_seeds=5)
        ('established', 'suggested', 'undecided')
    """
    if np.isfinite(corrected) and corrected < ALPHA and n_seeds >= MIN_SEEDS:
        return ESTABLISHED
    return SUGGESTED if np.isfinite(corrected) and corrected < SUGGESTED_BELOW else UNDECIDED


def weakened(found: str, n_seeds: int) -> str:
    """Return what a rule without a p-value found, as a suggestion where it rests on too few seeds.

    Examples:
        >>> weakened("agree less", n_seeds=3), weakened("agree less", n_seeds=2), weakened("undecided", n_seeds=2)
        ('agree less', 'agree less (suggested)', 'undecided')
    """
    return found if found == UNDECIDED or n_seeds >= MIN_SEEDS else f"{found} ({SUGGESTED})"
