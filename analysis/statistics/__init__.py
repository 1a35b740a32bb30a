"""Statistics of scores, for any part of the toolkit: intervals, correlations, logistic fits, ranks, agreement.

Examples:
    >>> from lopsided.analysis import statistics
    >>> round(statistics.srcc([1, 2, 3, 4], [10, 20, 40, 30]), 2)
    0.8
"""

from typing import TYPE_CHECKING

from ...common.doors import door

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


# scipy and matplotlib are heavy, and not every command needs them.
__getattr__, __dir__ = door(
    __name__,
    {
        ".agreement": ["concordance", "jnd_precision", "label_errors", "outlier_ratio", "two_afc"],
        ".assessment": ["Assessment", "assess"],
        ".bootstrap": [
            "LEVEL",
            "Resamples",
            "draw_counts",
            "draw_resamples",
            "krcc_replicates",
            "percentile_interval",
            "plcc_replicates",
            "share_above_zero",
            "srcc_replicates",
        ],
        ".correlation": ["Counts", "Floats", "krcc", "orientation", "plcc", "srcc"],
        ".frames": [
            "Row",
            "grouped",
            "incomplete",
            "records",
            "require_finite_where_ok",
            "require_one",
            "require_unique",
            "where",
        ],
        ".logistic": ["LogisticFit", "fit_logistic"],
        ".ranks": ["Friedman", "friedman"],
        ".rated": ["AS_MEAN", "KRCC_CLUSTERS", "STATISTICS", "VALID", "correlations", "status_of"],
    },
)
