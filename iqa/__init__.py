"""Assessment: full-reference data sets, measures as metrics on them, and judges of restored images."""

from .fr import evaluate_fr, evaluate_fr_group
from .judges import Judge, JudgeSpec, create_judge, list_judges, parse_judge

__all__ = ["Judge", "JudgeSpec", "create_judge", "evaluate_fr", "evaluate_fr_group", "list_judges", "parse_judge"]
