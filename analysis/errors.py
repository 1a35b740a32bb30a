"""The analysis' own exception."""

from ..common.errors import LopsidedError


class AnalysisError(LopsidedError):
    """Result tables that cannot be analysed as they are: the message names the rows, the value seen and the way out."""
