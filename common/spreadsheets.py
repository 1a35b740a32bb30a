"""CSV files that spreadsheets open: no cell of theirs is run as a formula."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a text that a spreadsheet would run begins with


def without_formulas(table: pd.DataFrame) -> pd.DataFrame:
    r"""Return a table for a CSV file: texts that begin like a formula have an apostrophe before them.

    Numbers, negative ones too, stay as they are.

    Examples:
        >>> import pandas as pd
        >>> without_formulas(pd.DataFrame({"name": ["=1+1", "ssim"], "value": [-1.5, 2.0]})).to_csv(index=False)
        "name,value\n'=1+1,-1.5\nssim,2.0\n"
    """
    texts = [name for name in table.columns if table[name].dtype.kind not in "biufcmM"]
    return table.assign(**{name: [_as_text(cell) for cell in table[name]] for name in texts})


def _as_text(cell: Any) -> Any:
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(FORMULA) else cell
