"""Published results as data, with their sources, and an audit of what percentages of counts can and cannot be."""

from .audit import Finding, audit_accuracies, domain_averages
from .tables import PublishedTable, list_tables, published_table, register_table
from .training_sets import trained_on

__all__ = [
    "Finding",
    "PublishedTable",
    "audit_accuracies",
    "domain_averages",
    "list_tables",
    "published_table",
    "register_table",
    "trained_on",
]
