"""Statistics of scores, for any part of the toolkit: intervals, correlations, logistic fits, ranks, agreement.

Examples:
    >>> from lopsided.analysis import statistics
    >>> round(statistics.srcc([1, 2, 3, 4], [10, 20, 40, 30]), 2)
    0.8
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .agreement import concordance, jnd_precision, label_errors, outlier_ratio, two_afc
    from .assessment import Assessment, assess
    from .bootstrap import (
        LEVEL,
        Resamples,
        draw_counts,
        draw_resamples,
        krcc_replicates,
        percentile_interval,
        plcc_replicates,
        share_above_zero,
        srcc_replicates,
    )
    from .correlation import Counts, Floats, krcc, orientation, plcc, srcc
    from .frames import Row, grouped, incomplete, records, require_finite_where_ok, require_one, require_unique, where
    from .logistic import LogisticFit, fit_logistic
    from .ranks import Friedman, friedman
    from .rated import AS_MEAN, KRCC_CLUSTERS, STATISTICS, VALID, correlations, status_of

_FROM = {
    "AS_MEAN": ".rated",
    "Counts": ".correlation",
    "Floats": ".correlation",
    "Friedman": ".ranks",
    "KRCC_CLUSTERS": ".rated",
    "LEVEL": ".bootstrap",
    "LogisticFit": ".logistic",
    "Resamples": ".bootstrap",
    "Row": ".frames",
    "STATISTICS": ".rated",
    "VALID": ".rated",
    "Assessment": ".assessment",
    "assess": ".assessment",
    "concordance": ".agreement",
    "correlations": ".rated",
    "draw_counts": ".bootstrap",
    "draw_resamples": ".bootstrap",
    "fit_logistic": ".logistic",
    "friedman": ".ranks",
    "grouped": ".frames",
    "incomplete": ".frames",
    "jnd_precision": ".agreement",
    "krcc": ".correlation",
    "krcc_replicates": ".bootstrap",
    "label_errors": ".agreement",
    "orientation": ".correlation",
    "outlier_ratio": ".agreement",
    "percentile_interval": ".bootstrap",
    "plcc": ".correlation",
    "plcc_replicates": ".bootstrap",
    "records": ".frames",
    "require_finite_where_ok": ".frames",
    "require_one": ".frames",
    "require_unique": ".frames",
    "share_above_zero": ".bootstrap",
    "srcc": ".correlation",
    "srcc_replicates": ".bootstrap",
    "status_of": ".rated",
    "two_afc": ".agreement",
    "where": ".frames",
}

__all__ = [
    "AS_MEAN",
    "KRCC_CLUSTERS",
    "LEVEL",
    "STATISTICS",
    "VALID",
    "Assessment",
    "Counts",
    "Floats",
    "Friedman",
    "LogisticFit",
    "Resamples",
    "Row",
    "assess",
    "concordance",
    "correlations",
    "draw_counts",
    "draw_resamples",
    "fit_logistic",
    "friedman",
    "grouped",
    "incomplete",
    "jnd_precision",
    "krcc",
    "krcc_replicates",
    "label_errors",
    "orientation",
    "outlier_ratio",
    "percentile_interval",
    "plcc",
    "plcc_replicates",
    "records",
    "require_finite_where_ok",
    "require_one",
    "require_unique",
    "share_above_zero",
    "srcc",
    "srcc_replicates",
    "status_of",
    "two_afc",
    "where",
]


def __getattr__(name: str) -> Any:
    """Import on first use: fits and tests need scipy, and a table or a correlation does not."""
    if name not in _FROM:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_FROM[name], __name__), name)
