"""Statistics of result tables: correlation, gain, asymmetry, figures, report. Pure functions of data frames, no torch.

In one go: ``StudyTables.load(folder)``, then ``analyse(tables)``, then ``write_report(study, path, title="…")``.
Each step also stands alone: ``assess``, ``gains``, ``compare_rankings``, and every function of ``analysis.figures``.
``analysis.statistics`` has what they are built of: correlations, intervals, fits and tests of plain arrays.
"""

from typing import TYPE_CHECKING

from ..common.doors import door

if TYPE_CHECKING:
    from .asymmetry import Asymmetry, compare_rankings
    from .comparison import Comparison, compare
    from .deriving import analyse
    from .diagnostics import predict_gain
    from .disagreement import judge_disagreement
    from .errors import AnalysisError
    from .figures.claim_summary import style_claims, summarise_claims
    from .gain import Gains, gains
    from .no_reference import NoReference, assess_nr
    from .pairs import assess_pairs
    from .raters import compare_raters
    from .readable import readable_table
    from .report import write_comparison, write_report
    from .result_tables import SCHEMAS, SHARE, STABILITY, TABLES, UNTRAINED, ResultTable, StudyTables
    from .scorers import assess_scorers
    from .statistics.assessment import Assessment, assess
    from .study import Study

__all__ = [
    "SCHEMAS",
    "SHARE",
    "STABILITY",
    "TABLES",
    "UNTRAINED",
    "AnalysisError",
    "Assessment",
    "Asymmetry",
    "Comparison",
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
    "compare",
    "compare_rankings",
    "compare_raters",
    "gains",
    "judge_disagreement",
    "predict_gain",
    "readable_table",
    "style_claims",
    "summarise_claims",
    "write_comparison",
    "write_report",
]


# scipy and matplotlib are heavy, and not every command needs them.
__getattr__, __dir__ = door(
    __name__,
    {
        ".asymmetry": ["Asymmetry", "compare_rankings"],
        ".comparison": ["Comparison", "compare"],
        ".figures.claim_summary": ["style_claims", "summarise_claims"],
        ".deriving": ["analyse"],
        ".diagnostics": ["predict_gain"],
        ".disagreement": ["judge_disagreement"],
        ".errors": ["AnalysisError"],
        ".gain": ["Gains", "gains"],
        ".no_reference": ["NoReference", "assess_nr"],
        ".pairs": ["assess_pairs"],
        ".raters": ["compare_raters"],
        ".readable": ["readable_table"],
        ".report": ["write_comparison", "write_report"],
        ".result_tables": ["ResultTable", "SCHEMAS", "SHARE", "STABILITY", "StudyTables", "TABLES", "UNTRAINED"],
        ".scorers": ["assess_scorers"],
        ".statistics.assessment": ["Assessment", "assess"],
        ".study": ["Study"],
    },
)
