"""The HTML reports of a study, and of several beside one another."""

from .comparison import write_comparison
from .page import write_report

__all__ = ["write_comparison", "write_report"]
