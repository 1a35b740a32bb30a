"""Statistics of result tables: correlation, gain, asymmetry, figures, report. Pure functions of data frames, no torch.

In one go: ``StudyTables.load(folder)``, then ``analyse(tables)``, then ``write_report(study, path, title="…")``.
Each step also stands alone: ``assess``, ``gains``, ``compare_rankings``, and every function of ``analysis.figures``.
``analysis.statistics`` has what they are built of: correlations, intervals, fits and tests of plain arrays.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .asymmetry import Asymmetry, compare_rankings
    from .errors import AnalysisError
    from .gain import Gains, gains
    from .no_reference import NoReference, assess_nr
    from .pairs import assess_pairs
    from .report import write_report
    from .result_tables import SCHEMAS, STABILITY, TABLES, UNTRAINED, ResultTable, StudyTables
    from .scorers import assess_scorers
    from .statistics.assessment import Assessment, assess
    from .study import Study, analyse

_FROM = {
    "AnalysisError": ".errors",
    "Assessment": ".statistics.assessment",
    "Asymmetry": ".asymmetry",
    "Gains": ".gain",
    "NoReference": ".no_reference",
    "ResultTable": ".result_tables",
    "SCHEMAS": ".result_tables",
    "STABILITY": ".result_tables",
    "Study": ".study",
    "StudyTables": ".result_tables",
    "TABLES": ".result_tables",
    "UNTRAINED": ".result_tables",
    "analyse": ".study",
    "assess": ".statistics.assessment",
    "assess_nr": ".no_reference",
    "assess_pairs": ".pairs",
    "assess_scorers": ".scorers",
    "compare_rankings": ".asymmetry",
    "gains": ".gain",
    "write_report": ".report",
}

__all__ = [
    "SCHEMAS",
    "STABILITY",
    "TABLES",
    "UNTRAINED",
    "AnalysisError",
    "Assessment",
    "Asymmetry",
    "Gains",
    "NoReference",
    "ResultTable",
    "Study",
    "StudyTables",
    "analyse",
    "assess",
    "assess_nr",
    "assess_pairs",
    "assess_scorers",
    "compare_rankings",
    "gains",
    "write_report",
]


def __getattr__(name: str) -> Any:
    """Import on first use: scipy and matplotlib are heavy, and not every command needs them."""
    if name not in _FROM:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_FROM[name], __name__), name)
