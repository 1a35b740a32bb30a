"""A result table as people read it, for notebooks: names instead of keys, a value with its interval in one cell."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from .errors import AnalysisError
from .figures.style import minus, pretty, setting_name
from .report.advice import best_first
from .report.blocks import Cell, between, named_list, p_value, readable, text, with_interval
from .statistics.frames import records

if TYPE_CHECKING:
    from pandas.io.formats.style import Styler

NAMED = (
    *("generator", "dataset", "fidelity", "measure", "measure_a", "measure_b", "better_metric", "worse_metric"),
    *("judge", "discriminator", "model", "scorer"),
)
SETTING = ("discriminator", "gan_weight")


def readable_table(table: pd.DataFrame, *columns: str) -> Styler:
    """Show columns of a result table in a notebook, as people read them.

    Keys become names; ``discriminator`` with ``gan_weight`` becomes one column, the adversarial setting; a value that
    has ``_low`` and ``_high``, or an ``estimate`` with ``low`` and ``high``, is shown with its interval. Texts stay
    whole.

    Args:
        table: Any table of results, or derived from them.
        columns: What is shown, in this order; every column if left out.

    Raises:
        AnalysisError: A column that the table has not.

    Examples:
        >>> gains = pd.DataFrame({"fidelity": ["dists-vgg16"], "gain": [0.5], "gain_low": [0.1], "gain_high": [0.9]})
        >>> readable_table(gains, "fidelity", "gain").data.values.tolist()
        [['DISTS VGG-16', '0.50 [0.10, 0.90]']]
    """
    chosen = list(columns or table.columns)
    if missing := [name for name in chosen if name not in table]:
        known = ", ".join(map(str, table.columns))
        raise AnalysisError(f"the table has no column {', '.join(missing)}; it has {known}")
    ends = {f"{name}{end}" for name in chosen for end in ("_low", "_high")}
    ends |= {"low", "high"} if "estimate" in chosen else set()
    shown: dict[str, Cell] = {}
    for name in chosen:
        if name == "discriminator" and "gan_weight" in chosen:
            shown["adversarial setting"] = lambda row: setting_name(*(row[column] for column in SETTING))
        elif name not in ends and not (name == "gan_weight" and "discriminator" in chosen):
            shown[name.replace("_", " ")] = _cell(table, name)
    rows = records(table)
    frame = pd.DataFrame({title: [cell(row) for row in rows] for title, cell in shown.items()})
    styler = frame.style.hide(axis="index").set_uuid("table")
    styler.format(escape="html")
    left = {"text-align": "left", "vertical-align": "top", "white-space": "normal"}
    return styler.set_properties(**left).set_table_styles([{"selector": "th", "props": list(left.items())}])


def _cell(table: pd.DataFrame, name: str) -> Cell:
    if name in NAMED:
        return lambda row: pretty(str(row[name])) if row[name] else "–"
    if name in ("where", "because", "overturned_by"):
        return readable(name)
    if name == "measures":
        return best_first if "use" in table else named_list(name)
    if f"{name}_low" in table:
        return with_interval(name)
    if name == "estimate" and {"low", "high"} <= set(table):
        return between(name, "low", "high")
    if name == "p" or name.startswith("p_") or name.endswith(("_p", "_p_holm")):
        return p_value(name)
    if pd.api.types.is_float_dtype(table[name]):
        return lambda row: "–" if pd.isna(row[name]) else minus(row[name], 3)
    return text(name)
