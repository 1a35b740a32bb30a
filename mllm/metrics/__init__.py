"""Metrics of ratings, choices and open answers, each with what it counted and an interval.

All take the table of ``join_items``: one row per scorer and item, together with what the item says.
"""

from typing import TYPE_CHECKING

from ...common.doors import door

if TYPE_CHECKING:
    from ..table import join_items
    from .choices import choice_accuracy
    from .contexts import answer_entropy, context_accuracy, drift, paired_drop, read_answers, retention
    from .intervals import Bootstrap, Estimate
    from .ista import structural_score
    from .ratings import domain_averages, rating_metrics
    from .repeats import repeat_spread
    from .statuses import status_shares
    from .summary import summarise

__all__ = [
    "Bootstrap",
    "Estimate",
    "answer_entropy",
    "choice_accuracy",
    "context_accuracy",
    "domain_averages",
    "drift",
    "join_items",
    "paired_drop",
    "rating_metrics",
    "read_answers",
    "repeat_spread",
    "retention",
    "status_shares",
    "structural_score",
    "summarise",
]

__getattr__, __dir__ = door(
    __name__,
    {
        "..table": ["join_items"],
        ".choices": ["choice_accuracy"],
        ".contexts": ["answer_entropy", "context_accuracy", "drift", "paired_drop", "read_answers", "retention"],
        ".intervals": ["Bootstrap", "Estimate"],
        ".ista": ["structural_score"],
        ".ratings": ["domain_averages", "rating_metrics"],
        ".repeats": ["repeat_spread"],
        ".statuses": ["status_shares"],
        ".summary": ["summarise"],
    },
)
