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
    from .contrast import Estimate
    from .correlation import Counts, Floats, krcc, orientation, plcc, srcc
    from .divergence import Trimmed, balanced_trimming, share_interval
    from .frames import Row, grouped, incomplete, records, require_finite_where_ok, require_one, require_unique, where
    from .leaving_out import correlation_interval, jackknife, leave_one_out
    from .logistic import LogisticFit, fit_logistic
    from .multiplicity import holm
    from .noise_free_rho import RhoChange, noise_free_interval, rho_change
    from .rank_correlation import critical_rho, exact_p, minimum_detectable_rho, spearman
    from .ranks import Friedman, friedman
    from .rated import AS_MEAN, MOST_CLUSTERS, STATISTICS, VALID, correlations, srcc_change, status_of
    from .variance_components import Component, VarianceComponents, split_variance

__all__ = [
    "AS_MEAN",
    "LEVEL",
    "MOST_CLUSTERS",
    "STATISTICS",
    "VALID",
    "Assessment",
    "Component",
    "Counts",
    "Estimate",
    "Floats",
    "Friedman",
    "LogisticFit",
    "Resamples",
    "RhoChange",
    "Row",
    "Trimmed",
    "VarianceComponents",
    "assess",
    "balanced_trimming",
    "concordance",
    "correlation_interval",
    "correlations",
    "critical_rho",
    "draw_counts",
    "draw_resamples",
    "exact_p",
    "fit_logistic",
    "friedman",
    "grouped",
    "holm",
    "incomplete",
    "jackknife",
    "jnd_precision",
    "krcc",
    "krcc_replicates",
    "label_errors",
    "leave_one_out",
    "minimum_detectable_rho",
    "noise_free_interval",
    "orientation",
    "outlier_ratio",
    "percentile_interval",
    "plcc",
    "plcc_replicates",
    "records",
    "require_finite_where_ok",
    "require_one",
    "require_unique",
    "rho_change",
    "share_above_zero",
    "share_interval",
    "spearman",
    "split_variance",
    "srcc",
    "srcc_change",
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
        ".contrast": ["Estimate"],
        ".correlation": ["Counts", "Floats", "krcc", "orientation", "plcc", "srcc"],
        ".divergence": ["Trimmed", "balanced_trimming", "share_interval"],
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
        ".leaving_out": ["correlation_interval", "jackknife", "leave_one_out"],
        ".logistic": ["LogisticFit", "fit_logistic"],
        ".multiplicity": ["holm"],
        ".noise_free_rho": ["RhoChange", "noise_free_interval", "rho_change"],
        ".rank_correlation": ["critical_rho", "exact_p", "minimum_detectable_rho", "spearman"],
        ".ranks": ["Friedman", "friedman"],
        ".rated": ["AS_MEAN", "MOST_CLUSTERS", "STATISTICS", "VALID", "correlations", "srcc_change", "status_of"],
        ".variance_components": ["Component", "VarianceComponents", "split_variance"],
    },
)
