"""The HTML reports of a study, and of several beside one another."""

from .comparison import write_comparison
from .leaderboard import Board, board_csv, board_latex, board_tables, findings, place, write_leaderboard
from .page import write_report
from .probe import verdicts, write_probe

__all__ = [
    "Board",
    "board_csv",
    "board_latex",
    "board_tables",
    "findings",
    "place",
    "verdicts",
    "write_comparison",
    "write_leaderboard",
    "write_probe",
    "write_report",
]
