"""From prompts to scores: presets, scales, parsers, outcomes, and what scorers are trained towards (``targets``)."""

from typing import TYPE_CHECKING

from ...common.doors import door

if TYPE_CHECKING:
    from .anchors import rate_against_anchors, thurstone_scores
    from .outcomes import Choice, Comparison, Rating, Status
    from .preset import LetterTokens, Preset, Question, WrittenLetter, WrittenNumber
    from .presets import create_preset, list_presets, register_preset
    from .reply_judge import ReplyJudge
    from .scale import SCALES, LabelBins, Reading, ScoreScale, level_of
    from .scorer import Scorer
    from .written_letter import ParsedLetter, parse_letter
    from .written_number import ParsedNumber, parse_number

__all__ = [
    "SCALES",
    "Choice",
    "Comparison",
    "LabelBins",
    "LetterTokens",
    "ParsedLetter",
    "ParsedNumber",
    "Preset",
    "Question",
    "Rating",
    "Reading",
    "ReplyJudge",
    "ScoreScale",
    "Scorer",
    "Status",
    "WrittenLetter",
    "WrittenNumber",
    "create_preset",
    "level_of",
    "list_presets",
    "parse_letter",
    "parse_number",
    "rate_against_anchors",
    "register_preset",
    "thurstone_scores",
]

__getattr__, __dir__ = door(
    __name__,
    {
        ".anchors": ["rate_against_anchors", "thurstone_scores"],
        ".outcomes": ["Choice", "Comparison", "Rating", "Status"],
        ".preset": ["LetterTokens", "Preset", "Question", "WrittenLetter", "WrittenNumber"],
        ".presets": ["create_preset", "list_presets", "register_preset"],
        ".reply_judge": ["ReplyJudge"],
        ".scale": ["SCALES", "LabelBins", "Reading", "ScoreScale", "level_of"],
        ".scorer": ["Scorer"],
        ".written_letter": ["ParsedLetter", "parse_letter"],
        ".written_number": ["ParsedNumber", "parse_number"],
    },
)
