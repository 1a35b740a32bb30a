"""The error that the analysis raises."""

from ..common.errors import LopsidedError


class AnalysisError(LopsidedError):
    """Result tables that cannot be analysed as they are: the message names the rows, the value found and what to do."""
